//! What requests cost the server, in CPU time of its process. Not a test of speed: it prints.
//!
//!     cargo test --release -p neardata-hub --test it figures -- --ignored --nocapture

use std::time::Instant;

use futures::StreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::harness::ChildEndpoint;
use crate::object_store_client::{bytes, client_of};

/// User and system time of a process in seconds, and its peak memory in MiB.
fn usage(process: u32) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (ticks / 100.0, peak_kib >> 10)
}

async fn measure<F: Future<Output = ()>>(
    name: &str,
    process: u32,
    count: usize,
    together: usize,
    operation: impl Fn(usize) -> F,
) {
    let (before, started) = (usage(process).0, Instant::now());
    futures::stream::iter(0..count).map(operation).buffer_unordered(together).collect::<Vec<()>>().await;
    let (wall, (cpu, peak)) = (started.elapsed().as_secs_f64(), usage(process));
    println!(
        "{name:<22} {count:>5} x, {together:>2} together: server CPU {:>8.1} us each, wall {:>8.1} us each, peak {peak} MiB",
        (cpu - before) * 1e6 / count as f64,
        wall * 1e6 / count as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn figures() {
    let folder = tempfile::tempdir().unwrap();
    let child = ChildEndpoint::start(folder.path(), &[]);
    let process = child.process.id();
    let store: AmazonS3 = client_of(&child.url());
    for (name, size, count, together) in [("4 KiB", 4 << 10, 4000, 16), ("1 MiB", 1 << 20, 200, 8), ("64 MiB", 64 << 20, 12, 2)] {
        let payload = PutPayload::from(bytes(size, 1));
        let path = |number: usize| Path::from(format!("{name}/{number}"));
        let put = |number| {
            let (store, payload, path) = (&store, payload.clone(), path(number));
            async move { drop(store.put(&path, payload).await.unwrap()) }
        };
        measure(&format!("PUT {name}"), process, count, together, put).await;
        let get = |number| {
            let (store, path) = (&store, path(number));
            async move {
                let mut stream = store.get(&path).await.unwrap().into_stream();
                while let Some(piece) = stream.next().await {
                    piece.unwrap();
                }
            }
        };
        measure(&format!("GET {name}"), process, count, together, get).await;
    }
    let list = |_| async {
        assert_eq!(store.list(Some(&Path::from("4 KiB"))).count().await, 4000);
    };
    measure("LIST 4000 keys", process, 20, 1, list).await;
    child.stop();
}

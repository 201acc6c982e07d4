//! Acknowledged means durable, seen from outside: in the system calls of the server, and after `kill -9`.

use std::path::Path as FilePath;
use std::process::Command;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};

use crate::harness::ChildEndpoint;
use crate::object_store_client::{bytes, client_of};

/// What the server did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// A write to a file began.
    Write(String),
    /// A sync of a file or folder returned.
    Synced(String),
    /// An answer left.
    Answer,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let strace = Command::new("strace").arg("--version").output();
    assert!(strace.is_ok_and(|output| output.status.success()), "this test needs strace: apt-get install strace");
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let trace_text = trace.to_str().unwrap();
    let calls = "trace=fsync,fdatasync,write,pwrite64,writev,sendto,sendmsg";
    let hub = folder.path().join("hub");
    let child = ChildEndpoint::start(&hub, &["strace", "-f", "-y", "-s", "16", "-e", calls, "-o", trace_text]);
    let store = client_of(&child.url());

    let small = Path::from("small");
    let large = Path::from("large");
    let parts = Path::from("parts");
    store.put(&small, bytes(1000, 1).into()).await.unwrap();
    store.put(&large, bytes(3 << 20, 2).into()).await.unwrap();
    let mut upload = store.put_multipart(&parts).await.unwrap();
    upload.put_part(bytes(5 << 20, 3).into()).await.unwrap();
    upload.put_part(bytes(1 << 20, 4).into()).await.unwrap();
    upload.complete().await.unwrap();
    store.delete(&large).await.unwrap();
    child.stop();

    let events = read_trace(&trace);
    let steps: Vec<&[Event]> = events.split(|event| *event == Event::Answer).collect();
    let names = ["small put", "large put", "create upload", "first part", "second part", "complete", "delete"];
    assert_eq!(steps.len(), names.len() + 1, "one answer for each request: {events:#?}");
    for (name, step) in names.iter().zip(&steps) {
        let with_blob = ["large put", "first part", "second part"].contains(name);
        check_step(name, step, with_blob);
    }
}

/// Before an answer: (the blob's file, then its folder, then) the write-ahead log, each synced after its last write.
fn check_step(name: &str, step: &[Event], with_blob: bool) {
    let position = |wanted: &dyn Fn(&Event) -> bool| step.iter().rposition(wanted);
    let log_synced = position(&|event| matches!(event, Event::Synced(path) if path.ends_with("/meta.sqlite-wal")));
    let log_written = position(&|event| matches!(event, Event::Write(path) if path.ends_with("/meta.sqlite-wal")));
    assert!(log_written.is_some(), "{name}: the metadata was written: {step:#?}");
    assert!(log_synced > log_written, "{name}: the write-ahead log was synced after its last write: {step:#?}");
    let in_blobs = |path: &str| path.contains("/blobs/");
    let is_file = |path: &str| FilePath::new(path).file_name().is_some_and(|name| name.len() == 16);
    let blob_written = position(&|event| matches!(event, Event::Write(path) if in_blobs(path)));
    let blob_synced = position(&|event| matches!(event, Event::Synced(path) if in_blobs(path) && is_file(path)));
    let folder_synced = position(&|event| matches!(event, Event::Synced(path) if in_blobs(path) && !is_file(path)));
    if with_blob {
        assert!(blob_written.is_some(), "{name}: the blob lies in a file: {step:#?}");
        assert!(blob_synced > blob_written, "{name}: the blob was synced after its last write: {step:#?}");
        assert!(folder_synced > blob_synced, "{name}: then its folder: {step:#?}");
        assert!(log_written > folder_synced, "{name}: and only then did the metadata name it: {step:#?}");
    } else {
        assert_eq!(blob_written, None, "{name}: no blob file is needed: {step:#?}");
    }
}

/// The proof that the test above can fail: leave out any one sync, or swap two, and the check sees it.
#[test]
fn the_check_sees_every_missing_sync() {
    let write = |path: &str| Event::Write(path.to_owned());
    let synced = |path: &str| Event::Synced(path.to_owned());
    let good = [
        write("/hub/blobs/01/0000000000000001"),
        synced("/hub/blobs/01/0000000000000001"),
        synced("/hub/blobs/01"),
        write("/hub/meta.sqlite-wal"),
        synced("/hub/meta.sqlite-wal"),
    ];
    check_step("good", &good, true);
    let fails = |events: Vec<Event>| std::panic::catch_unwind(|| check_step("bad", &events, true)).is_err();
    for left_out in 1..good.len() {
        let rest = good.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, event)| event.clone());
        assert!(fails(rest.collect()), "without {:?}", good[left_out]);
    }
    for first in 1..good.len() {
        let mut swapped = good.to_vec();
        swapped.swap(first - 1, first);
        assert!(fails(swapped), "{:?} after {:?}", good[first - 1], good[first]);
    }
}

fn read_trace(path: &FilePath) -> Vec<Event> {
    let text = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&text);
    let mut events = Vec::new();
    // Calls that another thread's line cut in two: the thread, and the file a sync was about.
    let mut unfinished = std::collections::HashMap::new();
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        let file = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(file, _)| file.to_owned());
        let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        if is_sync && call.contains("unfinished ...") {
            unfinished.insert(thread.to_owned(), file.unwrap());
        } else if is_sync {
            assert!(call.ends_with("= 0"), "{line}");
            events.push(Event::Synced(file.unwrap()));
        } else if call.starts_with("<... fsync resumed") || call.starts_with("<... fdatasync resumed") {
            assert!(call.ends_with("= 0"), "{line}");
            events.push(Event::Synced(unfinished.remove(thread).unwrap()));
        } else if call.contains("\"HTTP/1.1 2") {
            events.push(Event::Answer);
        } else if call.starts_with("pwrite64(") || call.starts_with("write(") {
            events.push(Event::Write(file.unwrap_or_default()));
        }
    }
    events.retain(|event| !matches!(event, Event::Write(path) if !path.contains("/hub/")));
    // What came before the first request: opening the volume.
    let first_request = events.iter().rposition(|event| matches!(event, Event::Synced(path) if path.ends_with("/hub")));
    events.split_off(first_request.map_or(0, |position| position + 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_objects_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeMap::new();
    for round in 0..3u64 {
        let child = ChildEndpoint::start(folder.path(), &[]);
        let store = std::sync::Arc::new(client_of(&child.url()));
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    for number in 0.. {
                        let size = if number % 3 == 0 { 200_000 } else { 900 };
                        let (key, seed) = (format!("{round}/{writer}/{number}"), round * 1_000_000 + writer * 10_000 + number);
                        let path = Path::from(key.as_str());
                        let put = store.put(&path, bytes(size, seed).into());
                        match tokio::time::timeout(std::time::Duration::from_secs(2), put).await {
                            Ok(Ok(_)) => done.push((key, size, seed)),
                            _ => break,
                        }
                    }
                    done
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        child.kill();
        for writer in writers {
            for (key, size, seed) in writer.await.unwrap() {
                acknowledged.insert(key, (size, seed));
            }
        }
    }
    assert!(acknowledged.len() > 20, "the writers wrote: {}", acknowledged.len());
    let child = ChildEndpoint::start(folder.path(), &[]);
    let store = client_of(&child.url());
    for (key, (size, seed)) in acknowledged {
        let got = store.get(&Path::from(key.as_str())).await.unwrap().bytes().await.unwrap();
        assert!(got == bytes(size, seed), "{key}");
    }
    child.stop();
}

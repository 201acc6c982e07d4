//! Indexes one object with so many threads and tells what it took: `index_bench FILE THREADS [ROUNDS]`.
//!
//! The side-car is written to memory and checked to be that of one thread.

use std::time::Instant;

use neardata_core::ObjectUri;
use neardata_formats::{IndexOptions, Parallel, build_index, build_index_parallel, detect};
use neardata_store::{StoreOptions, Stores};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, threads, rest @ ..] = arguments.as_slice() else { return Err("usage: index_bench FILE THREADS [ROUNDS]".into()) };
    let rounds: u32 = rest.first().map_or(Ok(3), |text| text.parse())?;
    let stores = Stores::new(StoreOptions::default())?;
    let source = stores.head(&ObjectUri::from_path(std::fs::canonicalize(file)?))?;
    let reader = stores.open(&source)?;
    let (detected, options) = (detect(reader.as_ref())?, IndexOptions::default());
    let parallel = Parallel { threads: threads.parse()?, ..Parallel::default() };
    let mut expected = build_index(reader.as_ref(), &source, detected, options, &|_| {})?;
    println!("{} of {}, {} records, {} bytes", detected.format, detected.compression, expected.index.records, source.size);
    let expected = expected.to_vec()?;
    for _ in 0..rounds {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let mut built = build_index_parallel(reader.as_ref(), &source, detected, options, parallel, &|_| {})?;
        println!("{threads} threads: wall {:.2} s, CPU {:.2} s", wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        assert!(built.to_vec()? == expected, "the side-car differs");
    }
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

//! Measures indexing and regions of one FASTA object, and makes up such objects.
//!
//! ```text
//! fasta_bench generate SEQUENCES BASES SEED > genome.fa    # lines of 60
//! fasta_bench index URI SIDE_CARS                          # the index of records: one JSON line with CPU and wall seconds
//! fasta_bench regions URI SIDE_CARS REGION...              # the regions, as `samtools faidx` prints them; what it took on stderr
//! fasta_bench parts URI SIDE_CARS N REGION...              # the regions in N slices each: sizes, and what it took, on stderr
//! ```

use std::error::Error;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use neardata_core::ObjectUri;
use neardata_formats::{Partition, SideCars, Slicer};
use neardata_store::Stores;

fn main() -> Result<(), Box<dyn Error>> {
    // As the `neardata` command does.
    neardata_store::keep_freed_buffers();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["generate", sequences, bases, seed] => generate(sequences.parse()?, bases.parse()?, seed.parse()?),
        ["index", uri, side_cars] => index(&uri.parse()?, side_cars.parse()?),
        ["regions", uri, side_cars, ref regions @ ..] => read(&uri.parse()?, side_cars.parse()?, regions, None),
        ["parts", uri, side_cars, count, ref regions @ ..] => {
            read(&uri.parse()?, side_cars.parse()?, regions, Some(Partition::Count(count.parse()?)))
        }
        _ => Err("usage: fasta_bench generate … | index … | regions … | parts …, see its source".into()),
    }
}

/// Processor time of this process, all threads.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn index(uri: &ObjectUri, root: ObjectUri) -> Result<(), Box<dyn Error>> {
    let stores = Stores::from_env()?;
    let (start_cpu, start) = (cpu(), Instant::now());
    let summary = Slicer::new(stores.clone(), SideCars { root }).index(uri, &|_| {})?;
    println!(
        r#"{{"step":"index","cpu_s":{:.3},"wall_s":{:.3},"built":{},"records":{},"uncompressed":{},"side_car":{}}}"#,
        (cpu() - start_cpu).as_secs_f64(),
        start.elapsed().as_secs_f64(),
        summary.built,
        summary.records,
        summary.uncompressed,
        summary.side_car.size,
    );
    Ok(())
}

fn read(uri: &ObjectUri, root: ObjectUri, regions: &[&str], partition: Option<Partition>) -> Result<(), Box<dyn Error>> {
    let stores = Stores::from_env()?;
    let slicer = Slicer::new(stores.clone(), SideCars { root });
    let start_cpu = cpu();
    let slices = slicer.region_parts(uri, regions, partition, &|_| {})?;
    let (cut_cpu, cut_fetched) = (cpu() - start_cpu, stores.bytes_fetched());
    let mut out = std::io::stdout().lock();
    let mut sizes = Vec::new();
    for slice in &slices {
        sizes.push(std::io::copy(&mut slicer.read(slice, 0)?, &mut out)?);
    }
    eprintln!(
        r#"{{"step":"regions","slices":{},"cut_cpu_s":{:.3},"cut_fetched":{cut_fetched},"cpu_s":{:.3},"fetched":{},"longest_slice":{},"sizes":{sizes:?}}}"#,
        slices.len(),
        cut_cpu.as_secs_f64(),
        (cpu() - start_cpu).as_secs_f64(),
        stores.bytes_fetched() - cut_fetched,
        slices.iter().map(|slice| slice.to_json().len()).max().unwrap_or(0),
    );
    Ok(())
}

fn generate(sequences: u64, bases: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut state = seed;
    let mut line = [0; 60];
    for sequence in 0..sequences {
        writeln!(out, ">seq{sequence} length={bases}")?;
        let mut left = bases;
        while left > 0 {
            for base in &mut line {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *base = b"ACGT"[(state >> 62) as usize];
            }
            let length = left.min(60);
            out.write_all(&line[..length as usize])?;
            out.write_all(b"\n")?;
            left -= length;
        }
    }
    out.flush()?;
    Ok(())
}

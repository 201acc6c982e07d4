//! Measures indexing and slicing of one FASTQ object, and makes up such objects.
//!
//! ```text
//! fastq_bench generate READS SEED > reads.fastq      # 150 bp, Illumina-like; then `gzip -6`
//! fastq_bench index URI SIDE_CARS                    # one JSON line: CPU and wall seconds, side-car size
//! fastq_bench read URI SIDE_CARS N [CHECK]           # cuts into N slices, reads them all; CHECK: also a CRC-32 of all bytes
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
        ["generate", reads, seed] => generate(reads.parse()?, seed.parse()?),
        ["index", uri, side_cars] => index(&uri.parse()?, side_cars.parse()?),
        ["read", uri, side_cars, count] => read(&uri.parse()?, side_cars.parse()?, count.parse()?, false),
        ["read", uri, side_cars, count, _] => read(&uri.parse()?, side_cars.parse()?, count.parse()?, true),
        _ => Err("usage: fastq_bench generate READS SEED | index URI SIDE_CARS | read URI SIDE_CARS N [check]".into()),
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
        r#"{{"step":"index","cpu_s":{:.3},"wall_s":{:.3},"built":{},"records":{},"uncompressed":{},"size":{},"side_car":{},"checkpoints":{},"fetched":{}}}"#,
        (cpu() - start_cpu).as_secs_f64(),
        start.elapsed().as_secs_f64(),
        summary.built,
        summary.records,
        summary.uncompressed,
        summary.object.size,
        summary.side_car.size,
        summary.checkpoints,
        stores.bytes_fetched(),
    );
    Ok(())
}

fn read(uri: &ObjectUri, root: ObjectUri, count: u64, check: bool) -> Result<(), Box<dyn Error>> {
    let stores = Stores::from_env()?;
    let slicer = Slicer::new(stores.clone(), SideCars { root });
    let (start_cpu, start) = (cpu(), Instant::now());
    let slices = slicer.slices(uri, Partition::Count(count))?;
    let cut = start.elapsed();
    let mut checksum = crc32fast::Hasher::new();
    let (mut bytes, mut times) = (0, Vec::new());
    for slice in &slices {
        let begun = Instant::now();
        let mut reader = slicer.read(slice, 0)?;
        loop {
            let chunk = reader.chunk()?;
            if chunk.is_empty() {
                break;
            }
            bytes += chunk.len();
            if check {
                checksum.update(chunk);
            }
        }
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        r#"{{"step":"read","slices":{},"cpu_s":{:.3},"wall_s":{:.3},"cut_s":{:.4},"median_slice_s":{:.4},"bytes":{bytes},"fetched":{},"crc":"{:08x}"}}"#,
        slices.len(),
        (cpu() - start_cpu).as_secs_f64(),
        start.elapsed().as_secs_f64(),
        cut.as_secs_f64(),
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64(),
        stores.bytes_fetched(),
        checksum.finalize(),
    );
    Ok(())
}

/// Reads of 150 bases from one flow cell: names in order of tile and position, four quality bins in runs, few `N`.
fn generate(reads: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut state = seed;
    let mut roll = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    // A genome to read from, so that matches occur as they do in real runs.
    let genome: Vec<u8> = (0..4_600_000).map(|_| b"ACGT"[(roll() % 4) as usize]).collect();
    let (mut x, mut tile) = (1000, 1101);
    let (mut bases, mut qualities) = ([0; 150], [0; 150]);
    for _ in 0..reads {
        x += roll() % 7;
        if x > 32_000 {
            (x, tile) = (1000, if tile == 2278 { 1101 } else { tile + 1 });
        }
        let place = (roll() % (genome.len() as u64 - 150)) as usize;
        bases.copy_from_slice(&genome[place..place + 150]);
        // Quality falls along the read, in runs of one bin; together they compress about 4.4-fold.
        let mut at = 0;
        while at < 150 {
            let dice = roll();
            let (bin, run) = match dice % 1000 + at as u64 / 2 {
                0..=760 => (b'F', 1 + (dice >> 20) % 8),
                761..=930 => (b':', 1 + (dice >> 20) % 2),
                931..=1060 => (b',', 1 + (dice >> 20) % 2),
                _ => (b'#', 1),
            };
            let end = (at + run as usize).min(150);
            qualities[at..end].fill(bin);
            if bin == b'#' {
                bases[at] = b'N';
            }
            at = end;
        }
        writeln!(out, "@A00881:245:HGYK2DSXY:1:{tile}:{x}:{} 1:N:0:ACGTAC", 1000 + roll() % 36_000)?;
        out.write_all(&bases)?;
        out.write_all(b"\n+\n")?;
        out.write_all(&qualities)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

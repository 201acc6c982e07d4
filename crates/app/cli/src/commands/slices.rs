//! `neardata slice`, `neardata read`, `neardata index`.

use std::io::{self, BufRead, Read, Write};

use neardata_core::{Slice, format_bytes, parse_bytes};
use neardata_formats::{Partition, Slicer};

use crate::args::{IndexArgs, PartitionArgs, ReadArgs, SliceArgs};
use crate::progress::IndexBar;
use crate::settings::{Settings, object_uri};
use crate::{CliError, output};

/// Without a choice, slices that a worker reads in well under a minute.
const DEFAULT_SLICE_BYTES: u64 = 256 << 20;

fn slicer() -> Result<Slicer, CliError> {
    let settings = Settings::load(&[])?;
    Ok(Slicer::new(settings.stores()?, settings.side_cars()?))
}

fn partition(args: &PartitionArgs) -> Result<Partition, CliError> {
    Ok(match (args.n, &args.bytes, args.records) {
        (Some(count), _, _) => Partition::Count(count),
        (_, Some(text), _) => match parse_bytes(text)? {
            0 => return Err(CliError::Usage("--bytes must be at least 1".to_owned())),
            bytes => Partition::Bytes(bytes),
        },
        (_, _, Some(records)) => Partition::Records(records),
        _ => Partition::Bytes(DEFAULT_SLICE_BYTES),
    })
}

pub(crate) fn slice(args: &SliceArgs) -> Result<(), CliError> {
    let slicer = slicer()?;
    let uri = object_uri(&args.uri)?;
    let bar = IndexBar::new();
    if !args.partition.region.is_empty() {
        if args.mate2.is_some() {
            return Err(CliError::Usage("--region goes with one object, not with --mate2".to_owned()));
        }
        let regions: Vec<&str> = args.partition.region.iter().map(String::as_str).collect();
        let slices = slicer.region_slices(&uri, &regions, &|progress| bar.show(&uri, progress))?;
        bar.clear();
        return slices.iter().try_for_each(|slice| output::line(slice.to_json()));
    }
    let partition = partition(&args.partition)?;
    slicer.index(&uri, &|progress| bar.show(&uri, progress))?;
    let slices = match &args.mate2 {
        Some(mate2) => {
            let mate2 = object_uri(mate2)?;
            slicer.index(&mate2, &|progress| bar.show(&mate2, progress))?;
            bar.clear();
            slicer.paired_slices(&uri, &mate2, partition)?
        }
        None => {
            bar.clear();
            slicer.slices(&uri, partition)?
        }
    };
    for slice in slices {
        output::line(slice.to_json())?;
    }
    Ok(())
}

pub(crate) fn read(args: &ReadArgs) -> Result<(), CliError> {
    let slicer = slicer()?;
    let from_stdin = args.slices.is_empty() || args.slices == ["-"];
    if from_stdin {
        for (number, line) in io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| CliError::io("standard input", &error))?;
            if !line.trim().is_empty() {
                copy(&slicer, &line, args.object, &format!("line {} of standard input", number + 1))?;
            }
        }
    } else {
        for (number, text) in args.slices.iter().enumerate() {
            copy(&slicer, text, args.object, &format!("argument {}", number + 1))?;
        }
    }
    io::stdout().flush().map_err(|error| CliError::io("standard output", &error))
}

fn copy(slicer: &Slicer, text: &str, object: usize, place: &str) -> Result<(), CliError> {
    let slice = Slice::from_json(text.trim()).map_err(|error| CliError::Usage(format!("{place}: {error}")))?;
    if object >= slice.objects.len() {
        let have = slice.objects.len();
        return Err(CliError::Usage(format!("{place}: the slice has {have} object(s); there is no object {object}")));
    }
    let mut reader = slicer.read(&slice, object)?;
    let mut stdout = io::stdout().lock();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        let count = reader.read(&mut buffer).map_err(|error| CliError::io(&slice.objects[object].uri, &error))?;
        if count == 0 {
            return Ok(());
        }
        stdout.write_all(&buffer[..count]).map_err(|error| CliError::io("standard output", &error))?;
    }
}

pub(crate) fn index(args: &IndexArgs, as_json: bool) -> Result<(), CliError> {
    let slicer = slicer()?;
    for text in &args.uris {
        let uri = object_uri(text)?;
        let bar = IndexBar::new();
        let summary = slicer.index(&uri, &|progress| bar.show(&uri, progress))?;
        bar.clear();
        if as_json {
            output::json(&serde_json::json!({
                "v": 1, "object": summary.object, "side_car": summary.side_car, "format": summary.format, "compression": summary.compression,
                "records": summary.records, "uncompressed": summary.uncompressed, "checkpoints": summary.checkpoints, "built": summary.built,
            }))?;
        } else {
            let built = if summary.built { "indexed" } else { "index is up to date" };
            output::line(format!(
                "{uri}: {built}; {} ({}), {} records, {} stored, {} uncompressed; side-car {} ({:.2} % of the object)",
                summary.format,
                summary.compression,
                summary.records,
                format_bytes(summary.object.size),
                format_bytes(summary.uncompressed),
                format_bytes(summary.side_car.size),
                100.0 * summary.side_car.size as f64 / summary.object.size.max(1) as f64,
            ))?;
        }
    }
    Ok(())
}

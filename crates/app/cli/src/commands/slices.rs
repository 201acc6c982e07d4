//! `neardata slice`, `neardata read`, `neardata index`.

use std::io::{self, BufRead, Write};

use neardata_core::{Slice, format_bytes, parse_bytes};
use neardata_formats::{Partition, SliceReader, Slicer};

use crate::args::{IndexArgs, PartitionArgs, ReadArgs, SliceArgs};
use crate::progress::IndexBar;
use crate::settings::{Settings, object_uri};
use crate::{CliError, output};

/// Without a choice, slices that a worker reads in well under a minute.
const DEFAULT_SLICE_BYTES: u64 = 256 << 20;

pub(crate) fn slicer() -> Result<Slicer, CliError> {
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
    let texts: Box<dyn Iterator<Item = Result<(String, String), CliError>>> = if from_stdin {
        Box::new(io::stdin().lock().lines().enumerate().map(|(number, line)| {
            let line = line.map_err(|error| CliError::io("standard input", &error))?;
            Ok((line, format!("line {} of standard input", number + 1)))
        }))
    } else {
        let numbered = args.slices.iter().enumerate();
        Box::new(numbered.map(|(number, text)| Ok((text.clone(), format!("argument {}", number + 1)))))
    };
    let filled = texts.filter(|text| !text.as_ref().is_ok_and(|(text, _)| text.trim().is_empty()));
    let mut slices = filled.map(|text| text.and_then(|(text, place)| understand(&text, args.object, &place))).peekable();
    let mut before = None;
    while let Some(slice) = slices.next() {
        let slice = slice?;
        let continues = |other: &Slice| other.format == slice.format && other.objects == slice.objects;
        let mut reader = slicer.read(&slice, args.object)?;
        // Slices of one object make one file: its header stands once, its end mark too.
        if before.as_ref().is_some_and(continues) {
            reader = reader.without_header();
        }
        if slices.peek().is_some_and(|next| next.as_ref().is_ok_and(continues)) {
            reader = reader.without_end();
        }
        copy(reader)?;
        before = Some(slice);
    }
    io::stdout().flush().map_err(|error| CliError::io("standard output", &error))
}

fn understand(text: &str, object: usize, place: &str) -> Result<Slice, CliError> {
    let slice = Slice::from_json(text.trim()).map_err(|error| CliError::Usage(format!("{place}: {error}")))?;
    if object >= slice.objects.len() {
        let have = slice.objects.len();
        return Err(CliError::Usage(format!("{place}: the slice has {have} object(s); there is no object {object}")));
    }
    Ok(slice)
}

fn copy(mut reader: SliceReader) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    loop {
        let chunk = reader.chunk().map_err(CliError::from)?;
        if chunk.is_empty() {
            return Ok(());
        }
        stdout.write_all(chunk).map_err(|error| CliError::io("standard output", &error))?;
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

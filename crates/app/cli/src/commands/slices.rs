//! `neardata slice`, `neardata read`, `neardata index`.

use std::io::{self, BufRead, Write};

use neardata_core::{IndexRef, Slice, format_bytes, parse_bytes};
use neardata_formats::{ArrowOptions, Bounds, Cut, Partition, Prepared, SliceReader, Slicer};

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

fn cut(args: &PartitionArgs) -> Result<Cut, CliError> {
    let partition = match (args.n, &args.bytes, args.records, args.tiles) {
        (Some(count), ..) => Some(Partition::Count(count)),
        (_, Some(text), ..) => match parse_bytes(text)? {
            0 => return Err(CliError::Usage("--bytes must be at least 1".to_owned())),
            bytes => Some(Partition::Bytes(bytes)),
        },
        (.., Some(records), _) => Some(Partition::Records(records)),
        (.., Some(tiles)) => Some(Partition::Tiles(tiles)),
        _ => None,
    };
    let bounds = match args.bounds[..] {
        [] => None,
        [x0, y0, x1, y1] => Some(Bounds { min: [x0, y0], max: [x1, y1] }),
        _ => return Err(CliError::Usage("--bounds takes four numbers: MINX,MINY,MAXX,MAXY".to_owned())),
    };
    let window = match args.window[..] {
        [] => None,
        [low, high] => Some([low, high]),
        _ => return Err(CliError::Usage("--window takes two numbers: LOW,HIGH".to_owned())),
    };
    let is_query = !args.region.is_empty() || bounds.is_some() || window.is_some();
    Ok(Cut {
        format: args.format.clone(),
        partition: partition.or((!is_query).then_some(Partition::Bytes(DEFAULT_SLICE_BYTES))),
        regions: args.region.clone(),
        bounds,
        window,
        resolution: args.resolution,
        level: args.level,
        columns: args.columns.clone(),
        reference: args.reference.as_deref().map(object_uri).transpose()?,
        header: args.header,
        one_line_rows: args.one_line_rows,
    })
}

pub(crate) fn slice(args: &SliceArgs) -> Result<(), CliError> {
    let slicer = slicer()?;
    let uri = object_uri(&args.uri)?;
    let bar = IndexBar::new();
    let cut = cut(&args.partition)?;
    let slices = match &args.mate2 {
        None => slicer.cut(&uri, &cut, &|progress| bar.show(&uri, progress))?,
        Some(mate2) => {
            cut.only("paired reads", &["n", "bytes", "records"])?;
            if cut.format.is_some() {
                return Err(CliError::Usage("mates are told by themselves; leave --format out".to_owned()));
            }
            let Cut { partition: Some(partition), .. } = cut else {
                return Err(CliError::Usage("mates are cut by --n, --bytes or --records".to_owned()));
            };
            let mate2 = object_uri(mate2)?;
            slicer.index(&uri, &|progress| bar.show(&uri, progress))?;
            slicer.index(&mate2, &|progress| bar.show(&mate2, progress))?;
            slicer.paired_slices(&uri, &mate2, partition)?
        }
    };
    bar.clear();
    if slices.is_empty() {
        tracing::warn!("{uri}: nothing lies in what was asked for, so there are no slices");
    }
    slices.iter().try_for_each(|slice| output::line(slice.to_json()))
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
    if args.arrow {
        return read_arrow(&slicer, slices.collect::<Result<_, _>>()?, arrow_options(args)?);
    }
    let mut before = None;
    while let Some(slice) = slices.next() {
        let slice = slice?;
        let continues = |other: &Slice| other.format == slice.format && other.objects == slice.objects;
        if let Some(Ok(next)) = slices.peek()
            && !slicer.joins(&slice, next)
        {
            let what =
                if slice.format == next.format { slice.format.clone() } else { format!("{} and {}", slice.format, next.format) };
            return Err(CliError::Usage(format!(
                "slices of {what} do not make one file when joined: read them one at a time, or as rows of one table with --arrow"
            )));
        }
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

fn arrow_options(args: &ReadArgs) -> Result<ArrowOptions, CliError> {
    let schema = args.schema.as_deref().map(ArrowOptions::schema_of).transpose();
    let separator = match args.separator.as_deref() {
        None => None,
        Some("tab" | "\\t") => Some(b'\t'),
        Some(text) => match text.as_bytes() {
            [separator] => Some(*separator),
            _ => return Err(CliError::Usage(format!("--separator takes one character of ASCII, not `{text}`"))),
        },
    };
    Ok(ArrowOptions {
        object: args.object,
        columns: args.columns.clone(),
        schema: schema.map_err(|error| CliError::Usage(format!("--schema: {error}")))?,
        separator,
        header_row: !args.no_header_row,
        ..ArrowOptions::default()
    })
}

/// Writes slices as one Arrow IPC stream.
fn read_arrow(slicer: &Slicer, slices: Vec<Slice>, options: ArrowOptions) -> Result<(), CliError> {
    let (slicer, mut slices) = (slicer.clone(), slices.into_iter());
    let Some(first) = slices.next() else { return Ok(()) };
    let batches = slicer.arrow_with(&first, &options)?;
    let batches = batches.followed_by(slices.map(move |slice| slicer.arrow_with(&slice, &options)));
    batches.write_stream(&mut io::stdout().lock()).map_err(|error| CliError::io("standard output", &error))
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
        let prepared = slicer.prepare(&uri, &|progress| bar.show(&uri, progress))?;
        bar.clear();
        match (prepared, as_json) {
            (Prepared::Rows(summary), true) => output::json(&serde_json::json!({
                "v": 1, "object": summary.object, "side_car": summary.side_car, "format": summary.format, "compression": summary.compression,
                "records": summary.records, "uncompressed": summary.uncompressed, "checkpoints": summary.checkpoints, "built": summary.built,
            }))?,
            (Prepared::Rows(summary), false) => {
                output::line(format!(
                    "{uri}: {}; {} ({}), {} records, {} stored, {} uncompressed; {}",
                    state(summary.built),
                    summary.format,
                    summary.compression,
                    summary.records,
                    format_bytes(summary.object.size),
                    format_bytes(summary.uncompressed),
                    share(&summary.side_car, summary.object.size),
                ))?;
                summary.note.iter().try_for_each(|note| output::line(format!("  {note}")))?;
            }
            (Prepared::Table(summary), true) => output::json(&serde_json::json!({
                "v": 1, "object": summary.objects[0], "side_car": summary.side_car, "format": summary.format,
                "records": summary.description.records, "table": summary.description, "built": summary.built,
            }))?,
            (Prepared::Table(summary), false) => {
                let stored: u64 = summary.objects.iter().map(|object| object.size).sum();
                let records = summary.description.records.map(|records| format!(", {records} {}", summary.description.unit));
                let about = format!("{}{}, {} stored", summary.format, records.unwrap_or_default(), format_bytes(stored));
                output::line(match &summary.side_car {
                    Some(side_car) => format!("{uri}: {}; {about}; {}", state(summary.built), share(side_car, stored)),
                    None => format!("{uri}: needs no index, its own header says enough; {about}"),
                })?;
            }
        }
    }
    Ok(())
}

fn state(built: bool) -> &'static str {
    if built { "indexed" } else { "index is up to date" }
}

fn share(side_car: &IndexRef, stored: u64) -> String {
    let percent = 100.0 * side_car.size as f64 / stored.max(1) as f64;
    format!("side-car {} ({percent:.2} % of the object)", format_bytes(side_car.size))
}

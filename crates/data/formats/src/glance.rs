//! Columns and first rows of an object as a table, for people: what can be had without a pass.

use std::sync::Arc;

use arrow_array::timezone::Tz;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use bytes::Bytes;
use neardata_core::RangedRead;

use crate::columns::{self, ArrowOptions, Opened};
use crate::read::{Part, RecordReader};
use crate::records::Position;
use crate::selection::Stretch;
use crate::slicer::Rows;
use crate::table::{Batches, Column, Cut, Table};
use crate::whole::Records;
use crate::{Detected, Format, FormatError, Partition};

/// Rows shown.
const ROWS: usize = 4;
/// Characters of a value shown.
const WIDTH: usize = 40;

/// The columns of records in a row as Arrow has them; of formats that people cannot read, first rows too. `header` is what lies before
/// the first record. What makes no sense is left for whoever reads it.
pub(crate) fn of_rows(rows: &Rows, header: &[u8]) -> (Vec<Column>, Vec<String>) {
    let Ok(mut batches) = first_batches(rows, header) else { return (Vec::new(), Vec::new()) };
    let columns = Column::of(&batches.schema());
    let first = if is_binary(rows.detected.format) { batches.next().and_then(Result::ok) } else { None };
    (columns, first.map(|batch| lines(&batch)).unwrap_or_default())
}

fn is_binary(format: Format) -> bool {
    matches!(format, Format::Bam | Format::Bcf)
}

/// The first records as Arrow; none of formats that people can read as they are.
fn first_batches(rows: &Rows, header: &[u8]) -> Result<Batches, FormatError> {
    let Rows { reader, detected: Detected { format, compression }, content, .. } = rows;
    let mut scanner = format.scanner(Position::Start);
    let begun = scanner.scan(content, ROWS as u64).map_or(0, |_| scanner.started());
    let length = header.len() as u64;
    let stretch = Stretch {
        compression: *compression,
        records: [0, if is_binary(*format) { begun } else { 0 }],
        bit: 0,
        out: 0,
        stop: reader.size(),
        from: [0, length],
        to: [0, length],
        window: None,
        preamble: None,
    };
    let part = Part { object: Arc::clone(reader), side_car: None, format: *format, stretch, verify_ends: false };
    let records = Records::Stretch(Box::new(RecordReader::new(part)?));
    let opened = Opened {
        object: Arc::clone(reader),
        format: *format,
        compression: *compression,
        headed: length > 0,
        first: 0,
        header: Bytes::copy_from_slice(header),
    };
    columns::batches(opened, records, &ArrowOptions { batch_rows: ROWS, ..ArrowOptions::default() })
}

/// First rows of a table, where slices in its order need no index, or it is there.
pub(crate) fn of_table(table: &dyn Table, index: Option<Arc<dyn RangedRead>>) -> Vec<String> {
    let cut = Cut::by(Partition::Count(1));
    if table.needs_index(&cut) && index.is_none() {
        return Vec::new();
    }
    let first = || {
        let selection = table.cut(&cut, index.as_deref()).ok()?.into_iter().next()?;
        table.arrow(&selection, index.clone()).ok()?.next()?.ok()
    };
    // What is wrong with it is told, with its place, by whoever reads it.
    first().map(|batch| lines(&batch)).unwrap_or_default()
}

/// Names of columns, then a line a row.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("");
    let count = batch.num_rows().min(ROWS);
    let columns: Vec<ArrayRef> = batch.columns().iter().map(in_known_zone).collect();
    let formatters: Vec<_> = columns.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect();
    let row = |row: usize| {
        let cell = |formatter: &Result<ArrayFormatter<'_>, ArrowError>| match formatter {
            Ok(formatter) => short(&formatter.value(row).try_to_string().unwrap_or_default()),
            Err(_) => String::new(),
        };
        formatters.iter().map(cell).collect::<Vec<_>>().join("\t")
    };
    let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join("\t");
    std::iter::once(names).chain((0..count).map(row)).collect()
}

/// Instants of a zone by name as UTC: what shows them has no table of zones.
fn in_known_zone(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(unit, Some(zone)) if zone.parse::<Tz>().is_err() => {
            columns::in_zone(column, *unit, &columns::UTC.into())
        }
        _ => Arc::clone(column),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

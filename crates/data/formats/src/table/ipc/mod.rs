//! Arrow IPC files: record batches one behind the other, and a footer that says where they lie.
//!
//! A slice is some record batches, which of their rows, and some columns; so a slice is read with the footer and its own blocks alone.
//! The layout is that of the Arrow columnar format; batches are decoded by the `arrow-ipc` crate, behind the checks of `message`.

mod decode;
mod footer;
mod message;
mod rows;
mod write;

use std::sync::Arc;

use neardata_core::{RangedRead, SliceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::description::Column;
use super::rows::{Columns, Group, cut_rows};
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::FormatError;
use footer::Footer;

/// As errors name it.
const FORMAT: &str = "Arrow IPC";
const NAME: &str = "arrow";
/// First bytes, with their padding; the last bytes are these without it.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// Batches whose headers are read to describe a file.
const MOST_DESCRIBED: usize = 1024;

/// Arrow IPC files.
pub(super) struct Ipc;

impl TableFormat for Ipc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sniff(&self, name: &str, start: &[u8]) -> bool {
        start.starts_with(MAGIC) || is_stream(name)
    }

    fn open(&self, mut objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let object = objects.pop().ok_or(FormatError::NoSuchObject { asked: 0, held: 0 })?;
        let footer = Arc::new(Footer::read(object.as_ref())?);
        Ok(Box::new(File { object, footer }))
    }
}

/// Whether the name says that it is a stream of batches, which has no footer.
fn is_stream(name: &str) -> bool {
    let name = name.split(['?', '#']).next().unwrap_or(name);
    name.to_ascii_lowercase().ends_with(".arrows")
}

/// The part of a file that a slice holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    /// The record batches `[a, b)`.
    batches: [usize; 2],
    /// The rows `[a, b)`, counted from the first of those batches.
    rows: [u64; 2],
    /// The columns; absent if all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<Columns>,
}

/// An opened file.
struct File {
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
}

impl File {
    /// The rows of a slice, still to be decoded.
    fn rows(&self, selection: &Value) -> Result<rows::Rows, FormatError> {
        let malformed = |error: serde_json::Error| SliceError::Selection { format: NAME.to_owned(), reason: error.to_string() };
        let part = Part::deserialize(selection).map_err(malformed)?;
        let name = self.object.name();
        let [first, end] = part.batches;
        if first > end || end > self.footer.batches.len() || part.rows[0] > part.rows[1] {
            let reason = format!("batches {first} to {end} of {}", self.footer.batches.len());
            return Err(FormatError::Broken { name: name.to_owned(), reason });
        }
        let columns = part.columns.map(|columns| columns.numbers(name, self.footer.schema.fields().len())).transpose()?;
        rows::Rows::new(&self.object, &self.footer, part.batches, part.rows, columns)
    }

    /// Rows of each batch, and the bytes that these columns take in it.
    fn groups(&self, columns: Option<&[usize]>) -> Result<Vec<Group>, FormatError> {
        let (object, footer) = (self.object.as_ref(), &self.footer);
        let mut groups = Vec::with_capacity(footer.batches.len());
        let mut rows = 0_u64;
        message::each(object, &footer.batches, |block, message| {
            let batch = message.record_batch()?;
            let own = batch.rows()?;
            rows = rows.checked_add(own).ok_or_else(|| damaged(object.name(), block.offset, "too many rows"))?;
            let weight = match columns {
                Some(columns) => batch.ranges(&footer.schema, columns)?.iter().map(neardata_core::ByteRange::len).sum(),
                None => block.body,
            };
            groups.push(Group { rows: own, weight });
            Ok(())
        })?;
        Ok(groups)
    }
}

impl Table for File {
    fn describe(&self) -> Result<Description, FormatError> {
        let footer = &self.footer;
        let records = match footer.batches.len() {
            0..=MOST_DESCRIBED => Some(self.groups(None)?.iter().map(|group| group.rows).sum()),
            _ => None,
        };
        let mut facts = vec![("record batches".to_owned(), footer.batches.len().to_string())];
        if !footer.dictionaries.is_empty() {
            facts.push(("dictionary batches".to_owned(), footer.dictionaries.len().to_string()));
        }
        let mut keys: Vec<&str> = footer.schema.metadata().keys().chain(footer.metadata.keys()).map(String::as_str).collect();
        keys.sort_unstable();
        if !keys.is_empty() {
            facts.push(("metadata".to_owned(), keys.join(", ")));
        }
        let columns = Column::of(&footer.schema);
        Ok(Description { records, unit: "rows".to_owned(), columns, facts, ..Description::default() })
    }

    fn cut(&self, cut: &Cut, _index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only(FORMAT, &["n", "bytes", "records", "columns"])?;
        let name = self.object.name();
        let fields = self.footer.schema.fields();
        let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let columns = Columns::choose(&cut.columns, &known, name)?;
        let chosen = columns.as_ref().map(|columns| columns.numbers(name, fields.len())).transpose()?;
        let groups = self.groups(chosen.as_deref())?;
        let starts: Vec<u64> = groups
            .iter()
            .scan(0, |next, group| {
                let start = *next;
                *next += group.rows;
                Some(start)
            })
            .collect();
        let selection = |[first, end]: [u64; 2]| {
            // Of batches that begin at the same row all but the last are empty.
            let begin = starts.partition_point(|start| *start <= first).saturating_sub(1);
            let behind = starts.partition_point(|start| *start < end);
            let from = starts.get(begin).copied().unwrap_or(0);
            let part = Part { batches: [begin, behind], rows: [first - from, end - from], columns: columns.clone() };
            serde_json::to_value(part).map_err(|error| FormatError::Query(error.to_string()))
        };
        cut_rows(&groups, cut.partition, name)?.into_iter().map(selection).collect()
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        Ok(write::pieces(self.rows(selection)?, self.footer.clone()))
    }

    fn arrow(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        let mut rows = self.rows(selection)?;
        let schema = rows.schema();
        let next = move || Some(rows.next()?.map(|decoded| decoded.batch));
        Ok(Batches::new(schema, std::iter::from_fn(next)))
    }
}

fn damaged(name: &str, offset: u64, reason: &str) -> FormatError {
    FormatError::Damaged { name: name.to_owned(), format: FORMAT, offset, reason: reason.to_owned() }
}

fn unsupported(name: &str, what: &str, remedy: &str) -> FormatError {
    FormatError::Unsupported { name: name.to_owned(), format: FORMAT, what: what.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_ipc::writer::FileWriter;
    use neardata_core::MemoryObject;

    use super::*;
    use crate::Partition;

    const COLUMNS: i64 = 4;

    /// Record batches of four columns of numbers.
    fn stored(batches: i64, rows: i64) -> Vec<u8> {
        let batch = |first: i64| {
            let column = |seed| Arc::new(Int64Array::from_iter_values((first..first + rows).map(|row| row * COLUMNS + seed)));
            RecordBatch::try_from_iter((0..COLUMNS).map(|seed| (format!("c{seed}"), column(seed) as ArrayRef))).unwrap()
        };
        let mut writer = FileWriter::try_new(Vec::new(), &batch(0).schema()).unwrap();
        (0..batches).for_each(|number| writer.write(&batch(number * rows)).unwrap());
        writer.into_inner().unwrap()
    }

    /// Bytes fetched to cut, and those to read every slice, footers aside, per byte of the object.
    fn fetched(stored: &[u8], cut: &Cut, copies: bool) -> (f64, f64) {
        let object = Arc::new(MemoryObject::new("x.arrow", stored.to_vec()));
        let open = || Ipc.open(vec![object.clone() as Arc<dyn RangedRead>]).unwrap();
        let selections = open().cut(cut, None).unwrap();
        let cutting = object.bytes_fetched();
        let mut bytes = 0;
        for selection in &selections {
            let table = open();
            let before = object.bytes_fetched();
            if copies {
                table.bytes(selection, None, 0).unwrap().for_each(|piece| drop(piece.unwrap()));
            } else {
                table.arrow(selection, None).unwrap().for_each(|batch| drop(batch.unwrap()));
            }
            bytes += object.bytes_fetched() - before;
        }
        (cutting as f64 / stored.len() as f64, bytes as f64 / stored.len() as f64)
    }

    #[test]
    fn each_byte_is_fetched_about_once() {
        // Batches of 3.2 MB, and of 32 KB.
        for (batches, rows) in [(6, 100_000), (300, 1000)] {
            let stored = stored(batches, rows);
            for copies in [false, true] {
                let (cutting, reading) = fetched(&stored, &Cut::by(Partition::Count(3)), copies);
                assert!(cutting < 0.05 && reading < 1.001, "{batches} batches: {cutting} to cut, {reading} to read");
            }
        }
        let one = Cut { columns: vec!["c2".into()], ..Cut::by(Partition::Count(3)) };
        let (_, reading) = fetched(&stored(6, 100_000), &one, false);
        assert!(reading < 0.26, "one column of four: {reading}");
        // Two slices that meet within a batch both fetch it.
        let (_, reading) = fetched(&stored(6, 100_000), &Cut::by(Partition::Records(150_000)), false);
        assert!((1.3..1.34).contains(&reading), "cut within two batches of six: {reading}");
    }
}

//! Parquet: rows in groups, each column of a group in a chunk of its own, and a footer that says where they lie.
//!
//! A slice is a range of rows and some columns; nothing else has to be known, since the footer is read with every slice. The layout is
//! that of the Apache Parquet format; pages are decoded by the `parquet` crate, behind the checks of `source`.

mod copy;
mod describe;
mod encode;
mod extents;
mod footer;
mod group;
mod mend;
mod page_header;
mod rows;
mod schema;
mod source;
mod trail;

use std::sync::Arc;

use neardata_core::RangedRead;
use serde_json::Value;

use super::rows::{Columns, Group, Part, cut_rows};
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::FormatError;
use footer::{Footer, unsupported};
use group::undecodable;

/// As errors name it.
const FORMAT: &str = "Parquet";
const NAME: &str = "parquet";
const MAGIC: &[u8; 4] = b"PAR1";

/// Parquet files.
pub(super) struct Parquet;

impl TableFormat for Parquet {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        start.starts_with(MAGIC) || start.starts_with(footer::ENCRYPTED)
    }

    fn open(&self, mut objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let object = objects.pop().ok_or(FormatError::NoSuchObject { asked: 0, held: 0 })?;
        let footer = Arc::new(Footer::read(object.as_ref())?);
        Ok(Box::new(File { object, footer }))
    }
}

/// An opened file.
struct File {
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
}

impl File {
    /// Rows and columns of a slice.
    fn part(&self, selection: &Value) -> Result<(Part, Projection), FormatError> {
        let part = Part::of(selection, NAME, self.object.name(), self.footer.rows)?;
        let roots = self.footer.roots();
        let chosen = match &part.columns {
            Some(columns) => Some(columns.numbers(self.object.name(), roots.len())?),
            None => None,
        };
        let projection = Projection::new(&self.footer, chosen);
        Ok((part, projection))
    }

    /// Refuses slices that hold a part of a row group which can only be copied whole.
    fn refuse_undecodable(&self, slices: &[[u64; 2]], projection: &Projection) -> Result<(), FormatError> {
        let name = self.object.name();
        for (number, first) in self.footer.first_rows.iter().enumerate() {
            let end = first + self.footer.group_rows(number);
            let split = slices.partition_point(|slice| slice[0] <= *first);
            if slices.get(split).is_none_or(|slice| slice[0] >= end) {
                continue;
            }
            let group = self.footer.metadata.row_group(number);
            if let Some(what) = projection.leaves.iter().find_map(|leaf| undecodable(group.column(*leaf).compression())) {
                let what = format!("a part of row group {number} with {what}");
                return Err(unsupported(name, &what, "ask for no more slices than row groups, or write it again with zstd"));
            }
        }
        Ok(())
    }
}

/// The columns of a slice.
pub(super) struct Projection {
    /// Numbers of the columns of the schema's root; none if all.
    roots: Option<Vec<usize>>,
    /// Numbers of the leaves that make them up, ascending.
    leaves: Vec<usize>,
}

impl Projection {
    fn new(footer: &Footer, roots: Option<Vec<usize>>) -> Self {
        let schema = footer.metadata.file_metadata().schema_descr();
        let leaves = match &roots {
            None => (0..schema.num_columns()).collect(),
            Some(roots) => {
                let chosen: std::collections::HashSet<usize> = roots.iter().copied().collect();
                (0..schema.num_columns()).filter(|leaf| chosen.contains(&schema.get_column_root_idx(*leaf))).collect()
            }
        };
        Self { roots, leaves }
    }
}

impl Table for File {
    fn describe(&self) -> Result<Description, FormatError> {
        describe::describe(self.object.as_ref(), &self.footer)
    }

    fn cut(&self, cut: &Cut, _index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only(FORMAT, &["n", "bytes", "records", "columns"])?;
        let name = self.object.name();
        let columns = Columns::choose(&cut.columns, &self.footer.roots(), name)?;
        let chosen = columns.as_ref().map(|columns| columns.numbers(name, self.footer.roots().len())).transpose()?;
        let projection = Projection::new(&self.footer, chosen);
        let groups: Vec<Group> = self
            .footer
            .metadata
            .row_groups()
            .iter()
            .map(|group| {
                let weight = projection.leaves.iter().map(|leaf| group.column(*leaf).uncompressed_size().max(0) as u64);
                Group { rows: group.num_rows().max(0) as u64, weight: weight.fold(0, u64::saturating_add) }
            })
            .collect();
        let slices = cut_rows(&groups, cut.partition, name)?;
        self.refuse_undecodable(&slices, &projection)?;
        let part = |rows| serde_json::to_value(Part { rows, columns: columns.clone() });
        let selections: Result<Vec<Value>, _> = slices.into_iter().map(part).collect();
        selections.map_err(|error| FormatError::Query(error.to_string()))
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        let (part, projection) = self.part(selection)?;
        copy::pieces(self.object.clone(), self.footer.clone(), part.rows, projection)
    }

    fn arrow(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        let (part, projection) = self.part(selection)?;
        rows::batches(self.object.clone(), self.footer.clone(), part.rows, projection)
    }
}

fn damaged(name: &str, offset: u64, reason: &str) -> FormatError {
    FormatError::Damaged { name: name.to_owned(), format: FORMAT, offset, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use neardata_core::MemoryObject;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::Partition;

    const COLUMNS: i64 = 4;

    /// Three row groups of four columns of numbers that do not compress.
    fn stored() -> Vec<u8> {
        let column = |seed: i64| {
            let number = |row: i64| (row * COLUMNS + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
            Arc::new(Int64Array::from_iter_values((0..300_000).map(number))) as ArrayRef
        };
        let columns = (0..COLUMNS).map(|seed| (format!("c{seed}"), column(seed)));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(100_000))
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(10_000)
            .build();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        out
    }

    /// Bytes fetched to read every slice of a cut, footers aside, per byte of the object.
    fn fetched(stored: &[u8], cut: &Cut, copies: bool) -> f64 {
        let object = Arc::new(MemoryObject::new("x.parquet", stored.to_vec()));
        let open = || Parquet.open(vec![object.clone() as Arc<dyn RangedRead>]).unwrap();
        let selections = open().cut(cut, None).unwrap();
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
        bytes as f64 / stored.len() as f64
    }

    #[test]
    fn each_byte_is_fetched_about_once() {
        let stored = stored();
        for copies in [false, true] {
            // Cuts between row groups cost nothing. Slices that meet within a page both fetch it: here a page is a tenth of a group,
            // and there are nine such places, or four.
            let pages = |cuts: f64| 1.05 + cuts / 30.0;
            let cuts = [
                (Partition::Count(1), 1.001),
                (Partition::Count(3), 1.001),
                (Partition::Count(12), pages(9.0)),
                (Partition::Records(70_000), pages(4.0)),
            ];
            for (partition, most) in cuts {
                let times = fetched(&stored, &Cut::by(partition), copies);
                assert!(times <= most, "{partition:?}, copies {copies}: {times}");
            }
            let one = Cut { columns: vec!["c2".into()], ..Cut::by(Partition::Count(3)) };
            let times = fetched(&stored, &one, copies);
            assert!(times <= 0.26, "one column of four, copies {copies}: {times}");
        }
    }
}

//! Parquet: rows in groups, each column of a group in a chunk of its own, and a footer that says where they lie.
//!
//! A slice is a range of rows and some columns; nothing else has to be known, since the footer is read with every slice. The layout is
//! that of the Apache Parquet format; pages are decoded by the `parquet` crate, behind the checks of `source`.

mod copy;
mod describe;
mod encode;
mod footer;
mod group;
mod page_header;
mod rows;
mod source;

use std::sync::Arc;

use neardata_core::RangedRead;
use serde_json::Value;

use super::rows::{Columns, Group, Part, cut_rows};
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::FormatError;
use footer::Footer;

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

//! Rows as Arrow batches.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use neardata_core::RangedRead;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection, RowSelector};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};

use super::footer::Footer;
use super::group::GroupPages;
use super::schema::{arrow_schema, for_arrow};
use super::trail::Trail;
use super::{FORMAT, Projection, damaged};
use crate::FormatError;
use crate::table::Batches;
use crate::table::contain::contain;

/// Rows of a batch, fewer where rows are large.
const MOST_ROWS: u64 = 8192;
/// Decoded bytes of a batch, about.
const BATCH_BYTES: u64 = 16 << 20;

/// The rows `[first, end)`.
pub(super) fn batches(
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
    rows: [u64; 2],
    projection: Projection,
) -> Result<Batches, FormatError> {
    let name = object.name().to_owned();
    let whole = arrow_schema(&footer, &name)?;
    let levels = contain(&name, FORMAT, 0, || {
        let descriptor = for_arrow(&footer);
        let levels = descriptor.and_then(|descriptor| {
            let mask = ProjectionMask::leaves(&descriptor, projection.leaves.iter().copied());
            parquet_to_arrow_field_levels(&descriptor, mask, Some(whole.fields()))
        });
        levels.map_err(|error| damaged(&name, 0, &error.to_string()))
    })?;
    let schema = match &projection.roots {
        Some(roots) => whole.project(roots).map_err(|error| damaged(&name, 0, &error.to_string()))?,
        None => whole,
    };
    let schema: SchemaRef = Arc::new(schema);
    let mut groups = footer.groups(rows).into_iter();
    let reader = Reader { object, footer, levels, leaves: projection.leaves, schema: schema.clone() };
    let mut open: Option<OpenGroup> = None;
    let next = move || loop {
        if open.is_none() {
            let (number, rows) = groups.next()?;
            let trail = reader.footer.trail(reader.object.name(), number, &reader.leaves);
            match trail.contain(|| reader.open(number, rows, trail.clone())) {
                Ok(group) => open = Some(group),
                Err(error) => return Some(Err(error)),
            }
        }
        let group = open.as_mut()?;
        let trail = group.trail.clone();
        match trail.contain(|| group.next(&reader.schema)) {
            Ok(Some(batch)) => return Some(Ok(batch)),
            Ok(None) => open = None,
            Err(error) => return Some(Err(error)),
        }
    };
    Ok(Batches::new(schema, std::iter::from_fn(next)))
}

struct Reader {
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
    levels: FieldLevels,
    leaves: Vec<usize>,
    schema: SchemaRef,
}

impl Reader {
    fn open(&self, number: usize, [first, end]: [u64; 2], trail: Trail) -> Result<OpenGroup, FormatError> {
        let pages = GroupPages::new(&self.object, &self.footer, number, [first, end], &self.leaves, &trail)?;
        let selection = [RowSelector::skip(first as usize), RowSelector::select((end - first) as usize)];
        let selection = RowSelection::from(selection.to_vec());
        let batch_rows = self.batch_rows(number).min(end - first) as usize;
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &pages, batch_rows, Some(selection));
        let reader = reader.map_err(|error| trail.explain(&error))?;
        Ok(OpenGroup { reader, left: end - first, trail })
    }

    /// Rows of which a batch is made.
    fn batch_rows(&self, number: usize) -> u64 {
        let group = self.footer.metadata.row_group(number);
        let width = |leaf: &usize| {
            let chunk = group.column(*leaf);
            let stored = chunk.uncompressed_size().max(0) as u64 / self.footer.group_rows(number).max(1);
            // A null of a fixed width takes room when decoded, though none in the file.
            stored.max(chunk.column_descr().type_length().max(1) as u64)
        };
        let row: u64 = self.leaves.iter().map(width).fold(0, u64::saturating_add);
        (BATCH_BYTES / row.max(1)).clamp(1, MOST_ROWS)
    }
}

struct OpenGroup {
    reader: ParquetRecordBatchReader,
    /// Rows still to come.
    left: u64,
    trail: Trail,
}

impl OpenGroup {
    fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>, FormatError> {
        let batch = match self.reader.next() {
            None if self.left == 0 => return Ok(None),
            None => return Err(self.trail.damaged(&format!("{} rows too few", self.left))),
            Some(batch) => batch.map_err(|error| self.trail.explain(&error))?,
        };
        let rows = batch.num_rows() as u64;
        self.left = self.left.checked_sub(rows).ok_or_else(|| self.trail.damaged("too many rows"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options);
        batch.map(Some).map_err(|error| self.trail.explain(&error))
    }
}

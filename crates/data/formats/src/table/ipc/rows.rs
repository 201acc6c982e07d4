//! The rows of a slice, batch by batch.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef};
use neardata_core::RangedRead;

use super::decode::{Decoded, Decoder};
use super::footer::Footer;
use super::{FORMAT, damaged};
use crate::FormatError;
use crate::table::contain::contain;

/// Rows that are still to be decoded.
pub(super) struct Rows {
    object: Arc<dyn RangedRead>,
    decoder: Decoder,
    /// Record batches still to come.
    batches: [usize; 2],
    /// The rows wanted, counted from the first of the slice's batches.
    rows: [u64; 2],
    /// Rows passed, counted alike.
    passed: u64,
}

impl Rows {
    pub(super) fn new(
        object: &Arc<dyn RangedRead>,
        footer: &Arc<Footer>,
        batches: [usize; 2],
        rows: [u64; 2],
        columns: Option<Vec<usize>>,
    ) -> Result<Self, FormatError> {
        let decoder = Decoder::new(object, footer, columns)?;
        Ok(Self { object: object.clone(), decoder, batches, rows, passed: 0 })
    }

    /// The schema of the batches.
    pub(super) fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    /// Name of the object.
    pub(super) fn name(&self) -> &str {
        self.object.name()
    }

    /// The next of its rows that lie together.
    pub(super) fn next(&mut self) -> Option<Result<Decoded, FormatError>> {
        loop {
            let [number, end] = self.batches;
            if number >= end || self.passed >= self.rows[1] {
                let missing = self.rows[1].saturating_sub(self.passed);
                self.passed = u64::MAX;
                let reason = format!("{missing} rows fewer than it should have");
                return (missing > 0).then(|| Err(FormatError::Broken { name: self.name().to_owned(), reason }));
            }
            self.batches[0] += 1;
            match self.decoder.batch(number, end).and_then(|decoded| self.wanted(decoded)) {
                Ok(decoded) if decoded.batch.num_rows() == 0 => {}
                other => return Some(other),
            }
        }
    }

    /// The wanted rows of a batch.
    fn wanted(&mut self, decoded: Decoded) -> Result<Decoded, FormatError> {
        let own = decoded.batch.num_rows() as u64;
        let start = self.passed;
        self.passed = start.saturating_add(own);
        let [first, end] = self.rows.map(|row| row.saturating_sub(start).min(own));
        if end - first == own {
            return Ok(decoded);
        }
        let part = decoded.batch.slice(first as usize, (end - first) as usize);
        let batch = contain(self.object.name(), FORMAT, 0, || compact(self.object.name(), &part))?;
        Ok(Decoded { batch, ..decoded })
    }
}

/// Views of a part still hold the texts of the whole; these hold their own alone.
fn compact(name: &str, batch: &RecordBatch) -> Result<RecordBatch, FormatError> {
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    };
    let columns = batch.columns().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let compact = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
    compact.map_err(|error| damaged(name, 0, &error.to_string()))
}

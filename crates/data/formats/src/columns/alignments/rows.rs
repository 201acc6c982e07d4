//! Rows of alignments that are made one by one, as BAM records, and not read from a file of them.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use super::{Alignments, Column};
use crate::FormatError;
use crate::columns::{Columns, Wrong};

/// A batch ends after so many rows, or bytes of records.
const ROWS: usize = 16_384;
const BYTES: usize = 16 << 20;

/// Gathers records into the columns that BAM has.
pub(crate) struct AlignmentRows {
    name: String,
    format: &'static str,
    alignments: Alignments,
    rows: usize,
    bytes: usize,
    /// Records pushed, of all batches.
    pushed: u64,
}

impl AlignmentRows {
    /// `references`: names by number; `columns`: those wanted, all if none is named.
    pub(crate) fn new(
        name: &str,
        format: &'static str,
        references: Vec<String>,
        columns: &[String],
    ) -> Result<Self, FormatError> {
        let alignments = Alignments::of(format, true, references, columns)?;
        Ok(Self { name: name.to_owned(), format, alignments, rows: 0, bytes: 0, pushed: 0 })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.alignments.schema()
    }

    /// Whether bases are wanted.
    pub(crate) fn wants_sequence(&self) -> bool {
        self.alignments.wants(Column::Sequence)
    }

    /// Adds a BAM record.
    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), FormatError> {
        self.pushed += 1;
        self.alignments.push_bam(record).map_err(|wrong| self.refuse(wrong))?;
        self.rows += 1;
        self.bytes += record.len();
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    /// The rows gathered, if there are any; starts new ones.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.alignments.finish().map_err(|wrong| self.refuse(wrong))?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema(), arrays, &options);
        (self.rows, self.bytes) = (0, 0);
        batch.map(Some).map_err(|error| self.refuse(Wrong::record(error.to_string())))
    }

    fn refuse(&self, wrong: Wrong) -> FormatError {
        let reason = match wrong {
            Wrong::Record(reason) => reason,
            Wrong::Value { column, value, expected, .. } => format!("its `{column}` is `{value}`, which is no {expected}"),
        };
        FormatError::MalformedRecord { name: self.name.clone(), format: self.format, record: self.pushed, reason }
    }
}

//! From the bytes of a slice to batches, in bounded memory.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::ArrowError;

use super::{Columns, Opened, Wrong, frame};
use crate::table::Batches;
use crate::whole::Records;
use crate::{Format, FormatError};

/// A batch ends after so many bytes of records, or of the columns they leave empty.
const BATCH_BYTES: usize = 16 << 20;
/// A longer record is not held in memory: the text of a batch must also stay below 2 GiB.
const LINE_LIMIT: usize = 1 << 30;
/// The same for binary records: their text may be five times as long.
const BINARY_LIMIT: usize = 256 << 20;

/// Takes records from a reader and gives batches.
pub(super) struct Decoder {
    name: String,
    format: Format,
    reader: Records,
    columns: Box<dyn Columns>,
    batch_rows: usize,
    /// Bytes read that are not yet passed on: from `at`.
    held: Vec<u8>,
    at: usize,
    ended: bool,
    /// Number of the next record of the object, from 1.
    next: u64,
    /// Numbers of the records of the batch.
    numbers: Vec<u64>,
}

impl Decoder {
    /// A decoder of what `reader` gives. `skip`: its first record is a header row.
    pub(super) fn new(
        opened: Opened,
        reader: Records,
        columns: Box<dyn Columns>,
        skip: bool,
        batch_rows: usize,
    ) -> Result<Self, FormatError> {
        if batch_rows == 0 {
            return Err(FormatError::Query("batches of 0 rows make no sense; the number must be at least 1".into()));
        }
        // A header row that is in no slice is a row of the object all the same.
        let header_rows = u64::from(opened.headed && matches!(opened.format, Format::Csv | Format::Tsv | Format::Text));
        let mut decoder = Self {
            name: opened.object.name().to_owned(),
            format: opened.format,
            reader,
            columns,
            batch_rows,
            held: Vec::new(),
            at: 0,
            ended: false,
            next: opened.first.saturating_add(1 + header_rows),
            numbers: Vec::new(),
        };
        if skip && let Some(length) = decoder.next_record()? {
            decoder.at += length;
            decoder.next += 1;
        }
        Ok(decoder)
    }

    pub(super) fn into_batches(mut self) -> Batches {
        let schema = self.columns.schema();
        Batches::new(schema, std::iter::from_fn(move || self.next_batch().transpose()))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        let mut bytes = 0;
        self.numbers.clear();
        while self.numbers.len() < self.batch_rows && bytes + self.columns.weight() < BATCH_BYTES {
            let Some(length) = self.next_record()? else { break };
            let pushed = self.columns.push(&self.held[self.at..self.at + length]);
            match pushed {
                Ok(true) => self.numbers.push(self.next),
                Ok(false) => {}
                Err(wrong) => return Err(self.refuse(wrong)),
            }
            self.at += length;
            self.next = self.next.saturating_add(1);
            bytes += length;
        }
        if self.numbers.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.finish().map_err(|wrong| self.refuse(wrong))?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.numbers.len()));
        let batch = RecordBatch::try_new_with_options(self.columns.schema(), arrays, &options);
        batch.map(Some).map_err(|error| self.refuse(wrong_of(&error)))
    }

    /// Makes sure that a whole record is held from `at` on, and gives its length; none at the end.
    fn next_record(&mut self) -> Result<Option<usize>, FormatError> {
        let mut looked = 0;
        loop {
            let held = &self.held[self.at..];
            let length = frame::length(self.format, held, looked).map_err(|reason| self.refuse(Wrong::Record(reason)))?;
            if length.is_some() {
                return Ok(length);
            }
            let left = held.len();
            if self.ended {
                let binary = matches!(self.format, Format::Bam | Format::Bcf);
                return match left {
                    0 => Ok(None),
                    _ if binary => Err(self.refuse(Wrong::record("it ends before it should; the file was cut short"))),
                    // The last record of a text needs no line end.
                    _ => Ok(Some(left)),
                };
            }
            looked = left;
            self.read_more()?;
        }
    }

    /// Reads at least as much as is held, so that a long record is not looked through again and again.
    fn read_more(&mut self) -> Result<(), FormatError> {
        self.held.drain(..self.at);
        self.at = 0;
        let limit = if matches!(self.format, Format::Bam | Format::Bcf) { BINARY_LIMIT } else { LINE_LIMIT };
        if self.held.len() > limit {
            return Err(FormatError::Unsupported {
                name: self.name.clone(),
                format: self.format.title(),
                what: format!("a record of more than {} MiB (number {}) as Arrow", limit >> 20, self.next),
                remedy: "read the bytes of its slice".into(),
            });
        }
        let wanted = 2 * self.held.len();
        loop {
            let piece = self.reader.fill()?;
            let length = piece.len();
            self.held.extend_from_slice(piece);
            self.reader.pass(length);
            self.ended = length == 0;
            if self.ended || self.held.len() >= wanted {
                return Ok(());
            }
        }
    }

    /// The error of a record or a value, with its place.
    fn refuse(&self, wrong: Wrong) -> FormatError {
        let (name, format) = (self.name.clone(), self.format.title());
        match wrong {
            Wrong::Record(reason) => FormatError::MalformedRecord { name, format, record: self.next, reason },
            Wrong::Value { row, column, value, expected } => {
                let row = row.and_then(|row| self.numbers.get(row)).copied().unwrap_or(self.next);
                FormatError::Value { name, format, row, column, value, expected }
            }
        }
    }
}

pub(super) fn wrong_of(error: &ArrowError) -> Wrong {
    Wrong::Record(error.to_string())
}

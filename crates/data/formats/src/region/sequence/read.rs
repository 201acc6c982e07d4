//! Reading a slice of bases: a record of FASTA, as `samtools faidx` prints it.

use std::io::BufRead;
use std::sync::Arc;

use neardata_core::{RangedRead, SliceError};

use super::plan::SequenceSelection;
use crate::read::{Part, RecordReader};
use crate::{Format, FormatError};

/// Bases of a line, as samtools wraps them.
const LINE: usize = 60;
/// Bytes of the object rewrapped at a time.
const PIECE: usize = 256 * 1024;

/// Reads a run of bases, wrapped anew behind the region's name.
pub(crate) struct SequenceReader {
    name: String,
    bytes: RecordReader,
    line: [u64; 2],
    /// Where in its line the next byte of the object lies, and bases still to come.
    column: u64,
    left: u64,
    /// Text at hand, and how much of it was handed out.
    text: Vec<u8>,
    passed: usize,
    /// Bases of the line being written.
    written: usize,
}

impl SequenceReader {
    pub(crate) fn new(object: Arc<dyn RangedRead>, selection: SequenceSelection) -> Result<Self, FormatError> {
        let refused = |reason: &str| SliceError::Selection { format: "fasta".to_owned(), reason: reason.to_owned() };
        let stretch = selection.stretch().ok_or_else(|| refused("its bases do not lie in lines"))?;
        let name = object.name().to_owned();
        let [first, end] = selection.sequence.bases;
        let line = selection.sequence.line;
        Ok(Self {
            bytes: RecordReader::new(Part { object, side_car: None, format: Format::Fasta, stretch, verify_ends: false })?,
            name,
            line,
            column: first.checked_rem(line[0]).unwrap_or(0),
            left: end.saturating_sub(first),
            text: format!(">{}\n", selection.sequence.region).into_bytes(),
            passed: 0,
            written: 0,
        })
    }

    /// The text at hand, not yet passed; empty only at the end.
    pub(crate) fn fill(&mut self) -> Result<&[u8], FormatError> {
        while self.passed == self.text.len() {
            self.text.clear();
            self.passed = 0;
            let chunk = self.bytes.fill()?;
            // A piece may be the whole of a mapped file.
            let length = chunk.len().min(PIECE);
            if length == 0 {
                if self.left > 0 {
                    return Err(self.misled());
                }
                if self.written > 0 {
                    self.text.push(b'\n');
                    self.written = 0;
                }
                break;
            }
            let mut lines = Lines { line: self.line, column: self.column, text: &mut self.text, written: self.written };
            let Some(bases) = lines.rewrap(&chunk[..length]).filter(|bases| *bases <= self.left) else {
                return Err(self.misled());
            };
            (self.column, self.written) = (lines.column, lines.written);
            self.left -= bases;
            self.bytes.consume(length);
        }
        Ok(self.held())
    }

    /// The text at hand, not yet passed.
    pub(crate) fn held(&self) -> &[u8] {
        &self.text[self.passed..]
    }

    pub(crate) fn pass(&mut self, amount: usize) {
        self.passed = (self.passed + amount).min(self.text.len());
    }

    /// The index that gave the place of the bases is not of this object.
    fn misled(&self) -> FormatError {
        let reason = "no bases lie where it says; was the object written after its index?".to_owned();
        FormatError::RegionIndex { name: self.name.clone(), reason }
    }
}

/// Lines of one length becoming lines of another.
struct Lines<'t> {
    line: [u64; 2],
    column: u64,
    text: &'t mut Vec<u8>,
    written: usize,
}

impl Lines<'_> {
    /// Takes bytes of the object; gives how many bases they hold, or nothing if lines do not end where they should.
    fn rewrap(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let [bases, width] = self.line;
        let mut count = 0;
        while !bytes.is_empty() {
            let is_base = self.column < bases;
            let end = if is_base { bases } else { width };
            let length = bytes.len().min(usize::try_from(end - self.column).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            self.column = (self.column + length as u64) % width;
            if is_base {
                if piece.iter().any(|byte| *byte <= b' ' || *byte == b'>') {
                    return None;
                }
                count += length as u64;
                self.write(piece);
            } else if piece.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                return None;
            }
        }
        Some(count)
    }

    fn write(&mut self, mut bases: &[u8]) {
        while !bases.is_empty() {
            let (piece, rest) = bases.split_at(bases.len().min(LINE - self.written));
            self.text.extend_from_slice(piece);
            self.written += piece.len();
            bases = rest;
            if self.written == LINE {
                self.text.push(b'\n');
                self.written = 0;
            }
        }
    }
}

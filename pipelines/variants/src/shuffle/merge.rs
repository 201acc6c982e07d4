//! The k-way merge of runs: by sort key, then by the order of the runs; what one `samtools sort` of all of them would give.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;

use super::block::{BlockError, BlockReader};
use crate::alignment::record::Record;

/// Merges runs record by record; memory is one block a run.
pub struct Merge<R> {
    runs: Vec<Cursor<R>>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// The run whose record was given out last; it is moved on only when the next one is asked for.
    given: Option<usize>,
}

struct Cursor<R> {
    blocks: BlockReader<R>,
    raw: Vec<u8>,
    /// Where the current record lies in `raw`.
    start: usize,
    end: usize,
}

impl<R: Read> Cursor<R> {
    /// Moves to the next record; its key, or `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>, BlockError> {
        if self.end == self.raw.len() {
            if !self.blocks.next(&mut self.raw)? {
                return Ok(None);
            }
            self.end = 0;
        }
        let damaged = BlockError::Damaged("a record that leaves its block");
        let (length, _) =
            self.raw[self.end..].split_first_chunk::<4>().ok_or(BlockError::Damaged("a block that ends in a length"))?;
        self.start = self.end + 4;
        self.end = self.start + u32::from_le_bytes(*length) as usize;
        let record = self.raw.get(self.start..self.end).and_then(Record::new).ok_or(damaged)?;
        Ok(Some(record.sort_key()))
    }
}

impl<R: Read> Merge<R> {
    /// Starts a merge of these runs; of equal keys those of earlier runs come first.
    pub fn new(inputs: Vec<BlockReader<R>>) -> Result<Self, BlockError> {
        let mut merge = Self { runs: Vec::new(), heap: BinaryHeap::new(), given: None };
        for (ordinal, blocks) in inputs.into_iter().enumerate() {
            let mut cursor = Cursor { blocks, raw: Vec::new(), start: 0, end: 0 };
            if let Some(key) = cursor.advance()? {
                merge.heap.push(Reverse((key, ordinal)));
            }
            merge.runs.push(cursor);
        }
        Ok(merge)
    }

    /// The next record in order.
    #[allow(clippy::should_implement_trait, reason = "the record borrows from the merge, which an iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, BlockError> {
        if let Some(ordinal) = self.given.take()
            && let Some(key) = self.runs[ordinal].advance()?
        {
            self.heap.push(Reverse((key, ordinal)));
        }
        let Some(Reverse((_, ordinal))) = self.heap.pop() else {
            return Ok(None);
        };
        self.given = Some(ordinal);
        let cursor = &self.runs[ordinal];
        Ok(Record::new(&cursor.raw[cursor.start..cursor.end]))
    }
}

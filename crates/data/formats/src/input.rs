//! Bytes of an object in order, whatever pieces they arrive in.

use bytes::Bytes;
use neardata_core::{ByteRange, ReadError};
use std::sync::Arc;

use neardata_core::{Chunks, RangedRead};

/// A sequence of pieces seen as one run of bytes with a position.
pub(crate) struct Input<'a> {
    chunks: Chunks<'a>,
    current: Bytes,
    at: usize,
    /// Offset in the object of `current[0]`.
    base: u64,
}

impl<'a> Input<'a> {
    /// The bytes of `range`.
    pub(crate) fn new(reader: &'a dyn RangedRead, range: ByteRange) -> Self {
        Self::over(reader.stream(range), range.start)
    }

    fn over(chunks: Chunks<'a>, start: u64) -> Self {
        Self { chunks, current: Bytes::new(), at: 0, base: start }
    }

    /// Offset in the object of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Some of the bytes that come next; empty at the end.
    pub(crate) fn available(&mut self) -> Result<&[u8], ReadError> {
        while self.at == self.current.len() {
            let Some(chunk) = self.chunks.next() else { break };
            self.base += self.current.len() as u64;
            self.current = chunk?;
            self.at = 0;
        }
        Ok(&self.current[self.at..])
    }

    /// Moves past `count` bytes of what [`Input::available`] gave.
    pub(crate) fn advance(&mut self, count: usize) {
        self.at = (self.at + count).min(self.current.len());
    }

    /// What comes next as a shared piece of at most `limit` bytes, consumed; empty at the end.
    pub(crate) fn take(&mut self, limit: usize) -> Result<Bytes, ReadError> {
        let length = self.available()?.len().min(limit);
        let piece = self.current.slice(self.at..self.at + length);
        self.at += length;
        Ok(piece)
    }

    /// The next byte; `None` at the end.
    pub(crate) fn byte(&mut self) -> Result<Option<u8>, ReadError> {
        let byte = self.available()?.first().copied();
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// The next `count` bytes in one piece, consumed; fewer only at the end. Copies only across a seam.
    pub(crate) fn exact(&mut self, count: usize) -> Result<Bytes, ReadError> {
        let piece = self.take(count)?;
        if piece.len() == count {
            return Ok(piece);
        }
        let mut joined = piece.to_vec();
        while joined.len() < count {
            let more = self.take(count - joined.len())?;
            if more.is_empty() {
                break;
            }
            joined.extend_from_slice(&more);
        }
        Ok(joined.into())
    }
}

impl Input<'static> {
    /// The bytes of `range`, keeping the reader alive as long as the input is.
    pub(crate) fn owning(reader: Arc<dyn RangedRead>, range: ByteRange) -> Self {
        Self::over(Box::new(owned::OwnedChunks::new(reader, range)), range.start)
    }
}

/// A stream of pieces that owns the reader it borrows from.
mod owned {
    use super::*;

    pub(super) struct OwnedChunks {
        // Fields drop in this order: the borrower before what it borrows from.
        chunks: Chunks<'static>,
        _reader: Arc<dyn RangedRead>,
    }

    impl OwnedChunks {
        pub(super) fn new(reader: Arc<dyn RangedRead>, range: ByteRange) -> Self {
            let chunks = reader.stream(range);
            // SAFETY: `chunks` borrows from the value inside the `Arc`, which lies on the heap, does not move with the `Arc`, and
            // lives at least as long as `_reader`. `chunks` is private, never leaves this struct, and is dropped before `_reader`.
            let chunks = unsafe { std::mem::transmute::<Chunks<'_>, Chunks<'static>>(chunks) };
            Self { chunks, _reader: reader }
        }
    }

    impl Iterator for OwnedChunks {
        type Item = Result<Bytes, ReadError>;

        fn next(&mut self) -> Option<Self::Item> {
            self.chunks.next()
        }
    }
}

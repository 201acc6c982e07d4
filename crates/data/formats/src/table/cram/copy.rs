//! A part as a file of its own: the header of the object, its containers as they are, and the end-of-file container. Structure and
//! checksums are verified on the way, block by block, so that memory stays small whatever the size of a container.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use neardata_core::{ByteRange, RangedRead};

use super::container::{Block, Container, END_OF_FILE, damaged};
use super::cut::Part;
use crate::FormatError;
use crate::input::Input;

/// Pieces handed out are no longer.
const PIECE: usize = 1 << 20;

/// The bytes of a part.
pub(super) struct Copy {
    object: Arc<dyn RangedRead>,
    input: Input<'static>,
    part: Part,
    records: u64,
    state: State,
}

/// What comes next.
enum State {
    Head(Bytes),
    Container,
    /// A block of a container with so many blocks and bytes left.
    Block {
        blocks: u64,
        left: u64,
    },
    /// So many bytes of a block, whose container then has so many blocks and bytes left.
    Content {
        content: u64,
        checksum: Hasher,
        blocks: u64,
        left: u64,
    },
    Checksum {
        checksum: Hasher,
        blocks: u64,
        left: u64,
    },
    Over,
}

impl Copy {
    pub(super) fn new(object: Arc<dyn RangedRead>, head: Bytes, part: Part) -> Self {
        let input = Input::owning(Arc::clone(&object), ByteRange::new(part.bytes[0], part.bytes[1]));
        Self { object, input, part, records: 0, state: State::Head(head) }
    }

    fn step(&mut self) -> Result<Option<Bytes>, FormatError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Ok(None),
            State::Head(head) => {
                self.state = State::Container;
                Ok(Some(head))
            }
            State::Container if self.input.offset() == self.part.bytes[1] => self.end().map(Some),
            State::Container => self.container().map(Some),
            State::Block { blocks: 0, left: 0 } => {
                self.state = State::Container;
                Ok(Some(Bytes::new()))
            }
            State::Block { blocks, left } => self.block(blocks, left).map(Some),
            State::Content { content: 0, checksum, blocks, left } => {
                self.state = State::Checksum { checksum, blocks, left };
                Ok(Some(Bytes::new()))
            }
            State::Content { content, mut checksum, blocks, left } => {
                let piece = self.input.take(content.min(PIECE as u64) as usize)?;
                if piece.is_empty() {
                    return Err(self.cut_short());
                }
                checksum.update(&piece);
                self.state = State::Content { content: content - piece.len() as u64, checksum, blocks, left };
                Ok(Some(piece))
            }
            State::Checksum { checksum, blocks, left } => self.checksum(checksum, blocks, left).map(Some),
        }
    }

    fn container(&mut self) -> Result<Bytes, FormatError> {
        let at = self.input.offset();
        let container = Container::read(&mut || self.input.byte())
            .map_err(|wrong| wrong.at(self.object.name(), at, "CRAM container header"))?;
        if self.input.offset() + container.length > self.part.bytes[1] {
            return Err(self.broken("its last container is longer"));
        }
        self.records += container.records;
        self.state = State::Block { blocks: container.blocks, left: container.length };
        Ok(container.bytes.into())
    }

    fn block(&mut self, blocks: u64, left: u64) -> Result<Bytes, FormatError> {
        let (name, at) = (self.object.name(), self.input.offset());
        if blocks == 0 || left == 0 {
            return Err(damaged(name, at, "a container has not as many blocks as its header says"));
        }
        let block = Block::read(&mut || self.input.byte(), left).map_err(|wrong| wrong.at(name, at, "CRAM block"))?;
        let mut checksum = Hasher::new();
        checksum.update(&block.bytes);
        let left = left - block.bytes.len() as u64 - block.stored - 4;
        self.state = State::Content { content: block.stored, checksum, blocks: blocks - 1, left };
        Ok(block.bytes.into())
    }

    fn checksum(&mut self, checksum: Hasher, blocks: u64, left: u64) -> Result<Bytes, FormatError> {
        let at = self.input.offset();
        let stored = self.input.exact(4)?;
        let expected = stored.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(|| self.cut_short())?;
        if checksum.finalize() != expected {
            return Err(damaged(self.object.name(), at, "the checksum of the block that ends here does not fit"));
        }
        self.state = State::Block { blocks, left };
        Ok(stored)
    }

    fn end(&self) -> Result<Bytes, FormatError> {
        let [first, end] = self.part.records;
        if self.records != end - first {
            return Err(self.broken(&format!("its containers hold {} records, not {}", self.records, end - first)));
        }
        Ok(Bytes::from_static(&END_OF_FILE))
    }

    fn cut_short(&self) -> FormatError {
        FormatError::Truncated { name: self.object.name().to_owned(), what: "CRAM block", offset: self.input.offset() }
    }

    fn broken(&self, reason: &str) -> FormatError {
        FormatError::Broken { name: self.object.name().to_owned(), reason: reason.to_owned() }
    }
}

impl Iterator for Copy {
    type Item = Result<Bytes, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                // Between two states nothing is handed out.
                Ok(Some(piece)) if piece.is_empty() => {}
                other => return other.transpose(),
            }
        }
    }
}

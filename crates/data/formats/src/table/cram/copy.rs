//! A part as a file of its own: the header of the object, its containers, and the end-of-file container. Containers of which all records
//! are meant are copied as they are, block by block, so that memory stays small whatever their size; structure and checksums are verified
//! on the way. Of others the records that are meant are written as new containers.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use neardata_core::RangedRead;

use super::container::{Block, END_OF_FILE, damaged};
use super::records::write;
use super::walk::{Choice, Found, Take, Walk, cut_short, miscounted};
use crate::FormatError;

/// Pieces handed out are no longer.
const PIECE: usize = 1 << 20;

/// The bytes of a part.
pub(super) struct Copy {
    walk: Walk,
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
    pub(super) fn new(object: Arc<dyn RangedRead>, head: Bytes, choice: Choice) -> Self {
        Self { walk: Walk::new(object, choice), state: State::Head(head) }
    }

    fn name(&self) -> &str {
        self.walk.object.name()
    }

    fn step(&mut self) -> Result<Option<Bytes>, FormatError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Ok(None),
            State::Head(head) => {
                self.state = State::Container;
                Ok(Some(head))
            }
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
                let piece = self.walk.input.take(content.min(PIECE as u64) as usize)?;
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
        let Some(found) = self.walk.next()? else { return Ok(Bytes::from_static(&END_OF_FILE)) };
        if found.take == Take::Some {
            self.state = State::Container;
            return self.some(&found);
        }
        self.state = State::Block { blocks: found.container.blocks, left: found.container.length };
        Ok(found.container.bytes.into())
    }

    /// The records of a container that are meant, as containers of their own.
    fn some(&mut self, found: &Found) -> Result<Bytes, FormatError> {
        let mut written = Vec::new();
        let name = self.name().to_owned();
        self.walk.open(found, |body, slice, decoded, kept| {
            let container = write(&body.compression, &slice.header, decoded, kept);
            written.extend(container.map_err(|fault| fault.at(&name, found.at))?);
            Ok(())
        })?;
        Ok(written.into())
    }

    fn block(&mut self, blocks: u64, left: u64) -> Result<Bytes, FormatError> {
        let at = self.walk.input.offset();
        if blocks == 0 || left == 0 {
            return Err(miscounted(self.name(), at));
        }
        let block = Block::read(&mut || self.walk.input.byte(), left).map_err(|wrong| wrong.at(self.name(), at, "CRAM block"))?;
        let mut checksum = Hasher::new();
        checksum.update(&block.bytes);
        let left = left - block.bytes.len() as u64 - block.stored - 4;
        self.state = State::Content { content: block.stored, checksum, blocks: blocks - 1, left };
        Ok(block.bytes.into())
    }

    fn checksum(&mut self, checksum: Hasher, blocks: u64, left: u64) -> Result<Bytes, FormatError> {
        let at = self.walk.input.offset();
        let stored = self.walk.input.exact(4)?;
        let expected = stored.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(|| self.cut_short())?;
        if checksum.finalize() != expected {
            return Err(damaged(self.name(), at, "the checksum of the block that ends here does not fit"));
        }
        self.state = State::Block { blocks, left };
        Ok(stored)
    }

    fn cut_short(&self) -> FormatError {
        cut_short(self.name(), self.walk.input.offset())
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

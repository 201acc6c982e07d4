//! One block: its compressed and its raw length and a CRC-32, then raw deflate (or the bytes as they are, where that is not shorter).

use std::io::{self, Read};

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use thiserror::Error;

/// Bytes before a block's data.
pub(super) const HEADER: usize = 12;

/// Raw bytes a block is closed at; a larger single record makes a block of its own.
pub(super) const BLOCK: usize = 1 << 16;

/// No block is larger than this: a header that says so is damage, not data.
const LARGEST: u32 = 1 << 28;

/// Why a run could not be read.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The bytes could not be read.
    #[error("a run of alignments could not be read: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not what was written.
    #[error("a run of alignments is damaged ({0}); remove it from the results and run again")]
    Damaged(&'static str),
}

/// Appends `raw` to `out` as a block, compressed if there is a compressor and it helps.
pub(super) fn push_block(raw: &[u8], mut compressor: Option<&mut Compressor>, out: &mut Vec<u8>) {
    let start = out.len();
    let bound = compressor.as_mut().map_or(0, |compressor| compressor.deflate_compress_bound(raw.len()));
    out.resize(start + HEADER + bound.max(raw.len()), 0);
    let packed = compressor.and_then(|compressor| compressor.deflate_compress(raw, &mut out[start + HEADER..]).ok());
    let packed = packed.unwrap_or(usize::MAX);
    let length = if packed < raw.len() {
        packed
    } else {
        out[start + HEADER..start + HEADER + raw.len()].copy_from_slice(raw);
        raw.len()
    };
    out.truncate(start + HEADER + length);
    out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&crc32fast::hash(raw).to_le_bytes());
}

pub(super) fn compressor() -> Compressor {
    // `fastest()` is level 0, which only stores.
    Compressor::new(CompressionLvl::new(1).unwrap_or_default())
}

/// Reads the blocks of a byte range of a run, one after the other.
pub struct BlockReader<R> {
    input: R,
    packed: Vec<u8>,
    decompressor: Decompressor,
}

impl<R: Read> BlockReader<R> {
    /// A reader over whole blocks.
    pub fn new(input: R) -> Self {
        Self { input, packed: Vec::new(), decompressor: Decompressor::new() }
    }

    /// Replaces `raw` with the next block's bytes; `false` at the end.
    pub fn next(&mut self, raw: &mut Vec<u8>) -> Result<bool, BlockError> {
        let mut header = [0; HEADER];
        if self.input.read(&mut header[..1])? == 0 {
            return Ok(false);
        }
        self.input.read_exact(&mut header[1..])?;
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, raw_length, checksum) = (word(0), word(4), word(8));
        if length > raw_length || raw_length > LARGEST {
            return Err(BlockError::Damaged("a block header that no writer writes"));
        }
        self.packed.resize(length as usize, 0);
        self.input.read_exact(&mut self.packed)?;
        raw.resize(raw_length as usize, 0);
        if length == raw_length {
            raw.copy_from_slice(&self.packed);
        } else if self.decompressor.deflate_decompress(&self.packed, raw) != Ok(raw_length as usize) {
            return Err(BlockError::Damaged("a block that does not inflate"));
        }
        if crc32fast::hash(raw) != checksum {
            return Err(BlockError::Damaged("a block with another checksum"));
        }
        Ok(true)
    }
}

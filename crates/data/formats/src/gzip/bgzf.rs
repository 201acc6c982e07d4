use libdeflater::Decompressor;

use super::header;
use super::stream::skip_zeros;
use crate::input::Input;
use crate::{Compression, FormatError};

/// No block is larger, compressed or not.
pub(crate) const BLOCK_LIMIT: usize = 64 * 1024;

/// What one step of a [`BgzfDecoder`] gave.
pub(crate) enum BgzfStep {
    /// A block that begins at this byte of the object, with so many bytes of content (maybe none).
    Block { offset: u64, produced: usize },
    /// A gzip member that is no BGZF block: the object is ordinary gzip after all.
    Ordinary,
    /// Nothing follows.
    End,
}

/// Decodes BGZF blocks, each verified against its checksum.
pub(crate) struct BgzfDecoder<'a> {
    name: String,
    input: Input<'a>,
    decompressor: Decompressor,
    blocks: u64,
}

impl<'a> BgzfDecoder<'a> {
    /// Decodes from the start of a block.
    pub(crate) fn new(name: &str, input: Input<'a>) -> Self {
        Self { name: name.to_owned(), input, decompressor: Decompressor::new(), blocks: 0 }
    }

    /// Decodes from the start of a block that others come before.
    pub(crate) fn resume(name: &str, input: Input<'a>) -> Self {
        Self { blocks: 1, ..Self::new(name, input) }
    }

    /// Offset in the object of the next block.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Decodes one block into `output`, which must have room for 64 KiB.
    pub(crate) fn step(&mut self, output: &mut [u8]) -> Result<BgzfStep, FormatError> {
        let offset = self.input.offset();
        let available = self.input.available()?;
        if let Some(size) = header::bgzf_block(available).map(|size| size as usize)
            && let Some(block) = available.get(..size)
        {
            let result = decode(&mut self.decompressor, block, output);
            self.input.advance(size);
            return self.decoded(offset, result);
        }
        self.step_across_a_seam(offset, output)
    }

    fn step_across_a_seam(&mut self, offset: u64, output: &mut [u8]) -> Result<BgzfStep, FormatError> {
        let head = self.input.exact(12)?;
        if head.is_empty() {
            return Ok(BgzfStep::End);
        }
        if self.blocks > 0 && head[0] != header::MAGIC[0] {
            return self.padding(offset, &head);
        }
        if head.len() < 12 {
            return Err(self.truncated());
        }
        let extra_length = if head[3] & 4 != 0 { usize::from(u16::from_le_bytes([head[10], head[11]])) } else { 0 };
        let extra = self.input.exact(extra_length)?;
        if extra.len() < extra_length {
            return Err(self.truncated());
        }
        let mut block = Vec::with_capacity(BLOCK_LIMIT);
        block.extend_from_slice(&head);
        block.extend_from_slice(&extra);
        let Some(size) = header::bgzf_block(&block) else { return Ok(BgzfStep::Ordinary) };
        let Some(rest) = (size as usize).checked_sub(block.len()).filter(|rest| *rest >= 8) else {
            return Err(self.corrupt(offset, "a BGZF block is shorter than its own header"));
        };
        let body = self.input.exact(rest)?;
        if body.len() < rest {
            return Err(self.truncated());
        }
        block.extend_from_slice(&body);
        let result = decode(&mut self.decompressor, &block, output);
        self.decoded(offset, result)
    }

    fn decoded(&mut self, offset: u64, result: Result<usize, String>) -> Result<BgzfStep, FormatError> {
        let produced = result.map_err(|reason| self.corrupt(offset, &reason))?;
        self.blocks += 1;
        Ok(BgzfStep::Block { offset, produced })
    }

    fn padding(&mut self, offset: u64, head: &[u8]) -> Result<BgzfStep, FormatError> {
        skip_zeros(&mut self.input)?;
        if head.iter().all(|byte| *byte == 0) && self.input.available()?.is_empty() {
            return Ok(BgzfStep::End);
        }
        Err(FormatError::TrailingGarbage { name: self.name.clone(), what: "gzip member", offset })
    }

    fn truncated(&self) -> FormatError {
        FormatError::Truncated { name: self.name.clone(), what: "BGZF block", offset: self.input.offset() }
    }

    fn corrupt(&self, offset: u64, reason: &str) -> FormatError {
        FormatError::Corrupt { name: self.name.clone(), compression: Compression::Bgzf, offset, reason: reason.to_owned() }
    }
}

/// Decodes one whole block; libdeflate checks its checksum and length.
fn decode(decompressor: &mut Decompressor, block: &[u8], output: &mut [u8]) -> Result<usize, String> {
    let output = output.get_mut(..BLOCK_LIMIT).ok_or("no room for a block")?;
    decompressor.gzip_decompress(block, output).map_err(|error| format!("a BGZF block does not decode ({error})"))
}

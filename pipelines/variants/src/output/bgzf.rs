//! BGZF, written so that equal input gives equal bytes.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

/// Raw bytes of a full block, as htslib has it.
const BLOCK: usize = 0xff00;

/// The empty block that ends every BGZF file.
pub const END_OF_FILE: [u8; 28] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes BGZF blocks. A piece given to [`BgzfWriter::write_whole`] is not cut unless it is larger than a block.
pub struct BgzfWriter<W> {
    output: W,
    compressor: Compressor,
    raw: Vec<u8>,
    packed: Vec<u8>,
    written: u64,
}

impl<W: Write> BgzfWriter<W> {
    /// A writer at this level of libdeflate (1 to 12).
    pub fn new(output: W, level: i32) -> Self {
        let compressor = Compressor::new(CompressionLvl::new(level).unwrap_or_default());
        Self { output, compressor, raw: Vec::with_capacity(BLOCK), packed: Vec::new(), written: 0 }
    }

    /// The virtual offset of what is written next.
    pub fn virtual_offset(&self) -> u64 {
        self.written << 16 | self.raw.len() as u64
    }

    /// Closes the block if `bytes` no longer fit, so that the piece begins where [`BgzfWriter::virtual_offset`] then says.
    pub fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if !self.raw.is_empty() && self.raw.len() + bytes > BLOCK { self.close_block() } else { Ok(()) }
    }

    /// Writes a piece into the open block, or into blocks of its own if it is larger than one.
    pub fn write_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.make_room(bytes.len())?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.raw.len()));
            self.raw.extend_from_slice(now);
            if self.raw.len() == BLOCK {
                self.close_block()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the open block, if it holds anything.
    pub fn close_block(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let bound = self.compressor.deflate_compress_bound(self.raw.len());
        self.packed.resize(18 + bound, 0);
        let length = self.compressor.deflate_compress(&self.raw, &mut self.packed[18..]).map_err(io::Error::other)?;
        let block = u16::try_from(18 + length + 8 - 1).map_err(io::Error::other)?;
        self.packed.truncate(18 + length);
        self.packed[..18].copy_from_slice(&END_OF_FILE[..18]);
        self.packed[16..18].copy_from_slice(&block.to_le_bytes());
        self.packed.extend_from_slice(&crc32fast::hash(&self.raw).to_le_bytes());
        self.packed.extend_from_slice(&(self.raw.len() as u32).to_le_bytes());
        self.output.write_all(&self.packed)?;
        self.written += self.packed.len() as u64;
        self.raw.clear();
        Ok(())
    }

    /// Ends the open block without the end-of-file block: for pieces that others are put behind. Gives the output and its length.
    pub fn finish_piece(mut self) -> io::Result<(W, u64)> {
        self.close_block()?;
        Ok((self.output, self.written))
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.close_block()?;
        self.output.write_all(&END_OF_FILE)?;
        Ok(self.output)
    }
}

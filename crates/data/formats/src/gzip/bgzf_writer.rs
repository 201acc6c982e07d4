use libdeflater::{CompressionLvl, Compressor, Crc};

/// Uncompressed bytes of a full block, as htslib writes them: whatever they are, they fit into 64 KiB.
const BLOCK: usize = 0xff00;
/// The fastest level that compresses: slices are made to be read at once.
const LEVEL: i32 = 1;
/// Header of a block up to its length; footer.
const HEADER: &[u8] = &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0];
const FOOTER: usize = 8;
/// The empty block that ends a file (SAM specification, section 4.1.2).
const END_MARKER: &[u8] = &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Packs a stream of bytes into BGZF blocks.
pub(crate) struct BgzfEncoder {
    compressor: Compressor,
    waiting: Vec<u8>,
    block: Vec<u8>,
    /// Bytes of `block` that were handed out.
    passed: usize,
    finished: bool,
    ended: bool,
    /// No end-of-file block is wanted.
    open: bool,
}

impl Default for BgzfEncoder {
    fn default() -> Self {
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        let (waiting, block) = (Vec::with_capacity(2 * BLOCK), Vec::new());
        Self { compressor: Compressor::new(level), waiting, block, passed: 0, finished: false, ended: false, open: false }
    }
}

impl BgzfEncoder {
    /// Whether it needs more bytes, or the word that there are none, before it can give any.
    pub(crate) fn wants_input(&mut self) -> bool {
        if self.passed < self.block.len() || self.ended {
            return false;
        }
        self.next_block();
        self.block.is_empty() && !self.ended
    }

    /// Takes more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Tells that nothing follows.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Asks for no end-of-file block.
    pub(crate) fn leave_open(&mut self) {
        self.open = true;
    }

    /// Bytes that can be handed out; none when it wants input, or at the end.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.block[self.passed..]
    }

    /// So many bytes were handed out.
    pub(crate) fn pass(&mut self, amount: usize) {
        self.passed = (self.passed + amount).min(self.block.len());
    }

    fn next_block(&mut self) {
        self.block.clear();
        self.passed = 0;
        let length = self.waiting.len().min(BLOCK);
        if length == BLOCK || (self.finished && length > 0) {
            self.pack(length);
            self.waiting.drain(..length);
        } else if self.finished {
            self.block.extend_from_slice(if self.open { &[] } else { END_MARKER });
            self.ended = true;
        }
    }

    fn pack(&mut self, length: usize) {
        let content = &self.waiting[..length];
        self.block.extend_from_slice(HEADER);
        let body = HEADER.len() + 2;
        self.block.resize(body + self.compressor.deflate_compress_bound(length), 0);
        let packed = self.compressor.deflate_compress(content, &mut self.block[body..]).ok();
        match packed.filter(|packed| body + packed + FOOTER <= 1 << 16) {
            Some(packed) => self.block.truncate(body + packed),
            None => {
                // Stored: one deflate block that is final, not compressed.
                self.block.truncate(body);
                let length = length as u16;
                self.block.push(1);
                self.block.extend_from_slice(&length.to_le_bytes());
                self.block.extend_from_slice(&(!length).to_le_bytes());
                self.block.extend_from_slice(content);
            }
        }
        let mut checksum = Crc::new();
        checksum.update(content);
        self.block.extend_from_slice(&checksum.sum().to_le_bytes());
        self.block.extend_from_slice(&(length as u32).to_le_bytes());
        let size = (self.block.len() - 1) as u16;
        self.block[HEADER.len()..body].copy_from_slice(&size.to_le_bytes());
    }
}

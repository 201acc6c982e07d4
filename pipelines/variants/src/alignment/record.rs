//! A view of one encoded BAM record.

/// Flag bits of the SAM specification.
pub mod flag {
    /// The read is unmapped.
    pub const UNMAPPED: u16 = 0x4;
    /// The read maps to the reverse strand.
    pub const REVERSE: u16 = 0x10;
    /// Secondary, quality-failed or duplicate: not counted as coverage.
    pub const NOT_COUNTED: u16 = 0x100 | 0x200 | 0x400 | 0x4;
    /// Secondary or supplementary: not the read's own record.
    pub const NOT_PRIMARY: u16 = 0x100 | 0x800;
}

/// The bytes of one record, from `refID` on.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(&'a [u8]);

/// Bytes before the read name.
const FIXED: usize = 32;

impl<'a> Record<'a> {
    /// A view of these bytes, if they are long enough to be a record.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let record = Self((bytes.len() >= FIXED).then_some(bytes)?);
        let cigar_end = FIXED + bytes[8] as usize + 4 * record.operations();
        (cigar_end <= bytes.len()).then_some(record)
    }

    /// The record's bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn i32_at(self, at: usize) -> i32 {
        i32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn u16_at(self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    /// The contig's number; -1 without one.
    pub fn contig(self) -> i32 {
        self.i32_at(0)
    }

    /// Position, from 0; -1 without one.
    pub fn position(self) -> i32 {
        self.i32_at(4)
    }

    /// Mapping quality.
    pub fn quality(self) -> u8 {
        self.0[9]
    }

    /// Flags.
    pub fn flags(self) -> u16 {
        self.u16_at(14)
    }

    /// Template length.
    pub fn template_length(self) -> i32 {
        self.i32_at(28)
    }

    /// The specification's bin, as written.
    pub fn bin(self) -> u16 {
        self.u16_at(10)
    }

    fn operations(self) -> usize {
        self.u16_at(12) as usize
    }

    /// The CIGAR operations as (length, code).
    pub fn cigar(self) -> impl Iterator<Item = (u32, u8)> + 'a {
        let start = FIXED + self.0[8] as usize;
        let bytes = &self.0[start..start + 4 * self.operations()];
        bytes.chunks_exact(4).map(|word| {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            (word >> 4, (word & 15) as u8)
        })
    }

    /// One past the last reference base; `position + 1` for a record that covers none, as htslib has it.
    pub fn end(self) -> i32 {
        if self.flags() & flag::UNMAPPED != 0 {
            return self.position() + 1;
        }
        let span: u32 = self.cigar().filter(|(_, code)| matches!(code, 0 | 2 | 3 | 7 | 8)).map(|(length, _)| length).sum();
        self.position() + (span as i32).max(1)
    }

    /// What `samtools sort` sorts by: contig (none last), position, forward before reverse.
    pub fn sort_key(self) -> u64 {
        let contig = self.contig() as u32 as u64;
        let position = (self.position() + 1) as u32 as u64 & 0x7fff_ffff;
        let reverse = u64::from(self.flags() & flag::REVERSE != 0);
        contig << 32 | position << 1 | reverse
    }
}

/// Walks records that follow each other, each after its length; stops at the first that is cut off.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Record::new(record)
    })
}

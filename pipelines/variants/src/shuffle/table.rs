//! The table of a run's blocks.

use neardata_core::ByteRange;
use thiserror::Error;

const MAGIC: &[u8; 8] = b"NDRUNS\x00\x01";
const ENTRY: usize = 36;

/// The contig number of records without a place.
pub const UNPLACED: i32 = -1;

/// One block of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Contig of all its records; [`UNPLACED`] without one.
    pub contig: i32,
    /// Position of its first record, from 0.
    pub first: i32,
    /// Position of its last record.
    pub last: i32,
    /// The furthest end of its records.
    pub end: i32,
    /// How many records.
    pub records: u32,
    /// Their bytes, uncompressed.
    pub raw: u32,
    /// Where the block lies in the run.
    pub bytes: ByteRange,
}

/// A table that cannot be used.
#[derive(Debug, Error)]
#[error("the table of a run of alignments is damaged or of a later version; remove it from the results and run again")]
pub struct TableError;

/// All blocks of a run, in order: by contig, then by position, those without a place last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The blocks.
    pub blocks: Vec<BlockEntry>,
}

impl Table {
    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for block in &self.blocks {
            for word in [block.contig, block.first, block.last, block.end] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&block.records.to_le_bytes());
            out.extend_from_slice(&block.raw.to_le_bytes());
            out.extend_from_slice(&block.bytes.start.to_le_bytes());
            out.extend_from_slice(&(block.bytes.len() as u32).to_le_bytes());
        }
        out
    }

    /// The table of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TableError> {
        let entries = bytes.strip_prefix(MAGIC).ok_or(TableError)?;
        if entries.len() % ENTRY != 0 {
            return Err(TableError);
        }
        let blocks = entries.chunks_exact(ENTRY).map(|entry| {
            let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let start = u64::from(word(24)) | u64::from(word(28)) << 32;
            BlockEntry {
                contig: word(0) as i32,
                first: word(4) as i32,
                last: word(8) as i32,
                end: word(12) as i32,
                records: word(16),
                raw: word(20),
                bytes: ByteRange::new(start, start.saturating_add(u64::from(word(32)))),
            }
        });
        Ok(Self { blocks: blocks.collect() })
    }

    /// The one stretch of bytes with every record that overlaps the genome from `from` up to (not including) `to`, both (contig,
    /// position); empty if there is none.
    pub fn range(&self, from: (u32, i32), to: (u32, i32)) -> ByteRange {
        let of_contigs = self.blocks.iter().filter_map(|block| Some((u32::try_from(block.contig).ok()?, block)));
        let mut touching = of_contigs
            .skip_while(|(contig, _)| *contig < from.0)
            .take_while(|(contig, _)| *contig <= to.0)
            .filter(|(contig, block)| (*contig, block.first) < to && (*contig, block.end) > from)
            .map(|(_, block)| block.bytes);
        let Some(first) = touching.next() else {
            return ByteRange::new(0, 0);
        };
        ByteRange::new(first.start, touching.last().unwrap_or(first).end)
    }

    /// The bytes of the records without a place.
    pub fn unplaced(&self) -> ByteRange {
        let mut blocks = self.blocks.iter().filter(|block| block.contig == UNPLACED);
        let Some(first) = blocks.next() else {
            return ByteRange::new(0, 0);
        };
        ByteRange::new(first.bytes.start, blocks.next_back().unwrap_or(first).bytes.end)
    }

    /// Records in all blocks.
    pub fn records(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.records)).sum()
    }
}

//! How deep reads lie along the genome, in bins of 1024 bases.

use crate::alignment::record::{Record, flag};
use crate::regions::{Region, TILE, Tiling};

/// Bases of a bin.
pub const BIN: u32 = 1024;
const BINS: u64 = (TILE / BIN) as u64;

/// Aligned bases in every bin of a region.
#[derive(Clone, Debug)]
pub struct Coverage {
    region: Region,
    bases: Vec<u32>,
    /// Where the contig of the last record begins: its number, its first bin, its bins.
    contig: Option<(i32, u64, u64)>,
}

impl Coverage {
    /// Nothing yet.
    pub fn new(region: Region, _tiling: &Tiling) -> Self {
        Self { region, bases: vec![0; (region.len() * BINS) as usize], contig: None }
    }

    /// Adds the aligned bases of a record that lie in the region.
    pub fn add(&mut self, record: Record<'_>, tiling: &Tiling) {
        if record.flags() & flag::NOT_COUNTED != 0 || record.contig() < 0 {
            return;
        }
        let (_, first, bins) = match self.contig {
            Some(known) if known.0 == record.contig() => known,
            _ => {
                let contig = record.contig() as u32;
                let (first, last) = (tiling.tile((contig, 0)), tiling.tile((contig, i32::MAX)));
                *self.contig.insert((record.contig(), first * BINS, (last - first + 1) * BINS))
            }
        };
        let mut position = record.position() as u32;
        for (length, code) in record.cigar() {
            if matches!(code, 0 | 7 | 8) {
                self.add_stretch(first, bins, position, position.saturating_add(length));
            }
            if matches!(code, 0 | 2 | 3 | 7 | 8) {
                position = position.saturating_add(length);
            }
        }
    }

    fn add_stretch(&mut self, first: u64, bins: u64, mut from: u32, to: u32) {
        let begin = self.region.from * BINS;
        while from < to {
            let end = (from / BIN + 1).saturating_mul(BIN).min(to);
            let bin = first + u64::from(from / BIN).min(bins - 1);
            if let Some(bases) = bin.checked_sub(begin).and_then(|bin| self.bases.get_mut(bin as usize)) {
                *bases = bases.saturating_add(end - from);
            }
            from = end;
        }
    }

    /// The bins as little-endian words.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bases.iter().flat_map(|bases| bases.to_le_bytes()).collect()
    }
}

/// The bins of [`Coverage::to_bytes`].
pub fn bins(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

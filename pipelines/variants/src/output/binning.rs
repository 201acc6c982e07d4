//! The binning index that BAM (`.bai`) and tabix (`.tbi`) share: bins of six sizes with chunks of virtual offsets, and the first
//! offset of every 16 KiB window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alignment::sam::bin;

/// What these index formats can say ends here; longer contigs would need `.csi`.
pub const LONGEST_CONTIG: u64 = 1 << 29;

/// The bin whose chunks hold counts, for `samtools idxstats` and `bcftools index --nrecords`.
const COUNTS_BIN: u32 = 37450;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ContigIndex {
    bins: BTreeMap<u32, Vec<(u64, u64)>>,
    windows: BTreeMap<u32, u64>,
    mapped: u64,
    unmapped: u64,
    begin: u64,
    end: u64,
}

/// The index of a sorted file, or of a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binning {
    contigs: BTreeMap<u32, ContigIndex>,
    unplaced: u64,
}

impl Binning {
    /// Notes a record at `[start, end)` of a contig whose bytes are `[from, to)` in virtual offsets.
    pub fn add(&mut self, contig: u32, start: i32, end: i32, from: u64, to: u64, mapped: bool) {
        let index = self.contigs.entry(contig).or_default();
        if index.mapped + index.unmapped == 0 {
            index.begin = from;
        }
        index.end = to;
        index.mapped += u64::from(mapped);
        index.unmapped += u64::from(!mapped);
        push_chunk(index.bins.entry(u32::from(bin(start, end))).or_default(), (from, to));
        for window in start as u32 >> 14..=(end - 1).max(start) as u32 >> 14 {
            index.windows.entry(window).or_insert(from);
        }
    }

    /// Notes a record without a place.
    pub fn add_unplaced(&mut self) {
        self.unplaced += 1;
    }

    /// Takes in the index of a piece that begins `base` bytes into the file.
    pub fn append(&mut self, piece: &Binning, base: u64) {
        let shift = base << 16;
        for (&contig, other) in &piece.contigs {
            let index = self.contigs.entry(contig).or_default();
            if index.mapped + index.unmapped == 0 {
                index.begin = other.begin + shift;
            }
            index.end = other.end + shift;
            index.mapped += other.mapped;
            index.unmapped += other.unmapped;
            for (&bin, chunks) in &other.bins {
                let ours = index.bins.entry(bin).or_default();
                chunks.iter().for_each(|(from, to)| push_chunk(ours, (from + shift, to + shift)));
            }
            for (&window, &from) in &other.windows {
                index.windows.entry(window).or_insert(from + shift);
            }
        }
        self.unplaced += piece.unplaced;
    }

    /// The bytes of a `.bai` over `contigs` contigs.
    pub fn to_bai(&self, contigs: usize) -> Vec<u8> {
        let mut out = b"BAI\x01".to_vec();
        out.extend_from_slice(&(contigs as u32).to_le_bytes());
        for contig in 0..contigs as u32 {
            self.push_contig(contig, &mut out);
        }
        out.extend_from_slice(&self.unplaced.to_le_bytes());
        out
    }

    /// The bytes of a `.tbi` of a VCF file, before BGZF. Only contigs that have records are in it, in their order.
    pub fn to_tbi(&self, name_of: impl Fn(u32) -> String) -> Vec<u8> {
        let names: Vec<u8> = self.contigs.keys().flat_map(|&contig| [name_of(contig).as_bytes(), b"\0"].concat()).collect();
        let mut out = b"TBI\x01".to_vec();
        for word in [self.contigs.len() as u32, 2, 1, 2, 0, u32::from(b'#'), 0, names.len() as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&names);
        for &contig in self.contigs.keys() {
            self.push_contig(contig, &mut out);
        }
        out
    }

    fn push_contig(&self, contig: u32, out: &mut Vec<u8>) {
        let empty = ContigIndex::default();
        let index = self.contigs.get(&contig).unwrap_or(&empty);
        let counts = !index.bins.is_empty();
        out.extend_from_slice(&(index.bins.len() as u32 + u32::from(counts)).to_le_bytes());
        for (bin, chunks) in &index.bins {
            push_bin(*bin, chunks, out);
        }
        if counts {
            push_bin(COUNTS_BIN, &[(index.begin, index.end), (index.mapped, index.unmapped)], out);
        }
        let windows = index.windows.keys().next_back().map_or(0, |last| last + 1);
        out.extend_from_slice(&windows.to_le_bytes());
        let mut offset = 0;
        for window in 0..windows {
            offset = index.windows.get(&window).copied().unwrap_or(offset);
            out.extend_from_slice(&offset.to_le_bytes());
        }
    }
}

fn push_chunk(chunks: &mut Vec<(u64, u64)>, (from, to): (u64, u64)) {
    match chunks.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => chunks.push((from, to)),
    }
}

fn push_bin(bin: u32, chunks: &[(u64, u64)], out: &mut Vec<u8>) {
    out.extend_from_slice(&bin.to_le_bytes());
    out.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    for (from, to) in chunks {
        out.extend_from_slice(&from.to_le_bytes());
        out.extend_from_slice(&to.to_le_bytes());
    }
}

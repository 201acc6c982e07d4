//! Where the genome is cut: regions are stretches of whole tiles, of about the same work each.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::reference::Contigs;
use crate::shuffle::Table;

/// Bases of a tile. Regions begin and end between tiles, the last tile of a contig being shorter.
pub const TILE: u32 = 4096;

/// Bases on either side of a region whose alignments its call sees too: a caller needs the reads around a cut to call next to it as
/// it would without the cut.
pub const PADDING: i32 = 1000;

/// The tiles of a genome, numbered through all contigs.
#[derive(Clone, Debug)]
pub struct Tiling {
    /// First tile of every contig, and behind the last one the number of tiles.
    first: Vec<u64>,
    lengths: Vec<u32>,
}

/// Consecutive tiles, and so a stretch of the genome that may reach over contigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Region {
    /// First tile.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// A stretch of one contig, half-open, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The contig's number.
    pub contig: u32,
    /// Its positions.
    pub positions: Range<i32>,
}

/// A place in the genome.
pub type Place = (u32, i32);

impl Tiling {
    /// The tiles of these contigs.
    pub fn new(contigs: &Contigs) -> Self {
        let mut first = vec![0];
        let mut lengths = Vec::new();
        for contig in contigs.iter() {
            let tiles = contig.length.div_ceil(u64::from(TILE));
            first.push(first.last().copied().unwrap_or(0) + tiles);
            lengths.push(contig.length as u32);
        }
        Self { first, lengths }
    }

    /// How many tiles there are.
    pub fn len(&self) -> u64 {
        self.first.last().copied().unwrap_or(0)
    }

    /// Whether the genome is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole genome.
    pub fn everything(&self) -> Region {
        Region { from: 0, to: self.len() }
    }

    /// The tile of a place; places behind a contig's end (there are none) count to its last tile.
    pub fn tile(&self, (contig, position): Place) -> u64 {
        let contig = contig as usize;
        let tile = self.first[contig] + u64::from(position.max(0) as u32 / TILE);
        tile.min(self.first[contig + 1].saturating_sub(1))
    }

    /// Where a tile begins.
    pub fn place(&self, tile: u64) -> Place {
        let contig =
            self.first.partition_point(|first| *first <= tile).saturating_sub(1).min(self.lengths.len().saturating_sub(1));
        (contig as u32, ((tile - self.first[contig]) * u64::from(TILE)) as i32)
    }

    /// The stretches of a region, one a contig.
    pub fn intervals(&self, region: Region) -> Vec<Interval> {
        let mut intervals = Vec::new();
        let mut tile = region.from;
        while tile < region.to {
            let (contig, start) = self.place(tile);
            let next = self.first[contig as usize + 1].min(region.to);
            let end = ((next - self.first[contig as usize]) * u64::from(TILE)).min(u64::from(self.lengths[contig as usize]));
            intervals.push(Interval { contig, positions: start..end as i32 });
            tile = next;
        }
        intervals
    }

    /// The places between which a region's alignments lie, padding included.
    pub fn padded(&self, region: Region) -> Option<(Place, Place)> {
        let intervals = self.intervals(region);
        let (first, last) = (intervals.first()?, intervals.last()?);
        let start = (first.positions.start - PADDING).max(0);
        let end = last.positions.end.saturating_add(PADDING).min(self.lengths[last.contig as usize] as i32);
        Some(((first.contig, start), (last.contig, end)))
    }

    /// What to call a region: `chr1:1-5000`, or `chr1:1-chr3:700`.
    pub fn name(&self, region: Region, contigs: &Contigs) -> String {
        let intervals = self.intervals(region);
        let name =
            |interval: &Interval| contigs.get(interval.contig as usize).map_or("?", |contig| contig.name.as_str()).to_owned();
        match (intervals.first(), intervals.last()) {
            (Some(first), Some(last)) if first.contig == last.contig => {
                format!("{}:{}-{}", name(first), first.positions.start + 1, last.positions.end)
            }
            (Some(first), Some(last)) => {
                format!("{}:{}-{}:{}", name(first), first.positions.start + 1, name(last), last.positions.end)
            }
            _ => "nothing".to_owned(),
        }
    }
}

impl Region {
    /// How many tiles it has.
    pub fn len(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How many records lie where, added up over the tables of all runs.
#[derive(Clone, Debug)]
pub struct Load {
    records: Vec<u64>,
}

impl Load {
    /// No records anywhere.
    pub fn new(tiling: &Tiling) -> Self {
        Self { records: vec![0; tiling.len() as usize] }
    }

    /// Adds a run: the records of a block are spread evenly over the tiles between its first and its last.
    pub fn add(&mut self, table: &Table, tiling: &Tiling) {
        for block in &table.blocks {
            let Ok(contig) = u32::try_from(block.contig) else { continue };
            let (from, to) = (tiling.tile((contig, block.first)), tiling.tile((contig, block.last)));
            let (tiles, records) = (to - from + 1, u64::from(block.records));
            for (ordinal, tile) in (from..=to).enumerate() {
                self.records[tile as usize] += records / tiles + u64::from((ordinal as u64) < records % tiles);
            }
        }
    }

    /// Records in a region.
    pub fn records(&self, region: Region) -> u64 {
        self.records[region.from as usize..region.to as usize].iter().sum()
    }

    /// What calling a region costs: its records, and a little for the reference itself.
    fn cost(&self, tile: u64) -> u64 {
        self.records[tile as usize] + TILE_COST
    }

    /// Cuts `region` into at most `parts` of about equal cost, each of at least one tile.
    pub fn cut(&self, region: Region, parts: u64) -> Vec<Region> {
        let parts = parts.clamp(1, region.len().max(1));
        let total: u64 = (region.from..region.to).map(|tile| self.cost(tile)).sum();
        let mut cuts = Vec::with_capacity(parts as usize);
        let (mut from, mut spent) = (region.from, 0);
        for tile in region.from..region.to {
            spent += self.cost(tile);
            let made = cuts.len() as u64;
            let enough = u128::from(spent) * u128::from(parts) >= u128::from(total) * u128::from(made + 1);
            let scarce = region.to - tile - 1 < parts - made;
            if tile + 1 < region.to && made + 1 < parts && (enough || scarce) {
                cuts.push(Region { from, to: tile + 1 });
                from = tile + 1;
            }
        }
        cuts.push(Region { from, to: region.to });
        cuts
    }

    /// Cuts hot regions again, so that none has more than `most` records unless it is a single tile.
    pub fn cool(&self, regions: Vec<Region>, most: u64) -> Vec<Region> {
        regions.into_iter().flat_map(|region| self.cut(region, self.records(region).div_ceil(most.max(1)))).collect()
    }
}

/// What a tile costs without any read, in records.
const TILE_COST: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Contig;

    fn tiling() -> (Contigs, Tiling) {
        let contig = |name: &str, length| Contig { name: name.into(), length };
        let contigs = Contigs::new(vec![contig("a", 10_000), contig("b", 4096), contig("c", 5)]).unwrap();
        let tiling = Tiling::new(&contigs);
        (contigs, tiling)
    }

    #[test]
    fn every_base_is_in_one_region_however_it_is_cut() {
        let (_, tiling) = tiling();
        assert_eq!(tiling.len(), 5);
        let load = Load::new(&tiling);
        for parts in 1..9 {
            let regions = load.cut(tiling.everything(), parts);
            assert_eq!(regions.len() as u64, parts.min(5));
            let bases: i32 = regions.iter().flat_map(|region| tiling.intervals(*region)).map(|i| i.positions.len() as i32).sum();
            assert_eq!(bases, 10_000 + 4096 + 5);
            assert!(regions.windows(2).all(|pair| pair[0].to == pair[1].from));
        }
    }

    #[test]
    fn places_names_and_padding() {
        let (contigs, tiling) = tiling();
        let region = Region { from: 1, to: 4 };
        assert_eq!(tiling.name(region, &contigs), "a:4097-b:4096");
        assert_eq!(tiling.padded(region), Some(((0, 3096), (1, 4096))));
        assert_eq!((tiling.tile((0, 9_999)), tiling.tile((2, 4))), (2, 4));
        assert_eq!(tiling.place(3), (1, 0));
    }

    #[test]
    fn hot_tiles_are_cut_off_from_their_neighbours() {
        let (_, tiling) = tiling();
        let mut load = Load::new(&tiling);
        load.records[2] = 1_000_000;
        let cooled = load.cool(vec![tiling.everything()], 400_000);
        assert!(cooled.iter().any(|region| region.to == 3 && load.records(*region) == 1_000_000), "{cooled:?}");
        assert_eq!(cooled.iter().map(|region| region.len()).sum::<u64>(), 5);
    }
}

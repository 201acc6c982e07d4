//! Regions: which containers may hold records of one, and how to share it.

use std::sync::Arc;

use neardata_core::{ByteRange, RangedRead, SliceError};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::index::Entry;
use super::walk::{Choice, Walk};
use crate::region::{Load, Region, RegionPart, RegionRecords, share_cuts};
use crate::{Format, FormatError, Partition};

/// More runs of containers are merged where the least lies between them, so that a slice stays small.
const RUNS: usize = 14;
/// Bytes looked at to see whether a container begins where an index says.
const LOOK: u64 = 512;

/// The records of a region: the selection of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RegionSelection {
    /// Where they lie.
    pub(super) region: RegionPart,
    /// Which of them.
    #[serde(default, skip_serializing_if = "RegionRecords::is_overlapping")]
    pub(super) records: RegionRecords,
    /// Bytes of the object that hold their containers, half-open, in order; those of other records may lie among them.
    pub(super) runs: Vec<[u64; 2]>,
}

impl RegionSelection {
    /// Refuses what no cut gives: a slice may come from anywhere.
    pub(super) fn check(self, first: u64, size: u64) -> Result<Self, SliceError> {
        let inside = self.runs.iter().all(|[begin, end]| first <= *begin && begin < end && *end <= size);
        if inside && self.runs.windows(2).all(|pair| pair[0][1] <= pair[1][0]) {
            return Ok(self);
        }
        let reason = "its runs are out of order or lie outside its object".to_owned();
        Err(SliceError::Selection { format: "cram".to_owned(), reason })
    }
}

/// What some bytes of the object hold: those of a container that holds a slice, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The container.
    pub(super) bytes: [u64; 2],
    /// Number of the reference; -1: none, -2: any.
    pub(super) reference: i32,
    /// Positions from 0, half-open.
    pub(super) start: i64,
    pub(super) end: i64,
    /// About how many bytes hold the records.
    pub(super) packed: u64,
}

impl Place {
    pub(super) fn of(entry: &Entry) -> Self {
        let start = i64::from(entry.start) - 1;
        let bytes = [entry.offset, entry.offset + entry.size];
        Self { bytes, reference: entry.reference, start, end: start + i64::from(entry.span), packed: entry.size }
    }

    fn may_hold(&self, region: &Region<'_>) -> bool {
        let (start, end) = bounds(region);
        match self.reference {
            -2 => true,
            reference if usize::try_from(reference) != Ok(region.id) => false,
            // A slice that covers nothing says nothing.
            _ => self.end <= self.start || (self.end > start && self.start < end),
        }
    }
}

fn bounds(region: &Region<'_>) -> (i64, i64) {
    (i64::try_from(region.start).unwrap_or(i64::MAX), i64::try_from(region.end).unwrap_or(i64::MAX))
}

/// Answers regions of one object.
pub(super) struct Planner<'p> {
    pub(super) object: &'p Arc<dyn RangedRead>,
    /// Names and lengths of the references.
    pub(super) names: &'p [String],
    pub(super) lengths: &'p [Option<u64>],
    /// In the order of the object.
    pub(super) places: &'p [Place],
    /// Whether records are in the order of their places.
    pub(super) sorted: bool,
}

impl Planner<'_> {
    /// The slices of a region: one of all records that overlap it, or with a partition several that share those that start in it.
    pub(super) fn slices(&self, text: &str, partition: Option<Partition>) -> Result<Vec<RegionSelection>, FormatError> {
        let region = Region::parse(self.object.name(), Format::Bam, text, self.names)?;
        let inner = match partition {
            None => return Ok(vec![self.selection(&region, RegionRecords::Overlapping)?]),
            Some(Partition::Records(records)) => self.parts_of_records(&region, records)?,
            Some(Partition::Count(count)) => self.equal_parts(&region, count),
            Some(Partition::Bytes(bytes)) => {
                let held = self.places.iter().filter(|place| place.may_hold(&region)).map(|place| place.packed).sum::<u64>();
                self.equal_parts(&region, held.div_ceil(bytes.max(1)))
            }
            Some(Partition::Tiles(_)) => {
                let offered = "`n`, `bytes`, `records`".into();
                return Err(FormatError::NotOffered { format: "a region", option: "tiles", offered });
            }
        };
        let places: Vec<u64> = [region.start].into_iter().chain(inner).chain([region.end]).collect();
        let part = |pair: &[u64]| Region { start: pair[0], end: pair[1], ..region };
        places.windows(2).map(|pair| self.selection(&part(pair), RegionRecords::Starting)).collect()
    }

    /// Inner cuts such that about equally many bytes of the object lie between them, as far as the index tells.
    fn equal_parts(&self, region: &Region<'_>, count: u64) -> Vec<u64> {
        let held = self.places.iter().filter(|place| place.reference >= 0 && place.may_hold(region) && place.end > place.start);
        let load = |place: &Place| Load {
            start: place.start.max(0).cast_unsigned(),
            end: place.end.max(0).cast_unsigned(),
            bytes: place.packed as f64,
        };
        let loads: Vec<Load> = held.map(load).collect();
        let length = self.lengths.get(region.id).copied().flatten();
        share_cuts(&loads, [region.start, region.end], length, 1, count)
    }

    /// Inner cuts with at least so many records between them: records of one position stay together. Reads the region.
    fn parts_of_records(&self, region: &Region<'_>, records: u64) -> Result<Vec<u64>, FormatError> {
        let choice = Choice::Region(self.selection(region, RegionRecords::Starting)?);
        let mut starts: Vec<u64> = Vec::new();
        let mut walk = Walk::new(Arc::clone(self.object), choice);
        while let Some(found) = walk.next()? {
            walk.open(&found, |_, _, decoded, kept| {
                let start =
                    |number: &usize| decoded.records.get(*number).map(|record| (i64::from(record.start) - 1).max(0) as u64);
                starts.extend(kept.iter().filter_map(start));
                Ok(())
            })?;
        }
        starts.sort_unstable();
        let (mut cuts, mut held, mut last) = (Vec::new(), 0, 0);
        for start in starts {
            if held >= records && start > last {
                cuts.push(start);
                held = 0;
            }
            (held, last) = (held + 1, start);
        }
        Ok(cuts)
    }

    fn selection(&self, region: &Region<'_>, records: RegionRecords) -> Result<RegionSelection, FormatError> {
        let mut runs: Vec<[u64; 2]> = Vec::new();
        for place in self.among(region).filter(|place| place.may_hold(region)) {
            match runs.last_mut() {
                Some(last) if last[1] >= place.bytes[0] => last[1] = last[1].max(place.bytes[1]),
                _ => runs.push(place.bytes),
            }
        }
        while runs.len() > RUNS {
            let gap = |at: usize| runs[at + 1][0].saturating_sub(runs[at][1]);
            let closest = (0..runs.len() - 1).min_by_key(|at| gap(*at)).unwrap_or(0);
            let [_, end] = runs.remove(closest + 1);
            runs[closest][1] = runs[closest][1].max(end);
        }
        for [begin, _] in &runs {
            self.look(*begin)?;
        }
        let region = RegionPart {
            id: u32::try_from(region.id).unwrap_or(u32::MAX),
            name: region.name.to_owned(),
            start: region.start,
            end: region.end.min(i64::MAX as u64),
        };
        Ok(RegionSelection { region, records, runs })
    }

    /// The places without those of several references that cannot hold the region's, as far as their neighbours tell.
    fn among(&self, region: &Region<'_>) -> impl Iterator<Item = &Place> {
        let id = |place: &Place| usize::try_from(place.reference).unwrap_or(usize::MAX);
        let (wanted, sorted) = (region.id, self.sorted);
        // For each place the next of one reference.
        let mut after = vec![usize::MAX; self.places.len()];
        let mut next = usize::MAX;
        for (place, after) in self.places.iter().zip(&mut after).rev() {
            if place.reference != -2 {
                next = id(place);
            }
            *after = next;
        }
        let mut before = 0;
        self.places.iter().zip(after).filter_map(move |(place, after)| {
            if place.reference != -2 {
                before = id(place);
            }
            (!sorted || place.reference != -2 || (before <= wanted && wanted <= after)).then_some(place)
        })
    }

    /// Verifies that a container begins here.
    fn look(&self, at: u64) -> Result<(), FormatError> {
        let bytes = self.object.read(ByteRange::new(at, self.object.size().min(at + LOOK)))?;
        let mut bytes = bytes.iter().copied();
        match Container::read(&mut || Ok(bytes.next())) {
            Ok(_) => Ok(()),
            // The header of a container of hundreds of slices is longer than what was read.
            Err(super::container::Wrong::Ended) => Ok(()),
            Err(_) => Err(FormatError::RegionIndex {
                name: self.object.name().to_owned(),
                reason: format!("it names byte {at}, where no container begins; was the object written after its index?"),
            }),
        }
    }
}

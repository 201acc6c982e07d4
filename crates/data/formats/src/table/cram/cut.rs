//! Where to cut: between containers, or inside them where there are fewer than slices or so many records are wanted in each.

use super::index::Entry;
use crate::Partition;
use neardata_core::SliceError;
use serde::{Deserialize, Serialize};

/// Consecutive records: the selection of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Bytes of the object that hold their containers, half-open.
    pub(super) bytes: [u64; 2],
    /// The records, counted from 0, half-open.
    pub(super) records: [u64; 2],
    /// Records of the first and of the last container that are in other slices.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) cut: [u64; 2],
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_nothing(cut: &[u64; 2]) -> bool {
    *cut == [0, 0]
}

impl Part {
    /// Refuses what no cut gives: a slice may come from anywhere.
    pub(super) fn check(self, first: u64, size: u64) -> Result<Self, SliceError> {
        let [begin, end] = self.bytes;
        let [before, behind] = self.cut;
        let reason = if begin < first || begin >= end || end > size {
            "its containers lie outside its object"
        } else if self.records[0] >= self.records[1]
            || self.records[1] > i64::MAX.cast_unsigned()
            || before > self.records[0].min(u32::MAX.into())
            || behind > u32::MAX.into()
        {
            "its records are out of order"
        } else {
            return Ok(self);
        };
        Err(SliceError::Selection { format: "cram".to_owned(), reason: reason.to_owned() })
    }
}

/// The parts of a file with these containers. Containers without records belong to the part around them.
pub(super) fn cut(containers: &[Entry], partition: Option<Partition>) -> Vec<Part> {
    let held: Vec<Entry> = containers.iter().copied().filter(|container| container.records > 0).collect();
    let records = held.iter().map(|container| container.records).sum::<u64>();
    let count = match partition.unwrap_or(Partition::Count(1)) {
        Partition::Records(step) => return by_records(&held, |part| part.saturating_mul(step).min(records)),
        Partition::Bytes(bytes) => size_of(&held).div_ceil(bytes.max(1)),
        Partition::Count(count) => count,
        Partition::Tiles(_) => 1,
    };
    if count > held.len() as u64 {
        let count = count.min(records).max(1);
        return by_records(&held, |part| (u128::from(records) * u128::from(part) / u128::from(count)) as u64);
    }
    let cuts = by_size(&held, count);
    let mut passed = 0;
    let part = |pair: &[usize]| {
        let run = held.get(pair[0]..pair[1])?;
        let (first, last) = (run.first()?, run.last()?);
        let before = passed;
        passed += run.iter().map(|container| container.records).sum::<u64>();
        Some(Part { bytes: [first.offset, last.offset + last.size], records: [before, passed], cut: [0, 0] })
    };
    cuts.windows(2).filter_map(part).collect()
}

fn size_of(containers: &[Entry]) -> u64 {
    containers.iter().map(|container| container.size).sum()
}

/// Numbers of the containers at which to cut into `count` parts of about equal size, none of them empty.
fn by_size(containers: &[Entry], count: u64) -> Vec<usize> {
    let count = count.min(containers.len() as u64) as usize;
    let total = u128::from(size_of(containers));
    let mut cuts = vec![0];
    let (mut at, mut before) = (0, 0_u128);
    for part in 1..count {
        let target = total * part as u128 / count as u128;
        // Behind the container whose middle lies before the target, and so that all other parts keep one.
        let most = containers.len() - (count - part);
        let least = cuts.last().map_or(0, |last| last + 1);
        while let Some(container) = containers.get(at) {
            let size = u128::from(container.size);
            if at >= most || (at >= least && before + size / 2 > target) {
                break;
            }
            before += size;
            at += 1;
        }
        cuts.push(at);
    }
    cuts.push(containers.len());
    cuts
}

/// Parts that end where so many records do: `end` tells it of each, counted from 1.
fn by_records(containers: &[Entry], end: impl Fn(u64) -> u64) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut open: Option<Part> = None;
    let mut passed = 0;
    for container in containers {
        let (begin, behind) = (passed, passed + container.records);
        passed = behind;
        let stop = container.offset + container.size;
        let mut next = begin;
        while next < behind {
            let new = || Part { bytes: [container.offset, stop], records: [next, next], cut: [next - begin, 0] };
            let mut part = open.take().unwrap_or_else(new);
            let last = end(parts.len() as u64 + 1);
            next = last.min(behind);
            (part.bytes[1], part.records[1]) = (stop, next);
            if last > behind {
                open = Some(part);
            } else {
                part.cut[1] = behind - last;
                parts.push(part);
            }
        }
    }
    parts.extend(open);
    parts
}

#[cfg(test)]
mod tests {
    use super::{Entry, Partition, by_records, by_size, cut};

    #[test]
    fn parts_are_about_equal_and_never_empty() {
        let mut offset = 0;
        let containers: Vec<Entry> = [10, 10, 1000, 10, 10, 10, 500, 10]
            .map(|size| {
                offset += size;
                Entry { offset: offset - size, size, records: 5, reference: 0, start: 1, span: 1 }
            })
            .into();
        for count in 1..20 {
            let cuts = by_size(&containers, count);
            assert_eq!(cuts.len() as u64, count.min(8) + 1);
            assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "{cuts:?}");
        }
        assert_eq!(by_size(&containers, 2), [0, 3, 8]);
        assert_eq!(by_size(&[], 3), [0, 0]);
        let parts = by_records(&containers, |part| 15 * part);
        assert_eq!(parts.iter().map(|part| part.records).collect::<Vec<_>>(), [[0, 15], [15, 30], [30, 40]]);
        assert_eq!(parts[1].bytes, [1020, 1050]);
        assert!(parts.iter().all(|part| part.cut == [0, 0]));
        let parts = by_records(&containers, |part| 7 * part);
        assert_eq!(parts.iter().map(|part| part.cut).collect::<Vec<_>>()[..3], [[0, 3], [2, 1], [4, 4]]);
        assert_eq!(parts[2].bytes, [20, 1040]);
        assert_eq!(by_records(&containers, |part| 2 * part).len(), 20);
        assert_eq!(by_records(&containers, |_| u64::MAX).len(), 1);
        for count in [9, 11, 40, 90] {
            let parts = cut(&containers, Some(Partition::Count(count)));
            assert_eq!(parts.len() as u64, count.min(40));
            assert!(parts.windows(2).all(|pair| pair[0].records[1] == pair[1].records[0]));
            assert_eq!(parts.last().map(|part| part.records[1]), Some(40));
        }
    }
}

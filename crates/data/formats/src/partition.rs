//! Where to cut: from indexes to record ordinals.

use crate::FormatError;
use crate::index::{Index, Restart};

/// How to cut an object.
///
/// A cut never splits a record; no slice is empty. An object without records gives no slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Into so many slices of about equal uncompressed size; into fewer when there are fewer records, or fewer Zstandard frames.
    Count(u64),
    /// Into equal slices of about so many uncompressed bytes at most (of both mates together).
    Bytes(u64),
    /// Into slices of exactly so many records; the last holds the rest. A single Zstandard frame stays one slice.
    Records(u64),
    /// Into at most so many rectangles of about equal extent, for records that lie in a plane. Each record is in the one rectangle
    /// that holds it: their lower edges belong to them, their upper ones do not, but for the last.
    Tiles(u64),
}

/// A cut may move by this part of a slice to reach a place the index knows, which makes reading cheaper.
const SNAP_PART: u64 = 16;

/// The record ordinals at which to cut: ascending, from 0 to the number of records; the same for every index given. All cuts are
/// multiples of `group`.
pub(crate) fn cuts(indexes: &[&Index], partition: Partition, group: u64) -> Result<Vec<u64>, FormatError> {
    let records = indexes.first().map_or(0, |index| index.records);
    let group = group.max(1);
    let groups = records / group;
    let size: u64 = indexes.iter().map(|index| index.uncompressed).sum();
    let most = indexes.iter().filter_map(|index| index.most_slices()).min().unwrap_or(u64::MAX);
    let count = match partition {
        Partition::Count(0) => return Err(FormatError::Partition("0 slices")),
        Partition::Bytes(0) => return Err(FormatError::Partition("slices of 0 bytes")),
        Partition::Records(0) => return Err(FormatError::Partition("slices of 0 records")),
        Partition::Tiles(_) => {
            return Err(FormatError::NotOffered {
                format: "records in a row",
                option: "tiles",
                offered: "`n`, `bytes`, `records`".into(),
            });
        }
        _ if most <= 1 && records > 0 => 1,
        Partition::Records(step) => {
            let step = step.div_ceil(group).saturating_mul(group);
            let inner = (0..records.div_ceil(step)).map(|slice| slice * step);
            return Ok(inner.chain([records]).collect());
        }
        Partition::Count(count) => count,
        Partition::Bytes(bytes) => size.div_ceil(bytes),
    }
    .min(groups)
    .min(most);
    if count == 0 {
        return Ok(vec![0]);
    }
    // Where places to start decoding at are rare, cuts go to the nearest.
    let tolerance = if most < u64::MAX { size / count / 2 } else { size / count / SNAP_PART };
    let mut cuts = vec![0];
    for slice in 1..count {
        let target = (u128::from(size) * u128::from(slice) / u128::from(count)) as u64;
        let cut = cut_near(indexes, target, tolerance) / group;
        // Every slice before and after keeps at least one group.
        let least = cuts.last().map_or(0, |last: &u64| last / group + 1);
        cuts.push(cut.clamp(least, groups - (count - slice)) * group);
    }
    cuts.push(records);
    Ok(cuts)
}

/// The record ordinal that begins about at `target` uncompressed bytes of all indexes together; a place the first index knows if
/// one lies within `tolerance`, best one where decoding can start.
fn cut_near(indexes: &[&Index], target: u64, tolerance: u64) -> u64 {
    let offset = |record: u64| indexes.iter().map(|index| index.estimate(record)).sum::<u64>();
    let Some(first) = indexes.first() else { return 0 };
    let (mut low, mut high) = (0, first.records);
    while low < high {
        let middle = low + (high - low) / 2;
        if offset(middle) < target { low = middle + 1 } else { high = middle }
    }
    let distance = |record: u64| offset(record).abs_diff(target);
    let after = first.points.partition_point(|point| point.record < low);
    let near = |forward: bool| {
        let (back, front) = first.points.split_at(after);
        let points: Box<dyn Iterator<Item = _>> = if forward { Box::new(front.iter()) } else { Box::new(back.iter().rev()) };
        points.take_while(|point| distance(point.record) <= tolerance)
    };
    near(true)
        .chain(near(false))
        .min_by_key(|point| (point.restart == Restart::No, distance(point.record)))
        .map_or(low, |point| point.record)
}

//! Reading many ranges of one object with few requests.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{ByteRange, Chunks, RangedRead, ReadError};

/// Requests under way at once.
const IN_FLIGHT: usize = 8;

/// The fewest ranges that hold all of `ranges` without fetching a gap of more than `gap` bytes: ascending, none empty.
///
/// ```
/// use neardata_core::{ByteRange, coalesce};
/// let ranges = [ByteRange::new(50, 60), ByteRange::new(0, 10), ByteRange::new(12, 20), ByteRange::new(5, 8)];
/// assert_eq!(coalesce(&ranges, 4), [ByteRange::new(0, 20), ByteRange::new(50, 60)]);
/// ```
pub fn coalesce(ranges: &[ByteRange], gap: u64) -> Vec<ByteRange> {
    let mut sorted: Vec<ByteRange> = ranges.iter().copied().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<ByteRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The bytes of each range, in the order given. Ranges that lie within `gap` bytes of each other are fetched in one request, and
/// several requests are under way at once. All of it is held in memory: callers bound what they ask for.
///
/// ```
/// use neardata_core::{ByteRange, MemoryObject, read_ranges};
/// let object = MemoryObject::new("alphabet", "abcdefghij");
/// let pieces = read_ranges(&object, &[ByteRange::new(8, 10), ByteRange::new(0, 2)], 0)?;
/// assert_eq!(pieces, ["ij", "ab"]);
/// # Ok::<(), neardata_core::ReadError>(())
/// ```
pub fn read_ranges(reader: &dyn RangedRead, ranges: &[ByteRange], gap: u64) -> Result<Vec<Bytes>, ReadError> {
    if let Some(range) = ranges.iter().find(|range| range.end > reader.size()) {
        let detail = format!("range {range} lies beyond its {} bytes", reader.size());
        return Err(ReadError::Failed { name: reader.name().to_owned(), detail });
    }
    let requests = coalesce(ranges, gap);
    let mut coming = requests.iter();
    let mut under_way: VecDeque<(ByteRange, Chunks<'_>)> = VecDeque::new();
    let mut fetched: Vec<Bytes> = Vec::with_capacity(requests.len());
    loop {
        // A stream of a remote object begins to fetch when it is made.
        under_way.extend(coming.by_ref().take(IN_FLIGHT - under_way.len()).map(|range| (*range, reader.stream(*range))));
        let Some((range, chunks)) = under_way.pop_front() else { break };
        fetched.push(join(range, chunks)?);
    }
    let find = |range: &ByteRange| {
        if range.is_empty() {
            return Bytes::new();
        }
        let at = requests.partition_point(|request| request.end < range.end);
        let start = (range.start - requests[at].start) as usize;
        fetched[at].slice(start..start + range.len() as usize)
    };
    Ok(ranges.iter().map(find).collect())
}

fn join(range: ByteRange, mut chunks: Chunks<'_>) -> Result<Bytes, ReadError> {
    let Some(first) = chunks.next().transpose()? else { return Ok(Bytes::new()) };
    if first.len() as u64 == range.len() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(range.len() as usize);
    whole.extend_from_slice(&first);
    for chunk in chunks {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.into())
}

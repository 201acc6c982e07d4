//! The index: where the runs of an object lie in the plane.
//!
//! All numbers are little-endian. CRC-32 of all that follows (4 bytes), points a run (8; 0: the runs are LAZ chunks), number of runs
//! (8), smallest X, Y, Z and largest X, Y, Z of all points (6 x 4). Then the runs: smallest X, Y and largest X, Y (4 x 4), and for LAZ
//! place, bytes and points of the chunk (3 x 8). Coordinates are the integers of the records.

use std::io::Write;
use std::sync::Arc;

use neardata_core::{ByteRange, RangedRead};

use super::le::{i32_at, u32_at, u64_at};
use super::part::Part;
use super::points::{Cloud, Points};
use super::rectangle::Rectangle;
use crate::{FormatError, Progress};

pub(super) const VERSION: u32 = 1;
const HEAD: usize = 44;
const RUN: usize = 16;
const CHUNK: usize = 40;
/// Bytes of a run of LAS, at least.
const RUN_BYTES: u64 = 16 * 1024;
/// Most runs of LAS: the index is read with every slice of tiles.
const RUNS: u64 = 65_536;

/// What the index knows.
#[derive(Debug)]
pub(super) struct Index {
    /// The runs, each with its place in the plane.
    pub(super) runs: Vec<(Part, Rectangle)>,
    /// Smallest X, Y, Z of all points.
    pub(super) min: [i32; 3],
    /// The largest.
    pub(super) max: [i32; 3],
}

impl Index {
    pub(super) fn extent(&self) -> Rectangle {
        Rectangle([self.min[0], self.min[1], self.max[0], self.max[1]])
    }

    /// One pass over all points.
    pub(super) fn build(cloud: &Arc<Cloud>, progress: &dyn Fn(Progress)) -> Result<(Self, u64), FormatError> {
        let header = &cloud.header;
        let data = header.points.saturating_mul(header.record as u64);
        let run = RUN_BYTES.max(data / RUNS).div_ceil(header.record as u64);
        let parts = cloud.parts(run)?;
        let empty = ([i32::MAX; 3], [i32::MIN; 3]);
        let mut boxes = vec![Rectangle([i32::MAX, i32::MAX, i32::MIN, i32::MIN]); parts.len()];
        let (mut min, mut max) = empty;
        for block in Points::new(Arc::clone(cloud), parts.clone(), None) {
            let block = block?;
            let Some(Rectangle(place)) = boxes.get_mut(block.part) else { continue };
            for record in block.records.chunks_exact(header.record) {
                let point = [i32_at(record, 0), i32_at(record, 4), i32_at(record, 8)];
                for axis in 0..3 {
                    min[axis] = min[axis].min(point[axis]);
                    max[axis] = max[axis].max(point[axis]);
                }
                *place = [place[0].min(point[0]), place[1].min(point[1]), place[2].max(point[0]), place[3].max(point[1])];
            }
            let done = parts.get(block.part).map_or(0, |part| part.at + part.length);
            progress(Progress { done, total: header.object_size });
        }
        let run = if cloud.laz.is_some() { 0 } else { run };
        Ok((Self { runs: parts.into_iter().zip(boxes).collect(), min, max }, run))
    }

    pub(super) fn write(&self, run: u64, out: &mut dyn Write) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(HEAD + self.runs.len() * CHUNK);
        body.extend_from_slice(&run.to_le_bytes());
        body.extend_from_slice(&(self.runs.len() as u64).to_le_bytes());
        for value in self.min.iter().chain(&self.max) {
            body.extend_from_slice(&value.to_le_bytes());
        }
        for (part, Rectangle(place)) in &self.runs {
            place.iter().for_each(|value| body.extend_from_slice(&value.to_le_bytes()));
            if run == 0 {
                body.extend_from_slice(&part.at.to_le_bytes());
                body.extend_from_slice(&part.length.to_le_bytes());
                body.extend_from_slice(&part.points.to_le_bytes());
            }
        }
        out.write_all(&crc32fast::hash(&body).to_le_bytes())?;
        out.write_all(&body)
    }

    /// Reads what [`Index::write`] wrote, and checks that it is of this object.
    pub(super) fn read(cloud: &Cloud, index: &dyn RangedRead) -> Result<Self, FormatError> {
        let damaged = |reason: &str| FormatError::SideCar { name: index.name().to_owned(), reason: reason.to_owned() };
        let header = &cloud.header;
        let most = header.object_size.saturating_mul(2).saturating_add(HEAD as u64);
        if index.size() < HEAD as u64 || index.size() > most {
            return Err(damaged("its length does not fit the object"));
        }
        let bytes = index.read(ByteRange::new(0, index.size()))?;
        let (run, count) = (u64_at(&bytes, 4), u64_at(&bytes, 12));
        let entry = if run == 0 { CHUNK } else { RUN };
        if count.checked_mul(entry as u64).and_then(|length| length.checked_add(HEAD as u64)) != Some(bytes.len() as u64)
            || crc32fast::hash(&bytes[4..]) != u32_at(&bytes, 0)
            || (run == 0) != cloud.laz.is_some()
        {
            return Err(damaged("the checksum of its runs does not fit"));
        }
        let entries = bytes[HEAD..].chunks_exact(entry);
        let parts = match run {
            0 => chunks(header.data, &bytes[HEAD..], header.object_size),
            run => Some(cloud.parts(run)?),
        };
        let parts = parts.filter(|parts| parts.len() as u64 == count && sum(parts) == Some(header.points));
        let parts = parts.ok_or_else(|| damaged("its runs are not those of the object"))?;
        let place = |entry: &[u8]| Rectangle([i32_at(entry, 0), i32_at(entry, 4), i32_at(entry, 8), i32_at(entry, 12)]);
        Ok(Self {
            runs: parts.into_iter().zip(entries.map(place)).collect(),
            min: [0, 1, 2].map(|axis| i32_at(&bytes, 20 + 4 * axis)),
            max: [0, 1, 2].map(|axis| i32_at(&bytes, 32 + 4 * axis)),
        })
    }
}

fn sum(parts: &[Part]) -> Option<u64> {
    parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.points))
}

/// The chunks that entries of the index describe, one behind the other.
fn chunks(data: u64, entries: &[u8], end: u64) -> Option<Vec<Part>> {
    let mut behind = data;
    let mut parts = Vec::with_capacity(entries.len() / CHUNK);
    for entry in entries.chunks_exact(CHUNK) {
        let part = Part::whole(u64_at(entry, 16), u64_at(entry, 24), u64_at(entry, 32));
        let begins = part.at >= behind;
        behind = part.at.checked_add(part.length).filter(|next| begins && *next <= end)?;
        parts.push(part);
    }
    Some(parts)
}

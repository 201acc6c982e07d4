//! A slice as a LAS file: the header with counts and bounds of its own, the records as they were.

use std::io::{Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use neardata_core::ByteRange;
use tempfile::SpooledTempFile;

use super::header::{Header, Vlr};
use super::le::{i32_at, put, text_at, u8_at, u16_at, u64_at};
use super::points::{Cloud, Points};
use crate::FormatError;
use crate::table::Pieces;

/// Records held in memory before they go to scratch space: the header in front of them counts them.
const SPOOL: usize = 64 << 20;
const PIECE: usize = 1 << 20;
/// Extended records are kept up to this length together.
const EVLRS: u64 = 16 << 20;
const EVLR_HEADER: u64 = 60;

/// Counts and bounds of what was written.
struct Tally {
    points: u64,
    returns: [u64; 16],
    min: [i32; 3],
    max: [i32; 3],
}

/// The file, made when its first piece is taken.
pub(super) fn file(cloud: std::sync::Arc<Cloud>, points: Points) -> Pieces {
    let mut points = Some(points);
    let mut ready: Option<(Bytes, SpooledTempFile, Bytes)> = None;
    let mut next = move || -> Result<Option<Bytes>, FormatError> {
        if let Some(points) = points.take() {
            let evlrs = read_evlrs(&cloud)?;
            let (spool, tally) = spool(&cloud.header, points)?;
            let (count, evlrs) = evlrs;
            ready = Some((Bytes::new(), spool, evlrs));
            return Ok(Some(head(&cloud.header, &tally, count)));
        }
        let Some((_, spool, evlrs)) = &mut ready else { return Ok(None) };
        let mut piece = vec![0; PIECE];
        let length = spool.read(&mut piece).map_err(|source| scratch(&cloud.header, source))?;
        if length == 0 {
            let evlrs = std::mem::take(evlrs);
            ready = None;
            return Ok((!evlrs.is_empty()).then_some(evlrs));
        }
        piece.truncate(length);
        Ok(Some(piece.into()))
    };
    Box::new(std::iter::from_fn(move || next().transpose()))
}

fn scratch(header: &Header, source: std::io::Error) -> FormatError {
    FormatError::Scratch { name: header.name.clone(), source }
}

fn spool(header: &Header, points: Points) -> Result<(SpooledTempFile, Tally), FormatError> {
    let mut spool = tempfile::spooled_tempfile(SPOOL);
    let mut tally = Tally { points: 0, returns: [0; 16], min: [i32::MAX; 3], max: [i32::MIN; 3] };
    let mask = if header.point_format < 6 { 7 } else { 15 };
    for block in points {
        let records = block?.records;
        for record in records.chunks_exact(header.record) {
            tally.points += 1;
            tally.returns[usize::from(u8_at(record, 14) & mask)] += 1;
            for axis in 0..3 {
                let value = i32_at(record, 4 * axis);
                tally.min[axis] = tally.min[axis].min(value);
                tally.max[axis] = tally.max[axis].max(value);
            }
        }
        spool.write_all(&records).map_err(|source| scratch(header, source))?;
    }
    spool.seek(SeekFrom::Start(0)).map_err(|source| scratch(header, source))?;
    Ok((spool, tally))
}

/// Records that say how points are packed, or where in the object they lie, mean nothing in a slice.
fn stays(user: &str) -> bool {
    user != "laszip encoded" && user != "copc"
}

fn head(header: &Header, tally: &Tally, evlrs: u32) -> Bytes {
    let vlrs: Vec<&Vlr> = header.vlrs.iter().filter(|vlr| stays(&vlr.user)).collect();
    let mut head = header.raw.to_vec();
    vlrs.iter().for_each(|vlr| head.extend_from_slice(&vlr.raw));
    let data = head.len() as u64;
    let legacy = header.point_format < 6 && tally.points <= u64::from(u32::MAX);
    let old = |count: u64| (if legacy { count as u32 } else { 0 }).to_le_bytes();
    put(&mut head, 96, &(data as u32).to_le_bytes());
    put(&mut head, 100, &(vlrs.len() as u32).to_le_bytes());
    put(&mut head, 104, &[header.point_format]);
    put(&mut head, 107, &old(tally.points));
    for (number, count) in tally.returns[1..6].iter().enumerate() {
        put(&mut head, 111 + 4 * number, &old(*count));
    }
    for axis in 0..3 {
        let [one, other] = match tally.points {
            0 => [0.0; 2],
            _ => [header.scaled(axis, tally.min[axis]), header.scaled(axis, tally.max[axis])],
        };
        put(&mut head, 179 + 16 * axis, &one.max(other).to_le_bytes());
        put(&mut head, 187 + 16 * axis, &one.min(other).to_le_bytes());
    }
    if header.minor >= 3 {
        // Wave packets stay behind: what they were in the object is in no slice.
        put(&mut head, 227, &[0; 8]);
        let encoding = u16_at(&head, 6) & !2;
        put(&mut head, 6, &encoding.to_le_bytes());
    }
    if header.minor >= 4 {
        let end = data + tally.points * header.record as u64;
        put(&mut head, 235, &(if evlrs > 0 { end } else { 0 }).to_le_bytes());
        put(&mut head, 243, &evlrs.to_le_bytes());
        put(&mut head, 247, &tally.points.to_le_bytes());
        for (number, count) in tally.returns[1..].iter().enumerate() {
            put(&mut head, 255 + 8 * number, &count.to_le_bytes());
        }
    }
    head.into()
}

/// The extended records that stay, as they lie in the object: all but the COPC hierarchy, wave packets and what is too long.
fn read_evlrs(cloud: &Cloud) -> Result<(u32, Bytes), FormatError> {
    let header = &cloud.header;
    let (mut at, count) = header.evlrs;
    let mut kept = Vec::new();
    let mut number = 0;
    let size = cloud.object.size();
    for _ in 0..count {
        let Some(behind) = at.checked_add(EVLR_HEADER).filter(|behind| at >= header.data && *behind <= size) else {
            return Err(header.damaged(at, "an extended variable length record lies outside the object"));
        };
        let start = cloud.object.read(ByteRange::new(at, behind))?;
        let Some(end) = behind.checked_add(u64_at(&start, 20)).filter(|end| *end <= size) else {
            return Err(header.damaged(at, "an extended variable length record lies outside the object"));
        };
        let (user, record) = (text_at(&start, 2, 16), u16_at(&start, 18));
        let waves = user == "LASF_Spec" && record == 65_535;
        if stays(&user) && !waves {
            if kept.len() as u64 + (end - at) > EVLRS {
                tracing::warn!(object = header.name, user, record, "an extended record is too long to be kept in a slice");
            } else {
                kept.extend_from_slice(&cloud.object.read(ByteRange::new(at, end))?);
                number += 1;
            }
        }
        at = end;
    }
    Ok((number, kept.into()))
}

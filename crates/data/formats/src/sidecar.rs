//! The side-car file: `docs/formats.md` describes it byte by byte.

use bytes::Bytes;
use neardata_core::{ByteRange, ObjectRef, RangedRead, VERSION};
use serde::{Deserialize, Serialize};

use crate::index::{Index, IndexOptions, Point, Restart};
use crate::{Compression, Format, FormatError};

/// First bytes of every side-car; the last is the layout's version.
pub(crate) const MAGIC: [u8; 8] = *b"NDINDEX\x01";
/// Magic, header length, checksum, number of points.
const PREAMBLE: usize = 24;
/// Bytes of one point.
pub(crate) const ENTRY: usize = 48;
/// Longer headers are refused.
const HEADER_LIMIT: usize = 1 << 20;
/// Read first; holds the whole of most indexes.
const FIRST_READ: u64 = 64 * 1024;
/// Offset values that say how a point restarts.
const NO_RESTART: u64 = u64::MAX;
const FRESH_RESTART: u64 = u64::MAX - 1;

#[derive(Serialize, Deserialize)]
struct Header {
    v: u32,
    program: String,
    source: ObjectRef,
    format: Format,
    compression: Compression,
    records: u64,
    uncompressed: u64,
    /// Absent where it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    preamble: u64,
    options: IndexOptions,
    /// Absent where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unmarked: bool,
    windows: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Everything of a side-car that comes before its windows.
pub(crate) fn encode(index: &Index) -> Vec<u8> {
    let header = neardata_core::canonical::to_string(&Header {
        v: 1,
        program: format!("neardata {VERSION}"),
        source: index.source.clone(),
        format: index.format,
        compression: index.compression,
        records: index.records,
        uncompressed: index.uncompressed,
        preamble: index.preamble,
        options: index.options,
        unmarked: index.unmarked,
        windows: index.windows_length,
    });
    let mut bytes = Vec::with_capacity(PREAMBLE + header.len() + index.points.len() * ENTRY);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(index.points.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    for point in &index.points {
        let (offset, length, checksum) = match point.restart {
            Restart::No => (NO_RESTART, 0, 0),
            Restart::Fresh => (FRESH_RESTART, 0, 0),
            Restart::Window { offset, length, checksum } => (offset, length, checksum),
        };
        for number in [point.bit, point.out, point.record, point.record_out, offset] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What is said of a window whose checksum does not fit.
pub(crate) const WINDOW_CHECKSUM: &str = "the checksum of a window does not fit";
/// Bytes of windows read in one go to verify them.
const VERIFIED_AT_ONCE: u64 = 1 << 20;

/// Reads header and points of a side-car; its windows stay where they are.
pub fn read_index(reader: &dyn RangedRead) -> Result<Index, FormatError> {
    let damaged = |reason: &str| FormatError::SideCar { name: reader.name().to_owned(), reason: reason.to_owned() };
    let start = reader.read(ByteRange::new(0, FIRST_READ.min(reader.size())))?;
    let preamble = start.first_chunk::<PREAMBLE>().ok_or_else(|| damaged("it is shorter than its preamble"))?;
    if preamble[..7] != MAGIC[..7] {
        return Err(damaged("it does not begin with NDINDEX"));
    }
    if preamble[7] != MAGIC[7] {
        return Err(damaged("another version of the program wrote it"));
    }
    let header_length = u32::from_le_bytes([preamble[8], preamble[9], preamble[10], preamble[11]]) as usize;
    let checksum = u32::from_le_bytes([preamble[12], preamble[13], preamble[14], preamble[15]]);
    let count = u64_at(preamble, 16);
    let length = count
        .checked_mul(ENTRY as u64)
        .and_then(|table| table.checked_add((PREAMBLE + header_length) as u64))
        .filter(|length| *length <= reader.size() && header_length <= HEADER_LIMIT)
        .ok_or_else(|| damaged("it is shorter than its table"))?;
    let bytes = match start.get(..length as usize) {
        Some(bytes) => bytes.to_vec(),
        None => {
            let mut bytes = start.to_vec();
            bytes.extend_from_slice(&reader.read(ByteRange::new(start.len() as u64, length))?);
            bytes
        }
    };
    if crc32fast::hash(&bytes[16..]) != checksum {
        return Err(damaged("the checksum of header and table does not fit"));
    }
    let (header, table) = bytes[PREAMBLE..].split_at(header_length);
    let header: Header = serde_json::from_slice(header).map_err(|error| damaged(&format!("header: {error}")))?;
    let points = table.chunks_exact(ENTRY).map(decode_point).collect();
    let index = Index {
        source: header.source,
        format: header.format,
        compression: header.compression,
        records: header.records,
        uncompressed: header.uncompressed,
        preamble: header.preamble,
        options: header.options,
        unmarked: header.unmarked,
        points,
        windows_length: header.windows,
        windows_start: length,
    };
    if header.v != 1 || index.windows_start.checked_add(index.windows_length) != Some(reader.size()) {
        return Err(damaged("it is not as long as its header says"));
    }
    check(&index).map_err(damaged)?;
    Ok(index)
}

/// Reads the windows of a side-car and compares them with their checksums.
pub(crate) fn verify_windows(reader: &dyn RangedRead, index: &Index) -> Result<(), FormatError> {
    let damaged = || FormatError::SideCar { name: reader.name().to_owned(), reason: WINDOW_CHECKSUM.to_owned() };
    let mut read = ByteRange::new(0, 0);
    let mut bytes = Bytes::new();
    for point in &index.points {
        let Restart::Window { offset, length, checksum } = point.restart else { continue };
        let start = index.windows_start + offset;
        let end = start + u64::from(length);
        if start < read.start || end > read.end {
            read = ByteRange::new(start, end.max(start + VERIFIED_AT_ONCE).min(reader.size()));
            bytes = reader.read(read)?;
        }
        let window = bytes.get((start - read.start) as usize..(end - read.start) as usize).ok_or_else(damaged)?;
        if crc32fast::hash(window) != checksum {
            return Err(damaged());
        }
    }
    Ok(())
}

/// What later arithmetic relies on.
pub(crate) fn check(index: &Index) -> Result<(), &'static str> {
    let ordered = index.points.windows(2).all(|pair| {
        pair[0].bit <= pair[1].bit
            && pair[0].out <= pair[1].out
            && pair[0].record <= pair[1].record
            && pair[0].record_out <= pair[1].record_out
    });
    let bounded = index.points.iter().all(|point| {
        point.bit / 8 <= index.source.size
            && point.out <= index.uncompressed
            && point.record <= index.records
            && point.record_out <= index.uncompressed
            && match point.restart {
                Restart::Window { offset, length, .. } => {
                    offset.checked_add(u64::from(length)).is_some_and(|end| end <= index.windows_length)
                }
                _ => true,
            }
    });
    let begins = match index.points.first() {
        Some(first) => (first.out, first.record, first.record_out) == (0, 0, index.preamble) && first.restart == Restart::Fresh,
        None => index.uncompressed == 0 && index.records == 0 && index.preamble == 0,
    };
    if ordered && bounded && begins { Ok(()) } else { Err("its points are out of order") }
}

fn decode_point(entry: &[u8]) -> Point {
    let tail = u64_at(entry, 40);
    let restart = match u64_at(entry, 32) {
        NO_RESTART => Restart::No,
        FRESH_RESTART => Restart::Fresh,
        offset => Restart::Window { offset, length: tail as u32, checksum: (tail >> 32) as u32 },
    };
    Point { bit: u64_at(entry, 0), out: u64_at(entry, 8), record: u64_at(entry, 16), record_out: u64_at(entry, 24), restart }
}

/// The little-endian number at `at`; zero beyond the end.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |number| u64::from_le_bytes(*number))
}

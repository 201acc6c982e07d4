//! What a slice says about each of its objects: everything needed to read its records and nothing else.

use neardata_core::SliceError;
use serde::{Deserialize, Serialize};

use crate::Compression;
use crate::index::{Index, Restart};

/// The selection of a slice of records: one stretch an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// In the order of the slice's objects.
    pub stretches: Vec<Stretch>,
}

/// Consecutive records of one object, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Compression of the object.
    pub compression: Compression,
    /// Records `[a, b)`, counted from 0.
    pub records: [u64; 2],
    /// Bit of the object where decoding starts.
    pub bit: u64,
    /// Uncompressed offset there.
    pub out: u64,
    /// Byte of the object before which decoding is over.
    pub stop: u64,
    /// The last known record start at `a` or before: record, uncompressed offset.
    pub from: [u64; 2],
    /// The last known record start at `b` or before.
    pub to: [u64; 2],
    /// What decoding needs besides, for gzip between member starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowRef>,
    /// The object's header, for formats that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preamble: Option<Preamble>,
}

/// The bytes before the first record, which make a file of any run of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preamble {
    /// Bit of the object where decoding starts.
    pub bit: u64,
    /// Its uncompressed length, from the start of the object.
    pub length: u64,
    /// Byte of the object before which it is decoded.
    pub stop: u64,
}

/// A stored window: raw deflate data within the side-car.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRef {
    /// First byte in the side-car.
    pub at: u64,
    /// Stored length.
    pub length: u32,
    /// CRC-32 of the stored bytes.
    pub crc: u32,
}

/// No stored window is longer: deflate adds little to 32 KiB that do not compress.
pub(crate) const WINDOW_LIMIT: u32 = 48 * 1024;
/// A longer header is not held in memory.
pub(crate) const PREAMBLE_LIMIT: u64 = 256 << 20;

impl Stretch {
    /// Records `[first, end)` of an indexed object.
    pub(crate) fn new(index: &Index, first: u64, end: u64) -> Self {
        let (from, from_out) = index.known_before(first);
        let (to, to_out) = index.known_before(end);
        let restart = index.restart_before(from_out);
        let window = restart.and_then(|point| match point.restart {
            Restart::Window { offset, length, checksum } => {
                Some(WindowRef { at: index.windows_start + offset, length, crc: checksum })
            }
            _ => None,
        });
        // Where the end is known exactly decoding stops at the next place that lies behind it; else the end lies before the first
        // place whose next record comes after it.
        let behind = match to == end {
            true if index.compression == Compression::Plain => None,
            true => index.points.get(index.points.partition_point(|point| point.out < to_out)),
            false => index.points.get(index.points.partition_point(|point| point.record <= end)),
        };
        let stop = match (behind, index.compression) {
            (None, Compression::Plain) if to == end => to_out,
            (Some(point), _) => point.bit.div_ceil(8),
            (None, _) => index.source.size,
        };
        let preamble = (index.preamble > 0).then(|| {
            let behind = index.points.iter().find(|point| point.out >= index.preamble);
            let plain = (index.compression == Compression::Plain).then_some(index.preamble);
            let stop = plain.or(behind.map(|point| point.bit.div_ceil(8))).unwrap_or(index.source.size);
            Preamble { bit: index.points.first().map_or(0, |point| point.bit), length: index.preamble, stop }
        });
        Self {
            preamble,
            compression: index.compression,
            records: [first, end],
            bit: restart.map_or(0, |point| point.bit),
            out: restart.map_or(0, |point| point.out),
            stop,
            from: [from, from_out],
            to: [to, to_out],
            window,
        }
    }

    /// The header, as if it were a record.
    pub(crate) fn of_preamble(compression: Compression, preamble: Preamble) -> Self {
        let Preamble { bit, length, stop } = preamble;
        let (from, to) = ([0, 0], [1, length]);
        Self { compression, records: [0, 1], bit, out: 0, stop, from, to, window: None, preamble: None }
    }

    /// Refuses what no index gives: a slice may come from anywhere.
    pub(crate) fn check(&self, format: &str, object_size: u64, index_size: Option<u64>) -> Result<(), SliceError> {
        let [first, end] = self.records;
        let [from, from_out] = self.from;
        let [to, to_out] = self.to;
        let reason = if first > end || from > first || to > end || from > to || from_out > to_out {
            "its records are out of order"
        } else if self.preamble.is_some_and(|preamble| preamble.stop > object_size || preamble.length > PREAMBLE_LIMIT) {
            "its header lies outside its object or is too long"
        } else if self.out > from_out {
            "it starts behind its first record"
        } else if self.stop > object_size || self.bit / 8 > self.stop {
            "it lies outside its object"
        } else if self.compression != Compression::Gzip && (self.window.is_some() || !self.bit.is_multiple_of(8)) {
            "only gzip needs a window or starts inside a byte"
        } else if self.compression == Compression::Plain && self.bit / 8 != self.out {
            "offsets of a plain object differ"
        } else if self.window.is_some_and(|window| {
            window.length > WINDOW_LIMIT
                || index_size.is_none_or(|size| window.at.checked_add(u64::from(window.length)).is_none_or(|end| end > size))
        }) {
            "its window lies outside the side-car"
        } else {
            return Ok(());
        };
        Err(SliceError::Selection { format: format.to_owned(), reason: reason.to_owned() })
    }
}

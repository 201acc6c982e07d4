//! What the index keeps of a spectrum: 72 bytes.

use neardata_core::ByteRange;

use super::number::Number;

/// Bytes of one entry.
pub(super) const ENTRY: usize = 72;
/// Longer arrays are refused: everything that is decoded is held in memory.
const ARRAY_LIMIT: u64 = 1 << 30;
/// Deflate cannot pack more bytes than this into one.
const DEFLATE_LIMIT: u64 = 1032;

/// Where an array lies in the .ibd, and how it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Array {
    pub(super) offset: u64,
    /// Its length in bytes, as it lies there.
    pub(super) encoded: u64,
    pub(super) number: Number,
    pub(super) zlib: bool,
    /// Which of the arrays in the XML of its spectrum it is, from 0.
    pub(super) position: u8,
}

impl Array {
    /// The bytes of the .ibd that hold it.
    pub(super) fn range(&self) -> ByteRange {
        ByteRange::new(self.offset, self.offset.saturating_add(self.encoded))
    }

    /// Whether it ends behind an .ibd of so many bytes.
    pub(super) fn beyond(&self, ibd: u64) -> bool {
        self.encoded > 0 && self.offset.checked_add(self.encoded).is_none_or(|end| end > ibd)
    }

    /// Refuses what cannot be so: an array of `count` values that is longer than the .ibd or than can be decoded.
    pub(super) fn check(&self, count: u32, ibd: u64) -> Result<(), String> {
        if self.encoded == 0 && count == 0 {
            return Ok(());
        }
        if self.beyond(ibd) {
            return Err(format!("it takes {} bytes from byte {} of {ibd}", self.encoded, self.offset));
        }
        let decoded = u64::from(count) * self.number.width() as u64;
        if decoded > ARRAY_LIMIT {
            return Err(format!("{count} values: arrays of more than {} GiB are not read", ARRAY_LIMIT >> 30));
        }
        if self.zlib && decoded > self.encoded.saturating_mul(DEFLATE_LIMIT) {
            return Err(format!("{} bytes of zlib cannot hold {count} values", self.encoded));
        }
        if !self.zlib && decoded != self.encoded {
            return Err(format!("{} bytes do not hold {count} values", self.encoded));
        }
        Ok(())
    }
}

/// A spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number as the XML gives it (`index`); else which spectrum of the list it is, from 0.
    pub(super) index: u64,
    /// Where its element begins in the XML.
    pub(super) xml: u64,
    /// Length of its element.
    pub(super) xml_length: u32,
    /// Number of peaks.
    pub(super) count: u32,
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) z: Option<i32>,
    pub(super) mz: Array,
    pub(super) intensity: Array,
}

impl Entry {
    /// Little-endian: flags; x, y, z; XML offset; XML length, count; offset and length of m/z; of intensities; index.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = |array: &Array| u32::from(array.number.code()) | u32::from(array.zlib) << 3 | u32::from(array.position) << 4;
        let flags = flags(&self.mz) | flags(&self.intensity) << 12 | u32::from(self.z.is_some()) << 31;
        out.extend_from_slice(&flags.to_le_bytes());
        for number in [self.x, self.y, self.z.unwrap_or(0)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.xml.to_le_bytes());
        out.extend_from_slice(&self.xml_length.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        for number in [self.mz.offset, self.mz.encoded, self.intensity.offset, self.intensity.encoded, self.index] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        let (short, long) = (|at: usize| u32_at(bytes, at), |at: usize| u64_at(bytes, at));
        let flags = short(0);
        let array = |flags: u32, at: usize| {
            let number = Number::from_code((flags & 7) as u8)?;
            let (zlib, position) = (flags >> 3 & 1 == 1, (flags >> 4 & 0xff) as u8);
            Some(Array { offset: long(at), encoded: long(at + 8), number, zlib, position })
        };
        Some(Self {
            index: long(64),
            xml: long(16),
            xml_length: short(24),
            count: short(28),
            x: short(4) as i32,
            y: short(8) as i32,
            z: (flags >> 31 == 1).then_some(short(12) as i32),
            mz: array(flags, 32)?,
            intensity: array(flags >> 12, 48)?,
        })
    }

    /// Refuses what lies outside the objects.
    pub(super) fn check(&self, xml: u64, ibd: u64) -> Result<(), String> {
        if self.xml.checked_add(u64::from(self.xml_length)).is_none_or(|end| end > xml) {
            return Err("its element lies outside the XML".into());
        }
        self.mz.check(self.count, ibd).map_err(|reason| format!("m/z array: {reason}"))?;
        self.intensity.check(self.count, ibd).map_err(|reason| format!("intensity array: {reason}"))
    }

    /// Whether its m/z array is the very same bytes.
    pub(super) fn shares_mz(&self, other: &Self) -> bool {
        let same = Array { position: other.mz.position, ..self.mz };
        same == other.mz && self.count == other.count
    }

    pub(super) fn same_pixel(&self, other: &Self) -> bool {
        (self.x, self.y, self.z) == (other.x, other.y, other.z)
    }
}

/// The little-endian number at `at`; zero beyond the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number))
}

/// The little-endian number at `at`; zero beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u64::from_le_bytes(*number))
}

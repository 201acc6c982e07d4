//! The public header block and the variable length records (LAS 1.4 R15, sections 2.4 and 2.5).

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};

use super::le::{f64_at, text_at, u8_at, u16_at, u32_at, u64_at};
use crate::FormatError;

/// The first read: most headers with their variable length records are shorter.
const FIRST_READ: u64 = 16 * 1024;
/// Longer headers are not held in memory.
const LIMIT: u64 = 256 << 20;
/// Length of what precedes the content of a variable length record.
pub(super) const VLR_HEADER: usize = 54;
/// Length of a point record of each format, without extra bytes.
const RECORD_LENGTHS: [usize; 11] = [20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67];

/// A variable length record, as it lies in the object.
#[derive(Clone, Debug)]
pub(super) struct Vlr {
    pub(super) user: String,
    pub(super) record: u16,
    /// With the 54 bytes of its header.
    pub(super) raw: Bytes,
}

impl Vlr {
    pub(super) fn is(&self, user: &str, record: u16) -> bool {
        self.user == user && self.record == record
    }

    pub(super) fn content(&self) -> &[u8] {
        self.raw.get(VLR_HEADER..).unwrap_or_default()
    }
}

/// What the header of a point cloud says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Address of the object, for messages.
    pub(super) name: String,
    /// Size of the object.
    pub(super) object_size: u64,
    /// The public header block as it lies in the object.
    pub(super) raw: Bytes,
    pub(super) minor: u8,
    /// 0 to 10.
    pub(super) point_format: u8,
    pub(super) compressed: bool,
    /// Bytes of one point record.
    pub(super) record: usize,
    /// Bytes of one point record that its format names; extra bytes follow.
    pub(super) named: usize,
    pub(super) points: u64,
    pub(super) data: u64,
    pub(super) scale: [f64; 3],
    pub(super) offset: [f64; 3],
    pub(super) min: [f64; 3],
    pub(super) max: [f64; 3],
    /// First extended variable length record, and how many there are.
    pub(super) evlrs: (u64, u32),
    pub(super) vlrs: Vec<Vlr>,
}

impl Header {
    pub(super) fn read(object: &dyn RangedRead) -> Result<Self, FormatError> {
        let size = object.size();
        let start = object.read(ByteRange::new(0, FIRST_READ.min(size)))?;
        let mut header = Self::parse(object.name(), size, &start)?;
        let all = match start.get(..header.data as usize) {
            Some(_) => start,
            None if header.data > LIMIT => {
                return Err(header.damaged(96, format!("points begin behind {} bytes of header", header.data)));
            }
            None => object.read(ByteRange::new(0, header.data))?,
        };
        header.vlrs = header.read_vlrs(&all);
        Ok(header)
    }

    fn parse(name: &str, size: u64, start: &Bytes) -> Result<Self, FormatError> {
        let damaged = |offset, reason: String| damaged(name, offset, reason);
        if !start.starts_with(b"LASF") {
            return Err(damaged(0, "it does not begin with `LASF`".into()));
        }
        let (major, minor) = (u8_at(start, 24), u8_at(start, 25));
        if major != 1 || minor > 4 {
            return Err(unsupported(
                name,
                format!("version {major}.{minor}"),
                "write it as LAS 1.4, for example with `pdal translate`",
            ));
        }
        let length = usize::from(u16_at(start, 94));
        let least = match minor {
            ..=2 => 227,
            3 => 235,
            _ => 375,
        };
        if length < least {
            return Err(damaged(94, format!("a header of {length} bytes; LAS 1.{minor} has {least}")));
        }
        let Some(raw) = (length <= start.len()).then(|| start.slice(..length)) else {
            return Err(FormatError::Truncated { name: name.into(), what: "LAS header", offset: size });
        };
        let kind = u8_at(&raw, 104);
        let point_format = kind & 0x3f;
        let Some(&named) = RECORD_LENGTHS.get(usize::from(point_format)).filter(|_| kind & 0x40 == 0) else {
            return Err(unsupported(name, format!("point format {}", kind & 0x7f), "formats 0 to 10 are"));
        };
        let record = usize::from(u16_at(&raw, 105));
        if record < named {
            return Err(damaged(105, format!("records of {record} bytes; point format {point_format} has {named}")));
        }
        let data = u64::from(u32_at(&raw, 96));
        if data < length as u64 {
            return Err(damaged(96, format!("points that begin at byte {data}, within the header")));
        }
        if data > size {
            return Err(FormatError::Truncated { name: name.into(), what: "LAS header", offset: size });
        }
        let legacy = u64::from(u32_at(&raw, 107));
        let points = match u64_at(&raw, 247) {
            0 => legacy,
            points if minor >= 4 => points,
            _ => legacy,
        };
        let three = |place: usize, step: usize| [0, 1, 2].map(|axis| f64_at(&raw, place + axis * step));
        let (scale, offset) = (three(131, 8), three(155, 8));
        if points > 0
            && !(scale.iter().all(|scale| scale.is_finite() && *scale != 0.0) && offset.iter().all(|offset| offset.is_finite()))
        {
            return Err(damaged(131, "scales and offsets of coordinates that are no numbers, or zero".into()));
        }
        let header = Self {
            name: name.into(),
            object_size: size,
            minor,
            point_format,
            compressed: kind & 0x80 != 0,
            record,
            named,
            points,
            data,
            scale,
            offset,
            max: three(179, 16),
            min: three(187, 16),
            evlrs: if minor >= 4 { (u64_at(&raw, 235), u32_at(&raw, 243)) } else { (0, 0) },
            vlrs: Vec::new(),
            raw,
        };
        header.check_points()?;
        Ok(header)
    }

    /// Refuses more points than there are bytes.
    fn check_points(&self) -> Result<(), FormatError> {
        let room = self.object_size - self.data;
        let needed = self.points.checked_mul(self.record as u64);
        match needed {
            // No chunk holds more points than its number can say, and each begins with a whole record.
            None => Err(self.damaged(107, format!("{} points", self.points))),
            Some(needed) if !self.compressed && needed > room => {
                Err(FormatError::Truncated { name: self.name.clone(), what: "LAS points", offset: self.object_size })
            }
            _ => Ok(()),
        }
    }

    fn read_vlrs(&self, all: &Bytes) -> Vec<Vlr> {
        let (mut at, end) = (self.raw.len(), self.data as usize);
        let mut vlrs = Vec::new();
        for number in 0..u32_at(&self.raw, 100) {
            let length = VLR_HEADER + usize::from(u16_at(all, at + 20));
            if at + VLR_HEADER > end || at + length > end {
                // Programs count wrong, and readers put up with it: the points are not touched.
                tracing::warn!(object = self.name, number, "a variable length record reaches into the points; it is left out");
                break;
            }
            let raw = all.slice(at..at + length);
            vlrs.push(Vlr { user: text_at(&raw, 2, 16), record: u16_at(&raw, 18), raw });
            at += length;
        }
        vlrs
    }

    /// First byte behind the points that is known to be none of theirs.
    pub(super) fn points_end(&self) -> u64 {
        let (start, count) = self.evlrs;
        if count > 0 && (self.data..self.object_size).contains(&start) { start } else { self.object_size }
    }

    pub(super) fn damaged(&self, offset: u64, reason: impl Into<String>) -> FormatError {
        damaged(&self.name, offset, reason.into())
    }

    pub(super) fn unsupported(&self, what: impl Into<String>, remedy: &str) -> FormatError {
        unsupported(&self.name, what.into(), remedy)
    }

    /// A coordinate as readers of LAS compute it.
    pub(super) fn scaled(&self, axis: usize, value: i32) -> f64 {
        f64::from(value) * self.scale[axis] + self.offset[axis]
    }
}

fn damaged(name: &str, offset: u64, reason: String) -> FormatError {
    FormatError::Damaged { name: name.into(), format: "LAS", offset, reason }
}

fn unsupported(name: &str, what: String, remedy: &str) -> FormatError {
    FormatError::Unsupported { name: name.into(), format: "LAS", what, remedy: remedy.into() }
}

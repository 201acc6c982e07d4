use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead, coalesce, read_ranges};

use super::entry::Array;
use super::head::Head;
use super::index::Footer;
use super::xml::damaged;
use crate::FormatError;

/// Gaps that may be fetched to save requests, widest first.
const GAPS: [u64; 5] = [64 << 10, 16 << 10, 4 << 10, 512, 0];
/// What is fetched in vain is at most this part of what is wanted.
const WASTE_PART: u64 = 32;

/// The pair, and the head of its XML.
pub(super) struct Objects {
    pub(super) xml: Arc<dyn RangedRead>,
    pub(super) ibd: Arc<dyn RangedRead>,
    pub(super) head: Head,
}

impl Objects {
    pub(super) fn footer(&self, index: &dyn RangedRead) -> Result<Footer, FormatError> {
        Footer::read(index, self.xml.size(), self.ibd.size())
    }

    /// All values of an array.
    pub(super) fn whole_array(&self, array: &Array, count: u32) -> Result<Bytes, FormatError> {
        let part = Part::whole(array, count);
        let bytes = if array.encoded == 0 { Bytes::new() } else { self.ibd.read(part.range())? };
        part.open(bytes, self.ibd.name())
    }

    /// Ranges of the .ibd, with few requests and little that is not wanted. Gaps up to `least_gap` are always fetched.
    pub(super) fn fetch(&self, ranges: &[ByteRange], least_gap: u64) -> Result<Vec<Bytes>, FormatError> {
        let fetched = |gap| coalesce(ranges, gap).iter().map(ByteRange::len).fold(0, u64::saturating_add);
        let wanted = fetched(0);
        let gap = GAPS.into_iter().find(|gap| *gap <= least_gap || fetched(*gap) - wanted <= wanted / WASTE_PART);
        Ok(read_ranges(&*self.ibd, ranges, gap.unwrap_or(0))?)
    }
}

/// A run of the values of an array.
#[derive(Clone, Copy)]
pub(super) struct Part {
    array: Array,
    count: u32,
    from: u32,
    to: u32,
}

impl Part {
    pub(super) fn new(array: &Array, count: u32, (from, to): (u32, u32)) -> Self {
        Self { array: *array, count, from: from.min(count), to: to.min(count).max(from.min(count)) }
    }

    pub(super) fn whole(array: &Array, count: u32) -> Self {
        Self::new(array, count, (0, count))
    }

    /// The bytes of the .ibd that are needed for it.
    pub(super) fn range(&self) -> ByteRange {
        if self.array.zlib && self.from < self.to {
            return self.array.range();
        }
        let value = |number: u32| self.array.offset + u64::from(number) * self.array.number.width() as u64;
        if self.from < self.to { ByteRange::new(value(self.from), value(self.to)) } else { ByteRange::new(0, 0) }
    }

    /// The values, out of what lies there.
    pub(super) fn open(&self, bytes: Bytes, ibd: &str) -> Result<Bytes, FormatError> {
        if !self.array.zlib || self.from == self.to {
            return Ok(bytes);
        }
        let width = self.array.number.width();
        let mut values = vec![0; self.count as usize * width];
        let broken = |reason: String| damaged(ibd, self.array.offset, reason);
        let length = libdeflater::Decompressor::new()
            .zlib_decompress(&bytes, &mut values)
            .map_err(|error| broken(format!("zlib of {} values: {error}", self.count)))?;
        if length != values.len() {
            return Err(broken(format!("zlib gives {length} bytes where {} values were said", self.count)));
        }
        Ok(Bytes::from(values).slice(self.from as usize * width..self.to as usize * width))
    }
}

//! What one pass over an object learns: places where decoding can start again, and where records begin near them.

use neardata_core::ObjectRef;
use serde::{Deserialize, Serialize};

use crate::{Compression, Format};

/// How densely an index is laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexOptions {
    /// Uncompressed bytes between two checkpoints of a gzip object; each costs a window in the side-car.
    pub span: u64,
    /// Uncompressed bytes between two points that cost no window.
    pub point_span: u64,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { span: 2 << 20, point_span: 128 << 10 }
    }
}

/// Whether, and with what, decoding can start at a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It cannot; the point only says where things are.
    No,
    /// It can, with nothing.
    Fresh,
    /// It can, with the window stored at these bytes of the side-car's window area.
    Window {
        /// offset in the window area
        offset: u64,
        /// stored length
        length: u32,
        /// CRC-32 of the stored bytes
        checksum: u32,
    },
}

/// A known place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Bit of the object at which decoding would continue.
    pub bit: u64,
    /// Offset of the next byte in the uncompressed object.
    pub out: u64,
    /// The first record that begins at `out` or after; the number of records when none does.
    pub record: u64,
    /// Where that record begins in the uncompressed object; its size when there is none.
    pub record_out: u64,
    /// Whether decoding can start here.
    pub restart: Restart,
}

/// The index of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The object, pinned.
    pub source: ObjectRef,
    /// Format of its records.
    pub format: Format,
    /// Compression around them.
    pub compression: Compression,
    /// Number of records.
    pub records: u64,
    /// Size when uncompressed.
    pub uncompressed: u64,
    /// Uncompressed bytes before the first record that belong to none: the header of a format that has one.
    pub preamble: u64,
    /// How it was made.
    pub options: IndexOptions,
    /// It is BGZF without the empty block at its end: it may have been cut at the end of a block.
    pub unmarked: bool,
    /// Points in order of `out`; the first is at 0 unless the object holds nothing.
    pub points: Vec<Point>,
    /// Length of the window area.
    pub windows_length: u64,
    /// Where the window area begins in the side-car.
    pub windows_start: u64,
}

impl Index {
    /// The same object with its first record, of so many bytes, taken for a header that belongs to no record.
    pub(crate) fn with_header_row(mut self, length: u64) -> Self {
        if self.records > 0 {
            self.records -= 1;
            self.preamble += length;
            for point in &mut self.points {
                (point.record, point.record_out) = (point.record.saturating_sub(1), point.record_out.max(self.preamble));
            }
        }
        self
    }

    /// The last place known where record `record` or one before begins: (record, offset).
    pub(crate) fn known_before(&self, record: u64) -> (u64, u64) {
        if record >= self.records {
            return (self.records, self.uncompressed);
        }
        let after = self.points.partition_point(|point| point.record <= record);
        match after.checked_sub(1).and_then(|at| self.points.get(at)) {
            Some(point) => (point.record, point.record_out),
            None => (0, self.preamble),
        }
    }

    /// The first place known where a record after `record` begins, or the end.
    pub(crate) fn known_after(&self, record: u64) -> (u64, u64) {
        let after = self.points.partition_point(|point| point.record <= record);
        self.points.get(after).map_or((self.records, self.uncompressed), |point| (point.record, point.record_out))
    }

    /// About where record `record` begins in the uncompressed object: exact at points, straight lines between.
    pub(crate) fn estimate(&self, record: u64) -> u64 {
        let (low, low_out) = self.known_before(record);
        if low == record {
            return low_out;
        }
        let (high, high_out) = self.known_after(record);
        let part = u128::from(high_out - low_out) * u128::from(record - low) / u128::from((high - low).max(1));
        low_out + part as u64
    }

    /// How many slices it can be cut into such that none decodes much more than its own: as many as there are different records behind
    /// places where decoding can start. No number where that does not matter: only Zstandard frames can be so few.
    pub(crate) fn most_slices(&self) -> Option<u64> {
        if self.compression != Compression::Zstd {
            return None;
        }
        let starts = self.points.iter().filter(|point| point.restart != Restart::No && point.record < self.records);
        let (count, _) =
            starts.fold((0, None), |(count, last), point| (count + u64::from(last != Some(point.record)), Some(point.record)));
        Some(count)
    }

    /// What its user should know of it.
    pub(crate) fn note(&self) -> Option<String> {
        self.cut_short().or_else(|| self.one_frame())
    }

    /// A warning that some of it may be missing.
    pub(crate) fn cut_short(&self) -> Option<String> {
        self.unmarked.then(|| {
            "this BGZF ends without its end-of-file block: it may have been cut short at the end of a block. Compare it with its source, \
             or try `samtools quickcheck`"
                .to_owned()
        })
    }

    /// Why it cannot be cut.
    pub(crate) fn one_frame(&self) -> Option<String> {
        (self.records > 1 && self.most_slices() == Some(1)).then(|| {
            "this Zstandard data is one frame, which can be decoded from its start only: it is one slice however it is cut. \
             To have more, recompress it in blocks, `zstd -dc FILE | bgzip > FILE.gz`, or in many frames, \
             `zstd -dc FILE | pzstd -c > NEW.zst`"
                .to_owned()
        })
    }

    /// The last point at `out` or before where decoding can start.
    pub(crate) fn restart_before(&self, out: u64) -> Option<&Point> {
        let after = self.points.partition_point(|point| point.out <= out);
        self.points[..after].iter().rev().find(|point| point.restart != Restart::No)
    }
}

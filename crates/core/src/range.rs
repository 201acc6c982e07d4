use serde::{Deserialize, Serialize};

/// A half-open range of bytes `[start, end)` within one object, in 64-bit offsets.
///
/// ```
/// use neardata_core::ByteRange;
/// let range = ByteRange::new(10, 30);
/// assert_eq!(range.len(), 20);
/// assert_eq!(range.to_string(), "10-30");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte of the range.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The range `[start, end)`; an `end` before `start` gives an empty range at `start`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Number of bytes in the range.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the range holds no byte.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The part of this range that lies below `size`.
    pub fn clamp(&self, size: u64) -> Self {
        Self::new(self.start.min(size), self.end.min(size))
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

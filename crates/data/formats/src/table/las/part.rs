//! Parts of an object that are fetched together.

use neardata_core::ByteRange;

/// A run of records, or a LAZ chunk, and which of its points are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) length: u64,
    /// Points it holds.
    pub(super) points: u64,
    /// Points to pass over first.
    pub(super) skip: u64,
    /// Points wanted behind those.
    pub(super) take: u64,
}

impl Part {
    /// All of it.
    pub(super) fn whole(at: u64, length: u64, points: u64) -> Self {
        Self { at, length, points, skip: 0, take: points }
    }

    fn end(&self) -> u64 {
        self.at.saturating_add(self.length)
    }
}

/// One read, and the parts it serves.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) range: ByteRange,
    pub(super) parts: Vec<Part>,
}

/// A read is no longer, unless one part is.
const LONGEST: u64 = 8 << 20;
/// Gaps that are always read over: a request costs more.
const SMALL_GAP: u64 = 32 * 1024;
/// Gaps that are never read over.
const LARGE_GAP: u64 = 1 << 20;
/// Between the two, gaps are read over until no more stretches are left than this.
const STRETCHES: usize = 128;

/// Groups parts, in order of their places, into reads.
pub(super) fn fetches(parts: Vec<Part>) -> Vec<Fetch> {
    let bridged = bridged_gap(&parts);
    let mut fetches: Vec<Fetch> = Vec::new();
    for part in parts {
        match fetches.last_mut() {
            Some(last)
                if part.at >= last.range.end
                    && part.at - last.range.end <= bridged
                    && part.end() - last.range.start <= LONGEST =>
            {
                last.range.end = part.end();
                last.parts.push(part);
            }
            _ => fetches.push(Fetch { range: ByteRange::new(part.at, part.end()), parts: vec![part] }),
        }
    }
    fetches
}

/// The longest gap that is read over.
fn bridged_gap(parts: &[Part]) -> u64 {
    let gaps = parts.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].end()));
    let mut gaps: Vec<u64> = gaps.filter(|gap| *gap > SMALL_GAP).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps.get(STRETCHES).copied().unwrap_or(SMALL_GAP).clamp(SMALL_GAP, LARGE_GAP)
}

//! Rectangles of pixels, and how they are split along the grid of tiles.

use serde::{Deserialize, Serialize};

/// A rectangle of pixels of one level, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub(super) struct Window {
    pub(super) col: u64,
    pub(super) row: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

impl From<[u64; 4]> for Window {
    fn from([col, row, width, height]: [u64; 4]) -> Self {
        Self { col, row, width, height }
    }
}

impl From<Window> for [u64; 4] {
    fn from(window: Window) -> Self {
        [window.col, window.row, window.width, window.height]
    }
}

impl Window {
    /// Whether it is not empty and lies inside an image of this size.
    pub(super) fn is_inside(&self, width: u64, height: u64) -> bool {
        let fits = |start: u64, length: u64, limit| length > 0 && start.checked_add(length).is_some_and(|end| end <= limit);
        fits(self.col, self.width, width) && fits(self.row, self.height, height)
    }

    /// Columns and rows of the grid of chunks that it touches: `[first, end)` each.
    pub(super) fn chunks(&self, chunk: [u64; 2]) -> ([u64; 2], [u64; 2]) {
        let touched = |start: u64, length: u64, side: u64| [start / side, (start + length).div_ceil(side)];
        (touched(self.col, self.width, chunk[0]), touched(self.row, self.height, chunk[1]))
    }

    /// Whether it consists of whole chunks of an image of this size.
    pub(super) fn is_aligned(&self, chunk: [u64; 2], size: [u64; 2]) -> bool {
        let whole = |start: u64, length: u64, side: u64, size: u64| {
            start.is_multiple_of(side) && ((start + length).is_multiple_of(side) || start + length == size)
        };
        whole(self.col, self.width, chunk[0], size[0]) && whole(self.row, self.height, chunk[1], size[1])
    }

    /// The parts of it in a grid of `parts` columns and rows of about equal numbers of chunks, row by row.
    pub(super) fn split(self, chunk: [u64; 2], parts: [u64; 2]) -> impl Iterator<Item = Self> {
        let (cols, rows) = self.chunks(chunk);
        let edge = move |range: [u64; 2], parts: u64, part: u64, side: u64, start: u64, length: u64| {
            let along = range[0] + (u128::from(range[1] - range[0]) * u128::from(part) / u128::from(parts.max(1))) as u64;
            (along * side).clamp(start, start + length)
        };
        (0..parts[0].saturating_mul(parts[1])).map(move |part| {
            let [x, y] = [part % parts[0], part / parts[0]];
            let col = |part| edge(cols, parts[0], part, chunk[0], self.col, self.width);
            let row = |part| edge(rows, parts[1], part, chunk[1], self.row, self.height);
            Self { col: col(x), row: row(y), width: col(x + 1) - col(x), height: row(y + 1) - row(y) }
        })
    }
}

/// Columns and rows of parts, at most `count` of them, such that the largest part has the fewest of `across` x `down` chunks; among
/// the like the one whose parts differ least, then the one whose parts are closest to squares of `aspect` (width over height) chunks.
pub(super) fn parts_by_count(across: u64, down: u64, count: u64, aspect: f64) -> [u64; 2] {
    let shapes = (1..=across.min(count).max(1)).map(|cols| [cols, (count / cols).clamp(1, down)]);
    best(shapes, across, down, aspect).unwrap_or([1, 1])
}

/// The fewest parts of at most `limit` chunks each; of one chunk where the limit is smaller.
pub(super) fn parts_by_size(across: u64, down: u64, limit: u64, aspect: f64) -> [u64; 2] {
    let limit = limit.max(1);
    let shapes = || (1..=across.min(limit)).map(|width| [across.div_ceil(width), down.div_ceil((limit / width).clamp(1, down))]);
    let fewest = shapes().map(|[cols, rows]| u128::from(cols) * u128::from(rows)).min();
    let shapes = shapes().filter(|[cols, rows]| Some(u128::from(*cols) * u128::from(*rows)) == fewest);
    best(shapes, across, down, aspect).unwrap_or([across, down])
}

fn best(shapes: impl Iterator<Item = [u64; 2]>, across: u64, down: u64, aspect: f64) -> Option<[u64; 2]> {
    let area =
        |[cols, rows]: [u64; 2], divide: fn(u64, u64) -> u64| u128::from(divide(across, cols)) * u128::from(divide(down, rows));
    let oblong = |[cols, rows]: [u64; 2]| {
        let ratio = aspect * (across as f64 / cols as f64) / (down as f64 / rows as f64);
        ratio.ln().abs()
    };
    shapes.min_by(|one, other| {
        let largest = area(*one, u64::div_ceil).cmp(&area(*other, u64::div_ceil));
        let smallest = area(*other, std::ops::Div::div).cmp(&area(*one, std::ops::Div::div));
        largest.then(smallest).then(oblong(*one).total_cmp(&oblong(*other)))
    })
}

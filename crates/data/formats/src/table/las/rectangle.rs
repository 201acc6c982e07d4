//! Rectangles of the integers that records hold, both ends in: what filters, exactly.

use serde::{Deserialize, Serialize};

use super::header::Header;
use super::le::i32_at;
use crate::Bounds;

/// X from `[0]` to `[2]`, Y from `[1]` to `[3]`, all of them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rectangle(pub(super) [i32; 4]);

impl Rectangle {
    pub(super) fn holds(&self, record: &[u8]) -> bool {
        let [x0, y0, x1, y1] = self.0;
        let (x, y) = (i32_at(record, 0), i32_at(record, 4));
        x0 <= x && x <= x1 && y0 <= y && y <= y1
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        let ([x0, y0, x1, y1], [u0, v0, u1, v1]) = (self.0, other.0);
        x0 <= u1 && u0 <= x1 && y0 <= v1 && v0 <= y1
    }

    pub(super) fn encloses(&self, other: &Self) -> bool {
        let ([x0, y0, x1, y1], [u0, v0, u1, v1]) = (self.0, other.0);
        x0 <= u0 && u1 <= x1 && y0 <= v0 && v1 <= y1
    }

    /// The integers whose scaled coordinates lie in `bounds`, both ends in; nothing if there are none.
    pub(super) fn of_bounds(header: &Header, bounds: &Bounds) -> Option<Self> {
        let [x0, x1] = integers(header, 0, bounds.min[0], bounds.max[0])?;
        let [y0, y1] = integers(header, 1, bounds.min[1], bounds.max[1])?;
        Some(Self([x0, y0, x1, y1]))
    }

    /// Its scaled corners `[x0, y0, x1, y1]`, wider by a step of the scale.
    pub(super) fn corners(&self, header: &Header) -> [f64; 4] {
        let [x0, y0, x1, y1] = self.0;
        let axis = |axis: usize, low: i32, high: i32| {
            let (one, other) = (header.scaled(axis, low), header.scaled(axis, high));
            let step = header.scale[axis].abs();
            [one.min(other) - step, one.max(other) + step]
        };
        let ([left, right], [low, high]) = (axis(0, x0, x1), axis(1, y0, y1));
        [left, low, right, high]
    }
}

/// The integers whose scaled value `v` has `min <= v <= max`. Scaling is monotone, so they lie in a row.
fn integers(header: &Header, axis: usize, min: f64, max: f64) -> Option<[i32; 2]> {
    let rising = header.scale[axis] > 0.0;
    let low = first(|value| if rising { header.scaled(axis, value) >= min } else { header.scaled(axis, value) <= max })?;
    let behind = first(|value| if rising { header.scaled(axis, value) > max } else { header.scaled(axis, value) < min });
    let high = match behind {
        Some(behind) => behind.checked_sub(1)?,
        None => i32::MAX,
    };
    (low <= high).then_some([low, high])
}

/// The first integer of which `is` holds, where it holds of all that follow.
fn first(is: impl Fn(i32) -> bool) -> Option<i32> {
    let (mut low, mut high) = (i64::from(i32::MIN), i64::from(i32::MAX) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is(middle as i32) { high = middle } else { low = middle + 1 }
    }
    i32::try_from(low).ok()
}

/// At most `count` rectangles of about equal extent, row by row from the lowest; together they hold every point whatever the extents
/// say, since the outer ones have no outer edge.
pub(super) fn tiles(extent: Rectangle, count: u64) -> Vec<Rectangle> {
    let count = count.min(1 << 16);
    let [x0, y0, x1, y1] = extent.0;
    let (width, height) = (i64::from(x1) - i64::from(x0), i64::from(y1) - i64::from(y0));
    let short = count.isqrt().max(1);
    let long = (count / short).max(1);
    let (columns, rows) = if width >= height { (long, short) } else { (short, long) };
    let (across, up) = (strips(x0, x1, columns), strips(y0, y1, rows));
    up.iter().flat_map(|[low, high]| across.iter().map(|[left, right]| Rectangle([*left, *low, *right, *high]))).collect()
}

/// `[low, high]` as `count` strips of equal extent, or fewer where there are fewer integers; the outer ones have no outer edge.
fn strips(low: i32, high: i32, count: u64) -> Vec<[i32; 2]> {
    let span = (i64::from(high) - i64::from(low)).max(0) as u128 + 1;
    let count = u128::from(count).min(span);
    let edge = |strip: u128| (i64::from(low) + (span * strip / count) as i64) as i32;
    let strip = |strip: u128| {
        let first = if strip == 0 { i32::MIN } else { edge(strip) };
        let last = if strip + 1 == count { i32::MAX } else { edge(strip + 1) - 1 };
        [first, last]
    };
    (0..count).map(strip).collect()
}

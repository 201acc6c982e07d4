//! From a cut to selections.

use std::collections::BTreeMap;

use neardata_core::RangedRead;
use serde_json::Value;

use super::describe::schema;
use super::entry::Entry;
use super::index::{Footer, Walk};
use super::objects::Objects;
use super::peaks::Peaks;
use super::selection::{Selection, Window, within};
use super::{FORMAT, OFFERED};
use crate::table::{Bounds, Cut};
use crate::{FormatError, Partition};

/// A spectrum that the query finds.
struct Found {
    ordinal: u64,
    x: i32,
    y: i32,
    /// Whether the one in front of it has the same coordinates.
    same_pixel: bool,
    /// What it weighs: bytes of its arrays, and one more so that empty spectra weigh something.
    bytes: u64,
}

pub(super) fn cut(objects: &Objects, index: &dyn RangedRead, cut: &Cut) -> Result<Vec<Value>, FormatError> {
    cut.only(FORMAT, OFFERED)?;
    let footer = objects.footer(index)?;
    let schema = schema(&footer);
    if let Some(unknown) = cut.columns.iter().find(|name| schema.column_with_name(name).is_none()) {
        let known = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(FormatError::Query(format!("there is no column `{unknown}`; there are {known}")));
    }
    let bounds = cut.bounds.map(pixels);
    let window = cut.window.map(Window::new);
    let found = found(objects, index, &footer, bounds)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let peaks = match (&window, &footer.shared) {
        (Some(window), Some((array, count))) => {
            let values = objects.whole_array(array, *count)?;
            match Peaks::within(window, array.number, &values) {
                Peaks::Run(from, to) => Some([from, to]),
                _ => None,
            }
        }
        _ => None,
    };
    let columns = cut.columns.clone();
    let selection = |part: &[Found], bounds: Option<[i32; 4]>| Selection {
        spectra: [part.first().map_or(0, |first| first.ordinal), part.last().map_or(0, |last| last.ordinal + 1)],
        count: part.len() as u64,
        bounds,
        window,
        peaks,
        columns: columns.clone(),
    };
    let selections: Vec<Selection> = match cut.partition {
        Some(Partition::Tiles(most)) => {
            let tile = |(bounds, Tile { first, end, count }): ([i32; 4], Tile)| Selection {
                spectra: [first, end],
                count,
                ..selection(&[], Some(bounds))
            };
            tiles(&found, most).into_iter().map(tile).collect()
        }
        Some(Partition::Records(records)) => {
            parts(&found, |_, taken| taken >= records).map(|part| selection(part, bounds)).collect()
        }
        Some(Partition::Count(count)) => balanced(&found, count).map(|part| selection(part, bounds)).collect(),
        Some(Partition::Bytes(bytes)) => {
            let total: u64 = found.iter().map(|found| found.bytes).fold(0, u64::saturating_add);
            balanced(&found, total.div_ceil(bytes)).map(|part| selection(part, bounds)).collect()
        }
        None => vec![selection(&found, bounds)],
    };
    selections.iter().map(Selection::to_value).collect()
}

/// The pixels whose coordinates lie in a rectangle.
fn pixels(Bounds { min, max }: Bounds) -> [i32; 4] {
    [min[0].ceil() as i32, min[1].ceil() as i32, max[0].floor() as i32, max[1].floor() as i32]
}

fn found(
    objects: &Objects,
    index: &dyn RangedRead,
    footer: &Footer,
    bounds: Option<[i32; 4]>,
) -> Result<Vec<Found>, FormatError> {
    let mut walk = Walk::new([0, footer.count], objects.xml.size(), objects.ibd.size());
    let mut found = Vec::new();
    let mut previous: Option<Entry> = None;
    while let Some(entries) = walk.step(index, footer)? {
        for (ordinal, entry) in entries.into_iter().filter(|(_, entry)| within(bounds, entry.x, entry.y)) {
            let own_mz = previous.is_none_or(|previous| !entry.shares_mz(&previous));
            let bytes = entry.intensity.encoded.saturating_add(if own_mz { entry.mz.encoded } else { 0 }).saturating_add(1);
            let same_pixel = previous.is_some_and(|previous| entry.same_pixel(&previous));
            found.push(Found { ordinal, x: entry.x, y: entry.y, same_pixel, bytes });
            previous = Some(entry);
        }
    }
    Ok(found)
}

/// Consecutive parts that end where `full(bytes so far of all parts, spectra of this part)` says so, but never between spectra of one
/// pixel.
fn parts(found: &[Found], mut full: impl FnMut(u128, u64) -> bool) -> impl Iterator<Item = &[Found]> {
    let mut rest = found;
    let mut bytes = 0_u128;
    std::iter::from_fn(move || {
        let mut end = 0;
        while let Some(found) = rest.get(end) {
            bytes += u128::from(found.bytes);
            end += 1;
            if rest.get(end).is_some_and(|next| !next.same_pixel) && full(bytes, end as u64) {
                break;
            }
        }
        let (part, behind) = rest.split_at(end);
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// Parts of about equal size: `count` of them, fewer where there are fewer pixels.
fn balanced(found: &[Found], count: u64) -> impl Iterator<Item = &[Found]> {
    let total: u128 = found.iter().map(|found| u128::from(found.bytes)).sum();
    let mut pixels_left = found.iter().filter(|found| !found.same_pixel).count() as u64;
    let count = count.min(pixels_left);
    let mut made = 0;
    parts(found, move |bytes, _| {
        // Called behind every pixel but the last.
        pixels_left -= 1;
        let more = count - made - 1;
        let full = more > 0 && (bytes * u128::from(count) >= total * u128::from(made + 1) || pixels_left <= more);
        made += u64::from(full);
        full
    })
}

/// What a tile holds.
struct Tile {
    first: u64,
    end: u64,
    count: u64,
}

/// At most so many rectangles of about equal extent that hold spectra, row after row, edges in.
fn tiles(found: &[Found], most: u64) -> Vec<([i32; 4], Tile)> {
    let extent = |of: fn(&Found) -> i32| {
        let (low, high) = (found.iter().map(of).min().unwrap_or(0), found.iter().map(of).max().unwrap_or(0));
        (i64::from(low), (i64::from(high) - i64::from(low) + 1) as u64)
    };
    let ((left, width), (top, height)) = (extent(|found| found.x), extent(|found| found.y));
    let most = most.min(width.saturating_mul(height)).max(1);
    let columns = ((most as f64 * width as f64 / height as f64).sqrt().round() as u64).clamp(1, width.min(most));
    let rows = (most / columns).clamp(1, height);
    let columns = (most / rows).clamp(1, width);
    // Edge `number` of `count` along a side, and the tile that holds a place.
    let edge = |start: i64, size: u64, count: u64, number: u64| {
        start + (u128::from(size) * u128::from(number) / u128::from(count)) as i64
    };
    let number = |place: i32, start: i64, size: u64, count: u64| {
        let offset = (i64::from(place) - start) as u128;
        (((offset + 1) * u128::from(count) - 1) / u128::from(size)) as u64
    };
    let mut tiles: BTreeMap<(u64, u64), Tile> = BTreeMap::new();
    for found in found {
        let place = (number(found.y, top, height, rows), number(found.x, left, width, columns));
        let tile = tiles.entry(place).or_insert(Tile { first: found.ordinal, end: 0, count: 0 });
        tile.end = found.ordinal + 1;
        tile.count += 1;
    }
    let rectangle = |(row, column): (u64, u64)| {
        let x = |number| edge(left, width, columns, number);
        let y = |number| edge(top, height, rows, number);
        [x(column), y(row), x(column + 1) - 1, y(row + 1) - 1].map(|edge| edge as i32)
    };
    tiles.into_iter().map(|(place, tile)| (rectangle(place), tile)).collect()
}

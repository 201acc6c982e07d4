//! Cutting: from what is asked to selections, and from a selection to its parts.

use neardata_core::{RangedRead, SliceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Opened;
use super::arrow::chosen;
use super::header::Header;
use super::index::Index;
use super::part::Part;
use super::points::Points;
use super::rectangle::{Rectangle, tiles};
use crate::table::cut::refuse_too_many;
use crate::{Cut, FormatError, Partition};

/// Names of columns may take this much of a slice.
const COLUMNS: usize = 480;
/// A cut of LAZ may move by this part of a slice to where a chunk begins.
const SNAP_PART: u64 = 16;

/// What a slice holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Points `[a, b)` of LAS and LAZ, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) points: Option<[u64; 2]>,
    /// Integers X and Y of its points: smallest X, Y, largest X, Y, all of them in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rectangle: Option<Rectangle>,
    /// Levels of the octree, from the root on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) levels: Option<u32>,
    /// Of the parts that the rest chooses, in order of their places, those `[a, b)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<[u64; 2]>,
    /// Columns to keep; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<String>,
}

impl Selection {
    pub(super) fn from_value(value: &Value) -> Result<Self, FormatError> {
        Ok(serde_json::from_value(value.clone()).map_err(SliceError::Malformed)?)
    }

    pub(super) fn to_value(&self, header: &Header, columns: &[String]) -> Result<Value, FormatError> {
        chosen(header, columns)?;
        if columns.iter().map(|name| name.len() + 3).sum::<usize>() > COLUMNS {
            return Err(FormatError::Query(format!(
                "the names of the columns take more than {COLUMNS} bytes; name fewer, or none for all"
            )));
        }
        let selection = Self { columns: columns.to_vec(), ..self.clone() };
        Ok(serde_json::to_value(selection).map_err(SliceError::Malformed)?)
    }
}

impl Opened {
    /// One selection a slice, none of them empty.
    pub(super) fn selections(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Selection>, FormatError> {
        let query = cut.bounds.is_some() || cut.resolution.is_some();
        match (&self.octree, query) {
            (None, false) => cut.only("LAS and LAZ", &["n", "bytes", "records", "tiles", "bounds", "columns"])?,
            (None, true) => cut.only("LAS and LAZ within bounds", &["n", "bounds", "columns"])?,
            (Some(_), false) => cut.only("COPC", &["n", "bytes", "records", "tiles", "bounds", "resolution", "columns"])?,
            (Some(_), true) => cut.only("COPC within bounds or at a resolution", &["n", "bounds", "resolution", "columns"])?,
        }
        if self.cloud.header.points == 0 {
            return Ok(Vec::new());
        }
        let index = match index {
            Some(index) if self.octree.is_none() => Some(Index::read(&self.cloud, index)?),
            _ => None,
        };
        match cut.partition {
            Some(Partition::Tiles(count)) => self.tiles(count, index.as_ref()),
            partition if query => self.query(cut, partition, index.as_ref()),
            partition => self.consecutive(partition.unwrap_or(Partition::Count(1))),
        }
    }

    fn tiles(&self, count: u64, index: Option<&Index>) -> Result<Vec<Selection>, FormatError> {
        let extent = match index {
            Some(index) => index.extent(),
            None => self.header_extent(),
        };
        let all = tiles(extent, count).into_iter();
        let selections = all.map(|tile| Selection { rectangle: Some(tile), ..Selection::default() });
        self.occupied(selections.collect(), index)
    }

    /// What the header says of the extent; tiles have no outer edges, so it need not be right.
    fn header_extent(&self) -> Rectangle {
        let header = &self.cloud.header;
        let integer = |axis: usize, value: f64| ((value - header.offset[axis]) / header.scale[axis]).round() as i32;
        let axis = |axis: usize| {
            let (one, other) = (integer(axis, header.min[axis]), integer(axis, header.max[axis]));
            [one.min(other), one.max(other)]
        };
        let ([x0, x1], [y0, y1]) = (axis(0), axis(1));
        Rectangle([x0, y0, x1, y1])
    }

    fn query(&self, cut: &Cut, partition: Option<Partition>, index: Option<&Index>) -> Result<Vec<Selection>, FormatError> {
        let rectangle = match &cut.bounds {
            Some(bounds) => match Rectangle::of_bounds(&self.cloud.header, bounds) {
                Some(rectangle) => Some(rectangle),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let levels = self.octree.as_ref().zip(cut.resolution).map(|(octree, resolution)| octree.levels(resolution));
        let whole = Selection { rectangle, levels, ..Selection::default() };
        let Some(Partition::Count(count)) = partition else { return self.occupied(vec![whole], index) };
        let parts = self.candidates(&whole, index)?;
        let runs = balanced(&parts, count);
        let slices = runs.into_iter().map(|parts| Selection { parts: Some(parts), ..whole.clone() });
        self.occupied(slices.collect(), index)
    }

    /// Those of these selections that hold a point. It is read for where the places of the parts leave it open.
    fn occupied(&self, selections: Vec<Selection>, index: Option<&Index>) -> Result<Vec<Selection>, FormatError> {
        let mut held = Vec::new();
        for selection in selections {
            let inside = |index: &Index, rectangle: &Rectangle| {
                selection.parts.is_none() && index.runs.iter().any(|(_, place)| rectangle.encloses(place))
            };
            let sure = match (index, &selection.rectangle) {
                (Some(index), Some(rectangle)) => inside(index, rectangle),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if sure || self.holds_a_point(&selection, index)? {
                held.push(selection);
            }
        }
        Ok(held)
    }

    fn holds_a_point(&self, selection: &Selection, index: Option<&Index>) -> Result<bool, FormatError> {
        let cloud = std::sync::Arc::clone(&self.cloud);
        for part in self.candidates(selection, index)? {
            let mut points = Points::new(std::sync::Arc::clone(&cloud), vec![part], selection.rectangle);
            while let Some(block) = points.next_block()? {
                if !block.records.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Partitions by the order of the points: at any point of LAS and LAZ, between the nodes of COPC.
    fn consecutive(&self, partition: Partition) -> Result<Vec<Selection>, FormatError> {
        let header = &self.cloud.header;
        let record = header.record as u64;
        if self.octree.is_some() {
            let nodes = self.cloud.parts(0)?;
            let runs = match partition {
                Partition::Count(count) => balanced(&nodes, count),
                Partition::Bytes(bytes) => balanced(&nodes, (header.points * record).div_ceil(bytes)),
                Partition::Records(points) => filled(&nodes, points),
                Partition::Tiles(_) => Vec::new(),
            };
            return Ok(runs.into_iter().map(|parts| Selection { parts: Some(parts), ..Selection::default() }).collect());
        }
        let count = match partition {
            Partition::Records(points) => {
                refuse_too_many(&header.name, header.points.div_ceil(points))?;
                let starts = (0..header.points.div_ceil(points)).map(|slice| slice * points);
                return Ok(starts.map(|first| stretch(first, first.saturating_add(points).min(header.points))).collect());
            }
            Partition::Bytes(bytes) => (header.points * record).div_ceil(bytes),
            Partition::Count(count) | Partition::Tiles(count) => count,
        }
        .clamp(1, header.points);
        refuse_too_many(&header.name, count)?;
        let chunks = if self.cloud.laz.is_some() { self.cloud.parts(0)? } else { Vec::new() };
        let starts: Vec<u64> =
            chunks.iter().scan(0, |start, chunk| Some(std::mem::replace(start, *start + chunk.points))).collect();
        let cut_at = |slice: u64| {
            let target = (u128::from(header.points) * u128::from(slice) / u128::from(count)) as u64;
            let after = starts.partition_point(|start| *start < target);
            let near = starts.iter().skip(after.saturating_sub(1)).take(2);
            let near = near.filter(|start| start.abs_diff(target) <= header.points / count / SNAP_PART);
            near.min_by_key(|start| start.abs_diff(target)).copied().unwrap_or(target)
        };
        let last = |slice: u64| if slice == count { header.points } else { cut_at(slice) };
        Ok((0..count).map(|slice| stretch(last(slice), last(slice + 1))).collect())
    }

    /// The parts that may hold points of a selection, all of them.
    fn candidates(&self, selection: &Selection, index: Option<&Index>) -> Result<Vec<Part>, FormatError> {
        let header = &self.cloud.header;
        let wrong = |reason: &str| FormatError::Broken { name: header.name.clone(), reason: reason.to_owned() };
        if let Some([first, end]) = selection.points {
            if first > end || end > header.points || self.octree.is_some() {
                return Err(wrong("it has no such points"));
            }
            return self.cloud.stretch(first, end);
        }
        let all = match (&self.octree, &selection.rectangle, selection.levels) {
            (Some(_), None, None) => self.cloud.parts(0)?,
            (Some(octree), rectangle, levels) => {
                let corners = rectangle.map(|rectangle| rectangle.corners(header));
                octree.nodes(header, self.cloud.object.as_ref(), corners, levels.unwrap_or(u32::MAX))?
            }
            (None, Some(rectangle), None) => {
                let index = index.ok_or_else(|| wrong("a rectangle needs its index"))?;
                index.runs.iter().filter(|(_, place)| rectangle.meets(place)).map(|(part, _)| *part).collect()
            }
            (None, ..) => return Err(wrong("it has no octree")),
        };
        match selection.parts {
            None => Ok(all),
            Some([first, end]) => {
                let range = usize::try_from(first).ok().zip(usize::try_from(end).ok()).map(|(first, end)| first..end);
                range.and_then(|range| all.get(range)).map(<[Part]>::to_vec).ok_or_else(|| wrong("it has fewer parts"))
            }
        }
    }

    /// The parts of a selection that came with a slice.
    pub(super) fn parts_of(&self, selection: &Selection, index: Option<&dyn RangedRead>) -> Result<Vec<Part>, FormatError> {
        let index = match index {
            Some(index) if selection.rectangle.is_some() && self.octree.is_none() => Some(Index::read(&self.cloud, index)?),
            _ => None,
        };
        self.candidates(selection, index.as_ref())
    }
}

fn stretch(first: u64, end: u64) -> Selection {
    Selection { points: Some([first, end]), ..Selection::default() }
}

/// Parts in at most `count` runs of about as many points, none of them empty.
fn balanced(parts: &[Part], count: u64) -> Vec<[u64; 2]> {
    let points: u64 = parts.iter().map(|part| part.points).sum();
    let count = count.min(parts.len() as u64);
    let mut runs = Vec::new();
    let (mut first, mut seen) = (0, 0);
    for (position, part) in (1_u64..).zip(parts) {
        seen += part.points;
        let (made, left) = (runs.len() as u64 + 1, parts.len() as u64 - position);
        let due = u128::from(seen) * u128::from(count) >= u128::from(points) * u128::from(made);
        // As many runs must still follow as parts are left.
        if made <= count && (due || left <= count - made || left == 0) && (made < count || left == 0) {
            runs.push([first, position]);
            first = position;
        }
    }
    runs
}

/// Parts in runs of at most `most` points, or of one part where that has more.
fn filled(parts: &[Part], most: u64) -> Vec<[u64; 2]> {
    let mut runs: Vec<[u64; 2]> = Vec::new();
    let mut held = 0;
    for (position, part) in (0_u64..).zip(parts) {
        match runs.last_mut() {
            Some(run) if part.points.saturating_add(held) <= most => (run[1], held) = (position + 1, held + part.points),
            _ => {
                runs.push([position, position + 1]);
                held = part.points;
            }
        }
    }
    runs
}

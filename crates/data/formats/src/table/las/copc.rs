//! COPC: the info record and the hierarchy of octree nodes (COPC 1.0, <https://copc.io>).

use std::collections::HashSet;

use neardata_core::{ByteRange, RangedRead, read_ranges};

use super::header::{Header, Vlr};
use super::le::{f64_at, i32_at, u64_at};
use super::part::Part;
use crate::FormatError;

/// Deeper levels cannot be named.
const DEEPEST: i32 = 31;
const ENTRY: usize = 32;
/// Hierarchy pages that lie closer are fetched together.
const GAP: u64 = 32 * 1024;

/// What the info record says.
#[derive(Clone, Debug)]
pub(super) struct Octree {
    centre: [f64; 3],
    half: f64,
    spacing: f64,
    root: ByteRange,
}

impl Octree {
    pub(super) fn of(header: &Header) -> Result<Self, FormatError> {
        let vlr = header.vlrs.iter().find(|vlr| vlr.is("copc", 1)).map(Vlr::content);
        let info =
            vlr.filter(|info| info.len() >= 160).ok_or_else(|| header.damaged(375, "its COPC info record is too short"))?;
        let (start, length) = (u64_at(info, 40), u64_at(info, 48));
        let root = start.checked_add(length).filter(|end| *end <= header.object_size && length % ENTRY as u64 == 0);
        let root = root.ok_or_else(|| header.damaged(375, "its COPC hierarchy lies outside the object"))?;
        let octree = Self {
            centre: [0, 8, 16].map(|at| f64_at(info, at)),
            half: f64_at(info, 24),
            spacing: f64_at(info, 32),
            root: ByteRange::new(start, root),
        };
        let finite = octree.centre.iter().chain([&octree.half, &octree.spacing]).all(|number| number.is_finite());
        match finite && octree.spacing > 0.0 && octree.half >= 0.0 {
            true => Ok(octree),
            false => Err(header.damaged(375, "its COPC cube is none")),
        }
    }

    /// How many levels from the root on have, in the last of them, points no farther apart than `resolution`.
    pub(super) fn levels(&self, resolution: f64) -> u32 {
        let deepest = (self.spacing / resolution).log2().ceil() + 1.0;
        deepest.clamp(1.0, f64::from(DEEPEST) + 1.0) as u32
    }

    /// The nodes of the first `levels` levels whose cubes meet `[x0, y0, x1, y1]`, in the order of their places.
    pub(super) fn nodes(
        &self,
        header: &Header,
        object: &dyn RangedRead,
        corners: Option<[f64; 4]>,
        levels: u32,
    ) -> Result<Vec<Part>, FormatError> {
        let mut nodes = Vec::new();
        let mut pages = vec![self.root];
        let mut seen: HashSet<u64> = pages.iter().map(|page| page.start).collect();
        let mut read = 0;
        while !pages.is_empty() {
            read += pages.iter().map(ByteRange::len).sum::<u64>();
            if read > header.object_size {
                return Err(header.damaged(self.root.start, "pages of its COPC hierarchy overlap"));
            }
            let mut below = Vec::new();
            for page in read_ranges(object, &pages, GAP)? {
                for entry in page.chunks_exact(ENTRY) {
                    let key = [0, 4, 8, 12].map(|at| i32_at(entry, at));
                    let (at, length, points) = (u64_at(entry, 16), i32_at(entry, 24), i32_at(entry, 28));
                    if i64::from(key[0]) >= i64::from(levels) || !self.meets(key, corners) || points == 0 {
                        continue;
                    }
                    let length = u64::try_from(length).unwrap_or(0);
                    let end = at.checked_add(length).filter(|end| *end <= header.object_size && (0..=DEEPEST).contains(&key[0]));
                    let Some(end) = end.filter(|_| length > 0 && points >= -1) else {
                        return Err(header.damaged(self.root.start, format!("node {key:?} of its COPC hierarchy is none")));
                    };
                    match u64::try_from(points) {
                        Ok(points) => nodes.push(Part::whole(at, length, points)),
                        Err(_) if seen.insert(at) => below.push(ByteRange::new(at, end)),
                        Err(_) => return Err(header.damaged(at, "a page of its COPC hierarchy is named twice")),
                    }
                }
            }
            pages = below;
        }
        nodes.sort_unstable_by_key(|node| node.at);
        match nodes.windows(2).find(|pair| pair[0].at + pair[0].length > pair[1].at) {
            Some(pair) => Err(header.damaged(pair[1].at, "nodes of its COPC hierarchy overlap")),
            None => Ok(nodes),
        }
    }

    fn meets(&self, [level, x, y, _]: [i32; 4], corners: Option<[f64; 4]>) -> bool {
        let Some([left, low, right, high]) = corners else { return true };
        let side = 2.0 * self.half / 2_f64.powi(level.clamp(0, DEEPEST));
        // Coordinates were rounded when points were sorted into cubes.
        let slack = side * 1e-9;
        let meets = |axis: usize, place: i32, from: f64, to: f64| {
            let start = self.centre[axis] - self.half + f64::from(place) * side;
            start - slack <= to && from <= start + side + slack
        };
        meets(0, x, left, right) && meets(1, y, low, high)
    }
}

//! Point clouds: LAS 1.0 to 1.4, LAZ and COPC.
//!
//! A slice names consecutive points, chunks, or a rectangle of the integers that records hold; scaled bounds become such a rectangle,
//! so that what is in and what is not is never a matter of rounding. Sources: LAS 1.4 R15 (ASPRS), LASzip, COPC 1.0.

mod arrow;
mod copc;
mod cut;
mod dims;
mod header;
mod index;
mod laz;
mod le;
mod output;
mod part;
mod points;
mod rectangle;

use std::io::Write;
use std::sync::Arc;

use neardata_core::RangedRead;
use serde_json::Value;

use super::{Batches, Column, Cut, Description, Extent, Pieces, Table, TableFormat};
use crate::{FormatError, Progress};
use copc::Octree;
use cut::Selection;
use header::Header;
use index::Index;
use laz::Laz;
use points::{Cloud, Points};

/// Point clouds, by how their points are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointCloud {
    /// Plain records.
    Las,
    /// Compressed chunks.
    Laz,
    /// Compressed chunks that are the nodes of an octree.
    Copc,
}

impl PointCloud {
    fn of(start: &[u8]) -> Option<Self> {
        if !start.starts_with(b"LASF") {
            return None;
        }
        let compressed = le::u8_at(start, 104) & 0x80 != 0;
        let info = start.get(377..).is_some_and(|vlr| vlr.starts_with(b"copc\0")) && le::u16_at(start, 393) == 1;
        Some(match (compressed, info) {
            (false, _) => Self::Las,
            (true, false) => Self::Laz,
            (true, true) => Self::Copc,
        })
    }
}

impl TableFormat for PointCloud {
    fn name(&self) -> &'static str {
        match self {
            Self::Las => "las",
            Self::Laz => "laz",
            Self::Copc => "copc",
        }
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        Self::of(start) == Some(*self)
    }

    fn index_version(&self) -> u32 {
        match self {
            Self::Copc => 0,
            Self::Las | Self::Laz => index::VERSION,
        }
    }

    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let Some(object) = objects.into_iter().next() else {
            return Err(FormatError::NoSuchObject { asked: 0, held: 0 });
        };
        let header = Header::read(object.as_ref())?;
        if header.compressed != (*self != Self::Las) {
            return Err(header.damaged(104, "its points are packed in another way than the format of the slice says"));
        }
        let laz = if header.compressed { Some(Laz::of(&header)?) } else { None };
        let octree = if *self == Self::Copc { Some(Octree::of(&header)?) } else { None };
        Ok(Box::new(Opened { cloud: Arc::new(Cloud { object, header, laz }), octree }))
    }
}

/// An opened point cloud.
struct Opened {
    cloud: Arc<Cloud>,
    octree: Option<Octree>,
}

impl Opened {
    fn points(&self, selection: &Selection, index: Option<&dyn RangedRead>) -> Result<Points, FormatError> {
        Ok(Points::new(Arc::clone(&self.cloud), self.parts_of(selection, index)?, selection.rectangle))
    }

    fn extents(&self, min: [f64; 3], max: [f64; 3]) -> Vec<Extent> {
        if !min.iter().chain(&max).all(|number| number.is_finite()) {
            return Vec::new();
        }
        let extent = |axis: usize| Extent { name: ["x", "y", "z"][axis].into(), min: min[axis].into(), max: max[axis].into() };
        (0..3).map(extent).collect()
    }
}

impl Table for Opened {
    fn describe(&self) -> Result<Description, FormatError> {
        let header = &self.cloud.header;
        let all = |values: [f64; 3]| values.map(|value| value.to_string()).join(", ");
        let vlrs: Vec<String> = header.vlrs.iter().map(|vlr| format!("{} {}", vlr.user, vlr.record)).collect();
        Ok(Description {
            records: Some(header.points),
            unit: "points".into(),
            uncompressed: header.points.checked_mul(header.record as u64),
            columns: Column::of(&arrow::schema(&dims::dimensions(header))),
            extents: if header.points > 0 { self.extents(header.min, header.max) } else { Vec::new() },
            facts: vec![
                ("version".into(), format!("1.{}", header.minor)),
                ("point format".into(), header.point_format.to_string()),
                ("scale".into(), all(header.scale)),
                ("offset".into(), all(header.offset)),
                ("software".into(), le::text_at(&header.raw, 58, 32)),
                ("records of the header".into(), vlrs.join(", ")),
            ],
            preview: Vec::new(),
        })
    }

    fn needs_index(&self, cut: &Cut) -> bool {
        let tiles = matches!(cut.partition, Some(crate::Partition::Tiles(_)));
        self.octree.is_none() && (tiles || cut.bounds.is_some())
    }

    fn build_index(&self, out: &mut dyn Write, progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        let header = &self.cloud.header;
        let (index, run) = Index::build(&self.cloud, progress)?;
        let name = format!("the side-car of {}", header.name);
        index.write(run, out).map_err(|source| FormatError::Scratch { name, source })?;
        let mut description = self.describe()?;
        if header.points > 0 {
            let ends = [index.min, index.max].map(|end| [0, 1, 2].map(|axis| header.scaled(axis, end[axis])));
            let [one, other] = ends;
            let min = [0, 1, 2].map(|axis| one[axis].min(other[axis]));
            description.extents = self.extents(min, [0, 1, 2].map(|axis| one[axis].max(other[axis])));
        }
        Ok(description)
    }

    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        let selections = self.selections(cut, index)?;
        selections.iter().map(|selection| selection.to_value(&self.cloud.header, &cut.columns)).collect()
    }

    fn bytes(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        let selection = Selection::from_value(selection)?;
        Ok(output::file(Arc::clone(&self.cloud), self.points(&selection, index.as_deref())?))
    }

    fn arrow(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        let selection = Selection::from_value(selection)?;
        let dimensions = arrow::chosen(&self.cloud.header, &selection.columns)?;
        let points = self.points(&selection, index.as_deref())?;
        Ok(arrow::batches(&self.cloud.header, points, dimensions))
    }
}

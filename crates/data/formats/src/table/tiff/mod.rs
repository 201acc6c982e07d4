//! GeoTIFF: windows of rasters, cut along their tiles.

mod arrow;
mod bytes;
mod codec;
mod describe;
mod file;
mod geo;
mod image;
mod pixels;
mod raster;
mod tags;
mod window;
mod write;

use std::sync::Arc;

use neardata_core::{RangedRead, SliceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::file::{FORMAT, File, layout_of};
use self::raster::{Level, Raster};
use self::window::{Window, parts_by_count, parts_by_size};
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::{FormatError, Partition};

const NAME: &str = "tiff";
/// No selection is longer.
const SELECTION_LIMIT: usize = 700;
const OFFERED: [&str; 7] = ["n", "bytes", "tiles", "bounds", "level", "resolution", "columns"];

/// TIFF and BigTIFF, georeferenced or not, in tiles or in strips.
///
/// A record is a pixel. Partitions follow the grid of tiles; bounds take every pixel they overlap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tiff;

/// A window of a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Selection {
    level: u32,
    window: Window,
    /// Columns of the table; coordinates and all bands if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
}

impl TableFormat for Tiff {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        layout_of(start).is_some()
    }

    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let held = objects.len();
        let object = objects.into_iter().next().ok_or(FormatError::NoSuchObject { asked: 0, held })?;
        let file = Arc::new(File::open(object)?);
        let raster = Raster::read(&file)?;
        Ok(Box::new(Opened { file, raster }))
    }
}

struct Opened {
    file: Arc<File>,
    raster: Raster,
}

impl Opened {
    /// The level that a cut asks for, by its number or as the coarsest whose pixels are no larger than the resolution.
    fn level(&self, cut: &Cut) -> Result<(u32, &Level), FormatError> {
        let levels = self.raster.levels();
        let number = match (cut.level, cut.resolution) {
            (Some(_), Some(_)) => return Err(FormatError::Query("ask by `level` or by `resolution`, not by both".into())),
            (Some(number), None) => number,
            (None, Some(resolution)) => {
                let serves = |level: &Level| {
                    let transform = self.raster.geo.of_level(level.scale);
                    let side = transform.a.hypot(transform.d).max(transform.b.hypot(transform.e));
                    side <= resolution * (1.0 + 1e-9)
                };
                levels.iter().rposition(serves).unwrap_or(0) as u32
            }
            (None, None) => 0,
        };
        let level = levels.get(number as usize).ok_or_else(|| {
            let name = self.file.name();
            FormatError::Query(format!("{name}: no level {number}; its levels are 0 (full resolution) to {}", levels.len() - 1))
        })?;
        Ok((number, level))
    }

    fn select(&self, selection: &Value) -> Result<(Selection, &Level), FormatError> {
        let selection: Selection = Selection::deserialize(selection).map_err(SliceError::Malformed)?;
        let level = self.raster.levels().get(selection.level as usize);
        let inside = level.filter(|level| selection.window.is_inside(level.image.width, level.image.height));
        let level = inside.ok_or_else(|| SliceError::Selection {
            format: NAME.to_owned(),
            reason: "its window lies outside its object".to_owned(),
        })?;
        Ok((selection, level))
    }
}

impl Table for Opened {
    fn describe(&self) -> Result<Description, FormatError> {
        describe::describe(&self.raster)
    }

    fn cut(&self, cut: &Cut, _index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only(FORMAT, &OFFERED)?;
        let (number, level) = self.level(cut)?;
        let image = &level.image;
        arrow::check_columns(image, &cut.columns)?;
        let window = match &cut.bounds {
            None => Some(image.window()),
            Some(bounds) => self.raster.geo.of_level(level.scale).window(bounds, image.width, image.height),
        };
        let Some(window) = window else { return Ok(Vec::new()) };
        let (cols, rows) = window.chunks(image.chunk);
        let [across, down] = [cols, rows].map(|range| range[1] - range[0]);
        let aspect = image.chunk[0] as f64 / image.chunk[1] as f64;
        let parts = match cut.partition {
            Some(Partition::Count(count) | Partition::Tiles(count)) => parts_by_count(across, down, count, aspect),
            Some(Partition::Bytes(bytes)) => {
                let chunk = u128::from(image.chunk[0] * image.chunk[1]) * u128::from(image.pixel_bits) / 8;
                let limit = u128::from(bytes) / chunk.max(1);
                parts_by_size(across, down, u64::try_from(limit).unwrap_or(u64::MAX), aspect)
            }
            _ => [1, 1],
        };
        let selection = |window| {
            let selection = Selection { level: number, window, columns: cut.columns.clone() };
            let selection = serde_json::to_value(selection).map_err(SliceError::Malformed)?;
            match selection.to_string().len() > SELECTION_LIMIT {
                true => Err(FormatError::Query("so many columns do not fit into a slice; ask for fewer, or for all".into())),
                false => Ok(selection),
            }
        };
        let windows: Vec<Window> = window.split(image.chunk, parts).collect();
        bytes::check(&self.file, level, &windows)?;
        windows.into_iter().map(selection).collect()
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        let (selection, level) = self.select(selection)?;
        bytes::pieces(&self.file, &self.raster, level, selection.window)
    }

    fn arrow(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        let (selection, level) = self.select(selection)?;
        arrow::batches(&self.file, &self.raster, level, selection.window, &selection.columns)
    }
}

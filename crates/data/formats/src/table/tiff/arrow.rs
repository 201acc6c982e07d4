//! A window as a table: one row a pixel, row by row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, Float64Array, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::file::File;
use super::geo::Affine;
use super::image::{Image, Kind, Sample};
use super::pixels::{Block, Rows};
use super::raster::{Level, Raster};
use super::window::Window;
use crate::FormatError;
use crate::table::Batches;

/// Pixels in a batch.
const BATCH: usize = 64 * 1024;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    X,
    Y,
    Row,
    Col,
    /// Band of this number, from 0.
    Band(usize),
}

impl Column {
    fn name(self) -> String {
        match self {
            Self::X => "x".into(),
            Self::Y => "y".into(),
            Self::Row => "row".into(),
            Self::Col => "col".into(),
            Self::Band(band) => format!("band_{}", band + 1),
        }
    }

    fn data_type(self, sample: Sample) -> DataType {
        match self {
            Self::X | Self::Y => DataType::Float64,
            Self::Row | Self::Col => DataType::UInt32,
            Self::Band(_) => data_type(sample),
        }
    }
}

/// Columns and rows come when asked for: they follow from the order of the pixels.
fn usual(image: &Image) -> impl Iterator<Item = Column> {
    [Column::X, Column::Y].into_iter().chain((0..image.bands as usize).map(Column::Band))
}

/// Half floats become floats: few programs know them.
fn data_type(sample: Sample) -> DataType {
    match (sample.kind, sample.bytes()) {
        (Kind::Unsigned, 1) => DataType::UInt8,
        (Kind::Unsigned, 2) => DataType::UInt16,
        (Kind::Unsigned, 4) => DataType::UInt32,
        (Kind::Unsigned, _) => DataType::UInt64,
        (Kind::Signed, 1) => DataType::Int8,
        (Kind::Signed, 2) => DataType::Int16,
        (Kind::Signed, 4) => DataType::Int32,
        (Kind::Signed, _) => DataType::Int64,
        (Kind::Float, 8) => DataType::Float64,
        (Kind::Float, _) => DataType::Float32,
    }
}

/// Refuses names that are no columns or come twice.
pub(super) fn check_columns(image: &Image, names: &[String]) -> Result<(), FormatError> {
    picked(image, names).map(|_| ())
}

fn picked(image: &Image, names: &[String]) -> Result<Vec<Column>, FormatError> {
    if names.is_empty() {
        return Ok(usual(image).collect());
    }
    let mut columns = Vec::new();
    for name in names {
        let column = match name.strip_prefix("band_").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => Some(Column::Band(number.wrapping_sub(1))).filter(|_| (1..=image.bands as usize).contains(&number)),
            None => [Column::X, Column::Y, Column::Row, Column::Col].into_iter().find(|column| column.name() == *name),
        };
        let column = column.filter(|column| column.name() == *name).ok_or_else(|| {
            let bands = image.bands;
            FormatError::Query(format!("no column `{name}`; there are `x`, `y`, `row`, `col` and `band_1` to `band_{bands}`"))
        })?;
        if columns.contains(&column) {
            return Err(FormatError::Query(format!("column `{name}` is asked for twice")));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The columns of a level, if its samples are of a type that is read.
pub(super) fn schema(raster: &Raster, level: &Level, names: &[String]) -> Result<Option<Schema>, FormatError> {
    let Ok(sample) = level.image.sample else { return Ok(None) };
    Ok(Some(schema_of(raster, level, sample, &picked(&level.image, names)?)))
}

/// Bands carry the value that stands for none, the table what it takes to put the pixels in their places.
fn schema_of(raster: &Raster, level: &Level, sample: Sample, columns: &[Column]) -> Schema {
    let field = |column: &Column| {
        let field = Field::new(column.name(), column.data_type(sample), false);
        match (&raster.nodata, column) {
            (Some(nodata), Column::Band(_)) => field.with_metadata(HashMap::from([("nodata".to_owned(), nodata.clone())])),
            _ => field,
        }
    };
    let Affine { a, b, c, d, e, f } = raster.geo.of_level(level.scale);
    let mut metadata = HashMap::from([
        ("width".to_owned(), level.image.width.to_string()),
        ("height".to_owned(), level.image.height.to_string()),
        ("transform".to_owned(), serde_json::json!([a, b, c, d, e, f]).to_string()),
    ]);
    metadata.extend(raster.geo.crs.clone().map(|crs| ("crs".to_owned(), crs)));
    Schema::new_with_metadata(columns.iter().map(field).collect::<Vec<_>>(), metadata)
}

/// Turns blocks into batches.
struct Tabulator {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Bands of the blocks, in their order.
    bands: Vec<usize>,
    sample: Sample,
    transform: Affine,
}

/// The pixels of a window, the columns named; coordinates and all bands if none is.
pub(super) fn batches(
    file: &Arc<File>,
    raster: &Raster,
    level: &Level,
    window: Window,
    names: &[String],
) -> Result<Batches, FormatError> {
    let columns = picked(&level.image, names)?;
    let bands: Vec<usize> =
        columns.iter().filter_map(|column| if let Column::Band(band) = column { Some(*band) } else { None }).collect();
    let mut rows = Rows::new(Arc::clone(file), Arc::clone(&level.image), window, bands.clone(), raster.nodata.as_deref())?;
    let sample = rows.sample();
    let schema = Arc::new(schema_of(raster, level, sample, &columns));
    let tabulator = Tabulator { schema: schema.clone(), columns, bands, sample, transform: raster.geo.of_level(level.scale) };
    let mut current: Option<(Block, usize)> = None;
    let batches = std::iter::from_fn(move || {
        loop {
            if let Some((block, at)) = &mut current
                && let Some(batch) = tabulator.batch(block, *at)
            {
                *at += BATCH;
                return Some(batch);
            }
            match rows.next()? {
                Ok(block) => current = Some((block, 0)),
                Err(error) => return Some(Err(error)),
            }
        }
    });
    Ok(Batches::new(schema, batches))
}

impl Tabulator {
    /// The pixels of a block from `start` on; `None` where it is over.
    fn batch(&self, block: &Block, start: usize) -> Option<Result<RecordBatch, FormatError>> {
        let window = block.window;
        let width = window.width as usize;
        let end = (start + BATCH).min(width * window.height as usize);
        if start >= end {
            return None;
        }
        let places = || (start..end).map(move |pixel| (window.col + (pixel % width) as u64, window.row + (pixel / width) as u64));
        let centre = |(col, row): (u64, u64)| self.transform.apply(col as f64 + 0.5, row as f64 + 0.5);
        let array = |column: &Column| -> ArrayRef {
            match column {
                Column::X => Arc::new(Float64Array::from_iter_values(places().map(|place| centre(place)[0]))),
                Column::Y => Arc::new(Float64Array::from_iter_values(places().map(|place| centre(place)[1]))),
                Column::Row => Arc::new(UInt32Array::from_iter_values(places().map(|(_, row)| row as u32))),
                Column::Col => Arc::new(UInt32Array::from_iter_values(places().map(|(col, _)| col as u32))),
                Column::Band(band) => {
                    let held = self.bands.iter().position(|held| held == band).and_then(|at| block.bands.get(at));
                    let size = self.sample.bytes();
                    let samples = held.and_then(|samples| samples.get(start * size..end * size)).unwrap_or_default();
                    values(self.sample, samples)
                }
            }
        };
        let arrays = self.columns.iter().map(array).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(end - start));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options);
        Some(batch.map_err(|error| FormatError::Query(error.to_string())))
    }
}

fn values(sample: Sample, bytes: &[u8]) -> ArrayRef {
    fn of<T: ArrowPrimitiveType, const SIZE: usize>(bytes: &[u8], value: fn([u8; SIZE]) -> T::Native) -> ArrayRef {
        let (values, _) = bytes.as_chunks::<SIZE>();
        Arc::new(PrimitiveArray::<T>::from_iter_values(values.iter().map(|bytes| value(*bytes))))
    }
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    match (sample.kind, sample.bytes()) {
        (Kind::Unsigned, 1) => of::<UInt8Type, 1>(bytes, u8::from_le_bytes),
        (Kind::Unsigned, 2) => of::<UInt16Type, 2>(bytes, u16::from_le_bytes),
        (Kind::Unsigned, 4) => of::<UInt32Type, 4>(bytes, u32::from_le_bytes),
        (Kind::Unsigned, _) => of::<UInt64Type, 8>(bytes, u64::from_le_bytes),
        (Kind::Signed, 1) => of::<Int8Type, 1>(bytes, i8::from_le_bytes),
        (Kind::Signed, 2) => of::<Int16Type, 2>(bytes, i16::from_le_bytes),
        (Kind::Signed, 4) => of::<Int32Type, 4>(bytes, i32::from_le_bytes),
        (Kind::Signed, _) => of::<Int64Type, 8>(bytes, i64::from_le_bytes),
        (Kind::Float, 8) => of::<Float64Type, 8>(bytes, f64::from_le_bytes),
        (Kind::Float, 4) => of::<Float32Type, 4>(bytes, f32::from_le_bytes),
        (Kind::Float, _) => of::<Float32Type, 2>(bytes, |bytes| Half::from_le_bytes(bytes).to_f32()),
    }
}

//! Records as Arrow batches.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, PrimitiveArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::dims::{Dimension, Kind, dimensions};
use super::header::Header;
use super::points::{BLOCK, Points};
use crate::{Batches, FormatError};

/// The dimensions of these names, all if there are none.
pub(super) fn chosen(header: &Header, names: &[String]) -> Result<Vec<Dimension>, FormatError> {
    let all = dimensions(header);
    if names.is_empty() {
        return Ok(all);
    }
    let mut chosen: Vec<Dimension> = Vec::new();
    for name in names {
        if chosen.iter().any(|dimension| dimension.name == *name) {
            continue;
        }
        match all.iter().find(|dimension| dimension.name == *name) {
            Some(dimension) => chosen.push(dimension.clone()),
            None => {
                let known: Vec<&str> = all.iter().map(|dimension| dimension.name.as_str()).collect();
                return Err(FormatError::Query(format!("{}: has no column `{name}`; it has {}", header.name, known.join(", "))));
            }
        }
    }
    Ok(chosen)
}

pub(super) fn schema(dimensions: &[Dimension]) -> SchemaRef {
    let field = |dimension: &Dimension| Field::new(dimension.name.as_str(), data_type(dimension), false);
    Arc::new(Schema::new(dimensions.iter().map(field).collect::<Vec<_>>()))
}

fn data_type(dimension: &Dimension) -> DataType {
    let one = match dimension.kind {
        _ if dimension.scaling.is_some() => DataType::Float64,
        Kind::U8 | Kind::Bits(..) => DataType::UInt8,
        Kind::I8 => DataType::Int8,
        Kind::U16 => DataType::UInt16,
        Kind::I16 => DataType::Int16,
        Kind::U32 => DataType::UInt32,
        Kind::I32 => DataType::Int32,
        Kind::U64 => DataType::UInt64,
        Kind::I64 => DataType::Int64,
        Kind::F32 => DataType::Float32,
        Kind::F64 => DataType::Float64,
        Kind::Raw(size) => DataType::FixedSizeBinary(size as i32),
    };
    match dimension.lanes {
        1 => one,
        lanes => DataType::FixedSizeList(Arc::new(Field::new("item", one, false)), lanes as i32),
    }
}

/// Batches of some 64 Ki points.
pub(super) fn batches(header: &Header, mut points: Points, dimensions: Vec<Dimension>) -> Batches {
    let schema = schema(&dimensions);
    let (record, name) = (header.record, header.name.clone());
    let batch_schema = schema.clone();
    let next = move || -> Result<Option<RecordBatch>, FormatError> {
        let mut records = Vec::new();
        while let Some(block) = points.next_block()? {
            records.extend_from_slice(&block.records);
            if records.len() >= BLOCK * record {
                break;
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        let columns: Result<Vec<ArrayRef>, ArrowError> =
            dimensions.iter().map(|dimension| column(dimension, &records, record)).collect();
        let batch = columns.and_then(|columns| RecordBatch::try_new(batch_schema.clone(), columns));
        batch.map(Some).map_err(|error| FormatError::Broken { name: name.clone(), reason: error.to_string() })
    };
    let mut next = next;
    Batches::new(schema, std::iter::from_fn(move || next().transpose()))
}

fn column(dimension: &Dimension, records: &[u8], record: usize) -> Result<ArrayRef, ArrowError> {
    let of = Column { dimension, records, record };
    match dimension.kind {
        Kind::U8 => of.array::<UInt8Type, 1>(u8::from_le_bytes, f64::from),
        Kind::I8 => of.array::<Int8Type, 1>(i8::from_le_bytes, f64::from),
        Kind::U16 => of.array::<UInt16Type, 2>(u16::from_le_bytes, f64::from),
        Kind::I16 => of.array::<Int16Type, 2>(i16::from_le_bytes, f64::from),
        Kind::U32 => of.array::<UInt32Type, 4>(u32::from_le_bytes, f64::from),
        Kind::I32 => of.array::<Int32Type, 4>(i32::from_le_bytes, f64::from),
        Kind::U64 => of.array::<UInt64Type, 8>(u64::from_le_bytes, |value| value as f64),
        Kind::I64 => of.array::<Int64Type, 8>(i64::from_le_bytes, |value| value as f64),
        Kind::F32 => of.array::<Float32Type, 4>(f32::from_le_bytes, f64::from),
        Kind::F64 => of.array::<Float64Type, 8>(f64::from_le_bytes, |value| value),
        Kind::Bits(shift, mask) => {
            of.array::<UInt8Type, 1>(move |[byte]: [u8; 1]| byte.unbounded_shr(u32::from(shift)) & mask, f64::from)
        }
        Kind::Raw(size) => {
            let fields =
                records.chunks_exact(record).map(|record| record.get(dimension.at..dimension.at + size).unwrap_or_default());
            Ok(Arc::new(FixedSizeBinaryArray::try_from_iter(fields)?))
        }
    }
}

/// The values of one dimension in some records.
struct Column<'a> {
    dimension: &'a Dimension,
    records: &'a [u8],
    record: usize,
}

impl Column<'_> {
    fn array<T: ArrowPrimitiveType, const N: usize>(
        &self,
        value: impl Fn([u8; N]) -> T::Native,
        float: impl Fn(T::Native) -> f64,
    ) -> Result<ArrayRef, ArrowError> {
        let Some(scaling) = self.dimension.scaling else {
            return self.lanes(Arc::new(PrimitiveArray::<T>::from_iter_values(self.values(|bytes, _| value(bytes)))));
        };
        let scaled = self.values(|bytes, lane: usize| {
            let [scale, offset] = scaling.get(lane).copied().unwrap_or([1.0, 0.0]);
            float(value(bytes)) * scale + offset
        });
        self.lanes(Arc::new(PrimitiveArray::<Float64Type>::from_iter_values(scaled)))
    }

    fn values<const N: usize, V>(&self, value: impl Fn([u8; N], usize) -> V) -> impl Iterator<Item = V> {
        let (at, lanes) = (self.dimension.at, self.dimension.lanes);
        self.records
            .chunks_exact(self.record)
            .flat_map(move |record| {
                (0..lanes).map(move |lane| (lane, record.get(at + lane * N..).and_then(|field| field.first_chunk()).copied()))
            })
            .map(move |(lane, bytes)| value(bytes.unwrap_or([0; N]), lane))
    }

    fn lanes(&self, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self.dimension.lanes {
            1 => Ok(values),
            lanes => {
                let item = Arc::new(Field::new("item", values.data_type().clone(), false));
                Ok(Arc::new(FixedSizeListArray::try_new(item, lanes as i32, values, None)?))
            }
        }
    }
}

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, UInt64Array,
};
use arrow_buffer::{Buffer, MutableBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{Schema, SchemaRef};

use super::data::{Spectra, Spectrum, Want};
use super::describe::{item, schema};
use super::entry::Array;
use super::number::Number;
use super::selection::Selection;
use super::xml::damaged;
use crate::FormatError;
use crate::table::Batches;

// Values go from the .ibd into Arrow's buffers as they are.
const _: () = assert!(cfg!(target_endian = "little"));

/// What the columns of a selection need.
pub(super) fn want(selection: &Selection) -> Want {
    let has = |name: &str| selection.columns.is_empty() || selection.columns.iter().any(|column| column == name);
    Want { mz: has("mz"), intensity: has("intensity"), ..Want::default() }
}

/// One row a spectrum.
pub(super) fn batches(mut spectra: Spectra) -> Result<Batches, FormatError> {
    let whole = schema(&spectra.footer);
    let schema: SchemaRef = match spectra.selection.columns.as_slice() {
        [] => whole,
        columns => {
            let unknown = |name: &str| FormatError::Query(format!("there is no column `{name}`"));
            let field = |name: &String| whole.field_with_name(name).cloned().map_err(|_| unknown(name));
            Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>, _>>()?))
        }
    };
    let of_batches = schema.clone();
    let next = move || {
        let batch = spectra.next_batch().transpose()?;
        Some(batch.and_then(|batch| record_batch(&spectra, &of_batches, &batch)))
    };
    Ok(Batches::new(schema, std::iter::from_fn(next)))
}

fn record_batch(spectra: &Spectra, schema: &SchemaRef, batch: &[Spectrum]) -> Result<RecordBatch, FormatError> {
    let name = spectra.objects.xml.name();
    let column = |name: &str| -> Result<ArrayRef, FormatError> {
        let integers = |of: fn(&Spectrum) -> i32| Arc::new(Int32Array::from_iter_values(batch.iter().map(of))) as ArrayRef;
        Ok(match name {
            "spectrum" => Arc::new(UInt64Array::from_iter_values(batch.iter().map(|spectrum| spectrum.entry.index))),
            "x" => integers(|spectrum| spectrum.entry.x),
            "y" => integers(|spectrum| spectrum.entry.y),
            "z" => Arc::new(Int32Array::from_iter(batch.iter().map(|spectrum| spectrum.entry.z))),
            "mz" => lists(batch, spectra.footer.mz, |spectrum| (&spectrum.entry.mz, &spectrum.mz))?,
            _ => lists(batch, spectra.footer.intensity, |spectrum| (&spectrum.entry.intensity, &spectrum.intensity))?,
        })
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    let made = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    made.map_err(|error| damaged(name, 0, format!("its spectra make no table: {error}")))
}

fn lists(
    batch: &[Spectrum],
    number: Number,
    values: impl Fn(&Spectrum) -> (&Array, &bytes::Bytes),
) -> Result<ArrayRef, FormatError> {
    let mut buffer = MutableBuffer::new(batch.iter().map(|spectrum| values(spectrum).1.len()).sum());
    for spectrum in batch {
        let (array, bytes) = values(spectrum);
        if array.number == number {
            buffer.extend_from_slice(bytes);
        } else {
            // The one type that holds them all is a 64-bit float.
            array.number.values(bytes).for_each(|value| buffer.extend_from_slice(&value.to_le_bytes()));
        }
    }
    let lengths = batch.iter().map(|spectrum| values(spectrum).1.len() / values(spectrum).0.number.width());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(Arc::new(item(number)), offsets, primitive(number, buffer.into()), None);
    list.map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| FormatError::Query(format!("the arrays of {} spectra make no column: {error}", batch.len())))
}

fn primitive(number: Number, values: Buffer) -> ArrayRef {
    match number {
        Number::I8 => Arc::new(Int8Array::new(ScalarBuffer::from(values), None)),
        Number::I16 => Arc::new(Int16Array::new(ScalarBuffer::from(values), None)),
        Number::I32 => Arc::new(Int32Array::new(ScalarBuffer::from(values), None)),
        Number::I64 => Arc::new(Int64Array::new(ScalarBuffer::from(values), None)),
        Number::F32 => Arc::new(Float32Array::new(ScalarBuffer::from(values), None)),
        Number::F64 => Arc::new(Float64Array::new(ScalarBuffer::from(values), None)),
    }
}

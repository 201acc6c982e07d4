//! JSON Lines: typed columns, told from the first lines of the object or given.

mod seen;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeListArray, ListArray, RecordBatch, StructArray};
use arrow_cast::can_cast_types;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use super::projection::Projection;
use super::text::{self, Misfit};
use super::{ArrowOptions, Columns, Opened, Wrong, shown};
use crate::detect::content_of;
use crate::{Compression, FormatError};
use seen::{Clash, Members};

/// Uncompressed bytes looked at, and lines among them.
const BYTES: usize = 1 << 20;
const LINES: usize = 10_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Objects, one a line.
pub(super) struct Json {
    schema: SchemaRef,
    /// Whether a field that is no column is an error: where the columns were told from the first lines.
    strict: bool,
    decoder: Decoder,
    /// The lines of the batch and their ends, to find the one at fault.
    lines: Vec<u8>,
    ends: Vec<usize>,
}

impl Json {
    pub(super) fn new(opened: &Opened, options: &ArrowOptions) -> Result<Self, FormatError> {
        let told = infer(opened)?;
        let given = options.schema.as_ref().map(|schema| schema.fields().clone()).unwrap_or_default();
        let mut new: Vec<&FieldRef> = given.iter().collect();
        let mut all = Vec::new();
        for (name, kind) in told.columns() {
            new.retain(|field| field.name() != name);
            all.push(match (given.find(name), kind) {
                (Some((_, given)), _) => given.as_ref().clone().with_nullable(true),
                (None, Ok(kind)) => Field::new(name, kind, true),
                (None, Err(clash)) => Field::new(name, clashed(opened, name, &options.columns, clash)?, true),
            });
        }
        all.extend(new.into_iter().map(|field| field.as_ref().clone().with_nullable(true)));
        let all: Fields = all.into();
        let schema = Projection::new("JSON Lines", all, &options.columns)?.schema;
        let strict = options.columns.is_empty();
        let decoder = decoder(schema.fields(), strict, options.batch_rows)
            .map_err(|error| FormatError::Query(format!("JSON Lines cannot be read with this schema: {error}")))?;
        Ok(Self { schema, strict, decoder, lines: Vec::new(), ends: Vec::new() })
    }

    /// Which line, and which of its fields, is at fault.
    fn blame(&self, error: &ArrowError) -> Wrong {
        let mut begin = 0;
        for (row, end) in self.ends.iter().enumerate() {
            let line = &self.lines[begin..*end];
            begin = *end;
            if decode_one(self.schema.fields(), self.strict, line).is_ok() {
                continue;
            }
            let object = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
            let at_fault = |column: &str, expected: String| {
                let value = object.get(column).map(ToString::to_string).unwrap_or_default();
                Wrong::Value { row: Some(row), column: column.to_owned(), value: shown(value.as_bytes()), expected }
            };
            for field in self.schema.fields() {
                match decode_one(&Fields::from(vec![Arc::clone(field)]), false, line) {
                    Ok(()) => {}
                    Err(ArrowError::CastError(expected)) => return at_fault(field.name(), expected),
                    Err(_) => return at_fault(field.name(), field.data_type().to_string()),
                }
            }
            let unknown = |name: &&String| self.schema.column_with_name(name).is_none();
            if let Some(name) = object.as_object().and_then(|object| object.keys().find(unknown)) {
                return at_fault(name, "value of a column of the first lines".to_owned());
            }
            return Wrong::Record(format!("{error}: `{}`", shown(line)));
        }
        Wrong::Record(error.to_string())
    }
}

impl Columns for Json {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        let line = record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record).trim_ascii();
        if line.is_empty() {
            return Ok(false);
        }
        if line[0] != b'{' {
            return Err(Wrong::Record(format!("it is no JSON object: `{}`", shown(line))));
        }
        let passed = self.decoder.decode(line).map_err(|error| Wrong::Record(format!("{error}: `{}`", shown(line))))?;
        if passed < line.len() || self.decoder.has_partial_record() || self.decoder.len() != self.ends.len() + 1 {
            return Err(Wrong::Record(format!("a line must hold one whole JSON object: `{}`", shown(line))));
        }
        self.lines.extend_from_slice(line);
        self.ends.push(self.lines.len());
        Ok(true)
    }

    fn weight(&self) -> usize {
        4 * self.ends.len() * self.schema.fields().len()
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        let arrays = flush(&mut self.decoder, self.schema.fields()).map_err(|error| self.blame(&error))?;
        self.lines.clear();
        self.ends.clear();
        Ok(arrays)
    }
}

/// A decoder that leaves numbers and times as they are written: [`typed`] then reads them as it does those of CSV, where nothing is
/// lost; Arrow's own would make 1 of 1.5.
fn decoder(fields: &Fields, strict: bool, rows: usize) -> Result<Decoder, ArrowError> {
    let loose = fields.iter().map(loose_field).collect::<Fields>();
    let reader = ReaderBuilder::new(Arc::new(Schema::new(loose))).with_batch_size(rows).with_strict_mode(strict);
    reader.with_coerce_primitive(true).build_decoder()
}

fn loose_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(loose(field.data_type())))
}

fn loose(kind: &DataType) -> DataType {
    let written = kind.is_integer() || kind.is_floating() || kind.is_temporal();
    match kind {
        kind if written && can_cast_types(&DataType::Utf8, kind) => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(loose_field).collect()),
        DataType::List(item) => DataType::List(loose_field(item)),
        DataType::LargeList(item) => DataType::LargeList(loose_field(item)),
        other => other.clone(),
    }
}

/// What was decoded, in the types of the columns. What does not fit is an error.
fn flush(decoder: &mut Decoder, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
    let batch = decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
    batch.columns().iter().zip(fields).map(|(array, field)| typed(array, field.data_type())).collect()
}

/// What was decoded as [`loose`] has it, in its own type.
fn typed(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == kind {
        return Ok(Arc::clone(array));
    }
    match kind {
        DataType::Struct(fields) => {
            let (_, arrays, nulls) = array.as_struct().clone().into_parts();
            let arrays = arrays.iter().zip(fields).map(|(array, field)| typed(array, field.data_type()));
            Ok(Arc::new(StructArray::try_new(fields.clone(), arrays.collect::<Result<_, _>>()?, nulls)?))
        }
        DataType::List(item) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, typed(&values, item.data_type())?, nulls)?))
        }
        DataType::LargeList(item) => {
            let (_, offsets, values, nulls) = array.as_list::<i64>().clone().into_parts();
            Ok(Arc::new(LargeListArray::try_new(Arc::clone(item), offsets, typed(&values, item.data_type())?, nulls)?))
        }
        _ => text::typed(array.as_string().clone(), kind).map_err(|misfit| match misfit {
            Misfit::Value { expected, .. } => ArrowError::CastError(expected),
            Misfit::Type(error) => error,
        }),
    }
}

fn decode_one(fields: &Fields, strict: bool, line: &[u8]) -> Result<(), ArrowError> {
    let mut decoder = decoder(fields, strict, 1)?;
    decoder.decode(line)?;
    flush(&mut decoder, fields).map(drop)
}

/// The columns of the first lines, in the order they appear, whichever slice is read: so all slices agree.
fn infer(opened: &Opened) -> Result<Members, FormatError> {
    let content = content_of(opened.object.as_ref(), opened.compression, BYTES)?;
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&content);
    let all = opened.object.size() <= BYTES as u64 && (opened.compression == Compression::Plain || content.len() < BYTES);
    let whole = match memchr::memrchr(b'\n', content) {
        Some(end) if !all => &content[..end],
        _ => content,
    };
    let mut members = Members::default();
    for (number, line) in whole.split(|byte| *byte == b'\n').enumerate().take(LINES) {
        if !line.trim_ascii().is_empty() {
            let number = number as u64 + 1;
            members.see_line(line, number).map_err(|reason| malformed(opened, number, reason))?;
        }
    }
    Ok(members)
}

fn malformed(opened: &Opened, line: u64, reason: String) -> FormatError {
    FormatError::Malformed { name: opened.object.name().to_owned(), format: opened.format.title(), line, reason }
}

/// The type of a column in which no type holds all values: an error if it is wanted.
fn clashed(opened: &Opened, name: &str, wanted: &[String], Clash { line, reason }: Clash) -> Result<DataType, FormatError> {
    if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
        return Ok(DataType::Utf8);
    }
    let remedy = format!(
        "give its type (`--schema '{name}:TYPE'`, in Python `schema=`), or name the columns wanted without it (`columns`)"
    );
    Err(malformed(opened, line, format!("{reason}; {remedy}")))
}

//! JSON Lines: typed columns, told from the first lines of the object or given.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_json::ReaderBuilder;
use arrow_json::reader::{Decoder, infer_json_schema};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::projection::Projection;
use super::{ArrowOptions, Columns, Opened, Wrong, shown};
use crate::detect::content_of;
use crate::{Compression, FormatError};

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
        let typed = told.iter().map(|field| given.find(field.name()).map_or(field, |(_, given)| given));
        let new = given.iter().filter(|field| told.find(field.name()).is_none());
        let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
        let all: Fields = typed.chain(new).map(nullable).collect();
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
            let misfit = |field: &&FieldRef| decode_one(&Fields::from(vec![Arc::clone(field)]), false, line).is_err();
            if let Some(field) = self.schema.fields().iter().find(misfit) {
                return at_fault(field.name(), field.data_type().to_string());
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

/// A decoder that keeps integers as text: as numbers, it would make 1 of 1.5.
fn decoder(fields: &Fields, strict: bool, rows: usize) -> Result<Decoder, ArrowError> {
    let loose = fields.iter().map(loose_field).collect::<Fields>();
    let reader = ReaderBuilder::new(Arc::new(Schema::new(loose))).with_batch_size(rows).with_strict_mode(strict);
    reader.with_coerce_primitive(true).build_decoder()
}

fn loose_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(loose(field.data_type())))
}

fn loose(kind: &DataType) -> DataType {
    match kind {
        integer if integer.is_integer() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(loose_field).collect()),
        DataType::List(item) => DataType::List(loose_field(item)),
        DataType::LargeList(item) => DataType::LargeList(loose_field(item)),
        other => other.clone(),
    }
}

/// What was decoded, in the types of the columns. What does not fit is an error.
fn flush(decoder: &mut Decoder, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
    let batch = decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |(array, field): (&ArrayRef, &FieldRef)| match array.data_type() == field.data_type() {
        true => Ok(Arc::clone(array)),
        false => cast_with_options(array, field.data_type(), &exact),
    };
    batch.columns().iter().zip(fields).map(cast).collect()
}

fn decode_one(fields: &Fields, strict: bool, line: &[u8]) -> Result<(), ArrowError> {
    let mut decoder = decoder(fields, strict, 1)?;
    decoder.decode(line)?;
    flush(&mut decoder, fields).map(drop)
}

/// The columns of the first lines, in the order they appear, whichever slice is read: so all slices agree.
fn infer(opened: &Opened) -> Result<Fields, FormatError> {
    let content = content_of(opened.object.as_ref(), opened.compression, BYTES)?;
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&content);
    let all = opened.object.size() <= BYTES as u64 && (opened.compression == Compression::Plain || content.len() < BYTES);
    let whole = match memchr::memrchr(b'\n', content) {
        Some(end) if !all => &content[..end],
        _ => content,
    };
    let lines = || whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(LINES);
    let malformed = |line: u64, reason: String| FormatError::Malformed {
        name: opened.object.name().to_owned(),
        format: opened.format.title(),
        line,
        reason,
    };
    let mut names = Names::default();
    for (number, line) in whole.split(|byte| *byte == b'\n').enumerate().take(LINES) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let keys = serde_json::from_slice::<Keys>(line)
            .map_err(|error| malformed(number as u64 + 1, format!("it is no JSON object ({error}): `{}`", shown(line))))?;
        names.add(keys);
    }
    let joined = lines().collect::<Vec<_>>().join(&b'\n');
    let (schema, _) = infer_json_schema(joined.as_slice(), Some(LINES))
        .map_err(|error| malformed(1, format!("its first lines do not agree: {error}; give the types with `schema=`")))?;
    let field = |name: &String| schema.column_with_name(name).map(|(_, field)| Arc::new(known(field)));
    Ok(names.in_order.iter().filter_map(field).collect())
}

/// The field in a type that every reader of Arrow has: what was null in all first lines is text. Fields of objects are sorted by name.
fn known(field: &Field) -> Field {
    let item = |item: &FieldRef| Arc::new(known(item));
    let kind = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(inner) => DataType::List(item(inner)),
        DataType::Struct(fields) => {
            let mut fields: Vec<FieldRef> = fields.iter().map(item).collect();
            fields.sort_by(|a, b| a.name().cmp(b.name()));
            DataType::Struct(fields.into())
        }
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

/// Names of columns in order of appearance.
#[derive(Default)]
struct Names {
    in_order: Vec<String>,
    seen: HashSet<String>,
}

impl Names {
    fn add(&mut self, Keys(keys): Keys) {
        for key in keys {
            if !self.seen.contains(&key) {
                self.seen.insert(key.clone());
                self.in_order.push(key);
            }
        }
    }
}

/// The keys of an object; its values are passed over.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            keys.push(key);
        }
        Ok(Keys(keys))
    }
}

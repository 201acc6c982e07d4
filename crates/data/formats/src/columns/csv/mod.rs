//! CSV and TSV: typed columns, told from the first rows of the object or given.

mod fields;
mod sample;

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, StringArray};
use arrow_cast::can_cast_types;
use arrow_schema::{DataType, Field, Fields as SchemaFields, SchemaRef};

use super::decode::wrong_of;
use super::projection::Projection;
use super::text::{Misfit, typed};
use super::{ArrowOptions, Columns, Opened, Wrong, kind, line_of, shown, utf8};
use crate::records::Malformed;
use crate::{Format, FormatError};
use bytes::Bytes;
use fields::Fields;
use sample::{Sample, without_mark};

/// More columns than this are damage.
const MOST_COLUMNS: usize = 1 << 20;

/// Rows of separated fields.
pub(super) struct Csv {
    schema: SchemaRef,
    separator: u8,
    /// For each field of a row, its place among the wanted columns.
    places: Vec<Option<usize>>,
    columns: Vec<Column>,
}

/// A wanted column.
struct Column {
    name: String,
    kind: DataType,
    text: bool,
    /// Its type was told from the first rows, not given.
    told: bool,
    /// The fields as they stand; converted when the batch is finished.
    values: StringBuilder,
}

/// The names of the columns, as far as the first bytes of an object tell them.
pub(crate) fn column_names(format: Format, content: &[u8]) -> Vec<String> {
    let sample = Sample::of(format, Bytes::copy_from_slice(content), true);
    names(format, &sample, separator_of(format, &sample, None), true).unwrap_or_default()
}

fn separator_of(format: Format, sample: &Sample, given: Option<u8>) -> u8 {
    given.unwrap_or_else(|| if format == Format::Tsv { b'\t' } else { sample.separator() })
}

impl Csv {
    pub(super) fn new(opened: &Opened, options: &ArrowOptions, header_row: bool) -> Result<Self, FormatError> {
        if let Some(separator) = options.separator.filter(|separator| matches!(separator, b'"' | b'\n' | b'\r' | 128..)) {
            let shown = std::ascii::escape_default(separator);
            return Err(FormatError::Query(format!("`{shown}` cannot stand between fields; a separator is one ASCII character")));
        }
        let sample = Sample::read(opened, true)?;
        let separator = separator_of(opened.format, &sample, options.separator);
        let names =
            names(opened.format, &sample, separator, header_row).map_err(|malformed| malformed.of(opened.object.name()))?;
        let given = given_types(opened, options, &names)?;
        let wanted: HashSet<&str> = options.columns.iter().map(String::as_str).collect();
        let unknown: Vec<bool> = names
            .iter()
            .zip(&given)
            .map(|(name, given)| given.is_none() && (wanted.is_empty() || wanted.contains(name.as_str())))
            .collect();
        let told = sample.kinds(&unknown, separator, header_row);
        let field =
            |((name, given), told): ((&String, Option<Field>), DataType)| given.unwrap_or_else(|| Field::new(name, told, true));
        let all: SchemaFields = names.iter().zip(given).zip(told).map(field).collect();
        let count = all.len();
        let projection = Projection::new(opened.format.title(), all, &options.columns)?;
        let column = |field: &Arc<Field>| Column {
            name: field.name().clone(),
            kind: field.data_type().clone(),
            text: matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
            told: options.schema.as_ref().is_none_or(|schema| schema.column_with_name(field.name()).is_none()),
            values: StringBuilder::new(),
        };
        let columns = projection.schema.fields().iter().map(column).collect();
        Ok(Self { separator, places: projection.places(count), columns, schema: projection.schema })
    }
}

impl Columns for Csv {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        let row = without_mark(line_of(record));
        if row.is_empty() && self.places.len() != 1 {
            return Ok(false);
        }
        let mut count = 0;
        for field in Fields::new(row, self.separator) {
            let field = field.map_err(|reason| Wrong::Record(format!("field {}: {reason}", count + 1)))?;
            if let Some(Some(place)) = self.places.get(count) {
                self.columns[*place].add(&field)?;
            }
            count += 1;
        }
        if count != self.places.len() {
            let expected = self.places.len();
            let reason = format!(
                "it has {count} fields, the first row has {expected}; repair it, or name what stands between fields (`--separator`, \
                 in Python `separator=`)"
            );
            return Err(Wrong::Record(reason));
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

impl Column {
    fn add(&mut self, field: &[u8]) -> Result<(), Wrong> {
        let missing = if self.text { field.is_empty() } else { kind::is_missing(field) };
        match missing {
            true => self.values.append_null(),
            false => self.values.append_value(utf8(field, &self.name)?),
        }
        Ok(())
    }

    /// The values in the column's type. The first that is none of it is an error; none becomes null.
    fn finish(&mut self) -> Result<ArrayRef, Wrong> {
        let values = self.values.finish();
        let wrong = |row: usize, expected: String| Wrong::Value {
            row: Some(row),
            column: self.name.clone(),
            value: shown(values.value(row).as_bytes()),
            expected,
        };
        if let Some((row, expected)) = self.told.then(|| self.stray(&values)).flatten() {
            return Err(wrong(row, expected));
        }
        typed(values.clone(), &self.kind).map_err(|misfit| match misfit {
            Misfit::Value { row, expected } => wrong(row, expected),
            Misfit::Type(error) => wrong_of(&error),
        })
    }

    /// The first value that Arrow would take for one of the type told, though it would not have been told from it.
    fn stray(&self, values: &StringArray) -> Option<(usize, String)> {
        let (is_stray, expected): (fn(&str) -> bool, _) = match self.kind {
            DataType::Int64 | DataType::Float64 => (kind::is_code, ": its leading zero makes it a code"),
            DataType::Boolean => (|text| !kind::is_boolean(text), ""),
            _ => return None,
        };
        let row = values.iter().position(|value| value.is_some_and(is_stray))?;
        Some((row, format!("{}{expected}", self.kind)))
    }
}

/// The names of the columns, no two alike: of a name that is there already `_1`, `_2`, … follow.
fn names(format: Format, sample: &Sample, separator: u8, header_row: bool) -> Result<Vec<String>, Malformed> {
    let malformed = |reason: String| Malformed::Line { format: format.title(), line: 1, reason };
    let Some(row) = sample.rows().next() else { return Ok(Vec::new()) };
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for (place, field) in Fields::new(row, separator).enumerate() {
        let field = field.map_err(|reason| malformed(format!("field {}: {reason}", place + 1)))?;
        let name = std::str::from_utf8(&field).map_err(|_| {
            malformed(format!("the name of column {} is no UTF-8: convert the object (`iconv -f LATIN1 -t UTF-8`)", place + 1))
        })?;
        let name = if header_row && !name.is_empty() { name.to_owned() } else { format!("column_{}", place + 1) };
        let mut unlike = name.clone();
        let mut number = 0;
        while !seen.insert(unlike.clone()) {
            number += 1;
            unlike = format!("{name}_{number}");
        }
        names.push(unlike);
        if names.len() > MOST_COLUMNS {
            return Err(malformed("it has more than a million columns; is this file what its name says?".into()));
        }
    }
    Ok(names)
}

/// For each column the type that was given, if one was.
fn given_types(opened: &Opened, options: &ArrowOptions, names: &[String]) -> Result<Vec<Option<Field>>, FormatError> {
    let Some(schema) = &options.schema else { return Ok(vec![None; names.len()]) };
    for field in schema.fields() {
        if !names.contains(field.name()) && !names.is_empty() {
            let known = names.join(", ");
            let reason = format!("`schema` names the column `{}`; {} has: {known}", field.name(), opened.object.name());
            return Err(FormatError::Query(reason));
        }
        if !can_cast_types(&DataType::Utf8, field.data_type()) {
            let reason = format!("column `{}` cannot be read from text as {}", field.name(), field.data_type());
            return Err(FormatError::Query(reason));
        }
    }
    let given = |name: &String| schema.column_with_name(name).map(|(_, field)| field.clone().with_nullable(true));
    Ok(names.iter().map(given).collect())
}

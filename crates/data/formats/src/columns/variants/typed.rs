//! Columns of INFO and FORMAT: typed values, lists of them, and lists of either over the samples.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float32Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};

use crate::columns::number::write_general;
use crate::columns::{Wrong, shown, utf8};

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    /// An integer of 64 bits: beyond what VCF allows, and written all the same.
    Long,
    Float,
    Text,
    Flag,
}

/// What one entry of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// An entry is a list of values.
    pub(super) list: bool,
}

impl Shape {
    /// What `Number` and `Type` of a header line say.
    pub(super) fn declared(number: &str, kind: &str) -> Self {
        let kind = match kind {
            "Integer" => Kind::Integer,
            "Float" => Kind::Float,
            "Flag" => Kind::Flag,
            _ => Kind::Text,
        };
        Self { kind, list: number != "1" && kind != Kind::Flag }
    }

    /// The shape of values of an Arrow type that was given.
    pub(super) fn given(kind: &DataType) -> Option<Self> {
        let scalar = |kind: &DataType| match kind {
            DataType::Int32 => Some(Kind::Integer),
            DataType::Int64 => Some(Kind::Long),
            DataType::Float32 => Some(Kind::Float),
            DataType::Utf8 => Some(Kind::Text),
            DataType::Boolean => Some(Kind::Flag),
            _ => None,
        };
        match kind {
            DataType::List(item) => Some(Self { kind: scalar(item.data_type())?, list: true }),
            other => Some(Self { kind: scalar(other)?, list: false }),
        }
    }

    pub(super) fn data_type(self) -> DataType {
        let kind = match self.kind {
            Kind::Integer => DataType::Int32,
            Kind::Long => DataType::Int64,
            Kind::Float => DataType::Float32,
            Kind::Text => DataType::Utf8,
            Kind::Flag => DataType::Boolean,
        };
        if self.list { list_of(kind) } else { kind }
    }
}

pub(super) fn list_of(kind: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", kind, true)))
}

enum Leaf {
    Integer(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Text(StringBuilder),
    Flag(BooleanBuilder),
}

/// Ends of lists.
struct Nest {
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Default for Nest {
    fn default() -> Self {
        Self { offsets: vec![0], valid: NullBufferBuilder::new(1024) }
    }
}

impl Nest {
    fn end(&mut self, length: usize, valid: bool) {
        self.offsets.push(length as i32);
        self.valid.append(valid);
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn around(&mut self, items: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let Nest { offsets, mut valid } = std::mem::take(self);
        let item = Arc::new(Field::new("item", items.data_type().clone(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(item, offsets, items, valid.finish())?))
    }
}

/// A column being gathered.
pub(super) struct Typed {
    pub(super) shape: Shape,
    leaf: Leaf,
    values: Option<Nest>,
    samples: Option<Nest>,
}

impl Typed {
    /// A column of one entry a record, or of one a sample.
    pub(super) fn new(shape: Shape, by_sample: bool) -> Self {
        let leaf = match shape.kind {
            Kind::Integer => Leaf::Integer(Int32Builder::new()),
            Kind::Long => Leaf::Long(Int64Builder::new()),
            Kind::Float => Leaf::Float(Float32Builder::new()),
            Kind::Text => Leaf::Text(StringBuilder::new()),
            Kind::Flag => Leaf::Flag(BooleanBuilder::new()),
        };
        Self { shape, leaf, values: shape.list.then(Nest::default), samples: by_sample.then(Nest::default) }
    }

    pub(super) fn integer(&mut self, value: Option<i32>) {
        match &mut self.leaf {
            Leaf::Integer(builder) => builder.append_option(value),
            Leaf::Long(builder) => builder.append_option(value.map(i64::from)),
            Leaf::Float(builder) => builder.append_option(value.map(|value| value as f32)),
            Leaf::Text(builder) => builder.append_option(value.map(|value| value.to_string())),
            Leaf::Flag(builder) => builder.append_option(value.map(|value| value != 0)),
        }
    }

    pub(super) fn float(&mut self, value: Option<f32>) -> Result<(), &'static str> {
        match &mut self.leaf {
            Leaf::Float(builder) => builder.append_option(value),
            Leaf::Text(builder) => builder.append_option(value.map(|value| {
                let mut text = String::new();
                write_general(value, &mut text);
                text
            })),
            _ if value.is_none() => self.null(),
            _ => return Err("it holds decimal numbers"),
        }
        Ok(())
    }

    /// A value as VCF writes it; `.` is a missing one. False if it is not of the column's type.
    pub(super) fn written(&mut self, value: &[u8]) -> Result<bool, Wrong> {
        if value == b"." || value.is_empty() {
            self.null();
            return Ok(true);
        }
        let text = utf8(value, "a value")?;
        match &mut self.leaf {
            Leaf::Integer(builder) => match text.parse() {
                Ok(number) => builder.append_value(number),
                Err(_) => return Ok(false),
            },
            Leaf::Long(builder) => match text.parse() {
                Ok(number) => builder.append_value(number),
                Err(_) => return Ok(false),
            },
            Leaf::Float(builder) => match text.parse() {
                Ok(number) => builder.append_value(number),
                Err(_) => return Ok(false),
            },
            Leaf::Text(builder) => builder.append_value(text),
            Leaf::Flag(builder) => builder.append_value(true),
        }
        Ok(true)
    }

    /// A whole entry as VCF writes it.
    pub(super) fn entry(&mut self, entry: &[u8], column: &str) -> Result<(), Wrong> {
        let wrong = |value: &[u8], expected: String| Wrong::Value {
            row: None,
            column: column.to_owned(),
            value: shown(value),
            expected: format!("{expected}, as the header has it"),
        };
        if self.values.is_none() || matches!(entry, b"." | b"") {
            let fits = if self.values.is_none() { self.written(entry)? } else { self.no_entry() };
            return if fits { Ok(()) } else { Err(wrong(entry, self.shape.data_type().to_string())) };
        }
        for value in entry.split(|byte| *byte == b',') {
            if !self.written(value)? {
                return Err(wrong(value, Shape { list: false, ..self.shape }.data_type().to_string()));
            }
        }
        self.end_entry();
        Ok(())
    }

    fn null(&mut self) {
        match &mut self.leaf {
            Leaf::Integer(builder) => builder.append_null(),
            Leaf::Long(builder) => builder.append_null(),
            Leaf::Float(builder) => builder.append_null(),
            Leaf::Text(builder) => builder.append_null(),
            Leaf::Flag(builder) => builder.append_null(),
        }
    }

    pub(super) fn flag(&mut self, value: bool) {
        match &mut self.leaf {
            Leaf::Flag(builder) => builder.append_value(value),
            _ => self.null(),
        }
    }

    fn leaves(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match &self.leaf {
            Leaf::Integer(builder) => builder.len(),
            Leaf::Long(builder) => builder.len(),
            Leaf::Float(builder) => builder.len(),
            Leaf::Text(builder) => builder.len(),
            Leaf::Flag(builder) => builder.len(),
        }
    }

    /// The values given make an entry.
    pub(super) fn end_entry(&mut self) {
        let leaves = self.leaves();
        if let Some(values) = &mut self.values {
            values.end(leaves, true);
        }
    }

    /// An entry without a value.
    pub(super) fn no_entry(&mut self) -> bool {
        let leaves = self.leaves();
        match &mut self.values {
            Some(values) => values.end(leaves, false),
            None => self.null(),
        }
        true
    }

    /// The entries given are those of a record's samples.
    pub(super) fn end_samples(&mut self) {
        let entries = self.values.as_ref().map_or_else(|| self.leaves(), Nest::len);
        if let Some(samples) = &mut self.samples {
            samples.end(entries, true);
        }
    }

    /// The record has nothing of this column.
    pub(super) fn no_row(&mut self) {
        let entries = self.values.as_ref().map_or_else(|| self.leaves(), Nest::len);
        match &mut self.samples {
            Some(samples) => samples.end(entries, false),
            None if self.shape.kind == Kind::Flag && !self.shape.list => self.flag(false),
            None => drop(self.no_entry()),
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut array: ArrayRef = match &mut self.leaf {
            Leaf::Integer(builder) => Arc::new(builder.finish()),
            Leaf::Long(builder) => Arc::new(builder.finish()),
            Leaf::Float(builder) => Arc::new(builder.finish()),
            Leaf::Text(builder) => Arc::new(builder.finish()),
            Leaf::Flag(builder) => Arc::new(builder.finish()),
        };
        for nest in [&mut self.values, &mut self.samples].into_iter().flatten() {
            array = nest.around(array)?;
        }
        Ok(array)
    }
}

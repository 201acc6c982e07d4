//! SAM and BAM: the same columns from either.

mod bam;
mod rows;
mod sam;

pub(crate) use rows::AlignmentRows;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Int64Builder, MapBuilder, MapFieldNames, StringBuilder, UInt8Builder, UInt16Builder};
use arrow_schema::{DataType, Field, Fields, SchemaRef};

use super::projection::Projection;
use super::{ArrowOptions, Columns, Opened, Wrong, line_of, utf8};
use crate::{Format, FormatError};

/// The columns, in order.
#[derive(Clone, Copy)]
enum Column {
    Name,
    Flag,
    Reference,
    Pos,
    Mapq,
    Cigar,
    MateReference,
    MatePos,
    TemplateLength,
    Sequence,
    Quality,
    Tags,
}

const COLUMNS: usize = 12;

enum Builder {
    Text(StringBuilder),
    Small(UInt8Builder),
    Flags(UInt16Builder),
    Number(Int64Builder),
    Tags(Box<MapBuilder<StringBuilder, StringBuilder>>),
}

/// Alignments of either encoding.
pub(super) struct Alignments {
    schema: SchemaRef,
    binary: bool,
    references: Vec<String>,
    /// Of every column; none where it is not wanted.
    builders: Vec<Option<Builder>>,
    wanted: Vec<usize>,
    scratch: String,
}

fn fields() -> [Field; COLUMNS] {
    let tag = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    let tags = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(tag), false)), false);
    [
        Field::new("name", DataType::Utf8, true),
        Field::new("flag", DataType::UInt16, false),
        Field::new("reference", DataType::Utf8, true),
        Field::new("pos", DataType::Int64, true),
        Field::new("mapq", DataType::UInt8, false),
        Field::new("cigar", DataType::Utf8, true),
        Field::new("mate_reference", DataType::Utf8, true),
        Field::new("mate_pos", DataType::Int64, true),
        Field::new("template_length", DataType::Int64, false),
        Field::new("sequence", DataType::Utf8, true),
        Field::new("quality", DataType::Utf8, true),
        Field::new("tags", tags, false),
    ]
}

fn builder(kind: &DataType) -> Builder {
    match kind {
        DataType::UInt8 => Builder::Small(UInt8Builder::new()),
        DataType::UInt16 => Builder::Flags(UInt16Builder::new()),
        DataType::Int64 => Builder::Number(Int64Builder::new()),
        DataType::Map(..) => {
            let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
            Builder::Tags(Box::new(MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())))
        }
        _ => Builder::Text(StringBuilder::new()),
    }
}

impl Alignments {
    pub(super) fn new(opened: &Opened, options: &ArrowOptions) -> Result<Self, FormatError> {
        let binary = opened.format == Format::Bam;
        let references = match binary {
            true => crate::region::bam_references(&opened.header).unwrap_or_default(),
            false => Vec::new(),
        };
        let references = references.into_iter().map(|reference| reference.name).collect();
        Self::of(opened.format.title(), binary, references, &options.columns)
    }

    fn of(format: &str, binary: bool, references: Vec<String>, columns: &[String]) -> Result<Self, FormatError> {
        let all = fields();
        let projection = Projection::new(format, all.clone().into_iter().collect(), columns)?;
        let places = projection.places(COLUMNS);
        let builders = all.iter().zip(places).map(|(field, place)| place.map(|_| builder(field.data_type()))).collect();
        Ok(Self { schema: projection.schema, binary, references, builders, wanted: projection.wanted, scratch: String::new() })
    }

    fn wants(&self, column: Column) -> bool {
        self.builders[column as usize].is_some()
    }

    fn text(&mut self, column: Column, value: Option<&[u8]>) -> Result<(), Wrong> {
        if let Some(Builder::Text(builder)) = &mut self.builders[column as usize] {
            builder.append_option(value.map(|value| utf8(value, "a field")).transpose()?);
        }
        Ok(())
    }

    /// A number; what its column cannot hold is an error.
    fn number(&mut self, column: Column, value: Option<i64>) -> Result<(), Wrong> {
        let misfit = || Wrong::Record(format!("a number is out of range: {}", value.unwrap_or_default()));
        match &mut self.builders[column as usize] {
            Some(Builder::Small(builder)) => {
                builder.append_value(value.unwrap_or_default().try_into().map_err(|_| misfit())?);
            }
            Some(Builder::Flags(builder)) => {
                builder.append_value(value.unwrap_or_default().try_into().map_err(|_| misfit())?);
            }
            Some(Builder::Number(builder)) => {
                builder.append_option(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// One tag of the record; [`Alignments::end_tags`] follows the last.
    fn tag(&mut self, key: &[u8], value: &[u8]) -> Result<(), Wrong> {
        if let Some(Builder::Tags(builder)) = &mut self.builders[Column::Tags as usize] {
            builder.keys().append_value(utf8(key, "the name of a tag")?);
            builder.values().append_value(utf8(value, "a tag")?);
        }
        Ok(())
    }

    fn end_tags(&mut self) -> Result<(), Wrong> {
        if let Some(Builder::Tags(builder)) = &mut self.builders[Column::Tags as usize] {
            builder.append(true).map_err(|error| super::decode::wrong_of(&error))?;
        }
        Ok(())
    }
}

impl Columns for Alignments {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        match self.binary {
            true => self.push_bam(record),
            false => self.push_sam(line_of(record)),
        }
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.wanted.len());
        for column in &self.wanted {
            let Some(builder) = &mut self.builders[*column] else { continue };
            arrays.push(match builder {
                Builder::Text(builder) => Arc::new(builder.finish()),
                Builder::Small(builder) => Arc::new(builder.finish()),
                Builder::Flags(builder) => Arc::new(builder.finish()),
                Builder::Number(builder) => Arc::new(builder.finish()),
                Builder::Tags(builder) => Arc::new(builder.finish()),
            });
        }
        Ok(arrays)
    }
}

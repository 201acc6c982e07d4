//! VCF and BCF: the fixed columns, one column an INFO key (`info.NAME`), one a FORMAT key (`format.NAME`: a list over the samples).

mod bcf;
mod header;
mod typed;
mod undeclared;
mod vcf;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, builder::ListBuilder};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use super::decode::wrong_of;
use super::projection::Projection;
use super::{ArrowOptions, Columns, Opened, Wrong, utf8};
use crate::{Format, FormatError};
use header::Header;
use typed::{Kind, Shape, Typed, list_of};

/// A record with more FORMAT entries than this is refused.
const MOST_ENTRIES: usize = 1 << 28;
/// Columns that every record has.
const FIXED: usize = 7;

/// Variants of either encoding.
pub(super) struct Variants {
    schema: SchemaRef,
    binary: bool,
    contigs: Vec<String>,
    strings: Vec<String>,
    samples: usize,
    info: Keys,
    format: Keys,
    fixed: Fixed,
    /// In the order asked for: a fixed column, or one of `info` or `format`.
    order: Vec<Place>,
    rows: usize,
    /// Entries given to columns since the last batch, missing ones included.
    entries: usize,
}

#[derive(Clone, Copy)]
enum Place {
    Fixed(usize),
    Info(usize),
    Format(usize),
}

/// The columns of INFO or FORMAT.
struct Keys {
    prefix: &'static str,
    by_name: HashMap<Vec<u8>, Option<usize>>,
    /// With the row, from 1, that each was last given something for.
    columns: Vec<(String, Typed, usize)>,
    /// Whether a key that is no column is an error.
    strict: bool,
}

impl Keys {
    /// The column of a key; none if it is not wanted. A second one of the same record is damage: which of the two should be believed?
    fn column(&mut self, key: &[u8], row: usize) -> Result<Option<&mut (String, Typed, usize)>, Wrong> {
        match self.by_name.get(key) {
            Some(Some(place)) => match self.columns.get_mut(*place) {
                Some((name, _, last)) if *last == row => Err(Wrong::Record(format!("`{name}` is there twice"))),
                column => Ok(column),
            },
            Some(None) => Ok(None),
            None if !self.strict || matches!(key, b"" | b".") => Ok(None),
            None => {
                let (prefix, key) = (self.prefix, super::shown(key));
                Err(Wrong::Record(format!(
                    "neither its header nor its first records know {} `{key}`: declare it (`bcftools annotate -h LINES`), give its \
                     type (`--schema '{prefix}{key}:text'`, in Python `schema=`), or name the columns wanted (`--columns`, `columns=`)",
                    if prefix == "info." { "INFO" } else { "FORMAT" }
                )))
            }
        }
    }

    /// Fills what the row was given nothing for.
    fn end_row(&mut self, row: usize) {
        for (_, column, last) in self.columns.iter_mut().filter(|(.., last)| *last != row) {
            column.no_row();
            *last = row;
        }
    }
}

/// The columns that every record has; absent ones are not wanted.
#[derive(Default)]
struct Fixed {
    chrom: Option<StringBuilder>,
    pos: Option<Int64Builder>,
    id: Option<StringBuilder>,
    reference: Option<StringBuilder>,
    alt: Option<ListBuilder<StringBuilder>>,
    qual: Option<Float32Builder>,
    filter: Option<ListBuilder<StringBuilder>>,
}

impl Fixed {
    fn new(wanted: &[bool]) -> Self {
        let wanted = |place: usize| wanted.get(place).copied().unwrap_or_default();
        Self {
            chrom: wanted(0).then(StringBuilder::new),
            pos: wanted(1).then(Int64Builder::new),
            id: wanted(2).then(StringBuilder::new),
            reference: wanted(3).then(StringBuilder::new),
            alt: wanted(4).then(|| ListBuilder::new(StringBuilder::new())),
            qual: wanted(5).then(Float32Builder::new),
            filter: wanted(6).then(|| ListBuilder::new(StringBuilder::new())),
        }
    }

    fn finish(&mut self, place: usize) -> Option<ArrayRef> {
        Some(match place {
            0 => Arc::new(self.chrom.as_mut()?.finish()),
            1 => Arc::new(self.pos.as_mut()?.finish()),
            2 => Arc::new(self.id.as_mut()?.finish()),
            3 => Arc::new(self.reference.as_mut()?.finish()),
            4 => Arc::new(self.alt.as_mut()?.finish()),
            5 => Arc::new(self.qual.as_mut()?.finish()),
            _ => Arc::new(self.filter.as_mut()?.finish()),
        })
    }
}

fn fixed_fields() -> [Field; FIXED] {
    [
        Field::new("chrom", DataType::Utf8, false),
        Field::new("pos", DataType::Int64, false),
        Field::new("id", DataType::Utf8, true),
        Field::new("ref", DataType::Utf8, false),
        Field::new("alt", list_of(DataType::Utf8), false),
        Field::new("qual", DataType::Float32, true),
        Field::new("filter", list_of(DataType::Utf8), true),
    ]
}

impl Variants {
    pub(super) fn new(opened: &Opened, options: &ArrowOptions) -> Result<Self, FormatError> {
        let binary = opened.format == Format::Bcf;
        let text = String::from_utf8_lossy(if binary { opened.header.get(9..).unwrap_or_default() } else { &opened.header });
        let mut header = Header::parse(&text);
        if !binary && undeclared::may_matter(&header, &options.columns) {
            undeclared::add(&mut header, opened)?;
        }
        override_shapes(&mut header, options)?;
        let mut all: Vec<Field> = fixed_fields().into();
        all.extend(header.info.iter().map(|(name, shape)| {
            Field::new(format!("info.{name}"), shape.data_type(), *shape != Shape { kind: Kind::Flag, list: false })
        }));
        let over_samples = |shape: &Shape| list_of(shape.data_type());
        all.extend(header.format.iter().map(|(name, shape)| Field::new(format!("format.{name}"), over_samples(shape), true)));
        let all = Fields::from(all);
        let projection = Projection::new(opened.format.title(), all.clone(), &options.columns)?;
        let places = projection.places(all.len());
        let strict = options.columns.is_empty();
        let (infos, formats) = (header.info.len(), FIXED + header.info.len());
        let keys = |prefix, declared: &[(String, Shape)], from: usize, by_sample| {
            let mut keys = Keys { prefix, by_name: HashMap::new(), columns: Vec::new(), strict };
            for (number, (name, shape)) in declared.iter().enumerate() {
                let place = places.get(from + number).copied().flatten().map(|_| {
                    keys.columns.push((format!("{prefix}{name}"), Typed::new(*shape, by_sample), 0));
                    keys.columns.len() - 1
                });
                keys.by_name.insert(name.clone().into_bytes(), place);
            }
            keys
        };
        let info = keys("info.", &header.info, FIXED, false);
        let format = keys("format.", &header.format, formats, true);
        let place = |column: &usize| match *column {
            fixed if fixed < FIXED => Place::Fixed(fixed),
            column if column < formats => Place::Info(places[FIXED..column].iter().flatten().count()),
            column => Place::Format(places[FIXED + infos..column].iter().flatten().count()),
        };
        let order = projection.wanted.iter().map(place).collect();
        let wanted: Vec<bool> = places.iter().map(Option::is_some).collect();
        let metadata = HashMap::from([("samples".to_owned(), neardata_core::canonical::to_string(&header.samples))]);
        let schema = Schema::new_with_metadata(projection.schema.fields().clone(), metadata);
        Ok(Self {
            schema: Arc::new(schema),
            binary,
            contigs: crate::region::contigs(&opened.header).into_iter().map(|contig| contig.name).collect(),
            strings: header.strings,
            samples: header.samples.len(),
            info,
            format,
            fixed: Fixed::new(&wanted),
            order,
            rows: 0,
            entries: 0,
        })
    }
}

/// Types that are given take the place of those declared, or are declared by it.
fn override_shapes(header: &mut Header, options: &ArrowOptions) -> Result<(), FormatError> {
    for field in options.schema.iter().flat_map(|schema| schema.fields()) {
        let (declared, name, kind) = match (field.name().strip_prefix("info."), field.name().strip_prefix("format.")) {
            (Some(name), _) => (&mut header.info, name, Some(field.data_type())),
            (_, Some(name)) => match field.data_type() {
                DataType::List(item) => (&mut header.format, name, Some(item.data_type())),
                _ => (&mut header.format, name, None),
            },
            _ => {
                return Err(FormatError::Query(format!(
                    "`schema` gives types of `info.…` and `format.…`, not of `{}`",
                    field.name()
                )));
            }
        };
        let shape = kind.and_then(Shape::given).ok_or_else(|| {
            let wanted = "int32, int64, float32, text, bool or a list of them; of `format.…` a list of either over the samples";
            FormatError::Query(format!("column `{}` can be {wanted}, not {}", field.name(), field.data_type()))
        })?;
        match declared.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = shape,
            None => declared.push((name.to_owned(), shape)),
        }
    }
    Ok(())
}

impl Columns for Variants {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        self.rows += 1;
        self.entries += self.info.columns.len() + self.format.columns.len();
        let pushed = match self.binary {
            true => self.push_bcf(record)?,
            false => {
                let line = super::line_of(record);
                self.push_vcf(line).map_err(|wrong| vcf::placed(wrong, line))?
            }
        };
        if pushed {
            self.info.end_row(self.rows);
            self.format.end_row(self.rows);
        }
        Ok(pushed)
    }

    fn weight(&self) -> usize {
        4 * self.entries
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        self.entries = 0;
        let mut arrays = Vec::with_capacity(self.order.len());
        for place in self.order.clone() {
            let array = match place {
                Place::Fixed(place) => self.fixed.finish(place),
                Place::Info(place) => self
                    .info
                    .columns
                    .get_mut(place)
                    .map(|column| column.1.finish())
                    .transpose()
                    .map_err(|error| wrong_of(&error))?,
                Place::Format(place) => self
                    .format
                    .columns
                    .get_mut(place)
                    .map(|column| column.1.finish())
                    .transpose()
                    .map_err(|error| wrong_of(&error))?,
            };
            arrays.extend(array);
        }
        Ok(arrays)
    }
}

impl Variants {
    /// Makes sure that so many FORMAT keys of every sample are no more than memory holds: samples may leave out what is missing, so
    /// that a short record can have any number of entries.
    fn expect_keys(&mut self, keys: usize) -> Result<(), Wrong> {
        let entries = keys.min(self.format.columns.len()).saturating_mul(self.samples);
        if entries > MOST_ENTRIES {
            let samples = self.samples;
            return Err(Wrong::Record(format!(
                "{keys} FORMAT keys of {samples} samples are too many for Arrow: name fewer (`--columns`, in Python `columns=`)"
            )));
        }
        self.entries += entries;
        Ok(())
    }
}

/// Text of a fixed column.
fn text(builder: &mut Option<StringBuilder>, value: Option<&[u8]>, what: &str) -> Result<(), Wrong> {
    if let Some(builder) = builder {
        builder.append_option(value.map(|value| utf8(value, what)).transpose()?);
    }
    Ok(())
}

/// A list of texts; none if there is nothing to say.
fn texts<'t>(
    builder: &mut Option<ListBuilder<StringBuilder>>,
    values: Option<impl Iterator<Item = &'t [u8]>>,
    what: &str,
) -> Result<(), Wrong> {
    let Some(builder) = builder else { return Ok(()) };
    let valid = values.is_some();
    for value in values.into_iter().flatten() {
        builder.values().append_value(utf8(value, what)?);
    }
    builder.append(valid);
    Ok(())
}

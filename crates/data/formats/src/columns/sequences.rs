//! FASTQ, FASTA and lines of text: columns of text.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use arrow_schema::{DataType, Field, Fields, SchemaRef};

use super::projection::Projection;
use super::{ArrowOptions, Columns, Wrong, line_of, shown, utf8};
use crate::FormatError;

/// Columns of text of which some may not be wanted.
struct Texts {
    schema: SchemaRef,
    names: &'static [&'static str],
    /// In the order of the format.
    builders: Vec<Option<StringBuilder>>,
    wanted: Vec<usize>,
}

impl Texts {
    /// `nullable`: the one column that may be null.
    fn new(format: &str, names: &'static [&'static str], nullable: &str, options: &ArrowOptions) -> Result<Self, FormatError> {
        let field = |name: &&str| Field::new(*name, DataType::Utf8, *name == nullable);
        let projection = Projection::new(format, names.iter().map(field).collect::<Fields>(), &options.columns)?;
        let wanted = |place: Option<usize>| place.map(|_| StringBuilder::new());
        let builders = projection.places(names.len()).into_iter().map(wanted).collect();
        Ok(Self { schema: projection.schema, names, builders, wanted: projection.wanted })
    }

    fn wants(&self, column: usize) -> bool {
        self.builders[column].is_some()
    }

    fn add(&mut self, column: usize, value: Option<&[u8]>) -> Result<(), Wrong> {
        if let Some(builder) = &mut self.builders[column] {
            builder.append_option(value.map(|value| utf8(value, self.names[column])).transpose()?);
        }
        Ok(())
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let finish = |column: &usize| -> Option<ArrayRef> { Some(Arc::new(self.builders[*column].as_mut()?.finish())) };
        self.wanted.iter().filter_map(finish).collect()
    }
}

/// The name, and what follows the first blank.
fn name_and_description(title: &[u8]) -> (&[u8], Option<&[u8]>) {
    match title.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(blank) => (&title[..blank], Some(&title[blank + 1..])),
        None => (title, None),
    }
}

/// FASTQ: `name`, `description`, `sequence`, `quality` (as it stands in the file).
pub(super) struct Fastq {
    texts: Texts,
}

impl Fastq {
    pub(super) fn new(options: &ArrowOptions) -> Result<Self, FormatError> {
        let names = &["name", "description", "sequence", "quality"];
        Ok(Self { texts: Texts::new("FASTQ", names, "description", options)? })
    }
}

impl Columns for Fastq {
    fn schema(&self) -> SchemaRef {
        self.texts.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        if record.trim_ascii().is_empty() {
            // Empty lines behind the last record.
            return Ok(false);
        }
        let mut lines = record.split(|byte| *byte == b'\n').map(line_of);
        let (title, bases, plus, qualities) = (lines.next(), lines.next(), lines.next(), lines.next().unwrap_or_default());
        let (Some([b'@', title @ ..]), Some(bases), Some([b'+', ..])) = (title, bases, plus) else {
            return Err(Wrong::Record(format!("it is no FASTQ record of four lines: it begins `{}`", shown(record))));
        };
        if bases.len() != qualities.len() {
            return Err(Wrong::Record(format!("{} bases but {} qualities", bases.len(), qualities.len())));
        }
        let (name, description) = name_and_description(title);
        for (column, value) in [Some(name), description, Some(bases), Some(qualities)].into_iter().enumerate() {
            self.texts.add(column, value)?;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        Ok(self.texts.finish())
    }
}

/// FASTA: `name`, `description`, `sequence` without line ends.
pub(super) struct Fasta {
    texts: Texts,
    sequence: Vec<u8>,
}

impl Fasta {
    pub(super) fn new(options: &ArrowOptions) -> Result<Self, FormatError> {
        let names = &["name", "description", "sequence"];
        Ok(Self { texts: Texts::new("FASTA", names, "description", options)?, sequence: Vec::new() })
    }
}

impl Columns for Fasta {
    fn schema(&self) -> SchemaRef {
        self.texts.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        let record = record.trim_ascii_start();
        let Some(title) = record.strip_prefix(b">") else {
            return match record {
                [] => Ok(false),
                _ => Err(Wrong::Record(format!("it does not begin with `>` but with `{}`", shown(record)))),
            };
        };
        let (title, sequence) = match memchr::memchr(b'\n', title) {
            Some(end) => (&title[..end], &title[end + 1..]),
            None => (title, &[][..]),
        };
        let (name, description) = name_and_description(line_of(title));
        self.texts.add(0, Some(name))?;
        self.texts.add(1, description)?;
        if self.texts.wants(2) {
            self.sequence.clear();
            for line in sequence.split(|byte| *byte == b'\n') {
                self.sequence.extend_from_slice(line_of(line));
            }
            self.texts.add(2, Some(&self.sequence))?;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        Ok(self.texts.finish())
    }
}

/// Text: `line`, without its end.
pub(super) struct Lines {
    texts: Texts,
}

impl Lines {
    pub(super) fn new(options: &ArrowOptions) -> Result<Self, FormatError> {
        Ok(Self { texts: Texts::new("text", &["line"], "", options)? })
    }
}

impl Columns for Lines {
    fn schema(&self) -> SchemaRef {
        self.texts.schema.clone()
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        self.texts.add(0, Some(line_of(record)))?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong> {
        Ok(self.texts.finish())
    }
}

//! Records as columns: Arrow record batches of formats that are records in a row.
//!
//! [`decode`] takes a slice's bytes record by record; each format is a [`Columns`] that takes one record at a time. What they have in
//! common, and nothing else, is here.

mod alignments;
mod csv;
mod decode;
mod frame;
mod json;
mod kind;
mod number;
mod projection;
mod schema;
mod sequences;
mod text;
mod variants;

pub(crate) use alignments::AlignmentRows;
pub(crate) use csv::column_names;
pub(crate) use kind::UTC;
pub(crate) use text::in_zone;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use neardata_core::RangedRead;

use crate::table::Batches;
use crate::whole::Records;
use crate::{Compression, Format, FormatError};

/// What of a slice is wanted as Arrow, and how.
///
/// ```
/// use neardata_formats::ArrowOptions;
/// let options = ArrowOptions { columns: vec!["name".into(), "sequence".into()], ..ArrowOptions::default() };
/// assert_eq!(options.batch_rows, 16_384);
/// ```
#[derive(Clone, Debug)]
pub struct ArrowOptions {
    /// Which object of the slice, from 0.
    pub object: usize,
    /// Names of the columns wanted, in this order; all if empty. What is not wanted is not decoded.
    pub columns: Vec<String>,
    /// Types of columns, by name, that are not to be told from the data: CSV, TSV and JSON Lines; INFO and FORMAT of VCF and BCF. See
    /// [`ArrowOptions::schema_of`] for types as text.
    pub schema: Option<SchemaRef>,
    /// Most rows of a batch. A batch also ends after 16 MiB of records.
    pub batch_rows: usize,
    /// What stands between the fields of CSV; told from the first rows if absent.
    pub separator: Option<u8>,
    /// Whether the first row of CSV and TSV names the columns; else they are `column_1`, `column_2`, …
    pub header_row: bool,
}

impl Default for ArrowOptions {
    fn default() -> Self {
        Self { object: 0, columns: Vec::new(), schema: None, batch_rows: 16_384, separator: None, header_row: true }
    }
}

/// An object of a slice, opened.
pub(crate) struct Opened {
    pub(crate) object: Arc<dyn RangedRead>,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    /// Whether the header belongs to no record.
    pub(crate) headed: bool,
    /// The slice's first record, from 0.
    pub(crate) first: u64,
    /// The header, if it belongs to no record.
    pub(crate) header: Bytes,
}

/// Gathers records of one format into columns.
trait Columns: Send {
    /// What the columns are.
    fn schema(&self) -> SchemaRef;

    /// Adds a whole record; false if it is blank and gives no row.
    fn push(&mut self, record: &[u8]) -> Result<bool, Wrong>;

    /// Bytes gathered beyond those of the records: a short record may leave many columns empty, and those take room.
    fn weight(&self) -> usize {
        0
    }

    /// The columns gathered since the last call; starts new ones.
    fn finish(&mut self) -> Result<Vec<ArrayRef>, Wrong>;
}

/// Why a record gives no row.
#[derive(Debug)]
enum Wrong {
    /// It breaks the rules of its format.
    Record(String),
    /// A value is not of its column's type.
    Value {
        /// Row of the batch, from 0; the one being pushed if absent.
        row: Option<usize>,
        column: String,
        value: String,
        expected: String,
    },
}

impl Wrong {
    fn record(reason: impl Into<String>) -> Self {
        Wrong::Record(reason.into())
    }
}

/// Text that must be UTF-8.
fn utf8<'t>(bytes: &'t [u8], what: &str) -> Result<&'t str, Wrong> {
    std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        Wrong::Record(format!(
            "{what} is no UTF-8 (byte {place} of it): convert the object (`iconv -f LATIN1 -t UTF-8`), or read its bytes"
        ))
    })
}

/// A value as an error message shows it.
fn shown(value: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(&value[..value.len().min(MOST)]).into_owned();
    if value.len() > MOST { format!("{text}…") } else { text }
}

/// A line without its end.
fn line_of(record: &[u8]) -> &[u8] {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The records that `reader` gives, as Arrow.
pub(crate) fn batches(opened: Opened, reader: Records, options: &ArrowOptions) -> Result<Batches, FormatError> {
    let (columns, skip): (Box<dyn Columns>, bool) = match opened.format {
        Format::Fastq => (Box::new(sequences::Fastq::new(options)?), false),
        Format::Fasta => (Box::new(sequences::Fasta::new(options)?), false),
        Format::Text => (Box::new(sequences::Lines::new(options)?), false),
        Format::Jsonl => (Box::new(json::Json::new(&opened, options)?), false),
        Format::Csv | Format::Tsv => {
            let header_row = options.header_row || opened.headed;
            (Box::new(csv::Csv::new(&opened, options, header_row)?), header_row && !opened.headed && opened.first == 0)
        }
        Format::Vcf | Format::Bcf => (Box::new(variants::Variants::new(&opened, options)?), false),
        Format::Sam | Format::Bam => (Box::new(alignments::Alignments::new(&opened, options)?), false),
    };
    decode::Decoder::new(opened, reader, columns, skip, options.batch_rows).map(decode::Decoder::into_batches)
}

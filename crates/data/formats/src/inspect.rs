//! What a person wants to know of an object first, without a pass over it.

use neardata_core::ObjectRef;
use serde::Serialize;

use crate::columns::column_names;
use crate::detect::{Compression, Detected};
use crate::records::{Format, Position};
use crate::region::{bam_references, contigs, header_of_bgzf};
use crate::slicer::Rows;
use crate::table::{Column, Description};
use crate::{FormatError, IndexSummary, glance};

/// Records shown.
const PREVIEW: u64 = 3;
/// Lines shown of a first record that is longer than what was looked at.
const LINES: usize = 3;

/// What [`Slicer::inspect`](crate::Slicer::inspect) finds.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The object, pinned.
    pub object: ObjectRef,
    /// Name of its format.
    pub format: String,
    /// Compression around its records; none for formats that compress inside.
    pub compression: Option<Compression>,
    /// What the table of its format says; nothing for records in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Description>,
    /// What its index knows, if it has a fresh one.
    pub indexed: Option<Counts>,
    /// Names of columns: of the first row of CSV, of the header of VCF.
    pub columns: Vec<String>,
    /// Columns of its Arrow form, of records in a row; formats with a table of their own have them there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<Column>,
    /// References of alignments and variants, as far as the header names them.
    pub references: Vec<Reference>,
    /// Samples of variants.
    pub samples: Vec<String>,
    /// How alignments are sorted, as the header says.
    pub sort_order: Option<String>,
    /// The first records of formats of text; the first lines of a record that is longer than what was looked at. Of other formats the
    /// names of columns, and first rows with tabs between values.
    pub preview: Vec<String>,
}

/// What an index knows.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    /// Number of records.
    pub records: u64,
    /// Size when uncompressed.
    pub uncompressed: u64,
    /// Places where decoding can start.
    pub checkpoints: u64,
    /// What its user should know: why it cannot be cut, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Inspection {
    /// What the table of a format says.
    pub(crate) fn of_table(object: ObjectRef, format: &str, table: Description) -> Self {
        Self {
            object,
            format: format.to_owned(),
            compression: None,
            columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            schema: Vec::new(),
            preview: table.preview.clone(),
            table: Some(table),
            indexed: None,
            references: Vec::new(),
            samples: Vec::new(),
            sort_order: None,
        }
    }
}

impl From<IndexSummary> for Counts {
    fn from(summary: IndexSummary) -> Self {
        let IndexSummary { records, uncompressed, checkpoints, note, .. } = summary;
        Self { records, uncompressed, checkpoints, note }
    }
}

/// A reference sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its length, where the header says it.
    pub length: Option<u64>,
}

pub(crate) fn inspect(rows: &Rows, indexed: Option<Counts>) -> Result<Inspection, FormatError> {
    let Rows { source, reader, detected: Detected { format, compression }, content } = rows;
    let (format, compression) = (*format, *compression);
    let mut found = Inspection {
        object: source.clone(),
        format: format.name().to_owned(),
        compression: Some(compression),
        table: None,
        indexed,
        columns: Vec::new(),
        schema: Vec::new(),
        references: Vec::new(),
        samples: Vec::new(),
        sort_order: None,
        preview: Vec::new(),
    };
    // A long header is read whole where it can be; of the others what lies in the first bytes is shown.
    let header = match (format, compression) {
        (Format::Bam | Format::Bcf | Format::Vcf | Format::Sam, Compression::Bgzf) => header_of_bgzf(reader.as_ref(), format)?,
        _ => content[..records_begin(format, content)].to_vec(),
    };
    match format {
        Format::Bam => {
            found.references = bam_references(&header).unwrap_or_default();
            found.sort_order = sort_order(header.get(8..).unwrap_or_default());
        }
        Format::Sam => {
            found.references = sam_references(&header);
            found.sort_order = sort_order(&header);
        }
        Format::Bcf | Format::Vcf => {
            found.references = contigs(&header);
            let text = String::from_utf8_lossy(&header);
            let titles = text.lines().find_map(|line| line.strip_prefix("#CHROM")).unwrap_or_default();
            found.columns = format!("CHROM{titles}").trim_end_matches(['\0', '\r']).split('\t').map(str::to_owned).collect();
            found.samples = found.columns.iter().skip(9).cloned().collect();
            found.columns.truncate(9);
        }
        Format::Csv | Format::Tsv => {
            found.columns = column_names(format, content);
        }
        Format::Fastq | Format::Fasta | Format::Jsonl | Format::Text => {}
    }
    let (schema, first) = glance::of_rows(rows, &header);
    found.schema = schema;
    found.preview = if first.is_empty() { preview(format, content) } else { first };
    Ok(found)
}

/// Where the records begin in the first bytes of an object.
fn records_begin(format: Format, content: &[u8]) -> usize {
    let mut scanner = format.scanner(Position::Start);
    scanner.scan(content, 0).map_or(content.len(), |passed| passed.max(scanner.preamble() as usize).min(content.len()))
}

/// The first records of a format that people can read, whole ones; of a single long one its first lines.
fn preview(format: Format, content: &[u8]) -> Vec<String> {
    if matches!(format, Format::Bam | Format::Bcf) {
        return Vec::new();
    }
    let mut scanner = format.scanner(Position::Start);
    let mut begins = vec![records_begin(format, content)];
    let mut at = 0;
    for until in 1..=PREVIEW {
        match scanner.scan(&content[at..], until) {
            Ok(passed) if at + passed < content.len() => {
                at += passed;
                begins.push(at);
            }
            _ => break,
        }
    }
    if begins.len() == 1 {
        let lines = content[begins[0]..].split(|byte| *byte == b'\n').take(LINES).collect::<Vec<_>>().join(&b'\n');
        return if lines.is_empty() { Vec::new() } else { vec![String::from_utf8_lossy(&lines).trim_end().to_owned()] };
    }
    begins.windows(2).map(|pair| String::from_utf8_lossy(&content[pair[0]..pair[1]]).trim_end().to_owned()).collect()
}

/// `@HD … SO:` of a SAM header.
fn sort_order(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let line = text.lines().find(|line| line.starts_with("@HD"))?;
    line.split('\t').find_map(|field| field.strip_prefix("SO:")).map(str::to_owned)
}

fn sam_references(header: &[u8]) -> Vec<Reference> {
    let text = String::from_utf8_lossy(header);
    let lines = text.lines().filter(|line| line.starts_with("@SQ"));
    let field = |line: &str, key: &str| line.split('\t').find_map(|field| field.strip_prefix(key)).map(str::to_owned);
    let reference =
        |line| Some(Reference { name: field(line, "SN:")?, length: field(line, "LN:").and_then(|text| text.parse().ok()) });
    lines.filter_map(reference).collect()
}

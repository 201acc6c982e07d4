//! Where records begin, format by format, and the table of formats.
//!
//! A format is one module here with a [`RecordScanner`], and one line in [`FORMATS`].

pub(crate) mod csv;
mod fasta;
mod fastq;
mod framed;
mod json_lines;
mod lines;
mod text;

use serde::{Deserialize, Serialize};

use crate::FormatError;

/// A record format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Alignments, binary.
    Bam,
    /// Variants, binary.
    Bcf,
    /// Variants, one a line, behind header lines.
    Vcf,
    /// Alignments, one a line, behind header lines.
    Sam,
    /// Sequencing reads, four lines a record.
    Fastq,
    /// Sequences; a record begins with a `>` line.
    Fasta,
    /// Rows of fields with commas, semicolons, tabs or bars between them; a quoted field may hold line ends.
    Csv,
    /// Rows of fields with tabs between them; a quoted field may hold line ends.
    Tsv,
    /// A JSON value a line.
    Jsonl,
    /// Lines.
    Text,
}

/// What the table says about a format.
pub(crate) struct Entry {
    pub(crate) format: Format,
    /// Name in slices and messages.
    pub(crate) name: &'static str,
    /// Name in sentences.
    pub(crate) title: &'static str,
    /// Endings of object names, without compression endings.
    pub(crate) extensions: &'static [&'static str],
    /// Whether the first bytes of an object look like it.
    pub(crate) sniff: fn(&[u8]) -> bool,
    pub(crate) scanner: fn(Position) -> Box<dyn RecordScanner>,
    /// How parts that begin anywhere are scanned; none where only a pass from the start knows where records begin.
    pub(crate) parts: Option<Parts>,
    /// Whether a slice of it is a file of its own only as BGZF.
    pub(crate) always_bgzf: bool,
}

/// How parts of a format that begin anywhere are scanned.
pub(crate) struct Parts {
    /// Where, in bytes from the middle of an object, a scanner may begin.
    pub(crate) begin: fn(&[u8]) -> Option<usize>,
    /// What that place may be; each is tried, and which it was is known when parts are joined.
    pub(crate) positions: &'static [Position],
    /// Whether bytes inside a line change nothing, however many there are.
    pub(crate) long_lines: bool,
}

const LINES: Option<Parts> = Some(Parts { begin: line_in, positions: &[Position::Line], long_lines: true });

const CSV: Option<Parts> = Some(Parts { begin: line_in, positions: &[Position::Line, Position::QuotedLine], long_lines: false });

/// Behind the first line end.
fn line_in(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|at| at + 1)
}

/// Where in an object a scanner begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Position {
    /// At its first byte.
    Start,
    /// At the first byte of a record.
    Record,
    /// Behind a line end, somewhere behind the first record's first byte.
    Line,
    /// Behind a line end inside quotes.
    QuotedLine,
}

/// What a scanner knows of the bytes that went by it, from a [`Position`] on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Text(text::TextScanner),
    Headed(lines::HeadedState),
    Csv(csv::CsvState),
    Fastq(fastq::FastqScanner),
    Fasta(fasta::FastaState),
    Framed(framed::FramedState),
}

/// Every format there is, in the order they are tried; the last takes any text.
pub(crate) static FORMATS: &[Entry] = &[
    Entry {
        format: Format::Bam,
        name: "bam",
        title: "BAM",
        extensions: &["bam"],
        sniff: framed::sniff_bam,
        scanner: |position| Box::new(framed::Framed::bam(position)),
        parts: Some(Parts { begin: framed::bam_record_in, positions: &[Position::Record], long_lines: false }),
        always_bgzf: true,
    },
    Entry {
        format: Format::Bcf,
        name: "bcf",
        title: "BCF",
        extensions: &["bcf"],
        sniff: framed::sniff_bcf,
        scanner: |position| Box::new(framed::Framed::bcf(position)),
        parts: Some(Parts { begin: framed::bcf_record_in, positions: &[Position::Record], long_lines: false }),
        always_bgzf: true,
    },
    Entry {
        format: Format::Vcf,
        name: "vcf",
        title: "VCF",
        extensions: &["vcf"],
        sniff: lines::sniff_vcf,
        scanner: |position| Box::new(lines::HeadedLines::vcf(position)),
        parts: LINES,
        always_bgzf: false,
    },
    Entry {
        format: Format::Sam,
        name: "sam",
        title: "SAM",
        extensions: &["sam"],
        sniff: lines::sniff_sam,
        scanner: |position| Box::new(lines::HeadedLines::sam(position)),
        parts: LINES,
        always_bgzf: false,
    },
    Entry {
        format: Format::Fastq,
        name: "fastq",
        title: "FASTQ",
        extensions: &["fastq", "fq"],
        sniff: fastq::sniff,
        scanner: |_| Box::new(fastq::FastqScanner::default()),
        parts: Some(Parts { begin: fastq::record_in, positions: &[Position::Record], long_lines: false }),
        always_bgzf: false,
    },
    Entry {
        format: Format::Fasta,
        name: "fasta",
        title: "FASTA",
        extensions: &["fasta", "fa", "fna", "ffn", "faa", "frn", "fas", "mpfa"],
        sniff: fasta::sniff,
        scanner: |position| Box::new(fasta::FastaScanner::at(position)),
        parts: LINES,
        always_bgzf: false,
    },
    Entry {
        format: Format::Csv,
        name: "csv",
        title: "CSV",
        extensions: &["csv"],
        sniff: |_| false,
        scanner: |position| Box::new(csv::CsvScanner::csv().at(position)),
        parts: CSV,
        always_bgzf: false,
    },
    Entry {
        format: Format::Tsv,
        name: "tsv",
        title: "TSV",
        extensions: &["tsv", "tab"],
        sniff: |_| false,
        scanner: |position| Box::new(csv::CsvScanner::tsv().at(position)),
        parts: CSV,
        always_bgzf: false,
    },
    Entry {
        format: Format::Jsonl,
        name: "jsonl",
        title: "JSON Lines",
        extensions: &["jsonl", "ndjson"],
        sniff: json_lines::sniff,
        scanner: |_| Box::new(text::TextScanner::default()),
        parts: LINES,
        always_bgzf: false,
    },
    Entry {
        format: Format::Text,
        name: "text",
        title: "text",
        extensions: &["txt", "text", "bed", "gff", "gff3", "gtf", "log", "md"],
        sniff: text::sniff,
        scanner: |_| Box::new(text::TextScanner::default()),
        parts: LINES,
        always_bgzf: false,
    },
];

impl Format {
    pub(crate) fn entry(self) -> &'static Entry {
        FORMATS.iter().find(|entry| entry.format == self).unwrap_or(&FORMATS[FORMATS.len() - 1])
    }

    /// Every format, in the order they are tried.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(|entry| entry.format)
    }

    /// Its name, as slices carry it.
    ///
    /// ```
    /// assert_eq!(neardata_formats::Format::Fastq.name(), "fastq");
    /// ```
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its name in sentences.
    ///
    /// ```
    /// assert_eq!(neardata_formats::Format::Fastq.title(), "FASTQ");
    /// ```
    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        FORMATS.iter().find(|entry| entry.name == name).map(|entry| entry.format)
    }

    pub(crate) fn scanner(self, position: Position) -> Box<dyn RecordScanner> {
        (self.entry().scanner)(position)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Follows a run of bytes that begins at a record's first byte, or at the start of the object, and counts record starts.
pub(crate) trait RecordScanner: Send {
    /// Takes the next bytes, up to just before record number `until` (from 0, counted since the scanner was made) begins;
    /// returns how many it took. It takes all of them when that record does not begin among them.
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed>;

    /// Records begun so far.
    fn started(&self) -> u64;

    /// Bytes before the first record that belong to none: a header. Known once that record has begun, or at the object's end.
    fn preamble(&self) -> u64 {
        0
    }

    /// Tells that the object ends here.
    fn finish(&mut self) -> Result<(), Malformed>;

    /// What is to be said of the next byte so that another scanner could go on, as far as that can be said.
    fn position(&self) -> Option<Position> {
        None
    }

    /// Bytes without a line end go by, inside a line of which much was scanned; false if they must be scanned too.
    fn within_line(&mut self, _length: u64) -> bool {
        false
    }

    /// What it knows, for [`append`](Self::append).
    fn state(&mut self) -> Option<State> {
        None
    }

    /// Goes on as if it had scanned what another scanner did that began at this one's position. Where that cannot be, since the bytes
    /// break a rule that spans parts, nothing changes and the answer is false.
    fn append(&mut self, _later: State) -> bool {
        false
    }
}

/// A record that breaks the rules of its format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// At a line, from 1, counted since the scanner was made.
    Line { format: &'static str, line: u64, reason: String },
    /// In a record, from 1; 0 is the header.
    Record { format: &'static str, record: u64, reason: String },
    /// One name twice; record numbers from 1.
    Duplicate { sequence: String, first: u64, second: u64 },
}

impl Malformed {
    pub(crate) fn of(self, name: &str) -> FormatError {
        let name = name.to_owned();
        match self {
            Malformed::Line { format, line, reason } => FormatError::Malformed { name, format, line, reason },
            Malformed::Record { format, record: 0, reason } => FormatError::MalformedHeader { name, format, reason },
            Malformed::Record { format, record, reason } => FormatError::MalformedRecord { name, format, record, reason },
            Malformed::Duplicate { sequence, first, second } => FormatError::DuplicateName { name, sequence, first, second },
        }
    }
}

/// Number of line feeds in `bytes`.
fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// How a byte is shown in an error message.
fn show(byte: u8) -> String {
    format!("`{}`", std::ascii::escape_default(byte))
}

use neardata_core::{ReadError, SliceError};
use neardata_store::StoreError;
use thiserror::Error;

use crate::Compression;

/// Why an object could not be detected, indexed, cut or read.
#[derive(Debug, Error)]
pub enum FormatError {
    /// Reading the object or its side-car failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text is no slice of ours.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// The object is in no format known here.
    #[error(
        "{name}: unknown format ({found}); known: BAM, BCF, VCF, SAM, FASTQ, FASTA, CSV, TSV, JSON Lines and text, each plain, gzip, BGZF \
         or Zstandard; CRAM, LAS, LAZ, COPC, GeoTIFF, imzML, Parquet and Arrow IPC. {remedy}"
    )]
    Unknown {
        /// the object
        name: String,
        /// what its first bytes look like
        found: String,
        /// what to do
        remedy: String,
    },
    /// The compressed stream ends too early.
    #[error("{name}: truncated {what} at byte {offset}; the object was cut short: copy it again from its source")]
    Truncated {
        /// the object
        name: String,
        /// `gzip`, `BGZF block`, `Zstandard frame`, …
        what: &'static str,
        /// where the bytes ended
        offset: u64,
    },
    /// The compressed stream is damaged.
    #[error(
        "{name}: corrupt {} near byte {offset}: {reason}; check it with `{} -t` and copy it again from its source",
        .compression.family(), .compression.program()
    )]
    Corrupt {
        /// the object
        name: String,
        /// how it is compressed
        compression: Compression,
        /// where in the object
        offset: u64,
        /// what is wrong
        reason: String,
    },
    /// Something that is neither more of the same nor, for gzip, zero padding follows compressed data.
    #[error("{name}: garbage after the {what} that ends at byte {offset}; cut it off with `head -c {offset}`")]
    TrailingGarbage {
        /// the object
        name: String,
        /// `gzip member`, …
        what: &'static str,
        /// where the garbage begins
        offset: u64,
    },
    /// A record breaks the rules of its format.
    #[error("{name}: malformed {format} at line {line}: {reason}")]
    Malformed {
        /// the object
        name: String,
        /// `FASTQ`, …
        format: &'static str,
        /// line of the uncompressed object, from 1
        line: u64,
        /// what is wrong, and what to do
        reason: String,
    },
    /// A value is not of its column's type.
    #[error(
        "{name}: {format} row {row}, column `{column}`: `{value}` is no {expected}; if it is not damaged, give the column its own type \
         (`--schema '{column}:TYPE'`, in Python `schema=`)"
    )]
    Value {
        /// the object
        name: String,
        /// `CSV`, …
        format: &'static str,
        /// number of the row, from 1; the header row is one
        row: u64,
        /// its column
        column: String,
        /// what stands there, shortened
        value: String,
        /// the column's type
        expected: String,
    },
    /// A binary record breaks the rules of its format.
    #[error("{name}: malformed {format} in record {record}: {reason}")]
    MalformedRecord {
        /// the object
        name: String,
        /// `BAM`, …
        format: &'static str,
        /// number of the record, from 1
        record: u64,
        /// what is wrong, and what to do
        reason: String,
    },
    /// A binary header breaks the rules of its format.
    #[error("{name}: malformed {format} header: {reason}")]
    MalformedHeader {
        /// the object
        name: String,
        /// `BAM`, …
        format: &'static str,
        /// what is wrong, and what to do
        reason: String,
    },
    /// Two FASTA sequences bear one name.
    #[error(
        "{name}: sequence name `{sequence}` occurs twice, as record {first} and as record {second}; rename one: \
         alignments could not tell them apart"
    )]
    DuplicateName {
        /// the object
        name: String,
        /// the sequence name
        sequence: String,
        /// record number of the first, from 1
        first: u64,
        /// record number of the second, from 1
        second: u64,
    },
    /// Mate files do not hold the same number of reads.
    #[error(
        "{first} holds {first_records} reads but its mate {second} holds {second_records}; \
         mate files must pair read by read: check that both belong to one run and are complete"
    )]
    UnequalMates {
        /// first mate
        first: String,
        /// its reads
        first_records: u64,
        /// second mate
        second: String,
        /// its reads
        second_records: u64,
    },
    /// Mates in unlike formats.
    #[error("{first} is {first_format} but its mate {second} is {second_format}; mates must both be FASTQ")]
    UnlikeMates {
        /// first mate
        first: String,
        /// its format
        first_format: String,
        /// second mate
        second: String,
        /// its format
        second_format: String,
    },
    /// Records that should come in groups do not.
    #[error("{name}: {records} records do not make groups of {group}; is the file interleaved, and complete?")]
    IncompleteGroup {
        /// the object
        name: String,
        /// how many records
        records: u64,
        /// group size
        group: u64,
    },
    /// A partition that means nothing.
    #[error("a partition into {0} makes no sense; the number must be at least 1")]
    Partition(&'static str),
    /// An option that the format does not have.
    #[error("slices of {format} cannot be asked for by `{option}`; they can by {offered}")]
    NotOffered {
        /// `LAS`, …
        format: &'static str,
        /// what was given
        option: &'static str,
        /// what there is
        offered: String,
    },
    /// Bounds, windows or columns that mean nothing.
    #[error("{0}")]
    Query(String),
    /// The table, or what it points to, is damaged.
    #[error("{name}: damaged {format} at byte {offset}: {reason}; copy it again from its source")]
    Damaged {
        /// the object
        name: String,
        /// `LAS`, …
        format: &'static str,
        /// where in the object
        offset: u64,
        /// what is wrong
        reason: String,
    },
    /// A variant of a format that is not read.
    #[error("{name}: {format} with {what} is not read here; {remedy}")]
    Unsupported {
        /// the object
        name: String,
        /// `TIFF`, …
        format: &'static str,
        /// what it has
        what: String,
        /// what to do
        remedy: String,
    },
    /// A region that cannot be understood.
    #[error("`{0}` is no region; write `chr20`, `chr20:1000-2000` or `chr20:1000-`, positions from 1, both ends in")]
    RegionSyntax(String),
    /// A region may be a reference of that name, or a place on another.
    #[error(
        "`{region}` may be the reference of that name or a place on `{name}`; write `{{{region}}}` or `{{{name}}}:{interval}`, as samtools has it"
    )]
    AmbiguousRegion {
        /// as it was written
        region: String,
        /// the shorter reference
        name: String,
        /// what follows
        interval: String,
    },
    /// The object has no such reference.
    #[error("{name}: has no reference `{reference}`; it has: {known}")]
    NoReference {
        /// the object
        name: String,
        /// what was asked for
        reference: String,
        /// some that there are
        known: String,
    },
    /// The object cannot be asked for regions.
    #[error(
        "{name}: regions need sorted BAM, BCF or VCF in BGZF, CRAM, or FASTA, plain or in BGZF; this is {found}; for VCF: \
         `bcftools sort -Oz -o SORTED.vcf.gz FILE`, for SAM: `samtools sort -o SORTED.bam FILE`, for FASTA: unpack it `| bgzip > NEW.fa.gz`"
    )]
    NoRegions {
        /// the object
        name: String,
        /// what it is
        found: String,
    },
    /// Bases that are stored as differences from a reference, which is not there.
    #[error(
        "{name}: its bases are stored as differences from a reference; give that FASTA when the object is cut (`--reference`, \
         `reference=`), or leave the column `sequence` out"
    )]
    NeedsReference {
        /// the object
        name: String,
    },
    /// Another reference than the one the records were stored with.
    #[error(
        "{reference}: bases {first} to {last} of `{sequence}` are not those that the alignments were stored with (their checksums \
         differ); give the FASTA that the object was made with"
    )]
    WrongReference {
        /// the FASTA object
        reference: String,
        /// its sequence
        sequence: String,
        /// first base, from 1
        first: u64,
        /// last base
        last: u64,
    },
    /// Records out of order.
    #[error("{name}: record {record} lies before the one in front of it, so regions cannot be found; sort it first: `{remedy}`")]
    Unsorted {
        /// the object
        name: String,
        /// number of the record, from 1
        record: u64,
        /// the command that sorts it
        remedy: &'static str,
    },
    /// The index that lies beside the object cannot be used.
    #[error(
        "{name}: its region index is unusable ({reason}); make it again with `samtools index`, `samtools faidx` or `tabix`, or remove it"
    )]
    RegionIndex {
        /// the object or its index
        name: String,
        /// what is wrong
        reason: String,
    },
    /// Indexes cannot be kept where they should be.
    #[error(
        "indexes are kept below {root}, and that cannot be used ({reason}); mend it, or keep them elsewhere: NEARDATA_INDEX_STORE, or \
         `index_store` in the configuration"
    )]
    IndexStore {
        /// where side-cars should lie
        root: String,
        /// what happened
        reason: String,
    },
    /// The side-car index is damaged.
    #[error("{name}: the side-car index is damaged ({reason}); run `neardata index` on the object to rebuild it")]
    SideCar {
        /// the side-car
        name: String,
        /// what is wrong
        reason: String,
    },
    /// The parts of an object's index cannot be joined.
    #[error("{name}: a partial index is unusable ({reason}); index all parts again, with one version of the program")]
    PartialIndex {
        /// the object
        name: String,
        /// what is wrong
        reason: String,
    },
    /// A slice needs its object's side-car, and that is gone.
    #[error("the index of {object} is gone ({side_car} does not exist); run `neardata index {object}` and read the slice again")]
    IndexGone {
        /// the object
        object: String,
        /// its side-car
        side_car: String,
    },
    /// The object does not hold what the slice promises.
    #[error("{name}: does not hold what its slice promises ({reason}); cut the object again with `neardata slice`")]
    Broken {
        /// the object
        name: String,
        /// what is wrong
        reason: String,
    },
    /// A slice names fewer objects than asked for.
    #[error("this slice holds {held} object(s); there is no object number {asked}")]
    NoSuchObject {
        /// asked for, from 0
        asked: usize,
        /// how many there are
        held: usize,
    },
    /// Local scratch space failed.
    #[error("{name}: writing the index to scratch space failed: {source}; free space in the temporary folder (TMPDIR)")]
    Scratch {
        /// the object being indexed
        name: String,
        /// the system's words
        source: std::io::Error,
    },
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Read(read) => read.into(),
            FormatError::Truncated { .. } => std::io::Error::new(std::io::ErrorKind::UnexpectedEof, error),
            other => std::io::Error::new(std::io::ErrorKind::InvalidData, other),
        }
    }
}

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};
use serde::{Deserialize, Serialize};

use crate::FormatError;
use crate::gzip::{self, BgzfDecoder, BgzfStep, GzipDecoder, Stop};
use crate::input::Input;
use crate::records::{FORMATS, Format};
use crate::zstandard::{self, ZstdDecoder};

/// How an object is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, one member or many.
    Gzip,
    /// BGZF: gzip in blocks of at most 64 KiB, as `bgzip` and `samtools` write it.
    Bgzf,
    /// Zstandard, one frame or many.
    Zstd,
}

impl Compression {
    /// What to call it where something is wrong with it: BGZF is gzip.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Compression::Plain => "data",
            Compression::Gzip | Compression::Bgzf => "gzip",
            Compression::Zstd => "Zstandard",
        }
    }

    /// The program that checks it.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            _ => "gzip",
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Compression::Plain => "plain",
            Compression::Gzip => "gzip",
            Compression::Bgzf => "BGZF",
            Compression::Zstd => "Zstandard",
        })
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    /// Format of its records.
    pub format: Format,
    /// Compression around them.
    pub compression: Compression,
}

/// Bytes of the object looked at.
const COMPRESSED_PREFIX: u64 = 64 * 1024;
/// Uncompressed bytes looked at: enough for three lines of short reads; longer lines are recognised by the name.
const PREFIX: usize = 64 * 1024;

/// Endings that say "text", whatever the first byte is.
const TEXT_NAMES: &[Format] = &[Format::Csv, Format::Tsv, Format::Jsonl, Format::Text];

/// Endings of formats that are never plain text, or know their own.
const TABLE_NAMES: &[&str] =
    &["parquet", "arrow", "feather", "tif", "tiff", "las", "laz", "cram", "imzml", "ibd", "bam", "bcf", "cog", "zarr"];

/// First bytes of things people keep beside reads, and what to do with each.
const KNOWN_STRANGERS: &[(&[u8], &str, &str)] = &[
    (b"BZh", "bzip2", "Recompress it: `bzip2 -dc FILE | bgzip > FILE.gz`"),
    (b"\xfd7zXZ\0", "xz", "Recompress it: `xz -dc FILE | bgzip > FILE.gz`"),
    (b"PK\x03\x04", "a zip archive", "Unpack it first"),
    (b"NCBI.sra", "SRA", "Convert it: `fasterq-dump FILE`"),
];

/// Finds out what an object is: by magic bytes, then by its name. Reads its first 64 KiB at most.
///
/// ```
/// use neardata_core::MemoryObject;
/// use neardata_formats::{Compression, Format, detect};
/// let found = detect(&MemoryObject::new("reads.fq", "@r1\nACGT\n+\nIIII\n"))?;
/// assert_eq!((found.format, found.compression), (Format::Fastq, Compression::Plain));
/// # Ok::<(), neardata_formats::FormatError>(())
/// ```
pub fn detect(reader: &dyn RangedRead) -> Result<Detected, FormatError> {
    detect_with_content(reader).map(|(detected, _)| detected)
}

/// The same, with the first uncompressed bytes of the object: 64 KiB, if it has so many.
pub(crate) fn detect_with_content(reader: &dyn RangedRead) -> Result<(Detected, Bytes), FormatError> {
    detect_from(reader.name(), start_of(reader)?)
}

/// What detection looks at.
pub(crate) fn start_of(reader: &dyn RangedRead) -> Result<Bytes, FormatError> {
    Ok(reader.read(ByteRange::new(0, COMPRESSED_PREFIX.min(reader.size())))?)
}

/// The same for an object whose first bytes are at hand.
pub(crate) fn detect_from(name: &str, start: Bytes) -> Result<(Detected, Bytes), FormatError> {
    let (compression, content) = unpack(name, start)?;
    let format = detect_format(name, &content, compression)?;
    Ok((Detected { format, compression }, content))
}

/// The same where the caller says of what format its records are.
pub(crate) fn detect_as(name: &str, start: Bytes, format: Format) -> Result<(Detected, Bytes), FormatError> {
    let (compression, content) = unpack(name, start)?;
    Ok((Detected { format, compression }, content))
}

/// How an object is compressed, and its first uncompressed bytes.
fn unpack(name: &str, start: Bytes) -> Result<(Compression, Bytes), FormatError> {
    let compression = match start.get(..3) {
        Some(magic) if magic == gzip::MAGIC => match gzip::bgzf_block(&start) {
            Some(_) => Compression::Bgzf,
            None => Compression::Gzip,
        },
        _ if zstandard::begins(&start) => Compression::Zstd,
        _ => Compression::Plain,
    };
    let content = match compression {
        Compression::Plain => start.slice(..start.len().min(PREFIX)),
        _ => prefix_of_compressed(name, start, compression, PREFIX)?.into(),
    };
    Ok((compression, content))
}

/// The first uncompressed bytes of an object: about `limit`, all if it has fewer. Fetches `limit` bytes of it at most.
pub(crate) fn content_of(reader: &dyn RangedRead, compression: Compression, limit: usize) -> Result<Bytes, FormatError> {
    let start = reader.read(ByteRange::new(0, (limit as u64).min(reader.size())))?;
    match compression {
        Compression::Plain => Ok(start),
        _ => Ok(prefix_of_compressed(reader.name(), start, compression, limit)?.into()),
    }
}

/// The first uncompressed bytes (`limit` or some more) of a compressed object of which `start` is the first part.
fn prefix_of_compressed(name: &str, start: Bytes, compression: Compression, limit: usize) -> Result<Vec<u8>, FormatError> {
    let length = start.len() as u64;
    let object = neardata_core::MemoryObject::new(name, start);
    let input = Input::new(&object, ByteRange::new(0, length));
    let mut content = vec![0; limit + PREFIX];
    let mut filled = 0;
    let outcome = match compression {
        Compression::Bgzf => {
            let mut decoder = BgzfDecoder::new(name, input);
            fill(&mut content, &mut filled, |room| match decoder.step(room)? {
                BgzfStep::Block { produced, .. } => Ok(Some(produced)),
                BgzfStep::Ordinary | BgzfStep::End => Ok(None),
            })
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(name, input)?;
            fill(&mut content, &mut filled, |room| {
                let step = decoder.step(room)?;
                Ok((!step.ended).then_some(step.produced))
            })
        }
        _ => {
            let mut decoder = GzipDecoder::new(name, input);
            fill(&mut content, &mut filled, |room| {
                let step = decoder.step(room, Stop::Full)?;
                Ok((!step.ended).then_some(step.produced))
            })
        }
    };
    content.truncate(filled);
    match outcome {
        // The prefix ends somewhere in the stream, so it looks truncated; what came before is good. Damage is told with its place.
        Err(error) if filled == 0 && (!matches!(error, FormatError::Truncated { .. }) || length < COMPRESSED_PREFIX) => {
            Err(error)
        }
        _ => Ok(content),
    }
}

/// Decodes until enough of `content` is filled, or `step` gives nothing more.
fn fill(
    content: &mut [u8],
    filled: &mut usize,
    mut step: impl FnMut(&mut [u8]) -> Result<Option<usize>, FormatError>,
) -> Result<(), FormatError> {
    // Blocks of BGZF need room for a whole one.
    while *filled + PREFIX < content.len() {
        let Some(produced) = step(&mut content[*filled..])? else { break };
        *filled += produced;
    }
    Ok(())
}

fn detect_format(name: &str, content: &[u8], compression: Compression) -> Result<Format, FormatError> {
    let by_name = format_of_name(name);
    if content.is_empty() {
        return Ok(by_name.unwrap_or(Format::Text));
    }
    let unknown = |found: String, remedy: &str| FormatError::Unknown { name: name.to_owned(), found, remedy: remedy.to_owned() };
    if let Some((_, found, remedy)) = KNOWN_STRANGERS.iter().find(|(magic, ..)| content.starts_with(magic)) {
        let found = if compression == Compression::Plain {
            format!("it is {found}")
        } else {
            format!("inside {compression} it is {found}")
        };
        return Err(unknown(found, remedy));
    }
    let text_by_name = by_name.filter(|format| TEXT_NAMES.contains(format));
    let by_content = FORMATS.iter().find(|entry| (entry.sniff)(content)).map(|entry| entry.format);
    let ending = path_of(name).rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    if let Some(ending) = ending.filter(|ending| TABLE_NAMES.contains(&ending.as_str()))
        && matches!(by_content, Some(Format::Text | Format::Jsonl))
    {
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        let found = format!("it is called .{ending}, and begins with the text `{}`", line.trim_end());
        return Err(unknown(found, "Was an error message saved in its place? Fetch it again; if it is text, call it .txt"));
    }
    match (by_content, text_by_name, by_name) {
        (Some(Format::Fastq), ..) => Ok(Format::Fastq),
        (Some(Format::Vcf), Some(Format::Csv | Format::Tsv | Format::Jsonl), _) => Ok(Format::Vcf),
        (_, Some(format), _) if by_content.is_some() => Ok(format),
        // Text that is called FASTQ or FASTA but does not look like it: its index says at which line it goes wrong.
        (Some(Format::Text | Format::Jsonl), _, Some(format)) => Ok(format),
        (Some(format), ..) => Ok(format),
        (None, ..) => {
            let first: String = content.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            Err(unknown(format!("binary data, first bytes {first}"), "UTF-16 text must be converted: `iconv -f UTF-16 -t UTF-8`"))
        }
    }
}

/// The name without what may follow in addresses of the web; everywhere else `?` and `#` are characters like others.
fn path_of(name: &str) -> &str {
    let web = name.starts_with("http://") || name.starts_with("https://");
    if web { name.split(['?', '#']).next().unwrap_or(name) } else { name }
}

/// What the name of an object says, compression endings aside.
fn format_of_name(name: &str) -> Option<Format> {
    let name = path_of(name).to_ascii_lowercase();
    let stem =
        [".gz", ".bgz", ".bgzf", ".gzip", ".zst", ".zstd"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let (_, extension) = stem.rsplit_once('.')?;
    FORMATS.iter().find(|entry| entry.extensions.contains(&extension)).map(|entry| entry.format)
}

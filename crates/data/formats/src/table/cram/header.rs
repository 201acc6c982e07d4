//! What stands in front of the records: the file definition (CRAMv3 §6) and the container with the SAM header (§7.1).

use bytes::Bytes;
use libdeflater::Decompressor;
use neardata_core::{ByteRange, RangedRead};

use super::MAGIC;
use super::container::{Block, Container, Wrong, damaged};
use crate::FormatError;
use crate::selection::PREAMBLE_LIMIT;
use crate::table::Description;

/// Magic, version and identifier.
const FILE_DEFINITION: u64 = 26;
/// Read first; holds the whole header of most files.
const FIRST_READ: u64 = 64 << 10;
/// gzip makes nothing smaller than this part of it.
const GZIP_RATIO: u64 = 1032;
/// Names shown.
const SHOWN: usize = 5;

/// Everything before the first container of records.
pub(super) struct Head {
    bytes: Bytes,
    version: [u8; 2],
    /// The SAM header.
    text: String,
}

impl Head {
    /// Its bytes, which begin every slice.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The byte of the object at which records begin.
    pub(super) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What it says of the records.
    pub(super) fn describe(&self) -> Description {
        let mut facts = vec![("version".to_owned(), format!("{}.{}", self.version[0], self.version[1]))];
        let order = self.lines("@HD").find_map(|line| field(line, "SO:"));
        facts.push(("sort order".to_owned(), order.unwrap_or("unknown").to_owned()));
        let references: Vec<String> = self.lines("@SQ").filter_map(reference).collect();
        facts.push(("references".to_owned(), some_of(&references)));
        facts.push(("read groups".to_owned(), some_of(&self.groups())));
        let mut samples: Vec<String> = self.lines("@RG").filter_map(|line| field(line, "SM:")).map(str::to_owned).collect();
        samples.sort_unstable();
        samples.dedup();
        facts.push(("samples".to_owned(), some_of(&samples)));
        Description { unit: "alignments".to_owned(), facts, ..Description::default() }
    }

    /// Names and lengths of the references, by number.
    pub(super) fn references(&self) -> (Vec<String>, Vec<Option<u64>>) {
        let length = |line| field(line, "LN:").and_then(|length| length.parse().ok());
        self.lines("@SQ").filter_map(|line| Some((field(line, "SN:")?.to_owned(), length(line)))).unzip()
    }

    /// Names of the read groups, by number.
    pub(super) fn groups(&self) -> Vec<String> {
        self.lines("@RG").filter_map(|line| field(line, "ID:")).map(str::to_owned).collect()
    }

    /// Whether it says that records are in the order of their places.
    pub(super) fn is_sorted(&self) -> bool {
        self.lines("@HD").any(|line| field(line, "SO:") == Some("coordinate"))
    }

    fn lines<'t>(&'t self, kind: &'t str) -> impl Iterator<Item = &'t str> {
        self.text.lines().filter(move |line| line.strip_prefix(kind).is_some_and(|rest| rest.starts_with('\t')))
    }
}

/// A field of a header line.
fn field<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.split('\t').find_map(|field| field.strip_prefix(key))
}

fn reference(line: &str) -> Option<String> {
    let name = field(line, "SN:")?;
    Some(field(line, "LN:").map_or_else(|| name.to_owned(), |length| format!("{name} ({length})")))
}

/// How many there are, and the first.
fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{count}: {shown}, …"),
        count => format!("{count}: {shown}"),
    }
}

/// Reads the header of a file, and verifies its checksums.
pub(super) fn read(object: &dyn RangedRead) -> Result<Head, FormatError> {
    let (name, size) = (object.name(), object.size());
    let start = object.read(ByteRange::new(0, FIRST_READ.min(size)))?;
    if !start.starts_with(MAGIC) {
        return Err(damaged(name, 0, "it does not begin with CRAM"));
    }
    let cut_short = || FormatError::Truncated { name: name.to_owned(), what: "CRAM header", offset: size };
    let version = [*start.get(4).ok_or_else(cut_short)?, *start.get(5).ok_or_else(cut_short)?];
    if !matches!(version, [3, 0 | 1]) {
        return Err(FormatError::Unsupported {
            name: name.to_owned(),
            format: "CRAM",
            what: format!("version {}.{}", version[0], version[1]),
            remedy: "write it again as 3.0: `samtools view -C -T REFERENCE --output-fmt-option version=3.0 -o NEW.cram FILE`"
                .into(),
        });
    }
    let mut behind = start.iter().skip(FILE_DEFINITION as usize).copied();
    let container = match Container::read(&mut || Ok(behind.next())) {
        // The header container has one slice at most; its own header is short.
        Err(Wrong::Ended) if size > FIRST_READ => return Err(damaged(name, FILE_DEFINITION, "its first container has no end")),
        other => other.map_err(|wrong| wrong.at(name, FILE_DEFINITION, "CRAM header"))?,
    };
    let end = FILE_DEFINITION + container.size();
    if end > size {
        return Err(FormatError::Truncated { name: name.to_owned(), what: "CRAM header", offset: size });
    }
    if end > PREAMBLE_LIMIT {
        return Err(damaged(name, FILE_DEFINITION, "its header is longer than 256 MiB"));
    }
    let bytes = match start.len() as u64 >= end {
        true => start.slice(..end as usize),
        false => {
            let mut bytes = start.to_vec();
            bytes.extend_from_slice(&object.read(ByteRange::new(start.len() as u64, end))?);
            bytes.into()
        }
    };
    let at = FILE_DEFINITION + container.bytes.len() as u64;
    let text = sam_header(bytes.get(at as usize..).unwrap_or_default()).map_err(|wrong| wrong.at(name, at, "CRAM header"))?;
    Ok(Head { bytes, version, text })
}

/// The SAM header in the blocks of the first container.
fn sam_header(blocks: &[u8]) -> Result<String, Wrong> {
    let mut next = blocks.iter().copied();
    let block = Block::read(&mut || Ok(next.next()), blocks.len() as u64)?;
    if block.content != 0 {
        return Err(Wrong::Reason("its first block holds no SAM header"));
    }
    let (head, stored) = (block.bytes.len(), block.stored as usize);
    let content = blocks.get(head..head + stored).ok_or(Wrong::Ended)?;
    let checksum = blocks.get(head + stored..).and_then(|rest| rest.first_chunk::<4>()).ok_or(Wrong::Ended)?;
    if crc32fast::hash(&blocks[..head + stored]) != u32::from_le_bytes(*checksum) {
        return Err(Wrong::Reason("the checksum of its SAM header does not fit"));
    }
    let unpacked;
    let content = match block.method {
        0 => content,
        1 => {
            unpacked = gunzip(content, block.raw)?;
            &unpacked
        }
        _ => return Err(Wrong::Reason("its SAM header is compressed with neither gzip nor nothing")),
    };
    let (length, text) = content.split_first_chunk::<4>().ok_or(Wrong::Reason("its SAM header is too short"))?;
    let text =
        text.get(..u32::from_le_bytes(*length) as usize).ok_or(Wrong::Reason("its SAM header is longer than its block"))?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn gunzip(stored: &[u8], raw: u64) -> Result<Vec<u8>, Wrong> {
    if raw > PREAMBLE_LIMIT || raw > (stored.len() as u64).saturating_mul(GZIP_RATIO) {
        return Err(Wrong::Reason("its SAM header says it is longer than it can be"));
    }
    let mut unpacked = vec![0; raw as usize];
    let length = Decompressor::new().gzip_decompress(stored, &mut unpacked);
    let length = length.map_err(|_| Wrong::Reason("its SAM header cannot be decompressed"))?;
    unpacked.truncate(length);
    Ok(unpacked)
}

//! The side-car of a table format: a header of JSON in front of what the format wrote.

use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, ObjectRef, RangedRead, ReadError, VERSION};
use serde::{Deserialize, Serialize};

use super::Description;
use crate::FormatError;

/// First bytes; the last is the layout's version.
const MAGIC: [u8; 8] = *b"NDTABLE\x01";
/// Magic, header length, checksum of the header.
const PREAMBLE: usize = 16;
/// Longer headers are refused.
const HEADER_LIMIT: usize = 1 << 20;
const FIRST_READ: u64 = 16 * 1024;
/// Bytes of a body read in one go to verify it.
const VERIFIED_AT_ONCE: u64 = 1 << 20;

/// The header.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    v: u32,
    program: String,
    /// The objects it is of, pinned.
    pub(crate) sources: Vec<ObjectRef>,
    pub(crate) format: String,
    /// Version of what follows, as the format counts.
    pub(crate) index_version: u32,
    pub(crate) description: Description,
    /// Bytes of what follows.
    body: u64,
    /// Checksum of what follows, as gzip counts it (CRC-32).
    body_crc: u32,
}

impl Stored {
    /// `body` is its length and its checksum.
    pub(crate) fn new(
        sources: Vec<ObjectRef>,
        format: &str,
        index_version: u32,
        description: Description,
        body: (u64, u32),
    ) -> Self {
        let (body, body_crc) = body;
        let program = format!("neardata {VERSION}");
        Self { v: 1, program, sources, format: format.to_owned(), index_version, description, body, body_crc }
    }
}

/// Everything in front of the body.
pub(crate) fn encode(stored: &Stored) -> Vec<u8> {
    let header = neardata_core::canonical::to_string(stored);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(header.as_bytes()).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// The header of a side-car, and what the format wrote.
pub(crate) fn read(object: Arc<dyn RangedRead>) -> Result<(Stored, Arc<dyn RangedRead>), FormatError> {
    let damaged = |reason: &str| FormatError::SideCar { name: object.name().to_owned(), reason: reason.to_owned() };
    let start = object.read(ByteRange::new(0, FIRST_READ.min(object.size())))?;
    let preamble = start.first_chunk::<PREAMBLE>().ok_or_else(|| damaged("it is shorter than its preamble"))?;
    if preamble[..8] != MAGIC {
        return Err(damaged("it does not begin as this version writes it"));
    }
    let length = u32::from_le_bytes([preamble[8], preamble[9], preamble[10], preamble[11]]) as usize;
    let checksum = u32::from_le_bytes([preamble[12], preamble[13], preamble[14], preamble[15]]);
    let end = (PREAMBLE + length) as u64;
    if length > HEADER_LIMIT || end > object.size() {
        return Err(damaged("it is shorter than its header"));
    }
    let header = match start.get(PREAMBLE..end as usize) {
        Some(header) => Bytes::copy_from_slice(header),
        None => object.read(ByteRange::new(PREAMBLE as u64, end))?,
    };
    if crc32fast::hash(&header) != checksum {
        return Err(damaged("the checksum of its header does not fit"));
    }
    let stored: Stored = serde_json::from_slice(&header).map_err(|error| damaged(&format!("header: {error}")))?;
    if stored.v != 1 || end.checked_add(stored.body) != Some(object.size()) {
        return Err(damaged("it is not as long as its header says"));
    }
    let body = Body { start: end, length: stored.body, object };
    Ok((stored, Arc::new(body)))
}

/// Reads the whole body and compares it with its checksum.
pub(crate) fn verify(stored: &Stored, body: &dyn RangedRead) -> Result<(), FormatError> {
    let mut checksum = crc32fast::Hasher::new();
    let mut at = 0;
    while at < stored.body {
        let next = (at + VERIFIED_AT_ONCE).min(stored.body);
        checksum.update(&body.read(ByteRange::new(at, next))?);
        at = next;
    }
    if checksum.finalize() != stored.body_crc {
        return Err(FormatError::SideCar {
            name: body.name().to_owned(),
            reason: "the checksum of its body does not fit".into(),
        });
    }
    Ok(())
}

/// What lies behind the header, with offsets of its own.
struct Body {
    object: Arc<dyn RangedRead>,
    start: u64,
    length: u64,
}

impl RangedRead for Body {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn size(&self) -> u64 {
        self.length
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        if range.end > self.length {
            let detail = format!("range {range} lies beyond its {} bytes", self.length);
            return Err(ReadError::Failed { name: self.name().to_owned(), detail });
        }
        self.object.read(ByteRange::new(range.start + self.start, range.end + self.start))
    }

    fn bytes_fetched(&self) -> u64 {
        self.object.bytes_fetched()
    }
}

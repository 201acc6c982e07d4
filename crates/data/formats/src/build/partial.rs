//! What scanning one part of an object gives, in memory and as bytes that travel.

use neardata_core::{ByteRange, VERSION};
use serde::{Deserialize, Serialize};

use super::parts::IndexPart;
use crate::records::{Position, State};

/// First bytes of every partial index; the last is the layout's version.
const MAGIC: [u8; 8] = *b"NDPART\0\x02";
/// Magic, length of the header, checksum of everything behind.
const PREAMBLE: usize = 16;
/// No BGZF block unpacks to so many times its size.
const MOST_UNPACKED: u64 = 4096;

/// A part that was scanned without knowing what comes before it. Offsets are uncompressed bytes from its first one, record numbers are
/// from its first record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Partial {
    /// Bytes of the object that were scanned: of BGZF, whole blocks.
    pub(super) covered: ByteRange,
    /// Uncompressed bytes in them.
    pub(super) length: u64,
    /// The first bytes, of which nothing is known; behind them `within` more of the same line, and its end if it `ended`.
    pub(super) head: Vec<u8>,
    pub(super) within: u64,
    pub(super) ended: bool,
    /// Where points may be set, in order.
    pub(super) places: Vec<Place>,
    /// What the rest holds, for each thing its first byte may be.
    pub(super) variants: Vec<Variant>,
    /// Whether its last BGZF block is empty.
    pub(super) marked: Option<bool>,
}

/// Where a point may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Byte of the object.
    pub(super) offset: u64,
    /// Uncompressed byte of the part.
    pub(super) out: u64,
}

/// What a part holds if its scan began at such a position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) position: Position,
    /// Where the first record begins.
    pub(super) first: Option<u64>,
    /// What the scanner knows at its end.
    pub(super) state: State,
    /// For each place behind the head: number and offset of the first record that begins there or later; fewer where none does.
    pub(super) found: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    program: String,
    part: IndexPart,
    /// Nothing, if the part makes no sense on its own.
    scanned: Option<Scanned>,
}

#[derive(Serialize, Deserialize)]
struct Scanned {
    covered: ByteRange,
    length: u64,
    head: u64,
    within: u64,
    ended: bool,
    places: u64,
    marked: Option<bool>,
    variants: Vec<VariantHeader>,
}

#[derive(Serialize, Deserialize)]
struct VariantHeader {
    position: Position,
    first: Option<u64>,
    state: State,
    found: u64,
}

impl Partial {
    /// Where its own scan began.
    pub(super) fn begin(&self) -> u64 {
        self.head.len() as u64 + self.within + u64::from(self.ended)
    }
}

/// A partial index as bytes: magic, length of the header and checksum, the header as JSON, the head, then tables of little-endian numbers.
pub(super) fn encode(part: &IndexPart, partial: Option<&Partial>) -> Vec<u8> {
    let scanned = partial.map(|partial| Scanned {
        covered: partial.covered,
        length: partial.length,
        head: partial.head.len() as u64,
        within: partial.within,
        ended: partial.ended,
        places: partial.places.len() as u64,
        marked: partial.marked,
        variants: partial.variants.iter().map(VariantHeader::of).collect(),
    });
    let header = Header { program: program(), part: part.clone(), scanned };
    let header = neardata_core::canonical::to_string(&header);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(header.as_bytes());
    if let Some(partial) = partial {
        bytes.extend_from_slice(&partial.head);
        for place in &partial.places {
            bytes.extend_from_slice(&place.offset.to_le_bytes());
            bytes.extend_from_slice(&place.out.to_le_bytes());
        }
        for variant in &partial.variants {
            for (record, out) in &variant.found {
                bytes.extend_from_slice(&record.to_le_bytes());
                bytes.extend_from_slice(&out.to_le_bytes());
            }
        }
    }
    let checksum = crc32fast::hash(&bytes[PREAMBLE..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a partial index; the error says what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(IndexPart, Option<Partial>), String> {
    let short = || "it is cut short".to_owned();
    let mut rest = bytes;
    let preamble = take(&mut rest, PREAMBLE as u64).ok_or_else(short)?;
    if preamble[..8] != MAGIC {
        return Err("it does not begin with NDPART".into());
    }
    let length = u32::from_le_bytes([preamble[8], preamble[9], preamble[10], preamble[11]]);
    let checksum = u32::from_le_bytes([preamble[12], preamble[13], preamble[14], preamble[15]]);
    if crc32fast::hash(rest) != checksum {
        return Err("its checksum does not fit".into());
    }
    let header = take(&mut rest, length.into()).ok_or_else(short)?;
    let Header { program: by, part, scanned } = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
    if by != program() {
        return Err(format!("{by} made it, this is {}", program()));
    }
    let partial = match scanned {
        None => None,
        Some(scanned) => Some(decode_tables(scanned, &mut rest).ok_or_else(short)?),
    };
    match partial.as_ref().map_or(Ok(()), |partial| check(&part, partial)) {
        Ok(()) if rest.is_empty() => Ok((part, partial)),
        Ok(()) => Err("it is longer than its header says".into()),
        Err(reason) => Err(reason.into()),
    }
}

fn decode_tables(scanned: Scanned, rest: &mut &[u8]) -> Option<Partial> {
    let Scanned { covered, length, head, within, ended, places, marked, variants } = scanned;
    let head = take(rest, head)?.to_vec();
    let places = pairs(rest, places)?.map(|(offset, out)| Place { offset, out }).collect();
    let decode = |header: VariantHeader| {
        let VariantHeader { position, first, state, found } = header;
        Some(Variant { position, first, state, found: pairs(rest, found)?.collect() })
    };
    let variants = variants.into_iter().map(decode).collect::<Option<_>>()?;
    Some(Partial { covered, length, head, within, ended, places, variants, marked })
}

/// What joining relies on.
fn check(part: &IndexPart, partial: &Partial) -> Result<(), &'static str> {
    let Partial { covered, length, places, .. } = partial;
    let size = part.object.size;
    let most = size.checked_mul(MOST_UNPACKED).and_then(|_| covered.len().checked_mul(MOST_UNPACKED));
    let begin = (partial.head.len() as u64).checked_add(partial.within).and_then(|begin| begin.checked_add(1));
    if covered.start > covered.end || covered.end > size || most.is_none_or(|most| *length > most) {
        return Err("it does not fit its object");
    }
    if begin.is_none_or(|begin| begin > length.saturating_add(1)) || partial.begin() > *length {
        return Err("it begins behind its end");
    }
    let ordered = places.windows(2).all(|pair| pair[0].out < pair[1].out && pair[0].offset < pair[1].offset);
    if !ordered || places.iter().any(|place| place.out >= *length || place.offset >= covered.end) {
        return Err("its places are out of order");
    }
    let behind = places.len() - places.partition_point(|place| place.out < partial.begin());
    let sound = partial.variants.iter().all(|variant| {
        let starts = variant.first.iter().chain(variant.found.iter().map(|(_, out)| out));
        let records = variant.found.iter().map(|(record, _)| record);
        variant.found.len() <= behind
            && (variant.found.is_empty() || variant.first.is_some())
            && starts.clone().is_sorted()
            && starts.clone().all(|out| *out <= *length)
            && records.clone().is_sorted()
            && records.clone().all(|record| *record <= *length)
    });
    if sound { Ok(()) } else { Err("its records are out of order") }
}

impl VariantHeader {
    fn of(variant: &Variant) -> Self {
        Self { position: variant.position, first: variant.first, state: variant.state.clone(), found: variant.found.len() as u64 }
    }
}

fn program() -> String {
    format!("neardata {VERSION}")
}

fn take<'b>(rest: &mut &'b [u8], count: u64) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(count).ok()?)?;
    *rest = left;
    Some(taken)
}

fn pairs<'b>(rest: &mut &'b [u8], count: u64) -> Option<impl Iterator<Item = (u64, u64)> + use<'b>> {
    let numbers = take(rest, count.checked_mul(16)?)?;
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Some(numbers.chunks_exact(16).map(move |pair| (number(pair), number(&pair[8..]))))
}

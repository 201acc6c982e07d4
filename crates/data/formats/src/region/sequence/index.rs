//! What is known of a FASTA object: the tables that lie beside it, or our own among the side-cars.

use neardata_core::{ByteRange, ObjectRef, ObjectUri, RangedRead, canonical};
use neardata_store::{StoreError, Stores};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::fai::{self, Scan, Sequence};
use crate::gzip::{BgzfDecoder, BgzfStep};
use crate::input::Input;
use crate::{Compression, FormatError, Progress};

/// First bytes of an index of our own; the last is the layout's version.
const MAGIC: &[u8; 8] = b"NDFASTA\x01";
/// Bytes looked at at a time: they stay in the processor's cache.
const PIECE: usize = 128 * 1024;
/// Progress is told every so many bytes.
const TELL_EVERY: u64 = 4 << 20;

/// Sequences, and the blocks of BGZF around them.
pub(crate) struct FastaIndex {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) blocks: Blocks,
}

#[derive(Serialize, Deserialize)]
struct OwnHeader {
    v: u32,
    source: ObjectRef,
    /// Bytes of the table of sequences; that of blocks follows.
    sequences: u64,
    /// CRC-32 of both.
    checksum: u32,
}

impl FastaIndex {
    /// The `.fai`, and for BGZF the `.gzi`, that lie beside the object.
    pub(crate) fn beside(stores: &Stores, uri: &ObjectUri, compression: Compression) -> Result<Option<Self>, FormatError> {
        let text = uri.to_string();
        // An address with a query (a presigned one) names one object alone.
        if text.contains('?') {
            return Ok(None);
        }
        let get = |ending: &str| -> Result<Option<(String, bytes::Bytes)>, FormatError> {
            let name = format!("{text}.{ending}");
            let Ok(address) = name.parse() else { return Ok(None) };
            match stores.get(&address) {
                Ok(bytes) => Ok(Some((name, bytes))),
                Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let Some((name, table)) = get("fai")? else { return Ok(None) };
        let sequences = fai::parse(&table).map_err(|reason| FormatError::RegionIndex { name, reason })?;
        let blocks = match compression {
            Compression::Bgzf => {
                let Some((name, table)) = get("gzi")? else { return Ok(None) };
                let reason = "it is cut short or is no `.gzi`".to_owned();
                Blocks::parse(&table).ok_or(FormatError::RegionIndex { name, reason })?
            }
            _ => Blocks::default(),
        };
        Ok(Some(Self { sequences, blocks }))
    }

    /// Our own, made before for this version of the object.
    pub(crate) fn stored(stores: &Stores, address: &ObjectUri, source: &ObjectRef) -> Result<Option<Self>, FormatError> {
        let bytes = match stores.get(address) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let decoded = decode(&bytes);
        if decoded.is_none() {
            tracing::warn!(%address, "the index of sequences is damaged; building it again");
        }
        Ok(decoded.filter(|(header, _)| header.source == *source).map(|(_, index)| index))
    }

    /// Makes it in one pass over the object.
    pub(crate) fn build(
        object: &dyn RangedRead,
        compression: Compression,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, FormatError> {
        let total = object.size();
        let mut told = 0;
        let mut tell = |done: u64| {
            if done >= told + TELL_EVERY {
                told = done;
                progress(Progress { done, total });
            }
        };
        let malformed = |malformed: crate::records::Malformed| malformed.of(object.name());
        let mut input = Input::new(object, ByteRange::new(0, total));
        let (mut scan, mut blocks) = (Scan::default(), Blocks::default());
        if compression == Compression::Bgzf {
            let mut decoder = BgzfDecoder::new(object.name(), input);
            let (mut buffer, mut out) = (vec![0; 64 * 1024], 0);
            loop {
                match decoder.step(&mut buffer)? {
                    BgzfStep::Block { offset, produced } => {
                        blocks.push(offset, out);
                        out += produced as u64;
                        scan.scan(&buffer[..produced]).map_err(malformed)?;
                        tell(offset);
                    }
                    BgzfStep::End => break,
                    BgzfStep::Ordinary => {
                        let name = object.name().to_owned();
                        return Err(FormatError::NoRegions { name, found: "FASTA, gzip behind BGZF".into() });
                    }
                }
            }
        } else {
            loop {
                let piece = input.take(PIECE)?;
                if piece.is_empty() {
                    break;
                }
                scan.scan(&piece).map_err(malformed)?;
                tell(input.offset());
            }
        }
        progress(Progress { done: total, total });
        Ok(Self { sequences: scan.finish().map_err(malformed)?, blocks })
    }

    /// As it is stored.
    pub(crate) fn to_bytes(&self, source: &ObjectRef) -> Vec<u8> {
        let mut tables = fai::format(&self.sequences).into_bytes();
        let sequences = tables.len() as u64;
        tables.extend(self.blocks.to_bytes());
        let checksum = crc32fast::hash(&tables);
        let header = canonical::to_string(&OwnHeader { v: 1, source: source.clone(), sequences, checksum });
        let length = (header.len() as u32).to_le_bytes();
        [MAGIC.as_slice(), &length, header.as_bytes(), &tables].concat()
    }
}

fn decode(bytes: &[u8]) -> Option<(OwnHeader, FastaIndex)> {
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (header, tables) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let header: OwnHeader = serde_json::from_slice(header).ok().filter(|header: &OwnHeader| header.v == 1)?;
    if crc32fast::hash(tables) != header.checksum {
        return None;
    }
    let (sequences, blocks) = tables.split_at_checked(usize::try_from(header.sequences).ok()?)?;
    let index = FastaIndex { sequences: fai::parse(sequences).ok()?, blocks: Blocks::parse(blocks)? };
    Some((header, index))
}

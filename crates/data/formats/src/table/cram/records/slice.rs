//! The blocks of a container, put together to slices (CRAMv3 §8.5).

use super::blocks::{Block, COMPRESSION_HEADER, CORE, EXTERNAL, Room, SLICE_HEADER};
use super::cursor::Cursor;
use super::encoding::Streams;
use super::record::{self, Decoded};
use super::{Compression, Fault};

/// Bytes that the blocks of a container may unpack to.
const UNPACKED_LIMIT: u64 = 512 << 20;

/// What the header of a slice says.
#[derive(Clone, Debug)]
pub(in crate::table::cram) struct SliceHeader {
    /// Number of the reference; -1: none, -2: several.
    pub(in crate::table::cram) reference: i32,
    /// First position, from 1.
    pub(in crate::table::cram) start: i32,
    /// Positions covered.
    pub(in crate::table::cram) span: i32,
    /// Records in it.
    pub(in crate::table::cram) records: u64,
    /// Records of the file in front of it.
    pub(super) counter: i64,
    /// Blocks in it.
    blocks: usize,
    /// Number of the block with the bases of the reference; -1: none.
    embedded: i32,
    /// Checksum of the bases of the reference it covers; zeros: none.
    pub(in crate::table::cram) md5: [u8; 16],
}

/// A container, its blocks not yet unpacked.
pub(in crate::table::cram) struct Body<'b> {
    pub(in crate::table::cram) compression: Compression,
    pub(in crate::table::cram) slices: Vec<Slice<'b>>,
    room: Room,
}

/// A slice, its blocks not yet unpacked.
pub(in crate::table::cram) struct Slice<'b> {
    pub(in crate::table::cram) header: SliceHeader,
    core: Option<Block<'b>>,
    external: Vec<Block<'b>>,
}

impl<'b> Body<'b> {
    /// Takes the bytes behind the header of a container apart, which says how many records and blocks there are.
    pub(in crate::table::cram) fn parse(bytes: &'b [u8], records: u64, blocks: u64) -> Result<Self, Fault> {
        let mut from = Cursor(bytes);
        let mut room = Room { bytes: UNPACKED_LIMIT, records };
        let first = Block::read(&mut from)?;
        if first.content != COMPRESSION_HEADER {
            return Err("a container does not begin with its compression header".into());
        }
        let compression = Compression::parse(&first.unpack(&mut room)?)?;
        let (mut slices, mut passed) = (Vec::new(), 1);
        while passed < blocks {
            let block = Block::read(&mut from)?;
            if block.content != SLICE_HEADER {
                return Err("a block of a container belongs to no slice".into());
            }
            let header = SliceHeader::parse(&block.unpack(&mut room)?)?;
            let mut slice = Slice { header, core: None, external: Vec::new() };
            for _ in 0..slice.header.blocks {
                let block = Block::read(&mut from)?;
                match block.content {
                    CORE => slice.core = Some(block),
                    EXTERNAL => slice.external.push(block),
                    _ => return Err("a slice has a block of another kind".into()),
                }
            }
            passed += 1 + slice.header.blocks as u64;
            slices.push(slice);
        }
        let held = slices.iter().map(|slice| slice.header.records).sum::<u64>();
        if !from.0.is_empty() || passed != blocks {
            return Err("a container has not as many blocks as its header says".into());
        }
        if held != records {
            return Err("its slices hold another number of records than its header says".into());
        }
        Ok(Self { compression, slices, room })
    }

    /// The records of a slice.
    pub(in crate::table::cram) fn decode(&self, slice: &Slice<'b>) -> Result<Decoded, Fault> {
        let mut room = self.room;
        let unpacked = slice.external.iter().map(|block| Ok((block.number, block.unpack(&mut room)?)));
        let external = unpacked.collect::<Result<Vec<_>, Fault>>()?;
        let core = slice.core.as_ref().map(|block| block.unpack(&mut room)).transpose()?.unwrap_or_default();
        let streams = Streams::new(&core, external.iter().map(|(number, bytes)| (*number, &bytes[..])));
        let mut decoded = record::decode(&self.compression, &slice.header, streams)?;
        if slice.header.embedded >= 0 {
            let block = external.into_iter().find(|(number, _)| *number == slice.header.embedded);
            decoded.embedded = Some(block.ok_or("the bases of the reference in a slice are missing")?.1.into_owned());
        }
        Ok(decoded)
    }
}

impl SliceHeader {
    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut from = Cursor(bytes);
        let [reference, start, span, records] = [from.itf8()?, from.itf8()?, from.itf8()?, from.itf8()?];
        let counter = from.ltf8()?;
        let blocks = usize::try_from(from.itf8()?).map_err(|_| "a slice has a negative number of blocks")?;
        for _ in 0..from.count()? {
            from.itf8()?;
        }
        let embedded = from.itf8()?;
        let md5 = *from.take(16)?.first_chunk().ok_or("a slice header is too short")?;
        let records = u64::try_from(records).map_err(|_| "a slice has a negative number of records")?;
        if reference < -2 || start < 0 || span < 0 {
            return Err("a slice lies at an impossible place".into());
        }
        Ok(Self { reference, start, span, records, counter, blocks, embedded, md5 })
    }
}

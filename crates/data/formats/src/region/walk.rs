//! From record to record through BGZF, each with its virtual offsets: block begin, shifted by 16 bits, and place in the block.

use neardata_core::{ByteRange, RangedRead};

use super::extent;
use crate::gzip::{BgzfDecoder, BgzfStep};
use crate::input::Input;
use crate::records::Position;
use crate::{Format, FormatError};

/// Room for one block.
const BLOCK: usize = 64 * 1024;

/// What stands before the first record of a BGZF object.
pub(crate) struct Header {
    /// Its uncompressed bytes.
    pub(crate) bytes: Vec<u8>,
    /// Byte of the object before which it is decoded.
    pub(crate) stop: u64,
}

/// Reads the header of a BGZF object, and no block behind it.
pub(crate) fn header(object: &dyn RangedRead, format: Format, limit: u64) -> Result<Header, FormatError> {
    let mut decoder = BgzfDecoder::new(object.name(), Input::new(object, ByteRange::new(0, object.size())));
    let mut scanner = format.scanner(Position::Start);
    let (mut block, mut bytes) = (vec![0; BLOCK], Vec::new());
    loop {
        let BgzfStep::Block { produced, .. } = decoder.step(&mut block)? else {
            scanner.finish().map_err(|malformed| malformed.of(object.name()))?;
            return Ok(Header { bytes, stop: object.size() });
        };
        let passed = scanner.scan(&block[..produced], 0).map_err(|malformed| malformed.of(object.name()))?;
        bytes.extend_from_slice(&block[..passed]);
        if passed < produced {
            return Ok(Header { bytes, stop: decoder.offset() });
        }
        if bytes.len() as u64 > limit {
            return Err(FormatError::MalformedHeader {
                name: object.name().to_owned(),
                format: format.name(),
                reason: "it is longer than 256 MiB; is this file what its name says?".into(),
            });
        }
    }
}

/// A decoded block: where its first byte lies among the held bytes (before them, if they begin inside it), and in the object.
struct Block {
    begin: i64,
    offset: u64,
}

/// Calls `each` for every record with its bytes and the virtual offsets of its begin and end; `tell` how far the object was read.
pub(crate) fn walk(
    object: &dyn RangedRead,
    format: Format,
    header: &Header,
    tell: &dyn Fn(u64),
    mut each: impl FnMut(&[u8], u64, u64) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut decoder = BgzfDecoder::new(object.name(), Input::new(object, ByteRange::new(0, object.size())));
    let mut buffer = vec![0; BLOCK];
    let (mut held, mut blocks): (Vec<u8>, Vec<Block>) = Default::default();
    let mut header_left = header.bytes.len();
    let mut number = 0_u64;
    while let BgzfStep::Block { offset, produced } = decoder.step(&mut buffer)? {
        tell(offset);
        let skipped = header_left.min(produced);
        header_left -= skipped;
        blocks.push(Block { begin: held.len() as i64 - skipped as i64, offset });
        held.extend_from_slice(&buffer[skipped..produced]);
        let next_block = decoder.offset();
        let mut at = 0;
        loop {
            let wrong = |reason: &str| malformed(object, format, number + 1, reason);
            let Some(length) = extent::length(format, &held[at..]).map_err(wrong)? else { break };
            number += 1;
            let end = virtual_offset(&blocks, at + length, held.len(), next_block);
            each(&held[at..at + length], virtual_offset(&blocks, at, held.len(), next_block), end)?;
            at += length;
        }
        held.drain(..at);
        blocks.iter_mut().for_each(|block| block.begin -= at as i64);
        let needed = blocks.partition_point(|block| block.begin <= 0).saturating_sub(1);
        blocks.drain(..needed);
    }
    if held.is_empty() {
        return Ok(());
    }
    if format == Format::Vcf {
        // The last line needs no line feed.
        return each(&held, virtual_offset(&blocks, 0, held.len(), object.size()), object.size() << 16);
    }
    Err(malformed(object, format, number + 1, "it ends before it should; the file was cut short"))
}

fn virtual_offset(blocks: &[Block], place: usize, held: usize, next_block: u64) -> u64 {
    let block = blocks[..].partition_point(|block| block.begin <= place as i64).checked_sub(1).and_then(|at| blocks.get(at));
    match block {
        Some(block) if place < held => block.offset << 16 | (place as i64 - block.begin) as u64,
        _ => next_block << 16,
    }
}

pub(crate) fn malformed(object: &dyn RangedRead, format: Format, record: u64, reason: &str) -> FormatError {
    let (name, reason) = (object.name().to_owned(), reason.to_owned());
    FormatError::MalformedRecord { name, format: format.name(), record, reason }
}

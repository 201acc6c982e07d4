//! The footer: schema, and where the blocks lie; checked against the object before anything is looked for there.

use std::collections::HashMap;

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::root_as_footer_with_opts;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use flatbuffers::VerifierOptions;
use neardata_core::{ByteRange, RangedRead};

use super::{FORMAT, MAGIC, damaged, is_stream, unsupported};
use crate::FormatError;
use crate::table::contain::contain;

/// Length of the footer, and the magic bytes.
const TAIL: usize = 10;
const FIRST_READ: u64 = 64 * 1024;
/// Longer footers are refused: decoded they take several times their length.
const LIMIT: u64 = 256 << 20;
/// Longest header of a block.
const LONGEST_HEADER: u64 = 256 << 20;

/// What the footer says.
pub(super) struct Footer {
    pub(super) schema: SchemaRef,
    /// Where dictionaries lie.
    pub(super) dictionaries: Vec<Block>,
    /// Where record batches lie.
    pub(super) batches: Vec<Block>,
    /// The file's own metadata; the schema has some beside it.
    pub(super) metadata: HashMap<String, String>,
}

/// A message and its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Byte of the object where the message begins.
    pub(super) offset: u64,
    /// Bytes of the message, with its length and padding.
    pub(super) header: u64,
    /// Bytes of the body behind it.
    pub(super) body: u64,
}

impl Block {
    /// The message.
    pub(super) fn header(&self) -> ByteRange {
        ByteRange::new(self.offset, self.offset + self.header)
    }

    /// Where the body begins.
    pub(super) fn body_at(&self) -> u64 {
        self.offset + self.header
    }

    /// The byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.header + self.body
    }
}

impl Footer {
    pub(super) fn read(object: &dyn RangedRead) -> Result<Self, FormatError> {
        let (name, size) = (object.name(), object.size());
        let truncated = || FormatError::Truncated { name: name.to_owned(), what: FORMAT, offset: size };
        if is_stream(name) {
            let start = object.read(ByteRange::new(0, size.min(MAGIC.len() as u64)))?;
            if start != MAGIC[..] {
                let what = "the streaming layout, which has no table of its batches,";
                let remedy = "write it again as a file: `pyarrow.ipc.new_file`, then `.write_table(pyarrow.ipc.open_stream(…).read_all())`";
                return Err(unsupported(name, what, remedy));
            }
        }
        let least = (MAGIC.len() + TAIL) as u64;
        if size < least {
            return Err(truncated());
        }
        let end = object.read(ByteRange::new(size.saturating_sub(FIRST_READ), size))?;
        let tail = end.last_chunk::<TAIL>().ok_or_else(truncated)?;
        if tail[4..] != MAGIC[..6] {
            return Err(truncated());
        }
        let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        if length > size - least || length > LIMIT {
            return Err(damaged(name, size - TAIL as u64, &format!("a footer of {length} bytes")));
        }
        let start = size - TAIL as u64 - length;
        let footer = match (end.len() - TAIL).checked_sub(length as usize) {
            Some(before) => end.slice(before..end.len() - TAIL),
            None => {
                let first = object.read(ByteRange::new(start, size - end.len() as u64))?;
                Bytes::from([&first, &end[..end.len() - TAIL]].concat())
            }
        };
        contain(name, FORMAT, start, || Self::decode(name, start, &footer))
    }

    fn decode(name: &str, start: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |error: &dyn std::fmt::Display| damaged(name, start, &error.to_string());
        // Texts may be shared in a flatbuffer, but are not once decoded.
        let options = VerifierOptions {
            max_tables: (bytes.len() / 4).max(1000),
            max_apparent_size: bytes.len().saturating_mul(16).max(1 << 20),
            ..VerifierOptions::default()
        };
        let footer = root_as_footer_with_opts(&options, bytes).map_err(|error| wrong(&error))?;
        let schema = footer.schema().ok_or_else(|| wrong(&"no schema in the footer"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(unsupported(
                name,
                "numbers of another byte order",
                "write it again with `pyarrow.ipc` on this kind of machine",
            ));
        }
        let schema = try_fb_to_schema(schema).map_err(|error| wrong(&error))?;
        let pairs = footer.custom_metadata().into_iter().flatten();
        let metadata = pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned()))).collect();
        let mut bytes = 0_u64;
        let mut block = |block: &arrow_ipc::Block| {
            let numbers =
                [u64::try_from(block.offset()), u64::try_from(block.metaDataLength()), u64::try_from(block.bodyLength())];
            let [Ok(offset), Ok(header), Ok(body)] = numbers else { return Err(wrong(&"a block of negative offset or length")) };
            let end = offset.checked_add(header).and_then(|end| end.checked_add(body));
            if offset < MAGIC.len() as u64 || header > LONGEST_HEADER || end.is_none_or(|end| end > start) {
                return Err(wrong(&format!("a block at byte {offset} that reaches outside the object")));
            }
            bytes = bytes.saturating_add(header + body);
            Ok(Block { offset, header, body })
        };
        let dictionaries = footer.dictionaries().into_iter().flatten().map(&mut block).collect::<Result<_, _>>()?;
        let batches = footer.recordBatches().into_iter().flatten().map(&mut block).collect::<Result<_, _>>()?;
        if bytes > start {
            return Err(wrong(&"its blocks overlap"));
        }
        Ok(Self { schema: schema.into(), dictionaries, batches, metadata })
    }
}

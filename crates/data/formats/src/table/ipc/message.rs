//! The messages in front of bodies, checked before `arrow-ipc` decodes the bodies by them.

use arrow_ipc::{CompressionType, MessageHeader, MetadataVersion, RecordBatch, root_as_message};
use arrow_schema::{DataType, Schema, UnionMode};
use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead, read_ranges};

use super::footer::Block;
use super::{FORMAT, damaged, unsupported};
use crate::FormatError;
use crate::table::contain::contain;

/// Bytes between messages that are rather fetched than skipped.
const GAP: u64 = 4 * 1024;
/// Bytes of messages that are held at a time.
const HELD: u64 = 16 << 20;
/// Batches that take more memory than this when unpacked are refused.
const LARGEST: u64 = 16 << 30;
/// Rows of values that take no bytes (nulls, empty structs).
const MOST_EMPTY: u64 = 1 << 31;

/// Reads the messages of blocks, and nothing of their bodies.
pub(super) fn each(
    object: &dyn RangedRead,
    blocks: &[Block],
    mut take: impl FnMut(&Block, &Message<'_>) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut left = blocks;
    while !left.is_empty() {
        let mut bytes = 0;
        let fit = left.iter().take_while(|block| {
            bytes += block.header;
            bytes <= HELD
        });
        let (now, later) = left.split_at(fit.count().max(1));
        left = later;
        let ranges: Vec<ByteRange> = now.iter().map(Block::header).collect();
        for (block, bytes) in now.iter().zip(read_ranges(object, &ranges, GAP)?) {
            contain(object.name(), FORMAT, block.offset, || take(block, &Message::parse(object.name(), block, &bytes)?))?;
        }
    }
    Ok(())
}

/// A message.
pub(super) struct Message<'a> {
    name: &'a str,
    block: &'a Block,
    message: arrow_ipc::Message<'a>,
}

impl<'a> Message<'a> {
    /// `bytes`: those of the block's header.
    pub(super) fn parse(name: &'a str, block: &'a Block, bytes: &'a [u8]) -> Result<Self, FormatError> {
        // Files from before Arrow 0.15 have the length alone in front of a message.
        let skip = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
        let bytes = bytes.get(skip..).ok_or_else(|| damaged(name, block.offset, "a message without a length"))?;
        let message = root_as_message(bytes).map_err(|error| damaged(name, block.offset, &error.to_string()))?;
        Ok(Self { name, block, message })
    }

    /// The record batch it announces.
    pub(super) fn record_batch(&self) -> Result<BatchHeader<'a>, FormatError> {
        let batch = match self.message.header_type() {
            MessageHeader::RecordBatch => self.message.header_as_record_batch(),
            _ => None,
        };
        let batch = batch.ok_or_else(|| damaged(self.name, self.block.offset, "no record batch where one should begin"))?;
        Ok(self.header(batch))
    }

    /// The dictionary it announces, and its values as a record batch of one column.
    pub(super) fn dictionary(&self) -> Result<(arrow_ipc::DictionaryBatch<'a>, BatchHeader<'a>), FormatError> {
        let dictionary = match self.message.header_type() {
            MessageHeader::DictionaryBatch => self.message.header_as_dictionary_batch(),
            _ => None,
        };
        let both = dictionary.and_then(|dictionary| Some((dictionary, self.header(dictionary.data()?))));
        both.ok_or_else(|| damaged(self.name, self.block.offset, "no dictionary where one should begin"))
    }

    fn header(&self, batch: RecordBatch<'a>) -> BatchHeader<'a> {
        BatchHeader { name: self.name, block: self.block, batch, version: self.message.version() }
    }
}

/// What the message of a record batch says.
pub(super) struct BatchHeader<'a> {
    name: &'a str,
    block: &'a Block,
    pub(super) batch: RecordBatch<'a>,
    pub(super) version: MetadataVersion,
}

impl BatchHeader<'_> {
    fn wrong(&self, reason: &str) -> FormatError {
        damaged(self.name, self.block.offset, reason)
    }

    /// Number of its rows.
    pub(super) fn rows(&self) -> Result<u64, FormatError> {
        u64::try_from(self.batch.length()).map_err(|_| self.wrong("a record batch of fewer than no rows"))
    }

    /// How its buffers are compressed.
    pub(super) fn compression(&self) -> Option<CompressionType> {
        self.batch.compression().map(|compression| compression.codec())
    }

    /// Where its buffers lie in the body, each within it and no byte in two of them.
    fn buffers(&self) -> Result<Vec<ByteRange>, FormatError> {
        let mut bytes = 0_u64;
        let range = |buffer: &arrow_ipc::Buffer| {
            let (start, length) = (u64::try_from(buffer.offset()).ok()?, u64::try_from(buffer.length()).ok()?);
            let end = start.checked_add(length).filter(|end| *end <= self.block.body)?;
            bytes = bytes.checked_add(length).filter(|bytes| *bytes <= self.block.body)?;
            Some(ByteRange::new(start, end))
        };
        let ranges: Option<Vec<ByteRange>> = self.batch.buffers().into_iter().flatten().map(range).collect();
        ranges.ok_or_else(|| self.wrong("buffers that reach outside their body or overlap"))
    }

    /// The bytes of the body that these columns need; `columns` ascend.
    pub(super) fn ranges(&self, schema: &Schema, columns: &[usize]) -> Result<Vec<ByteRange>, FormatError> {
        let buffers = self.buffers()?;
        let mut variadic = self.batch.variadicBufferCounts().into_iter().flatten();
        let mut next = 0_usize;
        let mut ranges = Vec::new();
        for (number, field) in schema.fields().iter().enumerate() {
            let count = buffers_of(field.data_type(), &mut variadic, self.version);
            let end = count.and_then(|count| next.checked_add(count)).filter(|end| *end <= buffers.len());
            let end = end.ok_or_else(|| self.wrong("fewer buffers than its columns have"))?;
            if columns.binary_search(&number).is_ok() {
                ranges.extend(buffers[next..end].iter().filter(|range| !range.is_empty()).copied());
            }
            next = end;
        }
        Ok(ranges)
    }

    /// Refuses numbers that would take more memory than the bytes of the body can hold. Buffers of which `body` has only zeros are
    /// those of columns that are not decoded.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), FormatError> {
        // How far each codec can expand at the very most.
        let expansion = match self.compression() {
            None => None,
            Some(CompressionType::LZ4_FRAME) => Some(256),
            Some(_) => Some(33_000),
        };
        let mut decoded = 0_u64;
        for buffer in self.buffers()? {
            let stored = body.get(buffer.start as usize..buffer.end as usize).unwrap_or_default();
            let (Some(expansion), false) = (expansion, stored.is_empty()) else {
                decoded += buffer.len();
                continue;
            };
            let length = stored.first_chunk().map(|length| i64::from_le_bytes(*length));
            let length = match length {
                Some(-1) => Some(buffer.len()),
                Some(length) => u64::try_from(length).ok().filter(|length| *length <= buffer.len().saturating_mul(expansion)),
                None => None,
            };
            let length = length.ok_or_else(|| self.wrong("a buffer claims more bytes than its compressed ones can hold"))?;
            decoded = decoded.saturating_add(length);
        }
        if decoded > LARGEST {
            let what = format!("a record batch of {decoded} bytes");
            return Err(unsupported(
                self.name,
                &what,
                "write it again in smaller batches (`max_chunksize`, `record_batch_size`)",
            ));
        }
        let most = decoded.saturating_mul(8).saturating_add(MOST_EMPTY);
        let nodes = self.batch.nodes().into_iter().flatten().map(|node| (node.length(), node.null_count()));
        for (length, nulls) in nodes.chain([(self.batch.length(), 0)]) {
            if u64::try_from(length).map_or(true, |length| length > most) || nulls < 0 || nulls > length {
                return Err(self.wrong(&format!("a column of {length} values with {nulls} nulls")));
            }
        }
        Ok(())
    }
}

/// Number of buffers of a column; none where the count of those of a view is missing or senseless.
fn buffers_of(kind: &DataType, variadic: &mut impl Iterator<Item = i64>, version: MetadataVersion) -> Option<usize> {
    let mut of = |kind: &DataType| buffers_of(kind, variadic, version);
    let count = match kind {
        DataType::Null => 0,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => 3,
        DataType::Utf8View | DataType::BinaryView => usize::try_from(variadic.next()?).ok()?.checked_add(2)?,
        DataType::FixedSizeList(values, _) => of(values.data_type())?.checked_add(1)?,
        DataType::List(values) | DataType::LargeList(values) | DataType::Map(values, _) => {
            of(values.data_type())?.checked_add(2)?
        }
        DataType::ListView(values) | DataType::LargeListView(values) => of(values.data_type())?.checked_add(3)?,
        DataType::Struct(fields) => fields.iter().try_fold(1_usize, |sum, field| sum.checked_add(of(field.data_type())?))?,
        DataType::RunEndEncoded(ends, values) => of(ends.data_type())?.checked_add(of(values.data_type())?)?,
        DataType::Union(fields, mode) => {
            // Until version 4 of the format unions had a buffer of nulls.
            let own = 1 + usize::from(*mode == UnionMode::Dense) + usize::from(version < MetadataVersion::V5);
            fields.iter().try_fold(own, |sum, (_, field)| sum.checked_add(of(field.data_type())?))?
        }
        _ => 2,
    };
    Some(count)
}

/// The bytes of a body with only these ranges of it, the others zero.
pub(super) fn sparse(object: &dyn RangedRead, block: &Block, ranges: &[ByteRange]) -> Result<Bytes, FormatError> {
    let start = block.body_at();
    let of_object: Vec<ByteRange> = ranges.iter().map(|range| ByteRange::new(start + range.start, start + range.end)).collect();
    let mut body = vec![0; block.body as usize];
    for (range, bytes) in ranges.iter().zip(read_ranges(object, &of_object, GAP)?) {
        body[range.start as usize..range.end as usize].copy_from_slice(&bytes);
    }
    Ok(body.into())
}

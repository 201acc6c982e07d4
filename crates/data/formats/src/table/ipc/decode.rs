//! Record batches from their blocks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};

use super::footer::{Block, Footer};
use super::message::{Message, each, sparse};
use super::{FORMAT, damaged};
use crate::FormatError;
use crate::table::contain::contain;

/// Bytes of small blocks, one behind the other, that are fetched at a time.
const AHEAD: u64 = 4 << 20;
/// Blocks up to this size are fetched whole, whatever is needed of them.
const SMALL: u64 = 64 * 1024;

/// A decoded record batch.
pub(super) struct Decoded {
    pub(super) batch: RecordBatch,
    /// How it is stored.
    pub(super) compression: Option<CompressionType>,
}

/// Decodes record batches of a file, some columns of each.
pub(super) struct Decoder {
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
    columns: Option<Vec<usize>>,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    /// What was fetched last, and where it begins.
    held: (u64, Bytes),
}

impl Decoder {
    /// Reads the dictionaries that the columns (all if none are given) need.
    pub(super) fn new(
        object: &Arc<dyn RangedRead>,
        footer: &Arc<Footer>,
        columns: Option<Vec<usize>>,
    ) -> Result<Self, FormatError> {
        let schema = match &columns {
            Some(columns) => {
                footer.schema.project(columns).map_err(|error| damaged(object.name(), 0, &error.to_string()))?.into()
            }
            None => footer.schema.clone(),
        };
        let dictionaries = dictionaries(object.as_ref(), footer, &schema)?;
        let held = (0, Bytes::new());
        Ok(Self { object: object.clone(), footer: footer.clone(), columns, schema, dictionaries, held })
    }

    /// The schema of its batches.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Record batch number `number`; those before `end` will follow.
    pub(super) fn batch(&mut self, number: usize, end: usize) -> Result<Decoded, FormatError> {
        let name = self.object.name().to_owned();
        let footer = self.footer.clone();
        let wanted = footer.batches.get(number..end).unwrap_or_default();
        let Some(block) = wanted.first() else {
            return Err(FormatError::Broken { name, reason: format!("there is no record batch {number}") });
        };
        let whole = self.columns.is_none() || block.header + block.body <= SMALL;
        let header =
            if whole { self.fetch(wanted, block)?.slice(..block.header as usize) } else { self.object.read(block.header())? };
        contain(&name, FORMAT, block.offset, || {
            let message = Message::parse(&name, block, &header)?;
            let batch = message.record_batch()?;
            let body = match &self.columns {
                Some(columns) if !whole => sparse(self.object.as_ref(), block, &batch.ranges(&footer.schema, columns)?)?,
                _ => self.fetch(wanted, block)?.slice(block.header as usize..),
            };
            batch.check(&body)?;
            let (schema, columns) = (footer.schema.clone(), self.columns.as_deref());
            let decoded = read_record_batch(&body.into(), batch.batch, schema, &self.dictionaries, columns, &batch.version);
            let decoded = decoded.map_err(|error| damaged(&name, block.offset, &error.to_string()))?;
            Ok(Decoded { batch: decoded, compression: batch.compression() })
        })
    }

    /// The bytes of the first of these blocks, fetched with those that follow it if they are small.
    fn fetch(&mut self, wanted: &[Block], block: &Block) -> Result<Bytes, FormatError> {
        let length = block.end() - block.offset;
        let inside = block.offset.checked_sub(self.held.0).filter(|at| at + length <= self.held.1.len() as u64);
        if let Some(at) = inside {
            return Ok(self.held.1.slice(at as usize..(at + length) as usize));
        }
        let mut end = block.end();
        for next in wanted.iter().skip(1) {
            if next.offset != end || next.end() - block.offset > AHEAD {
                break;
            }
            end = next.end();
        }
        self.held = (block.offset, self.object.read(ByteRange::new(block.offset, end))?);
        Ok(self.held.1.slice(..length as usize))
    }
}

/// The dictionaries of the columns of `wanted`, by their numbers.
fn dictionaries(object: &dyn RangedRead, footer: &Footer, wanted: &SchemaRef) -> Result<HashMap<i64, ArrayRef>, FormatError> {
    let mut dictionaries = HashMap::new();
    let name = object.name();
    each(object, &footer.dictionaries, |block, message| {
        let (dictionary, values) = message.dictionary()?;
        // By their numbers alone dictionaries and fields find each other.
        #[expect(deprecated, reason = "there is no other way to them")]
        let needed = !wanted.fields_with_dict_id(dictionary.id()).is_empty();
        if !needed {
            return Ok(());
        }
        let body = object.read(ByteRange::new(block.body_at(), block.end()))?;
        values.check(&body)?;
        let body = Buffer::from(body);
        let read = read_dictionary(&body, dictionary, &footer.schema, &mut dictionaries, &values.version);
        read.map_err(|error| damaged(name, block.offset, &error.to_string()))
    })?;
    Ok(dictionaries)
}

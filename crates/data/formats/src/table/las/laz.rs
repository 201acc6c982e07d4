//! LAZ: the `laszip encoded` record, the chunk table, and decoding of one chunk.
//!
//! The decoder of the `laz` crate trusts its input, so what can be checked is checked before: the items against the point format, the
//! lengths of the layers against those of the chunk. What damaged arithmetic codes do cannot be foreseen: they may end in a panic of
//! the decoder, which holds nothing but one chunk; it is caught here and becomes an error.

use std::io::Cursor;

use bytes::Bytes;
use laz::laszip::ChunkTable;
use laz::record::{LayeredPointRecordDecompressor, RecordDecompressor, SequentialPointRecordDecompressor};
use laz::{LazItem, LazVlr};
use neardata_core::{ByteRange, RangedRead};

use super::header::Header;
use super::le::{u16_at, u32_at, u64_at};
use super::part::Part;
use crate::FormatError;
use crate::table::contain::caught;

/// One chunk over all points, without a table.
const POINTWISE: u16 = 1;
/// Chunks of layers, for point formats 6 to 10.
const LAYERED_CHUNKED: u16 = 3;
/// Upper bound of the bytes that an entry of the chunk table takes: two numbers of 32 bits, each behind a few bits of its own.
const ENTRY_BYTES: u64 = 16;

/// How the points of an object are compressed.
#[derive(Clone, Debug)]
pub(super) struct Laz {
    compressor: u16,
    /// Points in each chunk but the last; 0 where the table tells.
    chunk_points: u64,
    items: Vec<LazItem>,
    /// Layers of a chunk.
    layers: usize,
    record: usize,
}

impl Laz {
    /// Reads and checks the `laszip encoded` record.
    pub(super) fn of(header: &Header) -> Result<Self, FormatError> {
        let vlr = header.vlrs.iter().find(|vlr| vlr.is(LazVlr::USER_ID, LazVlr::RECORD_ID));
        let vlr = vlr.ok_or_else(|| header.damaged(100, "its points are compressed but it has no `laszip encoded` record"))?;
        let content = vlr.content();
        let compressor = u16_at(content, 0);
        if !(POINTWISE..=LAYERED_CHUNKED).contains(&compressor) {
            return Err(header.unsupported(format!("LAZ compressor {compressor}"), "compress it again with `laszip`"));
        }
        let layers = check_items(header, content, compressor == LAYERED_CHUNKED)?;
        let parsed = LazVlr::from_buffer(content).map_err(|error| header.damaged(0, format!("laszip record: {error}")))?;
        let chunk_points = match u32_at(content, 12) {
            0 | u32::MAX => 0,
            points => u64::from(points),
        };
        Ok(Self { compressor, chunk_points, items: parsed.items().clone(), layers, record: header.record })
    }

    /// The chunks, in order.
    pub(super) fn chunks(&self, header: &Header, object: &dyn RangedRead) -> Result<Vec<Part>, FormatError> {
        if header.points == 0 {
            return Ok(Vec::new());
        }
        if self.compressor == POINTWISE {
            return Ok(vec![Part::whole(header.data, header.points_end() - header.data, header.points)]);
        }
        let first = header.data + 8;
        let table = self.read_table(header, object, first)?;
        let (mut at, mut left) = (first, header.points);
        let mut chunks = Vec::with_capacity(table.len());
        for entry in table.as_ref() {
            let points = if self.chunk_points == 0 { entry.point_count } else { self.chunk_points.min(left) };
            let end = at.checked_add(entry.byte_count).filter(|end| *end <= object.size());
            let Some(end) = end.filter(|_| points <= left) else {
                return Err(header.damaged(at, "the chunk table does not fit the object"));
            };
            if points > 0 {
                if entry.byte_count < self.record as u64 {
                    return Err(header.damaged(at, format!("a chunk of {} bytes", entry.byte_count)));
                }
                chunks.push(Part::whole(at, entry.byte_count, points));
            }
            (at, left) = (end, left - points);
        }
        match left {
            0 => Ok(chunks),
            _ => Err(header.damaged(at, format!("the chunk table lacks {left} of {} points", header.points))),
        }
    }

    fn read_table(&self, header: &Header, object: &dyn RangedRead, first: u64) -> Result<ChunkTable, FormatError> {
        let size = object.size();
        let missing = || {
            let what = "LAZ chunks but no chunk table";
            Err(header.unsupported(what, "the program that wrote it did not finish; write it again with `laszip`"))
        };
        if first > size {
            return Err(FormatError::Truncated { name: header.name.clone(), what: "LAZ points", offset: size });
        }
        let fits = |at: u64| at >= first && at.checked_add(8).is_some_and(|end| end <= size);
        let mut at = u64_at(&object.read(ByteRange::new(header.data, first))?, 0);
        if !fits(at) {
            // A program that writes to a pipe puts the place of the table at the end.
            at = u64_at(&object.read(ByteRange::new(size - 8, size))?, 0);
            if !fits(at) {
                return missing();
            }
        }
        let count = u64::from(u32_at(&object.read(ByteRange::new(at, at + 8))?, 4));
        if count > (at - first) / self.record as u64 + 1 || count > header.points {
            return Err(header.damaged(at, format!("a chunk table of {count} entries")));
        }
        let bytes = object.read(ByteRange::new(at, size.min(at + 16 + count * ENTRY_BYTES)))?;
        let variable = self.chunk_points == 0;
        contained(|| ChunkTable::read(&mut Cursor::new(&bytes), variable))
            .map_err(|reason| header.damaged(at, format!("chunk table: {reason}")))
    }

    /// A decoder of one chunk.
    pub(super) fn decoder(&self, header: &Header, part: Part, chunk: Bytes) -> Result<Decoder, FormatError> {
        let damaged = |reason: String| header.damaged(part.at, reason);
        let layered = self.compressor == LAYERED_CHUNKED;
        if layered {
            self.check_layers(&chunk, part.points).map_err(damaged)?;
        }
        let start = Cursor::new(chunk);
        let mut decoder: Box<dyn RecordDecompressor<Cursor<Bytes>> + Send + Sync> = match layered {
            true => Box::new(LayeredPointRecordDecompressor::new(start)),
            false => Box::new(SequentialPointRecordDecompressor::new(start)),
        };
        decoder.set_fields_from(&self.items).map_err(|error| damaged(format!("laszip items: {error}")))?;
        Ok(Decoder { decoder, record: self.record, at: part.at })
    }

    /// A chunk is a whole record, the number of its points, the lengths of its layers, and the layers.
    fn check_layers(&self, chunk: &[u8], points: u64) -> Result<(), String> {
        let held = u64::from(u32_at(chunk, self.record));
        if held != points {
            return Err(format!("a chunk of {held} points where {points} are due"));
        }
        let lengths = self.record + 4;
        let layers: u64 = (0..self.layers).map(|layer| u64::from(u32_at(chunk, lengths + 4 * layer))).sum();
        if (lengths + 4 * self.layers) as u64 + layers > chunk.len() as u64 {
            return Err("layers that are longer than their chunk".into());
        }
        Ok(())
    }
}

/// Checks the items (type, size, version) against the point format; returns the layers that a chunk has.
fn check_items(header: &Header, content: &[u8], layered: bool) -> Result<usize, FormatError> {
    let (bytes, wave) = if layered { (14, 13) } else { (0, 9) };
    let mut expected: Vec<(u16, usize, usize)> = match (header.point_format, layered) {
        (0, false) => vec![(6, 20, 0)],
        (1, false) => vec![(6, 20, 0), (7, 8, 0)],
        (2, false) => vec![(6, 20, 0), (8, 6, 0)],
        (3, false) => vec![(6, 20, 0), (7, 8, 0), (8, 6, 0)],
        (4, false) => vec![(6, 20, 0), (7, 8, 0), (wave, 29, 0)],
        (5, false) => vec![(6, 20, 0), (7, 8, 0), (8, 6, 0), (wave, 29, 0)],
        (6, true) => vec![(10, 30, 9)],
        (7, true) => vec![(10, 30, 9), (11, 6, 1)],
        (8, true) => vec![(10, 30, 9), (12, 8, 2)],
        (9, true) => vec![(10, 30, 9), (wave, 29, 1)],
        (10, true) => vec![(10, 30, 9), (12, 8, 2), (wave, 29, 1)],
        (format, _) => return Err(header.unsupported(format!("LAZ of point format {format}"), "compress it again with `laszip`")),
    };
    let extra = header.record - header.named;
    if extra > 0 {
        expected.push((bytes, extra, if layered { extra } else { 0 }));
    }
    let items = usize::from(u16_at(content, 32));
    let found = (0..items).map(|item| (u16_at(content, 34 + 6 * item), usize::from(u16_at(content, 36 + 6 * item))));
    if items != expected.len()
        || content.len() < 34 + 6 * items
        || !found.eq(expected.iter().map(|(kind, size, _)| (*kind, *size)))
    {
        return Err(header.damaged(header.raw.len() as u64, "the laszip items do not fit the point format"));
    }
    let versions = if layered { 3..=4 } else { 1..=2 };
    if let Some(version) = (0..items).map(|item| u16_at(content, 38 + 6 * item)).find(|version| !versions.contains(version)) {
        return Err(header.unsupported(format!("LAZ items of version {version}"), "compress it again with `laszip`"));
    }
    Ok(expected.iter().map(|(_, _, layers)| layers).sum())
}

/// Decodes one chunk, from its first point on.
pub(super) struct Decoder {
    decoder: Box<dyn RecordDecompressor<Cursor<Bytes>> + Send + Sync>,
    record: usize,
    at: u64,
}

impl Decoder {
    /// The next `points` records; the chunk must hold them.
    pub(super) fn decode(&mut self, header: &Header, points: usize) -> Result<Vec<u8>, FormatError> {
        let mut records = vec![0; points * self.record];
        let decode = || records.chunks_exact_mut(self.record).try_for_each(|record| self.decoder.decompress_next(record));
        contained(decode).map_err(|reason| header.damaged(self.at, format!("LAZ chunk: {reason}")))?;
        Ok(records)
    }
}

/// Runs a piece of the `laz` crate; a panic of it becomes an error.
fn contained<T>(run: impl FnOnce() -> std::io::Result<T>) -> Result<T, String> {
    match caught(run) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its codes make no sense".into()),
    }
}

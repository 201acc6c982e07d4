//! The bytes of a column chunk, fetched as its pages are asked for, and checked before they are decoded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use neardata_core::{ByteRange, RangedRead};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};

use super::damaged;
use super::page_header::{self, DATA_PAGE, DATA_PAGE_V2, DICTIONARY_PAGE, Failure, INDEX_PAGE, PageHeader};
use super::trail::Trail;
use crate::FormatError;

/// Bytes read to look at a page header: most take less than 100; a longer one is read again.
const LOOK: u64 = 512;
/// Chunks up to this size are read whole rather than page by page.
const SMALL: u64 = 32 * 1024;

/// The bytes of one column chunk.
pub(super) struct ChunkSource {
    object: Arc<dyn RangedRead>,
    range: ByteRange,
    compression: Compression,
    values: i64,
    /// Least number of bytes fetched at a time, while they are needed.
    ahead: u64,
    column: Arc<str>,
    trail: Trail,
    state: Mutex<State>,
}

struct State {
    /// What was fetched last, and where it begins.
    window: Bytes,
    at: u64,
    /// Fetched before it was asked for.
    fetched: Vec<(u64, Bytes)>,
    /// Bytes behind this are not needed.
    needed: u64,
    /// Where the page begins whose header was given out last, if it is not empty.
    page: Option<u64>,
}

impl ChunkSource {
    /// `ahead`: bytes to fetch at a time.
    pub(super) fn new(object: Arc<dyn RangedRead>, chunk: &ColumnChunkMetaData, ahead: u64, trail: Trail) -> Self {
        let (start, length) = chunk.byte_range();
        let range = ByteRange::new(start, start + length);
        let state = State { window: Bytes::new(), at: start, fetched: Vec::new(), needed: range.end, page: None };
        let (compression, values) = (chunk.compression(), chunk.num_values());
        let column = chunk.column_path().string().into();
        Self { object, range, compression, values, ahead, column, trail, state: Mutex::new(state) }
    }

    /// The whole of the chunk.
    pub(super) fn range(&self) -> ByteRange {
        self.range
    }

    /// Hands over bytes that were fetched with those of other chunks.
    pub(super) fn give(&self, at: u64, bytes: Bytes) {
        self.state().fetched.push((at, bytes));
    }

    /// Finds the pages of a column without repetition until the one that holds row `end - 1`, by their headers alone; says which bytes
    /// hold the rows `[first, end)`.
    pub(super) fn locate(&self, first: u64, end: u64) -> Result<Located, FormatError> {
        let small = self.range.len() <= SMALL;
        if small {
            self.bytes(self.range.start, self.range.len())?;
        }
        let mut located = Located { pages: Vec::new(), rows: 0, needed: Vec::new() };
        let mut at = self.range.start;
        while located.rows < end && at < self.range.end {
            let header = self.header(at)?;
            let size = header.length as u64 + header.compressed as u64;
            let page = ByteRange::new(at, at + size);
            at = page.end;
            let rows = match header.kind {
                DATA_PAGE => header.values,
                DATA_PAGE_V2 => header.rows.unwrap_or(header.values),
                DICTIONARY_PAGE if located.pages.is_empty() => {
                    located.needed.push(page);
                    continue;
                }
                INDEX_PAGE => continue,
                _ => return Err(self.malformed(page.start, "a page of an unknown type")),
            } as u64;
            let length = i32::try_from(size).map_err(|_| self.malformed(page.start, "a page beyond 2 GiB"))?;
            let first_row_index = located.rows as i64;
            located.pages.push(PageLocation { offset: page.start as i64, compressed_page_size: length, first_row_index });
            if located.rows + rows > first {
                match located.needed.last_mut() {
                    Some(last) if last.end == page.start => last.end = page.end,
                    _ => located.needed.push(page),
                }
            }
            located.rows += rows;
        }
        if located.rows < end {
            return Err(self.malformed(at, "it ends before its last row"));
        }
        if small {
            located.needed.clear();
        }
        self.state().needed = at;
        Ok(located)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn malformed(&self, offset: u64, reason: &str) -> FormatError {
        damaged(self.object.name(), offset, &format!("{reason}{}", self.trail.place(Some(&self.column))))
    }

    /// The bytes, which must be of the chunk.
    fn bytes(&self, at: u64, length: u64) -> Result<Bytes, FormatError> {
        self.fetch(at, length, self.ahead)
    }

    fn fetch(&self, at: u64, length: u64, ahead: u64) -> Result<Bytes, FormatError> {
        let wanted = at.checked_add(length).filter(|end| at >= self.range.start && *end <= self.range.end);
        let Some(end) = wanted else {
            return Err(self.malformed(at, "a page reaches beyond its column chunk"));
        };
        let mut state = self.state();
        let held = std::iter::once((state.at, &state.window)).chain(state.fetched.iter().map(|(at, bytes)| (*at, bytes)));
        for (start, bytes) in held {
            if start <= at && end <= start + bytes.len() as u64 {
                return Ok(bytes.slice((at - start) as usize..(end - start) as usize));
            }
        }
        // What is still held of the wanted bytes is kept, the rest comes with what follows.
        let kept = at.checked_sub(state.at).and_then(|passed| usize::try_from(passed).ok());
        let kept =
            kept.filter(|passed| *passed <= state.window.len()).map(|passed| state.window.slice(passed..)).unwrap_or_default();
        let from = at + kept.len() as u64;
        let until = end.max(at.saturating_add(ahead).min(state.needed));
        let fresh = self.object.read(ByteRange::new(from, until))?;
        state.window = if kept.is_empty() { fresh } else { [kept, fresh].concat().into() };
        state.at = at;
        Ok(state.window.slice(..length as usize))
    }

    /// The checked page header at an offset.
    fn header(&self, at: u64) -> Result<PageHeader, FormatError> {
        let left = self.range.end.saturating_sub(at);
        let mut length = LOOK.min(left);
        let header = loop {
            // Looking at a header must not fetch its page.
            let bytes = self.fetch(at, length, 0)?;
            match page_header::parse(&bytes) {
                Ok(header) => break header,
                Err(Failure::Short) if length < left => length = (length * 8).min(left),
                Err(_) => return Err(self.malformed(at, "no page header where a page should begin")),
            }
        };
        self.check(&header, left).map_err(|reason| self.malformed(at, reason))?;
        Ok(header)
    }

    /// Refuses pages that would take more memory than their bytes can hold.
    fn check(&self, header: &PageHeader, left: u64) -> Result<(), &'static str> {
        let (compressed, uncompressed) = (header.compressed, header.uncompressed);
        if header.length as u64 + compressed as u64 > left {
            return Err("a page reaches beyond its column chunk");
        }
        // How far each codec can expand at the very most.
        let expansion = match self.compression {
            Compression::UNCOMPRESSED => 1,
            Compression::SNAPPY => 32,
            Compression::LZ4 | Compression::LZ4_RAW => 256,
            Compression::GZIP(_) => 1040,
            _ => 33_000,
        };
        if uncompressed > (compressed + 16).saturating_mul(expansion) {
            return Err("a page claims more bytes than its compressed ones can hold");
        }
        match header.kind {
            DICTIONARY_PAGE if header.values > uncompressed => Err("a dictionary claims more values than it has bytes"),
            DATA_PAGE | DATA_PAGE_V2 if header.values > self.values => Err("a page claims more values than its column chunk"),
            DATA_PAGE_V2 if header.rows.is_some_and(|rows| rows > header.values) => Err("a page claims more rows than values"),
            _ => Ok(()),
        }
    }

    fn keep(&self, error: FormatError) -> ParquetError {
        let words = error.to_string();
        self.trail.keep(error);
        ParquetError::General(words)
    }
}

/// Pages of a column chunk.
pub(super) struct Located {
    /// Data pages, from the first.
    pub(super) pages: Vec<PageLocation>,
    /// Rows in them.
    pub(super) rows: u64,
    /// Bytes that must be fetched to decode the wanted rows.
    pub(super) needed: Vec<ByteRange>,
}

impl Length for ChunkSource {
    fn len(&self) -> u64 {
        self.object.size()
    }
}

impl ChunkReader for ChunkSource {
    type T = bytes::buf::Reader<Bytes>;

    /// The bytes of the page header at `start`. The crate also asks for a reader where the page behind a header begins; it reads nothing
    /// of that one.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        if self.state().page == Some(start) {
            return Ok(Bytes::new().reader());
        }
        let header = self.header(start).map_err(|error| self.keep(error))?;
        let bytes = self.fetch(start, header.length as u64, 0).map_err(|error| self.keep(error))?;
        self.state().page = (header.compressed > 0).then_some(start + header.length as u64);
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.trail.page(&self.column, start);
        self.bytes(start, length as u64).map_err(|error| self.keep(error))
    }
}

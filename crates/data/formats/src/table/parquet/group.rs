//! The pages of the chosen columns of one row group.

use std::sync::Arc;

use neardata_core::{ByteRange, RangedRead, read_ranges};
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Compression;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::SerializedPageReader;

use super::footer::{Footer, unsupported};
use super::source::ChunkSource;
use super::trail::Trail;
use crate::FormatError;

/// Bytes held of a row group's chunks, as they are stored.
const BUDGET: u64 = 32 << 20;
/// Least number of bytes fetched at a time of a chunk.
const LEAST_AHEAD: u64 = 64 * 1024;
/// Bytes between ranges that are rather fetched than skipped.
const GAP: u64 = 4 * 1024;

/// A row group, ready to be decoded.
pub(super) struct GroupPages {
    metadata: Arc<ParquetMetaData>,
    number: usize,
    /// By the number of the leaf.
    columns: Vec<Option<ColumnPages>>,
}

struct ColumnPages {
    source: Arc<ChunkSource>,
    /// Where the pages are, and how many rows they hold, if that is known.
    located: Option<(Vec<PageLocation>, u64)>,
}

impl GroupPages {
    /// The pages of these leaves that hold the rows `[first, end)` of the group; pages in front of them are not fetched where that can be.
    pub(super) fn new(
        object: &Arc<dyn RangedRead>,
        footer: &Footer,
        number: usize,
        [first, end]: [u64; 2],
        leaves: &[usize],
        trail: &Trail,
    ) -> Result<Self, FormatError> {
        let group = footer.metadata.row_group(number);
        let ahead = (BUDGET / leaves.len().max(1) as u64).max(LEAST_AHEAD);
        let mut columns: Vec<Option<ColumnPages>> = Vec::new();
        columns.resize_with(group.num_columns(), || None);
        let mut wanted: Vec<(Arc<ChunkSource>, ByteRange)> = Vec::new();
        for leaf in leaves {
            let chunk = group.column(*leaf);
            if let Some(what) = undecodable(chunk.compression()) {
                return Err(unsupported(
                    object.name(),
                    what,
                    "cut it between row groups and read bytes, or write it again with zstd",
                ));
            }
            let source = Arc::new(ChunkSource::new(object.clone(), chunk, ahead, trail.clone()));
            let whole = first == 0 && end == footer.group_rows(number);
            let located = if whole || chunk.column_descr().max_rep_level() > 0 {
                wanted.push((source.clone(), source.range()));
                None
            } else {
                let located = source.locate(first, end)?;
                wanted.extend(located.needed.into_iter().map(|range| (source.clone(), range)));
                Some((located.pages, located.rows))
            };
            columns[*leaf] = Some(ColumnPages { source, located });
        }
        let bytes = wanted.iter().map(|(_, range)| range.len()).fold(0, u64::saturating_add);
        if bytes <= BUDGET {
            let ranges: Vec<ByteRange> = wanted.iter().map(|(_, range)| *range).collect();
            for ((source, range), bytes) in wanted.iter().zip(read_ranges(object.as_ref(), &ranges, GAP)?) {
                source.give(range.start, bytes);
            }
        }
        Ok(Self { metadata: footer.metadata.clone(), number, columns })
    }

    /// The pages of a leaf.
    pub(super) fn pages(&self, leaf: usize) -> ParquetResult<Box<dyn PageReader>> {
        let column = self.columns.get(leaf).and_then(Option::as_ref);
        let column = column.ok_or_else(|| ParquetError::General(format!("column {leaf} was not asked for")))?;
        let group = self.metadata.row_group(self.number);
        let (pages, rows) = match &column.located {
            Some((pages, rows)) => (Some(pages.clone()), *rows as usize),
            None => (None, group.num_rows() as usize),
        };
        Ok(Box::new(SerializedPageReader::new(column.source.clone(), group.column(leaf), rows, pages)?))
    }
}

/// Codecs that cannot be decoded here.
pub(super) fn undecodable(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::BROTLI(_) => Some("Brotli compression"),
        Compression::LZO => Some("LZO compression"),
        _ => None,
    }
}

impl RowGroups for GroupPages {
    fn num_rows(&self) -> usize {
        self.metadata.row_group(self.number).num_rows() as usize
    }

    fn column_chunks(&self, leaf: usize) -> ParquetResult<Box<dyn PageIterator>> {
        Ok(Box::new(OneChunk(Some(self.pages(leaf)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.number)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of a single chunk, as the crate wants to have them.
struct OneChunk(Option<ParquetResult<Box<dyn PageReader>>>);

impl Iterator for OneChunk {
    type Item = ParquetResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take()
    }
}

impl PageIterator for OneChunk {}

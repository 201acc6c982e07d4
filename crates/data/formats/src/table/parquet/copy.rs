//! A part of a file as a file of its own: whole row groups as they are, the rest encoded again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use super::encode::encode;
use super::footer::Footer;
use super::group::GroupPages;
use super::schema::{arrow_schema, without_unknown};
use super::trail::Trail;
use super::{FORMAT, MAGIC, Projection, damaged};
use crate::FormatError;
use crate::table::Pieces;
use crate::table::contain::contain;

/// Bytes of a row group that is copied, at a time.
const PIECE: u64 = 8 << 20;

/// The rows `[first, end)` as a Parquet file.
pub(super) fn pieces(
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
    rows: [u64; 2],
    projection: Projection,
) -> Result<Pieces, FormatError> {
    let schema = projected_schema(&footer, &projection).map_err(|error| damaged(object.name(), 0, &error.to_string()))?;
    let key_values = key_values(&footer, &projection, object.name())?;
    let groups = footer.groups(rows).into();
    let steps = VecDeque::from([Step::Bytes(Bytes::from_static(MAGIC))]);
    let (chunks, done) = (Vec::new(), Vec::new());
    let mut copy =
        Copy { object, footer, projection, schema, key_values, groups, steps, written: 0, chunks, done, finished: false };
    let mut failed = false;
    Ok(Box::new(std::iter::from_fn(move || {
        let next = if failed { None } else { copy.next() };
        failed = matches!(next, Some(Err(_)));
        next
    })))
}

struct Copy {
    object: Arc<dyn RangedRead>,
    footer: Arc<Footer>,
    projection: Projection,
    schema: SchemaDescPtr,
    key_values: Option<Vec<KeyValue>>,
    /// Row groups to come, with the rows wanted of each.
    groups: VecDeque<(usize, [u64; 2])>,
    steps: VecDeque<Step>,
    /// Bytes written so far.
    written: u64,
    /// Columns of the row group being written.
    chunks: Vec<ColumnChunkMetaData>,
    done: Vec<RowGroupMetaData>,
    finished: bool,
}

/// What is written next.
enum Step {
    Bytes(Bytes),
    /// Bytes of the object.
    Range(ByteRange),
    /// A column of a row group, of which some rows are wanted.
    Encode {
        pages: Arc<GroupPages>,
        trail: Trail,
        number: usize,
        rows: [u64; 2],
        leaf: usize,
    },
    /// All columns of a row group were written.
    Close {
        number: usize,
        rows: u64,
    },
}

impl Copy {
    fn next(&mut self) -> Option<Result<Bytes, FormatError>> {
        loop {
            match self.steps.pop_front() {
                Some(step) => match self.take(step) {
                    Ok(Some(bytes)) => return Some(Ok(bytes)),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
                None => match self.groups.pop_front() {
                    Some((number, rows)) => {
                        if let Err(error) = self.plan(number, rows) {
                            return Some(Err(error));
                        }
                    }
                    None if self.finished => return None,
                    None => {
                        self.finished = true;
                        return Some(self.end());
                    }
                },
            }
        }
    }

    /// What has to be written of a row group.
    fn plan(&mut self, number: usize, rows: [u64; 2]) -> Result<(), FormatError> {
        if rows == [0, self.footer.group_rows(number)] {
            self.plan_whole(number)?;
        } else {
            let (object, leaves) = (&self.object, &self.projection.leaves);
            let trail = self.footer.trail(object.name(), number, leaves);
            let pages = trail.contain(|| GroupPages::new(object, &self.footer, number, rows, leaves, &trail))?;
            let pages = Arc::new(pages);
            let step = |leaf: &usize| Step::Encode { pages: pages.clone(), trail: trail.clone(), number, rows, leaf: *leaf };
            self.steps.extend(leaves.iter().map(step));
        }
        self.steps.push_back(Step::Close { number, rows: rows[1] - rows[0] });
        Ok(())
    }

    /// Chunks that lie side by side are copied in one go.
    fn plan_whole(&mut self, number: usize) -> Result<(), FormatError> {
        let group = self.footer.metadata.row_group(number);
        let mut runs: Vec<ByteRange> = Vec::new();
        let mut at = self.written;
        for leaf in &self.projection.leaves {
            let chunk = group.column(*leaf);
            let (start, length) = chunk.byte_range();
            match runs.last_mut() {
                Some(run) if run.end == start => run.end += length,
                _ => runs.push(ByteRange::new(start, start + length)),
            }
            let moved =
                moved(chunk, at as i64 - start as i64).map_err(|error| damaged(self.object.name(), start, &error.to_string()))?;
            self.chunks.push(moved);
            at += length;
        }
        self.steps.extend(runs.into_iter().map(Step::Range));
        Ok(())
    }

    /// Does a step; gives what is to be written.
    fn take(&mut self, step: Step) -> Result<Option<Bytes>, FormatError> {
        let bytes = match step {
            Step::Bytes(bytes) => bytes,
            Step::Range(range) => {
                let piece = ByteRange::new(range.start, range.end.min(range.start + PIECE));
                if piece.end < range.end {
                    self.steps.push_front(Step::Range(ByteRange::new(piece.end, range.end)));
                }
                self.object.read(piece)?
            }
            Step::Encode { pages, trail, number, rows, leaf } => {
                let chunk = self.footer.metadata.row_group(number).column(leaf);
                let (bytes, encoded) = trail.contain(|| {
                    let encoded = pages.pages(leaf).and_then(|pages| encode(chunk, pages, rows));
                    let (bytes, encoded) = encoded.map_err(|error| trail.explain(&error))?;
                    Ok((bytes, moved(&encoded, self.written as i64).map_err(|error| trail.explain(&error))?))
                })?;
                self.chunks.push(encoded);
                bytes.into()
            }
            Step::Close { number, rows } => {
                let closed = self.close(number, rows);
                self.done.push(closed.map_err(|error| damaged(self.object.name(), 0, &error.to_string()))?);
                return Ok(None);
            }
        };
        self.written += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn close(&mut self, number: usize, rows: u64) -> Result<RowGroupMetaData, ParquetError> {
        let group = self.footer.metadata.row_group(number);
        let chunks = std::mem::take(&mut self.chunks);
        let uncompressed = chunks.iter().map(ColumnChunkMetaData::uncompressed_size).fold(0, i64::saturating_add);
        // Columns to sort by are known by their numbers, which a projection changes.
        let sorting = group.sorting_columns().filter(|_| self.projection.roots.is_none()).cloned();
        RowGroupMetaData::builder(self.schema.clone())
            .set_file_offset(chunks.first().map_or(0, |chunk| chunk.byte_range().0 as i64))
            .set_column_metadata(chunks)
            .set_num_rows(rows as i64)
            .set_total_byte_size(uncompressed)
            .set_sorting_columns(sorting)
            .set_ordinal(i32::try_from(self.done.len()).unwrap_or(i32::MAX))
            .build()
    }

    /// The footer.
    fn end(&mut self) -> Result<Bytes, FormatError> {
        let of = self.footer.metadata.file_metadata();
        let groups = std::mem::take(&mut self.done);
        let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
        // Readers know by the writer's name which of its statistics to mistrust; the copied ones are still that writer's.
        let writer = of.created_by().map(str::to_owned);
        let file = FileMetaData::new(of.version(), rows, writer, self.key_values.take(), self.schema.clone(), None);
        let metadata = ParquetMetaData::new(file, groups);
        contain(self.object.name(), FORMAT, 0, || {
            let mut footer = Vec::new();
            let writer = ParquetMetaDataWriter::new(&mut footer, &metadata).with_preserve_page_index_locations(false);
            writer.finish().map_err(|error| damaged(self.object.name(), 0, &error.to_string()))?;
            Ok(footer.into())
        })
    }
}

/// A chunk whose bytes lie elsewhere. What lies outside them (Bloom filter, page index) does not come along.
fn moved(chunk: &ColumnChunkMetaData, by: i64) -> Result<ColumnChunkMetaData, ParquetError> {
    chunk
        .clone()
        .into_builder()
        .set_data_page_offset(chunk.data_page_offset() + by)
        .set_dictionary_page_offset(chunk.dictionary_page_offset().map(|offset| offset + by))
        .set_index_page_offset(None)
        .set_bloom_filter_offset(None)
        .set_bloom_filter_length(None)
        .set_offset_index_offset(None)
        .set_offset_index_length(None)
        .set_column_index_offset(None)
        .set_column_index_length(None)
        .build()
}

fn projected_schema(footer: &Footer, projection: &Projection) -> Result<SchemaDescPtr, ParquetError> {
    let written = without_unknown(footer)?;
    let Some(roots) = &projection.roots else { return Ok(written) };
    let schema = written.root_schema();
    let fields = roots.iter().filter_map(|root| schema.get_fields().get(*root).cloned()).collect();
    let schema = Type::group_type_builder(schema.name()).with_fields(fields).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(schema))))
}

/// The file's own key-value pairs; the Arrow schema among them is cut to the columns, by which readers find its fields.
fn key_values(footer: &Footer, projection: &Projection, name: &str) -> Result<Option<Vec<KeyValue>>, FormatError> {
    let Some(mut pairs) = footer.metadata.file_metadata().key_value_metadata().cloned() else { return Ok(None) };
    if let Some(roots) = &projection.roots
        && let Some(pair) = pairs.iter_mut().find(|pair| pair.key == ARROW_SCHEMA_META_KEY)
    {
        let schema = arrow_schema(footer, name)?;
        let schema = schema.project(roots).map_err(|error| damaged(name, 0, &error.to_string()))?;
        pair.value = Some(contain(name, FORMAT, 0, || Ok(encode_arrow_schema(&schema)))?);
    }
    Ok(Some(pairs))
}

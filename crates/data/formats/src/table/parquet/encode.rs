//! Some rows of a column chunk, encoded again.
//!
//! Values go from the chunk to the new one with their definition and repetition levels as they are, never through Arrow: so the schema
//! stays what it was, whatever its types.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl, get_column_writer};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

/// Records decoded at a time.
const STEP: u64 = 1024;

/// Rows `[first, end)` of the chunk: the new chunk, and its description with offsets from its own beginning.
pub(super) fn encode(
    chunk: &ColumnChunkMetaData,
    pages: Box<dyn PageReader>,
    [first, end]: [u64; 2],
) -> Result<(Vec<u8>, ColumnChunkMetaData)> {
    let column = chunk.column_descr_ptr();
    let compression = match chunk.compression() {
        // The successor of a format that no two programs wrote alike.
        Compression::LZ4 => Compression::LZ4_RAW,
        other => other,
    };
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(chunk.dictionary_page_offset().is_some())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let mut out = TrackedWrite::new(Vec::new());
    let mut writer = get_column_writer(column.clone(), Arc::new(properties), Box::new(SerializedPageWriter::new(&mut out)));
    let rows = [first, end];
    match (get_column_reader(column, pages), &mut writer) {
        (ColumnReader::BoolColumnReader(from), ColumnWriter::BoolColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::Int32ColumnReader(from), ColumnWriter::Int32ColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::Int64ColumnReader(from), ColumnWriter::Int64ColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::Int96ColumnReader(from), ColumnWriter::Int96ColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::FloatColumnReader(from), ColumnWriter::FloatColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::DoubleColumnReader(from), ColumnWriter::DoubleColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::ByteArrayColumnReader(from), ColumnWriter::ByteArrayColumnWriter(to)) => transfer(from, to, rows),
        (ColumnReader::FixedLenByteArrayColumnReader(from), ColumnWriter::FixedLenByteArrayColumnWriter(to)) => {
            transfer(from, to, rows)
        }
        _ => Err(ParquetError::General("reader and writer of unlike types".to_owned())),
    }?;
    let closed = writer.close()?;
    if closed.rows_written != end - first {
        return Err(ParquetError::General(format!("{} of {} rows", closed.rows_written, end - first)));
    }
    Ok((out.into_inner()?, closed.metadata))
}

fn transfer<T: DataType>(mut from: ColumnReaderImpl<T>, to: &mut ColumnWriterImpl<'_, T>, [first, end]: [u64; 2]) -> Result<()> {
    let short = || ParquetError::General("a column chunk ends before its last row".to_owned());
    if first > 0 && from.skip_records(first as usize)? as u64 != first {
        return Err(short());
    }
    let nullable = to.get_descriptor().max_def_level() > 0;
    let repeated = to.get_descriptor().max_rep_level() > 0;
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = end - first;
    while left > 0 {
        values.clear();
        definitions.clear();
        repetitions.clear();
        let step = left.min(STEP) as usize;
        let (records, ..) =
            from.read_records(step, nullable.then_some(&mut definitions), repeated.then_some(&mut repetitions), &mut values)?;
        if records == 0 || records > step {
            return Err(short());
        }
        to.write_batch(&values, nullable.then_some(&definitions[..]), repeated.then_some(&repetitions[..]))?;
        left -= records as u64;
    }
    Ok(())
}

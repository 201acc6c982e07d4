//! What some writers got wrong in footers, and every reader puts right.

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataBuilder};

/// The name that parquet-mr writes.
const PARQUET_MR: &str = "parquet-mr";
/// The first version of it that counts the header of a dictionary among the bytes of a chunk (PARQUET-816).
const COUNTS_HEADERS: [u32; 3] = [1, 2, 9];
/// Most bytes of such a header.
const LONGEST_HEADER: i64 = 100;

/// The metadata put right; `end` is where the footer begins.
pub(super) fn mended(metadata: ParquetMetaData, end: u64) -> Result<ParquetMetaData, ParquetError> {
    let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let short = metadata.file_metadata().created_by().is_some_and(leaves_headers_out);
    if !short && chunks().all(|chunk| chunk.dictionary_page_offset() != Some(0)) {
        return Ok(metadata);
    }
    let mut starts: Vec<i64> = chunks().map(start).chain([i64::try_from(end).unwrap_or(i64::MAX)]).collect();
    starts.sort_unstable();
    let mut builder = ParquetMetaDataBuilder::new_from_metadata(metadata);
    let mut groups = builder.take_row_groups();
    for chunk in groups.iter_mut().flat_map(|group| group.columns_mut()) {
        let mut fixed = chunk.clone().into_builder();
        // There is no dictionary page; none can lie there.
        if chunk.dictionary_page_offset() == Some(0) {
            fixed = fixed.set_dictionary_page_offset(None);
        }
        if short {
            fixed = fixed.set_total_compressed_size(chunk.compressed_size().saturating_add(behind(chunk, &starts)));
        }
        *chunk = fixed.build()?;
    }
    Ok(builder.set_row_groups(groups).build())
}

/// Where the pages of a chunk begin.
fn start(chunk: &ColumnChunkMetaData) -> i64 {
    chunk.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or_else(|| chunk.data_page_offset())
}

/// Bytes between a chunk and what comes next, as many as a header may have.
fn behind(chunk: &ColumnChunkMetaData, starts: &[i64]) -> i64 {
    let (start, length) = (start(chunk), chunk.compressed_size());
    let next = starts.get(starts.partition_point(|other| *other <= start));
    let end = start.checked_add(length);
    next.zip(end).and_then(|(next, end)| next.checked_sub(end)).map_or(0, |gap| gap.clamp(0, LONGEST_HEADER))
}

fn leaves_headers_out(writer: &str) -> bool {
    let Some(rest) = writer.strip_prefix(PARQUET_MR) else { return false };
    let version = rest.trim_start().strip_prefix("version ").unwrap_or_default();
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0)) < COUNTS_HEADERS
}

#[cfg(test)]
mod tests {
    use super::leaves_headers_out;

    #[test]
    fn old_writers_are_told_by_their_version() {
        for old in ["parquet-mr", "parquet-mr version 1.2.8", "parquet-mr version 1.1.9-SNAPSHOT (build 0)"] {
            assert!(leaves_headers_out(old), "{old}");
        }
        for sound in ["parquet-mr version 1.2.9", "parquet-mr version 1.12.0-20181 (build a8)", "parquet-cpp version 1.0.0", ""] {
            assert!(!leaves_headers_out(sound), "{sound}");
        }
    }
}

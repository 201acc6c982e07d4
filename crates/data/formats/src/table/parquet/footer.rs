//! The footer: read in one go, and checked against the object before anything is looked for where it says.

use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};
use parquet::basic::Type;
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy, RowGroupMetaData,
};

use super::mend::mended;
use super::trail::Trail;
use super::{FORMAT, MAGIC, damaged};
use crate::FormatError;
use crate::table::contain::contain;

/// The last bytes, and the first, where the footer is encrypted.
pub(super) const ENCRYPTED: &[u8; 4] = b"PARE";
/// Length of the footer, and the magic bytes.
const TAIL: u64 = 8;
const FIRST_READ: u64 = 64 * 1024;
/// Longer footers are refused: decoded they take several times their length.
const LIMIT: u64 = 512 << 20;

/// What the footer says.
pub(super) struct Footer {
    pub(super) metadata: Arc<ParquetMetaData>,
    /// Number of rows.
    pub(super) rows: u64,
    /// The first row of each row group.
    pub(super) first_rows: Vec<u64>,
}

impl Footer {
    pub(super) fn read(object: &dyn RangedRead) -> Result<Self, FormatError> {
        let (name, size) = (object.name(), object.size());
        let truncated = || FormatError::Truncated { name: name.to_owned(), what: FORMAT, offset: size };
        if size < TAIL + MAGIC.len() as u64 {
            return Err(truncated());
        }
        let end = object.read(ByteRange::new(size.saturating_sub(FIRST_READ), size))?;
        let tail = end.last_chunk::<{ TAIL as usize }>().ok_or_else(truncated)?;
        if tail[4..] == *ENCRYPTED {
            return Err(unsupported(name, "an encrypted footer", "decrypt it first"));
        }
        if tail[4..] != *MAGIC {
            return Err(truncated());
        }
        let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        if length > size - TAIL - MAGIC.len() as u64 || length > LIMIT {
            return Err(damaged(name, size - TAIL, &format!("a footer of {length} bytes")));
        }
        let start = size - TAIL - length;
        let footer = match (end.len() as u64).checked_sub(TAIL + length) {
            Some(before) => end.slice(before as usize..end.len() - TAIL as usize),
            None => {
                let first = object.read(ByteRange::new(start, size - end.len() as u64))?;
                Bytes::from([&first, &end[..end.len() - TAIL as usize]].concat())
            }
        };
        Self::decode(name, start, &footer)
    }

    fn decode(name: &str, start: u64, footer: &[u8]) -> Result<Self, FormatError> {
        let metadata = contain(name, FORMAT, start, || {
            // Encoding statistics are kept as they are, so that copied chunks keep theirs.
            let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
            let decode = |options| ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options));
            // Some writers put something of their own where statistics of sizes stand since; nothing here needs them.
            let decoded = decode(options.clone())
                .or_else(|error| decode(options.with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)).map_err(|_| error));
            let metadata = decoded.map_err(|error| damaged(name, start, &error.to_string()))?;
            mended(metadata, start).map_err(|error| damaged(name, start, &error.to_string()))
        })?;
        let (first_rows, rows) = check(&metadata, name, start)?;
        Ok(Self { metadata: Arc::new(metadata), rows, first_rows })
    }

    /// Names of the columns: of a nested one the root's.
    pub(super) fn roots(&self) -> Vec<&str> {
        self.metadata.file_metadata().schema().get_fields().iter().map(|field| field.name()).collect()
    }

    /// The row groups that hold rows of `[first, end)`, and which of their own rows those are.
    pub(super) fn groups(&self, [first, end]: [u64; 2]) -> Vec<(usize, [u64; 2])> {
        let group_of = |number: usize| {
            let start = self.first_rows[number];
            let rows = self.group_rows(number);
            let inside = [first.saturating_sub(start).min(rows), end.saturating_sub(start).min(rows)];
            (inside[0] < inside[1]).then_some((number, inside))
        };
        (0..self.first_rows.len()).filter_map(group_of).collect()
    }

    /// What is known of a row group in front of its decoding.
    pub(super) fn trail(&self, name: &str, number: usize, leaves: &[usize]) -> Trail {
        let group = self.metadata.row_group(number);
        let offset = leaves.iter().map(|leaf| group.column(*leaf).byte_range().0).min().unwrap_or(0);
        Trail::new(name, number, offset)
    }

    /// Rows of a row group.
    pub(super) fn group_rows(&self, number: usize) -> u64 {
        self.metadata.row_group(number).num_rows() as u64
    }
}

pub(super) fn unsupported(name: &str, what: &str, remedy: &str) -> FormatError {
    FormatError::Unsupported { name: name.to_owned(), format: FORMAT, what: what.to_owned(), remedy: remedy.to_owned() }
}

/// Checks every number the footer has; gives the first row of each group, and the number of rows.
fn check(metadata: &ParquetMetaData, name: &str, start: u64) -> Result<(Vec<u64>, u64), FormatError> {
    let wrong = |reason: String| damaged(name, start, &reason);
    let schema = metadata.file_metadata().schema_descr();
    for column in schema.columns() {
        let fixed = column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY;
        if fixed && u64::try_from(column.type_length()).map_or(true, |length| length > start) {
            return Err(wrong(format!("values of {} bytes in column {}", column.type_length(), column.path())));
        }
    }
    let mut first_rows = Vec::with_capacity(metadata.num_row_groups());
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        first_rows.push(rows);
        let own =
            u64::try_from(group.num_rows()).map_err(|_| wrong(format!("{} rows in row group {number}", group.num_rows())))?;
        rows = rows.checked_add(own).filter(|rows| i64::try_from(*rows).is_ok()).ok_or_else(|| wrong("too many rows".into()))?;
        if group.num_columns() != schema.num_columns() {
            return Err(wrong(format!("{} columns in row group {number}", group.num_columns())));
        }
        bytes = bytes.saturating_add(check_group(group, number, name, start)?);
    }
    if bytes > start {
        return Err(wrong("its column chunks overlap".into()));
    }
    // Some writers leave 0 there; readers count the rows of the row groups.
    let said = metadata.file_metadata().num_rows();
    if said != 0 && i64::try_from(rows) != Ok(said) {
        return Err(wrong(format!("{rows} rows in its row groups, {said} in all")));
    }
    Ok((first_rows, rows))
}

/// Checks the column chunks of a row group; gives the number of their bytes.
fn check_group(group: &RowGroupMetaData, number: usize, name: &str, footer: u64) -> Result<u64, FormatError> {
    let mut bytes = 0_u64;
    for chunk in group.columns() {
        let wrong = |what: &str| {
            let reason = format!("{what} in column {} of row group {number}", chunk.column_path());
            damaged(name, footer, &reason)
        };
        if chunk.file_path().is_some() {
            return Err(unsupported(name, "columns in other files", "name those files"));
        }
        // Where there is nothing, writers say of its place what they like.
        if group.num_rows() == 0 && chunk.num_values() == 0 {
            continue;
        }
        let data = chunk.data_page_offset();
        let start = chunk.dictionary_page_offset().unwrap_or(data);
        let (start, length) = match (u64::try_from(start), u64::try_from(chunk.compressed_size())) {
            (Ok(start), Ok(length)) => (start, length),
            _ => return Err(wrong("negative offset or size")),
        };
        let end = start.checked_add(length).filter(|end| start >= MAGIC.len() as u64 && *end <= footer);
        let end = end.ok_or_else(|| wrong("bytes outside the object"))?;
        if data < start as i64 || data as u64 > end {
            return Err(wrong("data pages outside the column chunk"));
        }
        let flat = chunk.column_descr().max_rep_level() == 0;
        if chunk.num_values() < group.num_rows() || (flat && chunk.num_values() != group.num_rows()) {
            return Err(wrong("a wrong number of values"));
        }
        if length == 0 && group.num_rows() > 0 {
            return Err(wrong("no bytes"));
        }
        bytes = bytes.saturating_add(length);
    }
    Ok(bytes)
}

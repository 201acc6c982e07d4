//! What the first rows of an object tell: what stands between fields, the names of columns and their types.

use arrow_schema::DataType;
use bytes::Bytes;

use super::fields::Fields;
use crate::columns::kind::Guess;
use crate::columns::{Opened, frame, line_of};
use crate::detect::content_of;
use crate::{Compression, Format, FormatError};

/// Uncompressed bytes looked at, and rows among them.
const BYTES: usize = 1 << 20;
const ROWS: usize = 10_000;
/// Enough for the names alone.
const NAME_BYTES: usize = 64 << 10;
/// A first row is not longer.
const FIRST_ROW_LIMIT: usize = 64 << 20;
/// Rows that tell the separator.
const SEPARATOR_ROWS: usize = 100;
/// What may stand between fields, where nothing else tells it.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first whole rows of an object, whichever slice of it is read: so all slices agree.
pub(super) struct Sample {
    content: Bytes,
    /// Where rows begin and end in `content`; line ends are in.
    rows: Vec<(usize, usize)>,
}

impl Sample {
    /// Reads the first rows; where no type is to be told, only as many as it takes to know the names.
    pub(super) fn read(opened: &Opened, for_types: bool) -> Result<Self, FormatError> {
        let mut limit = if for_types { BYTES } else { NAME_BYTES };
        loop {
            let content = content_of(opened.object.as_ref(), opened.compression, limit)?;
            let all = opened.object.size() <= limit as u64 && (opened.compression == Compression::Plain || content.len() < limit);
            let sample = Self::of(opened.format, content, all);
            if !sample.rows.is_empty() || all {
                return Ok(sample);
            }
            if limit >= FIRST_ROW_LIMIT {
                return Err(FormatError::Malformed {
                    name: opened.object.name().to_owned(),
                    format: opened.format.title(),
                    line: 1,
                    reason: "the first row does not end within 64 MiB; is this file what its name says?".into(),
                });
            }
            limit *= 4;
        }
    }

    /// `all`: `content` is the whole object, so its last row is whole.
    pub(super) fn of(format: Format, content: Bytes, all: bool) -> Self {
        let mut rows = Vec::new();
        let mut at = 0;
        while at < content.len() && rows.len() <= ROWS {
            let length = match frame::length(format, &content[at..], 0) {
                Ok(Some(length)) => length,
                _ if all => content.len() - at,
                _ => break,
            };
            rows.push((at, at + length));
            at += length;
        }
        Self { content, rows }
    }

    /// Rows without line ends and byte order mark.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|(begin, end)| without_mark(line_of(&self.content[*begin..*end])))
    }

    /// What stands between fields: what takes most of the first rows apart into as many fields as the first one.
    pub(super) fn separator(&self) -> u8 {
        let fields = |row: &[u8], separator: u8| Fields::new(row, separator).filter(Result::is_ok).count();
        let score = |separator: u8| {
            let first = self.rows().next().map_or(0, |row| fields(row, separator));
            let rows = self.rows().take(SEPARATOR_ROWS).filter(|row| !row.is_empty());
            let alike = if first > 1 { rows.filter(|row| fields(row, separator) == first).count() } else { 0 };
            (alike, first)
        };
        // Of equals the last is taken: the comma.
        SEPARATORS.into_iter().rev().max_by_key(|separator| score(*separator)).unwrap_or(b',')
    }

    /// The types of so many columns, where `unknown` says that one is to be told.
    pub(super) fn kinds(&self, unknown: &[bool], separator: u8, header_row: bool) -> Vec<DataType> {
        let mut guesses = vec![Guess::default(); unknown.len()];
        for row in self.rows().skip(usize::from(header_row)).take(ROWS) {
            let fields = Fields::new(row, separator).map_while(Result::ok);
            for ((field, guess), _) in fields.zip(&mut guesses).zip(unknown).filter(|(_, unknown)| **unknown) {
                guess.see(&field);
            }
        }
        guesses.into_iter().map(Guess::kind).collect()
    }
}

/// Without the byte order mark that some programs write in front of UTF-8.
pub(super) fn without_mark(row: &[u8]) -> &[u8] {
    row.strip_prefix(BYTE_ORDER_MARK).unwrap_or(row)
}

//! INFO and FORMAT that the header does not declare, as real files have them: told from the first records.

use std::collections::HashMap;

use super::header::Header;
use super::typed::{Kind, Shape};
use crate::FormatError;
use crate::columns::Opened;
use crate::detect::content_of;

/// Uncompressed bytes looked at behind the header.
const BYTES: usize = 64 << 10;
/// More such keys are damage.
const MOST_KEYS: usize = 1000;

/// Whether undeclared columns are wanted: where all are, or one that the header does not know.
pub(super) fn may_matter(header: &Header, columns: &[String]) -> bool {
    let undeclared = |column: &String| match (column.strip_prefix("info."), column.strip_prefix("format.")) {
        (Some(name), _) => !header.info.iter().any(|(known, _)| known == name),
        (_, Some(name)) => !header.format.iter().any(|(known, _)| known == name),
        _ => false,
    };
    columns.is_empty() || columns.iter().any(undeclared)
}

/// Adds what the first records of the object have, whichever slice is read, so that all slices agree: text, one value an entry, as
/// bcftools reads it; a flag where it never has a value.
pub(super) fn add(header: &mut Header, opened: &Opened) -> Result<(), FormatError> {
    let limit = opened.header.len().saturating_add(BYTES);
    let content = content_of(opened.object.as_ref(), opened.compression, limit)?;
    let behind = content.get(opened.header.len()..).unwrap_or_default();
    // The last line may be cut off; if it is the last of the object, its keys are looked at all the same.
    let all = opened.object.size() <= limit as u64 && behind.len() < BYTES;
    let whole = match memchr::memrchr(b'\n', behind) {
        Some(end) if !all => behind.get(..end).unwrap_or_default(),
        None if !all => return Ok(()),
        _ => behind,
    };
    let (mut info, mut format) = (Found::of(&header.info), Found::of(&header.format));
    for line in whole.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut fields = line.split(|byte| *byte == b'\t').skip(7);
        for entry in fields.next().unwrap_or_default().split(|byte| *byte == b';') {
            match memchr::memchr(b'=', entry) {
                Some(equals) => info.see(&entry[..equals], Kind::Text),
                None => info.see(entry, Kind::Flag),
            }
        }
        for key in fields.next().unwrap_or_default().split(|byte| *byte == b':') {
            format.see(key, Kind::Text);
        }
    }
    header.info.extend(info.new);
    header.format.extend(format.new);
    Ok(())
}

/// Keys that no header declares, in order of appearance.
struct Found {
    known: HashMap<Vec<u8>, Option<usize>>,
    new: Vec<(String, Shape)>,
}

impl Found {
    fn of(declared: &[(String, Shape)]) -> Self {
        Self { known: declared.iter().map(|(name, _)| (name.clone().into_bytes(), None)).collect(), new: Vec::new() }
    }

    fn see(&mut self, key: &[u8], kind: Kind) {
        match self.known.get(key) {
            Some(Some(place)) => {
                if let (Some((_, shape)), Kind::Text) = (self.new.get_mut(*place), kind) {
                    shape.kind = kind;
                }
            }
            None if self.new.len() < MOST_KEYS && !matches!(key, b"" | b".") => {
                let Ok(name) = std::str::from_utf8(key) else { return };
                self.known.insert(key.to_vec(), Some(self.new.len()));
                self.new.push((name.to_owned(), Shape { kind, list: false }));
            }
            _ => {}
        }
    }
}

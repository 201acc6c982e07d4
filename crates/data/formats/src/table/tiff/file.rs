//! The header, the directories (IFDs) and their values.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};

use super::tags::kind;
use crate::FormatError;

/// What messages call the format.
pub(super) const FORMAT: &str = "TIFF";
/// Directories and most values of a COG lie in so many first bytes.
const FIRST_READ: u64 = 32 * 1024;
/// Values elsewhere are fetched with what follows them, since directories and their values lie together.
const BLOCK: u64 = 8 * 1024;
/// So many blocks are kept.
const BLOCKS: usize = 24;
/// No directory has more entries.
const ENTRIES_LIMIT: u64 = 4096;
/// No more bytes of one value are held in memory.
const VALUE_LIMIT: u64 = 64 << 20;

/// Byte order and size of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Most significant byte first.
    pub(super) big_endian: bool,
    /// Offsets of 64 bits.
    pub(super) big_tiff: bool,
}

impl Layout {
    /// The number in 1 to 8 bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }

    /// The `size` low bytes of a number.
    pub(super) fn encode(self, number: u64, size: usize) -> Vec<u8> {
        let mut bytes = number.to_le_bytes()[..size.min(8)].to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

/// One field of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    /// Where its values lie, inside the entry or elsewhere.
    pub(super) at: u64,
    size: u64,
}

impl Entry {
    /// Where the values `[first, end)` lie.
    fn range(&self, first: u64, end: u64) -> ByteRange {
        ByteRange::new(self.at + first * self.size, self.at + end * self.size)
    }

    /// Where all values lie.
    pub(super) fn whole(&self) -> ByteRange {
        self.range(0, self.count)
    }
}

/// A directory.
#[derive(Clone, Debug)]
pub(super) struct Ifd {
    pub(super) at: u64,
    pub(super) entries: Vec<Entry>,
    /// Offset of the one that follows; 0 if none does.
    pub(super) next: u64,
}

impl Ifd {
    pub(super) fn get(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }
}

/// An opened file: its first bytes, and those of its values that were asked for.
pub(super) struct File {
    pub(super) object: Arc<dyn RangedRead>,
    pub(super) layout: Layout,
    /// Offset of the first directory.
    pub(super) first: u64,
    blocks: Mutex<Vec<(u64, Bytes)>>,
}

impl File {
    pub(super) fn open(object: Arc<dyn RangedRead>) -> Result<Self, FormatError> {
        let start = object.read(ByteRange::new(0, FIRST_READ.min(object.size())))?;
        let Some(layout) = layout_of(&start) else {
            let reason = "it does not begin as TIFF does".to_owned();
            return Err(FormatError::Damaged { name: object.name().to_owned(), format: FORMAT, offset: 0, reason });
        };
        let mut file = Self { object, layout, first: 0, blocks: Mutex::new(vec![(0, start)]) };
        file.first = if layout.big_tiff {
            let head = file.bytes(ByteRange::new(4, 16))?;
            if layout.number(&head[..2]) != 8 || layout.number(&head[2..4]) != 0 {
                return Err(file.damaged(4, "its offsets are not of 8 bytes"));
            }
            layout.number(&head[4..])
        } else {
            layout.number(&file.bytes(ByteRange::new(4, 8))?)
        };
        Ok(file)
    }

    pub(super) fn name(&self) -> &str {
        self.object.name()
    }

    pub(super) fn damaged(&self, offset: u64, reason: impl Into<String>) -> FormatError {
        FormatError::Damaged { name: self.name().to_owned(), format: FORMAT, offset, reason: reason.into() }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>, remedy: &str) -> FormatError {
        FormatError::Unsupported { name: self.name().to_owned(), format: FORMAT, what: what.into(), remedy: remedy.to_owned() }
    }

    /// Refuses ranges that go beyond the end.
    pub(super) fn inside(&self, range: ByteRange) -> Result<(), FormatError> {
        match range.end > self.object.size() {
            true => Err(FormatError::Truncated { name: self.name().to_owned(), what: FORMAT, offset: self.object.size() }),
            false => Ok(()),
        }
    }

    /// Bytes of the header, of directories and of their values.
    pub(super) fn bytes(&self, range: ByteRange) -> Result<Bytes, FormatError> {
        self.inside(range)?;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let held = |(at, bytes): &(u64, Bytes)| {
            let start = usize::try_from(range.start.checked_sub(*at)?).ok()?;
            let end = start.checked_add(usize::try_from(range.len()).ok()?)?;
            (end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        if let Some(bytes) = blocks.iter().rev().find_map(held) {
            return Ok(bytes);
        }
        if range.len() > BLOCK {
            return Ok(self.object.read(range)?);
        }
        let block = self.object.read(ByteRange::new(range.start, (range.start + BLOCK).min(self.object.size())))?;
        let wanted = block.slice(..range.len() as usize);
        if blocks.len() >= BLOCKS {
            // The first bytes stay.
            blocks.remove(1);
        }
        blocks.push((range.start, block));
        Ok(wanted)
    }

    /// The directory at an offset. Entries of types that are not known are left out, as the specification asks.
    pub(super) fn ifd(&self, at: u64) -> Result<Ifd, FormatError> {
        let (head, width, inline, word) = if self.layout.big_tiff { (8, 20, 12, 8) } else { (2, 12, 8, 4) };
        let range = |start: u64, length: u64| {
            let start = at.checked_add(start).filter(|start| start.checked_add(length).is_some());
            start.map(|start| ByteRange::new(start, start + length)).ok_or_else(|| self.damaged(at, "a directory lies too far"))
        };
        let number = |bytes: &[u8]| self.layout.number(bytes);
        let count = number(&self.bytes(range(0, head)?)?);
        if count == 0 || count > ENTRIES_LIMIT {
            return Err(self.damaged(at, format!("a directory of {count} entries")));
        }
        let table = self.bytes(range(head, count * width)?)?;
        let mut entries = Vec::with_capacity(count as usize);
        for (index, bytes) in table.chunks_exact(width as usize).enumerate() {
            let (tag, kind) = (number(&bytes[..2]) as u16, number(&bytes[2..4]) as u16);
            let count = number(&bytes[4..inline as usize]);
            let Some(size) = kind::size(kind) else { continue };
            let place = at + head + index as u64 * width;
            let length = count.checked_mul(size).ok_or_else(|| self.damaged(place, format!("tag {tag} has {count} values")))?;
            let at = if length <= word { place + inline } else { number(&bytes[inline as usize..]) };
            if at.checked_add(length).is_none_or(|end| end > self.object.size()) {
                return Err(self.damaged(place, format!("the values of tag {tag} lie beyond the end of the file")));
            }
            entries.push(Entry { tag, kind, count, at, size });
        }
        let next = self.bytes(range(head + count * width, word)?).map_or(0, |bytes| number(&bytes));
        Ok(Ifd { at, entries, next })
    }

    /// The bytes of all values of a tag, as they lie in the file.
    pub(super) fn raw(&self, entry: &Entry) -> Result<Bytes, FormatError> {
        if entry.whole().len() > VALUE_LIMIT {
            return Err(self.damaged(entry.at, format!("tag {} has {} values", entry.tag, entry.count)));
        }
        self.bytes(entry.whole())
    }

    /// The values `[first, end)` of a tag of unsigned numbers.
    pub(super) fn numbers(&self, entry: &Entry, first: u64, end: u64) -> Result<Vec<u64>, FormatError> {
        if !matches!(entry.kind, 1 | kind::SHORT | kind::LONG | kind::LONG8 | 13 | 18) {
            return Err(self.damaged(entry.at, format!("tag {} is no whole number", entry.tag)));
        }
        if end > entry.count || first > end {
            return Err(self.damaged(entry.at, format!("tag {} has {} values, {end} are needed", entry.tag, entry.count)));
        }
        let range = entry.range(first, end);
        if range.len() > VALUE_LIMIT {
            return Err(self.damaged(entry.at, format!("tag {} has {} values", entry.tag, entry.count)));
        }
        let bytes = self.bytes(range)?;
        Ok(bytes.chunks_exact(entry.size as usize).map(|bytes| self.layout.number(bytes)).collect())
    }

    /// The first value of a tag, if the directory has it.
    pub(super) fn number(&self, ifd: &Ifd, tag: u16) -> Result<Option<u64>, FormatError> {
        let Some(entry) = ifd.get(tag).filter(|entry| entry.count > 0) else { return Ok(None) };
        Ok(self.numbers(entry, 0, 1)?.first().copied())
    }

    /// All values of a tag of doubles; none if the directory does not have it.
    pub(super) fn doubles(&self, ifd: &Ifd, tag: u16) -> Result<Vec<f64>, FormatError> {
        let Some(entry) = ifd.get(tag) else { return Ok(Vec::new()) };
        if entry.kind != kind::DOUBLE {
            return Err(self.damaged(entry.at, format!("tag {tag} is no number of 64 bits")));
        }
        Ok(self.raw(entry)?.chunks_exact(8).map(|bytes| f64::from_bits(self.layout.number(bytes))).collect())
    }

    /// The text of a tag, without its final zero.
    pub(super) fn text(&self, ifd: &Ifd, tag: u16) -> Result<Option<String>, FormatError> {
        let Some(entry) = ifd.get(tag) else { return Ok(None) };
        let bytes = self.raw(entry)?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()))
    }
}

/// What the first bytes say; `None` where they are not those of TIFF.
pub(super) fn layout_of(start: &[u8]) -> Option<Layout> {
    let (big_endian, version) = match start.first_chunk::<4>()? {
        [b'I', b'I', version, 0] => (false, *version),
        [b'M', b'M', 0, version] => (true, *version),
        _ => return None,
    };
    matches!(version, 42 | 43).then_some(Layout { big_endian, big_tiff: version == 43 })
}

//! The table of containers: made in one pass over their headers, which skips what lies between, and kept as the index.
//!
//! Entries of 40 bytes, little-endian: offset and size of the container (u64), its records (u64), its reference, first position and
//! span as its header has them (i32), and its slices (u32); behind them the CRC-32 of them all.

use std::io::Write;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead, ReadError};

use super::container::{Container, END_OF_FILE, damaged};
use crate::{FormatError, Progress};

/// Bytes of an entry.
const ENTRY: usize = 40;
/// A file with more containers is not indexed: it would hold a few records in each.
const CONTAINERS_LIMIT: u64 = 4 << 20;
/// Read at once where containers are large, and where they are small.
const HEADER_READ: u64 = 512;
const RUN_READ: u64 = 64 << 10;
/// Larger ones are large.
const SMALL: u64 = 16 << 10;
/// Progress is told once in so many bytes.
const TELL_EVERY: u64 = 16 << 20;

/// A container of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its first byte.
    pub(super) offset: u64,
    /// Bytes of it.
    pub(super) size: u64,
    /// Records in it.
    pub(super) records: u64,
    /// Number of its reference; -1: none, -2: several.
    pub(super) reference: i32,
    /// Its first position, from 1, and positions covered.
    pub(super) start: i32,
    pub(super) span: i32,
}

/// What the pass found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) containers: u64,
    pub(super) slices: u64,
    pub(super) records: u64,
}

/// Bytes of an object from anywhere on, fetched a few at a time.
struct Window<'o> {
    object: &'o dyn RangedRead,
    at: u64,
    bytes: Bytes,
    /// Where `bytes` begin.
    start: u64,
    /// Bytes to fetch next time.
    fetch: u64,
}

impl Window<'_> {
    fn byte(&mut self) -> Result<Option<u8>, ReadError> {
        let held =
            |at: u64, start: u64, bytes: &Bytes| at.checked_sub(start).and_then(|place| bytes.get(place as usize)).copied();
        if held(self.at, self.start, &self.bytes).is_none() {
            let range = ByteRange::new(self.at, self.at.saturating_add(self.fetch).min(self.object.size()));
            if range.is_empty() {
                return Ok(None);
            }
            (self.start, self.bytes) = (self.at, self.object.read(range)?);
        }
        let byte = held(self.at, self.start, &self.bytes);
        self.at += u64::from(byte.is_some());
        Ok(byte)
    }
}

/// Walks from container to container and writes the table.
pub(super) fn build(
    object: &dyn RangedRead,
    first: u64,
    out: &mut dyn Write,
    progress: &dyn Fn(Progress),
) -> Result<Found, FormatError> {
    let (name, size) = (object.name(), object.size());
    let scratch = |source| FormatError::Scratch { name: name.to_owned(), source };
    let mut window = Window { object, at: first, bytes: Bytes::new(), start: first, fetch: HEADER_READ };
    let (mut found, mut checksum, mut at, mut told) = (Found::default(), crc32fast::Hasher::new(), first, 0);
    loop {
        if at == size {
            let what = "CRAM (its end-of-file container is missing)";
            return Err(FormatError::Truncated { name: name.to_owned(), what, offset: at });
        }
        window.at = at;
        let container = Container::read(&mut || window.byte()).map_err(|wrong| wrong.at(name, at, "CRAM container header"))?;
        if container.ends_file() {
            break;
        }
        let end = at + container.size();
        if end > size {
            return Err(FormatError::Truncated { name: name.to_owned(), what: "CRAM container", offset: size });
        }
        if container.records > 0 && (container.slices == 0 || container.blocks == 0) {
            return Err(damaged(name, at, "a container has records but no slice that holds them"));
        }
        found.containers += 1;
        if found.containers > CONTAINERS_LIMIT {
            return Err(damaged(name, at, "it has more than four million containers; write it again with `samtools view -C`"));
        }
        found.slices += container.slices;
        found.records += container.records;
        let entry = encode(at, &container);
        checksum.update(&entry);
        out.write_all(&entry).map_err(scratch)?;
        window.fetch = if container.size() < SMALL { RUN_READ } else { HEADER_READ };
        at = end;
        if at >= told + TELL_EVERY {
            told = at;
            progress(Progress { done: at, total: size });
        }
    }
    let behind = object.read(ByteRange::new(at, size.min(at + END_OF_FILE.len() as u64)))?;
    if behind != END_OF_FILE[..] {
        let wrong = if END_OF_FILE.starts_with(&behind) { "cut short" } else { "damaged" };
        return Err(damaged(name, at, format!("its end-of-file container is {wrong}")));
    }
    if at + (behind.len() as u64) < size {
        return Err(damaged(name, at, "its end-of-file container is not its last; join files with `samtools cat`"));
    }
    out.write_all(&checksum.finalize().to_le_bytes()).map_err(scratch)?;
    progress(Progress { done: size, total: size });
    Ok(found)
}

fn encode(offset: u64, container: &Container) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let numbers = [offset, container.size(), container.records].map(u64::to_le_bytes);
    let place = [container.reference, container.start, container.span].map(i32::to_le_bytes);
    let slices = (container.slices as u32).to_le_bytes();
    let bytes = numbers.iter().flatten().chain(place.iter().flatten()).chain(&slices);
    entry.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    entry
}

/// Reads the table and verifies that it is one of a file whose records begin at `first`.
pub(super) fn read(index: &dyn RangedRead, first: u64, size: u64) -> Result<Vec<Entry>, FormatError> {
    let wrong = |reason: &str| FormatError::SideCar { name: index.name().to_owned(), reason: reason.to_owned() };
    if index.size() > CONTAINERS_LIMIT * ENTRY as u64 + 4 {
        return Err(wrong("its table is too long"));
    }
    let bytes = index.read(ByteRange::new(0, index.size()))?;
    let (table, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| wrong("its table is cut short"))?;
    if table.len() % ENTRY != 0 || crc32fast::hash(table) != u32::from_le_bytes(*checksum) {
        return Err(wrong("the checksum of its table does not fit"));
    }
    let entries: Vec<Entry> = table.chunks_exact(ENTRY).filter_map(decode).collect();
    let mut at = first;
    for entry in &entries {
        // A header alone takes more than a byte.
        if entry.offset != at || entry.size == 0 || entry.records > u64::from(u32::MAX) {
            return Err(wrong("its containers do not follow each other"));
        }
        at = at.checked_add(entry.size).filter(|end| *end < size).ok_or_else(|| wrong("it names bytes behind its object"))?;
    }
    Ok(entries)
}

fn decode(entry: &[u8]) -> Option<Entry> {
    let number = |at: usize| entry.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let place = |at: usize| entry.get(at..)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let [reference, start, span] = [place(24)?, place(28)?, place(32)?];
    Some(Entry { offset: number(0)?, size: number(8)?, records: number(16)?, reference, start, span })
}

#[cfg(test)]
mod tests {
    use neardata_core::{MemoryObject, RangedRead};

    use super::super::container::END_OF_FILE;
    use super::{build, read};

    /// A container of one record with so many bytes in it, of which only the header is looked at.
    fn container(length: u32) -> Vec<u8> {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([0, 1, 1, 1, 0, 0, 1, 1, 0]);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(bytes.len() + length as usize, 0);
        bytes
    }

    #[test]
    fn little_of_an_object_is_fetched() {
        for (length, count, part) in [(500_000, 60, 900), (20_000, 500, 30)] {
            let bytes = [container(length).repeat(count), END_OF_FILE.to_vec()].concat();
            let object = MemoryObject::new("large.cram", bytes);
            let mut table = Vec::new();
            let found = build(&object, 0, &mut table, &|_| {}).unwrap();
            assert_eq!((found.containers, found.records), (count as u64, count as u64));
            assert!(object.bytes_fetched() < object.size() / part, "{} of {}", object.bytes_fetched(), object.size());
            let entries = read(&MemoryObject::new("table", table), 0, object.size()).unwrap();
            assert_eq!(entries.len(), count);
        }
    }
}

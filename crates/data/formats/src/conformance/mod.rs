//! The partition law, as a suite that every format passes.
//!
//! For any object and any partition: the records of the slices, in order, concatenate to the uncompressed object behind its header
//! (most formats have none), exactly; none is empty; each
//! holds the records it says, and begins and ends where a record does; each survives its JSON text and stays below 1 KB beside
//! its URIs. The oracle for the uncompressed bytes is another decoder than the one under test.
//!
//! ```
//! use neardata_formats::conformance::{Suite, encodings, fastq};
//! let suite = Suite::in_memory()?;
//! for object in encodings("reads.fastq", &fastq(50, 7)) {
//!     suite.check(&object)?;
//! }
//! # Ok::<(), String>(())
//! ```

mod objects;
pub mod tables;

pub use objects::{AwkwardObject, awkward_texts, bam, bgzf, encodings, fasta, fastq, gzip, headed, lines, vcf, zstd_frame};

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use neardata_core::{ObjectUri, Slice};
use neardata_store::{StoreOptions, Stores};

use crate::records::Position;
use crate::{Format, IndexOptions, Partition, Selection, SideCars, Slicer};

/// Partitions that find mistakes: one slice, few, more slices than records, a record or a byte each.
pub const PARTITIONS: &[Partition] = &[
    Partition::Count(1),
    Partition::Count(2),
    Partition::Count(7),
    Partition::Count(64),
    Partition::Count(u64::MAX),
    Partition::Bytes(1),
    Partition::Bytes(1000),
    Partition::Bytes(100_000),
    Partition::Bytes(u64::MAX),
    Partition::Records(1),
    Partition::Records(3),
    Partition::Records(1000),
    Partition::Records(u64::MAX),
];

/// Most slices of one partition that are read; beyond, the check of a large object would take all day.
const SLICES_READ: usize = 150;

/// A slicer over a store, and the checks.
pub struct Suite {
    stores: Stores,
    slicer: Slicer,
    root: ObjectUri,
}

impl Suite {
    /// Over memory, with an index dense enough that small objects have many checkpoints.
    pub fn in_memory() -> Result<Self, String> {
        let stores = Stores::new(StoreOptions::default()).map_err(text)?;
        // The memory store is one for the whole process: every suite gets a corner of its own.
        static SUITES: AtomicU64 = AtomicU64::new(0);
        let corner = format!("memory://conformance/{}", SUITES.fetch_add(1, Ordering::Relaxed));
        let root: ObjectUri = corner.parse().map_err(text)?;
        let side_cars = SideCars { root: root.join("side-cars") };
        let options = IndexOptions { span: 40_000, point_span: 7_000 };
        let slicer = Slicer::new(stores.clone(), side_cars).with_options(options);
        Ok(Self { stores, slicer, root: root.join("objects") })
    }

    /// Over any store and slicer; objects are put below `root`.
    pub fn new(stores: Stores, slicer: Slicer, root: ObjectUri) -> Self {
        Self { stores, slicer, root }
    }

    /// Checks the law for one object and [`PARTITIONS`].
    pub fn check(&self, object: &AwkwardObject) -> Result<(), String> {
        self.check_partitions(object, PARTITIONS)
    }

    /// Checks the law for one object and these partitions.
    pub fn check_partitions(&self, object: &AwkwardObject, partitions: &[Partition]) -> Result<(), String> {
        let uri = self.put(object)?;
        let summary = self.slicer.index(&uri, &|_| {}).map_err(|error| format!("{}: {error}", object.name))?;
        if summary.uncompressed != object.content.len() as u64 {
            return Err(format!("{}: {} bytes, index says {}", object.name, object.content.len(), summary.uncompressed));
        }
        for partition in partitions.iter().filter(|partition| feasible(**partition, summary.records, summary.uncompressed)) {
            let slices = self.slicer.slices(&uri, *partition).map_err(text)?;
            self.law(&slices, *partition, &[object], summary.records, summary.most_slices)?;
        }
        Ok(())
    }

    /// Checks the law for mates: on each side, and that both sides are cut at the same ordinals.
    pub fn check_pair(&self, first: &AwkwardObject, second: &AwkwardObject) -> Result<(), String> {
        let uris = [self.put(first)?, self.put(second)?];
        let summary = self.slicer.index(&uris[0], &|_| {}).map_err(text)?;
        let most_of_second = self.slicer.index(&uris[1], &|_| {}).map_err(text)?.most_slices;
        let most = [summary.most_slices, most_of_second].into_iter().flatten().min();
        for partition in PARTITIONS.iter().filter(|partition| feasible(**partition, summary.records, summary.uncompressed)) {
            let slices = self.slicer.paired_slices(&uris[0], &uris[1], *partition).map_err(text)?;
            self.law(&slices, *partition, &[first, second], summary.records, most)?;
        }
        Ok(())
    }

    fn put(&self, object: &AwkwardObject) -> Result<ObjectUri, String> {
        let uri = self.root.join(&object.name);
        self.stores.put(&uri, object.stored.clone()).map_err(text)?;
        Ok(uri)
    }

    fn law(
        &self,
        slices: &[Slice],
        partition: Partition,
        objects: &[&AwkwardObject],
        records: u64,
        most: Option<u64>,
    ) -> Result<(), String> {
        let most = most.unwrap_or(u64::MAX);
        for (number, object) in objects.iter().enumerate() {
            let said = format!("{} cut by {partition:?}", object.name);
            let mut joined = Vec::with_capacity(object.content.len());
            let mut next_record = 0;
            for (position, slice) in slices.iter().enumerate() {
                let part = self.read(slice, number).map_err(|error| format!("{said}, slice {position}: {error}"))?;
                let stretch = slice.selection_as::<Selection>().map_err(text)?.stretches.swap_remove(number);
                let held = count_records(&slice.format, &part)?;
                if part.is_empty() || stretch.records[0] != next_record || stretch.records[1] - stretch.records[0] != held {
                    return Err(format!("{said}, slice {position}: {held} records, {} bytes; it says {stretch:?}", part.len()));
                }
                next_record = stretch.records[1];
                joined.extend_from_slice(&part);
            }
            if next_record != records {
                return Err(format!("{said}: {next_record} records in slices, {records} in the object"));
            }
            // A header belongs to no slice.
            let content = &object.content[object.header..];
            if joined != content {
                let differ = joined.iter().zip(content).position(|(a, b)| a != b);
                return Err(format!("{said}: slices give {} bytes, first difference at {differ:?}", joined.len()));
            }
        }
        match partition {
            Partition::Count(count) if slices.len() as u64 != count.min(records).min(most) => {
                Err(format!("{}: {} slices for {partition:?}", objects[0].name, slices.len()))
            }
            Partition::Records(step) if most > 1 && slices.len() as u64 != records.div_ceil(step) => {
                Err(format!("{}: {} slices for {partition:?}", objects[0].name, slices.len()))
            }
            _ => Ok(()),
        }
    }

    /// Reads a slice from its JSON text, in one of the ways there are.
    fn read(&self, slice: &Slice, object: usize) -> Result<Vec<u8>, String> {
        let json = slice.to_json();
        let uris: usize = slice.objects.iter().map(|object| object.uri.to_string().len()).sum::<usize>()
            + slice.index.iter().map(|index| index.uri.to_string().len()).sum::<usize>();
        if json.len() - uris >= 1024 {
            return Err(format!("the slice's text has {} bytes beside its URIs", json.len() - uris));
        }
        let again = Slice::from_json(&json).map_err(text)?;
        if again != *slice {
            return Err("the slice does not survive its text".into());
        }
        let mut reader = self.slicer.read_records(&again, object).map_err(text)?;
        let mut bytes = Vec::new();
        if json.len().is_multiple_of(2) {
            reader.read_to_end(&mut bytes).map_err(text)?;
        } else {
            loop {
                match reader.chunk().map_err(text)? {
                    [] => break,
                    chunk => bytes.extend_from_slice(chunk),
                }
            }
        }
        Ok(bytes)
    }
}

/// Counts the records of a slice's bytes the slow way.
fn count_records(format: &str, bytes: &[u8]) -> Result<u64, String> {
    let format = Format::from_name(format).ok_or("a slice without a known format")?;
    let mut scanner = format.scanner(Position::Record);
    // One byte at a time: another way through the scanner than the one slicing takes.
    for byte in bytes {
        scanner.scan(std::slice::from_ref(byte), u64::MAX).map_err(|malformed| format!("{malformed:?}"))?;
    }
    scanner.finish().map_err(|malformed| format!("{malformed:?}"))?;
    Ok(scanner.started())
}

fn feasible(partition: Partition, records: u64, bytes: u64) -> bool {
    let slices = match partition {
        Partition::Count(count) => count.min(records),
        Partition::Bytes(size) => bytes.div_ceil(size).min(records),
        Partition::Records(step) => records.div_ceil(step),
        Partition::Tiles(_) => return false,
    };
    slices <= SLICES_READ as u64
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

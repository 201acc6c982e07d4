//! From container to container of a part: which of them it holds as they are, which it holds some records of.

use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};

use super::container::{Container, damaged};
use super::cut::Part;
use super::records::{Body, Decoded, Fault, Record, Slice, SliceHeader, resolve};
use super::region::RegionSelection;
use crate::FormatError;
use crate::input::Input;
use crate::region::RegionRecords;
use crate::table::contain::contain;

/// Fewer bytes are passed rather than skipped.
const PASSED: u64 = 256 << 10;
/// A container that is opened is held in memory; no program writes larger ones.
const OPENED_LIMIT: u64 = 512 << 20;

/// Which records are meant.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    Records(Part),
    Region(RegionSelection),
}

/// What of a container is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Nothing,
    Some,
    All,
}

impl Choice {
    /// Bytes of the object that hold the containers.
    fn runs(&self) -> Vec<[u64; 2]> {
        match self {
            Choice::Records(part) => vec![part.bytes],
            Choice::Region(region) => region.runs.clone(),
        }
    }

    /// What of a container, in front of which there are `passed` records of the part, is meant.
    fn of(&self, container: &Container, passed: u64) -> Take {
        match self {
            Choice::Records(part) => {
                let (first, end) = (part.cut[0], part.cut[0] + part.records[1] - part.records[0]);
                match passed + container.records {
                    // Containers without records stay where they are.
                    behind if first <= passed && behind <= end => Take::All,
                    behind if behind <= first || passed >= end => Take::Nothing,
                    _ => Take::Some,
                }
            }
            Choice::Region(selection) => selection.of(container),
        }
    }

    /// Whether a slice, whose first record has this number, may hold some that are meant.
    fn may_want(&self, slice: &SliceHeader, first: u64) -> bool {
        match self {
            Choice::Records(part) => {
                let end = part.cut[0] + part.records[1] - part.records[0];
                first < end && first + slice.records > part.cut[0]
            }
            Choice::Region(selection) => {
                let (from, to) = selection.bounds();
                let start = i64::from(slice.start) - 1;
                let overlaps = start < to && start + i64::from(slice.span) > from;
                let same = i64::from(slice.reference) == i64::from(selection.region.id);
                slice.reference == -2 || (same && (overlaps || slice.span == 0))
            }
        }
    }

    /// Whether a record is meant: `number` counts those of the part's containers.
    pub(super) fn wants(&self, record: &Record, number: u64) -> bool {
        match self {
            Choice::Records(part) => number >= part.cut[0] && number - part.cut[0] < part.records[1] - part.records[0],
            Choice::Region(selection) => selection.wants(record),
        }
    }

    pub(super) fn is_region(&self) -> bool {
        matches!(self, Choice::Region(_))
    }
}

impl RegionSelection {
    fn of(&self, container: &Container) -> Take {
        let (start, end) = (i64::from(container.start) - 1, i64::from(container.start) - 1 + i64::from(container.span));
        let (from, to) = self.bounds();
        match container.reference {
            _ if container.records == 0 => Take::Nothing,
            -2 => Take::Some,
            reference if i64::from(reference) != i64::from(self.region.id) => Take::Nothing,
            _ if start >= from && end <= to && container.span > 0 => Take::All,
            _ if (end > from && start < to) || container.span == 0 => Take::Some,
            _ => Take::Nothing,
        }
    }

    fn wants(&self, record: &Record) -> bool {
        let (from, to) = self.bounds();
        let start = i64::from(record.start) - 1;
        i64::from(record.reference) == i64::from(self.region.id)
            && start < to
            && match self.records {
                RegionRecords::Overlapping => record.end > from,
                // A place before the first base belongs to it.
                RegionRecords::Starting => start.max(0) >= from,
            }
    }

    fn bounds(&self) -> (i64, i64) {
        (i64::try_from(self.region.start).unwrap_or(i64::MAX), i64::try_from(self.region.end).unwrap_or(i64::MAX))
    }
}

/// The containers of a part, of which something is meant, in turn.
pub(super) struct Walk {
    pub(super) object: Arc<dyn RangedRead>,
    pub(super) choice: Choice,
    pub(super) input: Input<'static>,
    /// Where the run ends that is being read, and those behind it, last first.
    end: u64,
    runs: Vec<[u64; 2]>,
    /// Records of the containers in front.
    passed: u64,
}

/// A container of which something is meant; its blocks come next in the input.
pub(super) struct Found {
    /// Its first byte.
    pub(super) at: u64,
    pub(super) container: Container,
    pub(super) take: Take,
    /// Number of its first record among those of the part's containers.
    pub(super) first: u64,
}

impl Walk {
    pub(super) fn new(object: Arc<dyn RangedRead>, choice: Choice) -> Self {
        let mut runs = choice.runs();
        runs.reverse();
        let input = Input::owning(Arc::clone(&object), ByteRange::new(0, 0));
        Self { object, choice, input, end: 0, runs, passed: 0 }
    }

    /// The next container; the blocks of the one before have been read.
    pub(super) fn next(&mut self) -> Result<Option<Found>, FormatError> {
        loop {
            let at = self.input.offset();
            if at >= self.end {
                let Some([begin, end]) = self.runs.pop() else { return self.over().map(|()| None) };
                self.input = Input::owning(Arc::clone(&self.object), ByteRange::new(begin, end));
                self.end = end;
                continue;
            }
            let container = Container::read(&mut || self.input.byte());
            let container = container.map_err(|wrong| self.misled(wrong.at(self.object.name(), at, "CRAM container header")))?;
            let behind = self.input.offset() + container.length;
            if behind > self.end {
                return Err(self.misled(broken(self.object.name(), "its last container is longer")));
            }
            let first = self.passed;
            self.passed += container.records;
            match self.choice.of(&container, first) {
                Take::Nothing => self.skip(behind)?,
                take => return Ok(Some(Found { at, container, take, first })),
            }
        }
    }

    /// What an index of another object points to is no container.
    fn misled(&self, error: FormatError) -> FormatError {
        let reason = "no container lies where it says; was the object written after its index?".to_owned();
        match error {
            FormatError::Read(error) => error.into(),
            _ if self.choice.is_region() => FormatError::RegionIndex { name: self.object.name().to_owned(), reason },
            error => error,
        }
    }

    fn skip(&mut self, to: u64) -> Result<(), FormatError> {
        if to - self.input.offset() > PASSED {
            self.input = Input::owning(Arc::clone(&self.object), ByteRange::new(to, self.end));
        }
        while self.input.offset() < to {
            let left = to - self.input.offset();
            if self.input.take(usize::try_from(left).unwrap_or(usize::MAX))?.is_empty() {
                return Err(cut_short(self.object.name(), self.input.offset()));
            }
        }
        Ok(())
    }

    /// Verifies that the containers held as many records as the slice says.
    fn over(&self) -> Result<(), FormatError> {
        let Choice::Records(part) = &self.choice else { return Ok(()) };
        let expected = part.cut[0] + (part.records[1] - part.records[0]) + part.cut[1];
        if self.passed == expected {
            return Ok(());
        }
        Err(broken(self.object.name(), &format!("its containers hold {} records, not {expected}", self.passed)))
    }

    /// The blocks of a container that was found.
    fn blocks(&mut self, found: &Found) -> Result<Bytes, FormatError> {
        if found.container.length > OPENED_LIMIT {
            return Err(Fault::Unread("containers of more than 512 MiB that are cut open").at(self.object.name(), found.at));
        }
        let blocks = self.input.exact(found.container.length as usize)?;
        if (blocks.len() as u64) < found.container.length {
            return Err(cut_short(self.object.name(), self.input.offset()));
        }
        Ok(blocks)
    }

    /// Opens a container that was found and hands over each slice, decoded, with the numbers of its records that are meant.
    pub(super) fn open(
        &mut self,
        found: &Found,
        mut each: impl FnMut(&Body<'_>, &Slice<'_>, &Decoded, &[usize]) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let blocks = self.blocks(found)?;
        let name = self.object.name();
        let fault = |fault: Fault| fault.at(name, found.at);
        contain(name, "CRAM", found.at, || {
            let body = Body::parse(&blocks, found.container.records, found.container.blocks).map_err(fault)?;
            let mut first = found.first;
            for slice in &body.slices {
                if !self.choice.may_want(&slice.header, first) {
                    first += slice.header.records;
                    continue;
                }
                let mut decoded = body.decode(slice).map_err(fault)?;
                resolve(&mut decoded, &slice.header, file_name(name)).map_err(fault)?;
                let numbered = decoded.records.iter().zip(first..).enumerate();
                let kept: Vec<usize> =
                    numbered.filter(|(_, (record, number))| self.choice.wants(record, *number)).map(|(at, _)| at).collect();
                first += decoded.records.len() as u64;
                if !kept.is_empty() {
                    each(&body, slice, &decoded, &kept)?;
                }
            }
            Ok(())
        })
    }
}

/// The last part of an address: what htslib makes names of where none are stored.
fn file_name(address: &str) -> &str {
    let path = address.split_once('?').map_or(address, |(path, _)| path);
    path.rsplit('/').next().unwrap_or(path)
}

pub(super) fn broken(name: &str, reason: &str) -> FormatError {
    FormatError::Broken { name: name.to_owned(), reason: reason.to_owned() }
}

pub(super) fn cut_short(name: &str, offset: u64) -> FormatError {
    FormatError::Truncated { name: name.to_owned(), what: "CRAM block", offset }
}

/// An error of blocks that are not as many as their container says.
pub(super) fn miscounted(name: &str, offset: u64) -> FormatError {
    damaged(name, offset, "a container has not as many blocks as its header says")
}

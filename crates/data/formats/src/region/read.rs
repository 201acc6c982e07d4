//! Reading a region slice: the records of its runs that overlap it.

use std::collections::VecDeque;
use std::sync::Arc;

use neardata_core::{ByteRange, RangedRead, SliceError};

use super::extent::{self, Reference};
use super::plan::{RegionPart, RegionRecords, RegionSelection};
use super::walk;
use crate::gzip::{BgzfDecoder, BgzfStep};
use crate::input::Input;
use crate::selection::PREAMBLE_LIMIT;
use crate::{Format, FormatError};

/// Room for one block.
const BLOCK: usize = 64 * 1024;

/// Reads the uncompressed bytes of the records of one object that overlap a region, or start in it.
pub(crate) struct RegionReader {
    object: Arc<dyn RangedRead>,
    format: Format,
    region: RegionPart,
    records: RegionRecords,
    runs: VecDeque<[u64; 3]>,
    run: Option<Run>,
    block: Vec<u8>,
    /// Decoded bytes that are not yet whole records.
    held: Vec<u8>,
    /// Records found, and how much of them was handed out.
    found: Vec<u8>,
    passed: usize,
    seen: u64,
}

/// A run being decoded; blocks are counted from its first.
struct Run {
    decoder: BgzfDecoder<'static>,
    begin: u64,
    end: u64,
}

/// What a record means for the query.
enum Verdict {
    Wanted,
    Unwanted,
    /// It and all behind it lie behind the region.
    Behind,
}

impl RegionReader {
    pub(crate) fn new(object: Arc<dyn RangedRead>, format: Format, selection: RegionSelection) -> Result<Self, FormatError> {
        check(&selection, format, object.size())?;
        Ok(Self {
            object,
            format,
            region: selection.region,
            records: selection.records,
            runs: selection.runs.into(),
            run: None,
            block: vec![0; BLOCK],
            held: Vec::new(),
            found: Vec::new(),
            passed: 0,
            seen: 0,
        })
    }

    /// The bytes at hand, not yet passed; empty only at the end.
    pub(crate) fn fill(&mut self) -> Result<&[u8], FormatError> {
        while self.passed == self.found.len() {
            self.found.clear();
            self.passed = 0;
            if !self.next_block()? {
                break;
            }
            self.sift()?;
        }
        Ok(self.held())
    }

    /// The bytes at hand, not yet passed.
    pub(crate) fn held(&self) -> &[u8] {
        &self.found[self.passed..]
    }

    pub(crate) fn pass(&mut self, amount: usize) {
        self.passed = (self.passed + amount).min(self.found.len());
    }

    /// Decodes one more block of the runs into `held`; false when there is none.
    fn next_block(&mut self) -> Result<bool, FormatError> {
        loop {
            let Some(run) = &mut self.run else {
                let Some([begin, end, stop]) = self.runs.pop_front() else { return Ok(false) };
                let input = Input::owning(Arc::clone(&self.object), ByteRange::new(begin >> 16, stop));
                self.run = Some(Run { decoder: BgzfDecoder::new(self.object.name(), input), begin, end });
                continue;
            };
            if run.decoder.offset() << 16 < run.end {
                let at = run.decoder.offset();
                let BgzfStep::Block { offset, produced } = run.decoder.step(&mut self.block)? else {
                    return Err(self.misled(&format!("it names byte {at}, where no BGZF block begins")));
                };
                let first = if offset == run.begin >> 16 { (run.begin & 0xffff) as usize } else { 0 };
                let last = if offset == run.end >> 16 { (run.end & 0xffff) as usize } else { produced };
                let Some(part) = self.block[..produced].get(first..last) else {
                    return Err(self.misled(&format!("it names a place behind the end of the block at byte {offset}")));
                };
                self.held.extend_from_slice(part);
                return Ok(true);
            }
            self.run = None;
            // The last line of VCF needs no line feed.
            if self.format == Format::Vcf && self.runs.is_empty() && !self.held.is_empty() {
                self.held.push(b'\n');
                return Ok(true);
            }
            if !self.held.is_empty() {
                return Err(self.misled("it names a place inside a record"));
            }
        }
    }

    /// The index that gave the runs is not of this object.
    fn misled(&self, how: &str) -> FormatError {
        let reason = format!("{how}; was the object written after its index?");
        FormatError::RegionIndex { name: self.object.name().to_owned(), reason }
    }

    /// Moves the whole records of `held` that overlap the region to `found`.
    fn sift(&mut self) -> Result<(), FormatError> {
        let mut at = 0;
        loop {
            let seen = self.seen + 1;
            let wrong = |reason: &str| walk::malformed(self.object.as_ref(), self.format, seen, reason);
            let Some(length) = extent::length(self.format, &self.held[at..]).map_err(wrong)? else { break };
            self.seen = seen;
            let record = &self.held[at..at + length];
            at += length;
            match verdict(self.format, record, &self.region, self.records).map_err(wrong)? {
                Verdict::Wanted => self.found.extend_from_slice(record),
                Verdict::Unwanted => {}
                Verdict::Behind => {
                    self.runs.clear();
                    self.run = None;
                    self.held.clear();
                    return Ok(());
                }
            }
        }
        self.held.drain(..at);
        Ok(())
    }
}

fn verdict(format: Format, record: &[u8], region: &RegionPart, records: RegionRecords) -> Result<Verdict, &'static str> {
    let extent = extent::extent(format, record)?;
    let same = match extent.reference {
        Reference::Number(id) => u32::try_from(id).is_ok_and(|id| id == region.id),
        Reference::Name(name) => name == region.name.as_bytes(),
    };
    let (start, end) = (i64::try_from(region.start).unwrap_or(i64::MAX), i64::try_from(region.end).unwrap_or(i64::MAX));
    Ok(match same {
        true if extent.start >= end => Verdict::Behind,
        // A place before the first base, which POS 0 stands for, belongs to it.
        true if records == RegionRecords::Starting && extent.start.max(0) >= start => Verdict::Wanted,
        true if records == RegionRecords::Starting => Verdict::Unwanted,
        true if extent.end > start => Verdict::Wanted,
        _ => Verdict::Unwanted,
    })
}

/// Refuses what no index gives: a slice may come from anywhere.
fn check(selection: &RegionSelection, format: Format, size: u64) -> Result<(), SliceError> {
    let runs = &selection.runs;
    let inside =
        runs.iter().all(|[begin, end, stop]| begin <= end && end >> 16 <= *stop && *stop <= size && begin >> 16 <= *stop);
    let reason = if !matches!(format, Format::Bam | Format::Bcf | Format::Vcf) {
        "its format has no regions"
    } else if selection.preamble.bit != 0 || selection.preamble.stop > size || selection.preamble.length > PREAMBLE_LIMIT {
        "its header lies outside its object or is too long"
    } else if !inside || !runs.is_sorted() {
        "its runs are out of order or lie outside its object"
    } else {
        return Ok(());
    };
    Err(SliceError::Selection { format: format.name().to_owned(), reason: reason.to_owned() })
}

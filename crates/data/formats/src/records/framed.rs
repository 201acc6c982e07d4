//! Binary records that say how long they are: BAM and BCF (hts-specs SAMv1 §4.2 and VCFv4.3 §6), as they are inside their BGZF.

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State};

const BAM_MAGIC: &[u8] = b"BAM\x01";
const BCF_MAGIC: &[u8] = b"BCF\x02";

pub(super) fn sniff_bam(prefix: &[u8]) -> bool {
    prefix.starts_with(BAM_MAGIC)
}

pub(super) fn sniff_bcf(prefix: &[u8]) -> bool {
    prefix.starts_with(BCF_MAGIC)
}

/// The number that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    /// BAM: magic and length of the header text.
    BamText,
    /// BAM: number of references.
    References,
    /// BAM: length of a reference's name; so many are left.
    Reference(u32),
    /// BCF: magic, minor version and length of the header text.
    BcfText,
    /// The length of a record, or its two lengths.
    Record,
}

/// Follows the frames of BAM or BCF.
pub(super) struct Framed {
    format: &'static str,
    now: FramedState,
}

/// What went by of such an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FramedState {
    next: Next,
    /// Bytes to pass before `next`.
    skip: u64,
    number: [u8; 9],
    have: usize,
    preamble: u64,
    started: u64,
}

impl Framed {
    pub(super) fn bam(position: Position) -> Self {
        Self::new("BAM", if position == Position::Start { Next::BamText } else { Next::Record })
    }

    pub(super) fn bcf(position: Position) -> Self {
        Self::new("BCF", if position == Position::Start { Next::BcfText } else { Next::Record })
    }

    fn new(format: &'static str, next: Next) -> Self {
        Self { format, now: FramedState { next, skip: 0, number: [0; 9], have: 0, preamble: 0, started: 0 } }
    }

    /// Bytes of the number that comes next.
    fn width(&self) -> usize {
        match self.now.next {
            Next::BamText => 8,
            Next::References | Next::Reference(_) => 4,
            Next::BcfText => 9,
            Next::Record if self.format == "BAM" => 4,
            Next::Record => 8,
        }
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = &self.now.number[at..at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// `next` is complete: what follows it?
    fn understand(&mut self) -> Result<(), Malformed> {
        let behind = |left: u32| if left == 0 { Next::Record } else { Next::Reference(left) };
        (self.now.next, self.now.skip) = match self.now.next {
            Next::BamText if self.now.number.starts_with(BAM_MAGIC) => (Next::References, self.u32_at(4).into()),
            Next::BcfText if self.now.number.starts_with(BCF_MAGIC) => (Next::Record, self.u32_at(5).into()),
            Next::BamText | Next::BcfText => return Err(self.malformed("it does not begin with the format's magic bytes")),
            Next::References => (behind(self.u32_at(0)), 0),
            // The name, and the reference's length.
            Next::Reference(left) => (behind(left - 1), u64::from(self.u32_at(0)) + 4),
            Next::Record => (Next::Record, self.record_length()?),
        };
        self.now.have = 0;
        Ok(())
    }

    fn record_length(&self) -> Result<u64, Malformed> {
        // What every record has: 32 fixed bytes in BAM, 24 in the shared part of BCF.
        let (least, length) = match self.format {
            "BAM" => (32, u64::from(self.u32_at(0))),
            _ => (24, u64::from(self.u32_at(0)) + u64::from(self.u32_at(4))),
        };
        if self.u32_at(0) < least || self.u32_at(0) > i32::MAX as u32 {
            return Err(self.malformed("it has an impossible length; the file is damaged"));
        }
        Ok(length)
    }

    fn between_records(&self) -> bool {
        self.now.next == Next::Record && self.now.skip == 0 && self.now.have == 0
    }

    fn malformed(&self, reason: &str) -> Malformed {
        Malformed::Record { format: self.format, record: self.now.started, reason: reason.to_owned() }
    }
}

impl RecordScanner for Framed {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let begins = self.between_records();
            if begins {
                if self.now.started == until {
                    return Ok(at);
                }
                self.now.started += 1;
            }
            let left = bytes.len() - at;
            let step = match self.now.skip {
                0 => (self.width() - self.now.have).min(left),
                skip => (skip.min(left as u64)) as usize,
            };
            if self.now.skip > 0 {
                self.now.skip -= step as u64;
            } else {
                self.now.number[self.now.have..self.now.have + step].copy_from_slice(&bytes[at..at + step]);
                self.now.have += step;
            }
            at += step;
            if self.now.started == 0 {
                self.now.preamble += step as u64;
            }
            if self.now.skip == 0 && self.now.have == self.width() {
                self.understand()?;
            }
        }
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.now.started
    }

    fn preamble(&self) -> u64 {
        self.now.preamble
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if self.now.next != Next::Record || self.now.skip > 0 || self.now.have > 0 {
            let part = if self.now.started == 0 { "its header ends before it should" } else { "it ends before it should" };
            return Err(self.malformed(&format!("{part}; the file was cut short: copy it again from its source")));
        }
        Ok(())
    }

    fn position(&self) -> Option<Position> {
        self.between_records().then_some(Position::Record)
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Framed(self.now.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Framed(later) = later else { return false };
        let (preamble, started) =
            (self.now.preamble.saturating_add(later.preamble), self.now.started.saturating_add(later.started));
        let joined = Self { format: self.format, now: FramedState { preamble, started, ..later } };
        // It may come from elsewhere.
        let sound = joined.now.have < joined.width();
        if sound {
            *self = joined;
        }
        sound
    }
}

/// Records that must follow each other before bytes from the middle of an object are taken for records.
const IN_A_ROW: usize = 4;
/// No record that is looked for in the middle of an object is longer.
const LONGEST: u64 = 256 << 10;

/// Where records of BAM seem to begin in bytes from the middle of one.
pub(super) fn bam_record_in(bytes: &[u8]) -> Option<usize> {
    record_in(bytes, bam_record)
}

/// Where records of BCF seem to begin in bytes from the middle of one.
pub(super) fn bcf_record_in(bytes: &[u8]) -> Option<usize> {
    record_in(bytes, bcf_record)
}

fn record_in(bytes: &[u8], length: fn(&[u8]) -> Option<u64>) -> Option<usize> {
    let next = |at: usize| length(bytes.get(at..)?).filter(|length| *length <= LONGEST).map(|length| at + length as usize);
    (0..bytes.len()).find(|begin| (0..IN_A_ROW).try_fold(*begin, |at, _| next(at)).is_some())
}

/// The length of what may be a record of BAM (hts-specs SAMv1 §4.2), of which so much is looked at: fixed fields and the end of its name.
fn bam_record(bytes: &[u8]) -> Option<u64> {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let (size, reference, position, bases) = (number(0)?, number(4)?, number(8)?, number(20)?);
    let (name, operations) = (*bytes.get(12)?, u16::from_le_bytes([*bytes.get(16)?, *bytes.get(17)?]));
    let (mate_reference, mate_position) = (number(24)?, number(28)?);
    if name == 0 || bases < 0 || [reference, position, mate_reference, mate_position].iter().any(|number| *number < -1) {
        return None;
    }
    let bases = u64::from(bases.unsigned_abs());
    let least = 32 + u64::from(name) + 4 * u64::from(operations) + bases.div_ceil(2) + bases;
    let ends = *bytes.get(35 + usize::from(name))? == 0;
    let size = u64::try_from(size).ok()?;
    (ends && size >= least).then_some(4 + size)
}

/// The length of what may be a record of BCF (hts-specs VCFv4.3 §6.3): its fixed fields are looked at.
fn bcf_record(bytes: &[u8]) -> Option<u64> {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let (shared, individual) = (u64::try_from(number(0)?).ok()?, u64::try_from(number(4)?).ok()?);
    let (reference, position, length, alleles) = (number(8)?, number(12)?, number(16)?, number(24)? >> 16);
    // Each allele takes a byte at least, and so do the identifier and the filters.
    let plausible = shared >= 26 + u64::try_from(alleles).ok()? && reference >= 0 && position >= -1 && length >= 0 && alleles > 0;
    plausible.then_some(8 + shared + individual)
}

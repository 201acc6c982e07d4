//! Binary records that say how long they are: BAM and BCF (hts-specs SAMv1 §4.2 and VCFv4.3 §6), as they are inside their BGZF.

use super::{Malformed, Position, RecordScanner};

const BAM_MAGIC: &[u8] = b"BAM\x01";
const BCF_MAGIC: &[u8] = b"BCF\x02";

pub(super) fn sniff_bam(prefix: &[u8]) -> bool {
    prefix.starts_with(BAM_MAGIC)
}

pub(super) fn sniff_bcf(prefix: &[u8]) -> bool {
    prefix.starts_with(BCF_MAGIC)
}

/// The number that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Self { format, next, skip: 0, number: [0; 9], have: 0, preamble: 0, started: 0 }
    }

    /// Bytes of the number that comes next.
    fn width(&self) -> usize {
        match self.next {
            Next::BamText => 8,
            Next::References | Next::Reference(_) => 4,
            Next::BcfText => 9,
            Next::Record if self.format == "BAM" => 4,
            Next::Record => 8,
        }
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = &self.number[at..at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// `next` is complete: what follows it?
    fn understand(&mut self) -> Result<(), Malformed> {
        let behind = |left: u32| if left == 0 { Next::Record } else { Next::Reference(left) };
        (self.next, self.skip) = match self.next {
            Next::BamText if self.number.starts_with(BAM_MAGIC) => (Next::References, self.u32_at(4).into()),
            Next::BcfText if self.number.starts_with(BCF_MAGIC) => (Next::Record, self.u32_at(5).into()),
            Next::BamText | Next::BcfText => return Err(self.malformed("it does not begin with the format's magic bytes")),
            Next::References => (behind(self.u32_at(0)), 0),
            // The name, and the reference's length.
            Next::Reference(left) => (behind(left - 1), u64::from(self.u32_at(0)) + 4),
            Next::Record => (Next::Record, self.record_length()?),
        };
        self.have = 0;
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

    fn malformed(&self, reason: &str) -> Malformed {
        Malformed::Record { format: self.format, record: self.started, reason: reason.to_owned() }
    }
}

impl RecordScanner for Framed {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let begins = self.next == Next::Record && self.skip == 0 && self.have == 0;
            if begins {
                if self.started == until {
                    return Ok(at);
                }
                self.started += 1;
            }
            let left = bytes.len() - at;
            let step = match self.skip {
                0 => (self.width() - self.have).min(left),
                skip => (skip.min(left as u64)) as usize,
            };
            if self.skip > 0 {
                self.skip -= step as u64;
            } else {
                self.number[self.have..self.have + step].copy_from_slice(&bytes[at..at + step]);
                self.have += step;
            }
            at += step;
            if self.started == 0 {
                self.preamble += step as u64;
            }
            if self.skip == 0 && self.have == self.width() {
                self.understand()?;
            }
        }
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.started
    }

    fn preamble(&self) -> u64 {
        self.preamble
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if self.next != Next::Record || self.skip > 0 || self.have > 0 {
            let part = if self.started == 0 { "its header ends before it should" } else { "it ends before it should" };
            return Err(self.malformed(&format!("{part}; the file was cut short: copy it again from its source")));
        }
        Ok(())
    }
}

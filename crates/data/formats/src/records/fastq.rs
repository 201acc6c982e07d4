//! FASTQ: four lines a record (`@name`, bases, `+`, qualities); CRLF and a missing last line end are accepted, and so are empty
//! lines after the last record. Records wrapped over several lines are not.

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State, show};

/// Whether the bytes look like FASTQ: an `@` line, another, and a `+` line.
pub(super) fn sniff(prefix: &[u8]) -> bool {
    let mut lines = prefix.split(|byte| *byte == b'\n');
    prefix.first() == Some(&b'@') && lines.nth(2).is_some_and(|line| line.first() == Some(&b'+'))
}

/// Where a record seems to begin in bytes from the middle of an object: a line that begins with `@`, two lines before one that begins
/// with `+`. The line of bases, which comes two lines behind one of qualities, never does.
pub(super) fn record_in(bytes: &[u8]) -> Option<usize> {
    let mut begins = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    let [mut name, mut bases, mut plus] = [begins.next()?, begins.next()?, begins.next()?];
    loop {
        if bytes.get(name) == Some(&b'@') && bytes.get(plus) == Some(&b'+') {
            return Some(name);
        }
        (name, bases, plus) = (bases, plus, begins.next()?);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Line {
    #[default]
    Name,
    Bases,
    Plus,
    Qualities,
    /// Empty lines after the last record.
    Rest,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FastqScanner {
    /// The line the next byte belongs to.
    line: Line,
    /// Bytes of that line seen so far, and whether the last was a carriage return.
    seen: u64,
    ends_in_return: bool,
    bases: u64,
    started: u64,
    lines: u64,
}

impl RecordScanner for FastqScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.line == Line::Name && self.seen == 0 {
                at += self.whole_records(&bytes[at..], until);
                if at == bytes.len() || (self.started == until && !matches!(bytes[at], b'\r' | b'\n')) {
                    return Ok(at);
                }
            }
            at += self.piece_of_line(&bytes[at..])?;
        }
        Ok(at)
    }

    fn started(&self) -> u64 {
        self.started
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        match self.line {
            Line::Name if self.seen == 0 => Ok(()),
            Line::Rest => Ok(()),
            Line::Qualities => self.end_line(),
            _ => Err(self.malformed("the object ends inside a record; it was cut short: copy it again from its source".into())),
        }
    }

    fn position(&self) -> Option<Position> {
        (self.line == Line::Name && self.seen == 0).then_some(Position::Record)
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Fastq(self.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Fastq(later) = later else { return false };
        let (started, lines) = (self.started.saturating_add(later.started), self.lines.saturating_add(later.lines));
        *self = Self { started, lines, ..later };
        true
    }
}

impl FastqScanner {
    /// The hot path: passes over records that lie in `bytes` whole and are regular; leaves anything else to `piece_of_line`.
    fn whole_records(&mut self, bytes: &[u8], until: u64) -> usize {
        let mut at = 0;
        while self.started != until && bytes.get(at) == Some(&b'@') {
            let Some(name) = memchr::memchr(b'\n', &bytes[at..]) else { break };
            let bases_at = at + name + 1;
            let Some(bases) = memchr::memchr(b'\n', &bytes[bases_at..]) else { break };
            let plus_at = bases_at + bases + 1;
            if bytes.get(plus_at) != Some(&b'+') {
                break;
            }
            let qualities_at = match bytes.get(plus_at + 1) {
                Some(b'\n') => plus_at + 2,
                _ => match memchr::memchr(b'\n', &bytes[plus_at..]) {
                    Some(plus) => plus_at + plus + 1,
                    None => break,
                },
            };
            if memchr::memchr(b'\n', &bytes[qualities_at..]) != Some(bases) {
                break;
            }
            // Equal raw lengths with one line ending in a return and the other not: leave it to the slow path to refuse.
            let end = qualities_at + bases + 1;
            if bases > 0 && (bytes[plus_at - 2] == b'\r') != (bytes[end - 2] == b'\r') {
                break;
            }
            at = end;
            self.started += 1;
            self.lines += 4;
        }
        at
    }

    /// Passes over the rest of one line, or all of `bytes`.
    fn piece_of_line(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        if self.seen == 0 {
            self.begin_line(bytes[0])?;
        }
        let Some(length) = memchr::memchr(b'\n', bytes) else {
            self.seen += bytes.len() as u64;
            self.ends_in_return = bytes.last() == Some(&b'\r');
            if self.line == Line::Rest && bytes.iter().any(|byte| *byte != b'\r') {
                return Err(self.malformed("a record follows an empty line; remove the empty line".into()));
            }
            return Ok(bytes.len());
        };
        if length > 0 {
            self.seen += length as u64;
            self.ends_in_return = bytes[length - 1] == b'\r';
        }
        self.end_line()?;
        Ok(length + 1)
    }

    fn begin_line(&mut self, first: u8) -> Result<(), Malformed> {
        match self.line {
            Line::Name if first == b'@' => self.started += 1,
            Line::Name if matches!(first, b'\r' | b'\n') && self.started > 0 => self.line = Line::Rest,
            Line::Name => {
                let reason = format!(
                    "a record must begin with `@`, here it begins with {}; records of more than four lines must be unwrapped (`seqtk seq`)",
                    show(first)
                );
                return Err(self.malformed(reason));
            }
            Line::Plus if first != b'+' => {
                let reason = format!(
                    "the third line of a record must begin with `+`, here it begins with {}; records of more than four lines must be unwrapped (`seqtk seq`)",
                    show(first)
                );
                return Err(self.malformed(reason));
            }
            Line::Rest if !matches!(first, b'\r' | b'\n') => {
                return Err(self.malformed("a record follows an empty line; remove the empty line".into()));
            }
            _ => {}
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Malformed> {
        let length = self.seen.saturating_sub(u64::from(self.ends_in_return));
        self.line = match self.line {
            Line::Name => Line::Bases,
            Line::Bases => {
                self.bases = length;
                Line::Plus
            }
            Line::Plus => Line::Qualities,
            Line::Qualities if length == self.bases => Line::Name,
            Line::Qualities => {
                let reason = format!("{} bases but {length} qualities; repair or remove the record", self.bases);
                return Err(self.malformed(reason));
            }
            Line::Rest if length > 0 => {
                return Err(self.malformed("a record follows an empty line; remove the empty line".into()));
            }
            Line::Rest => Line::Rest,
        };
        self.lines += 1;
        self.seen = 0;
        self.ends_in_return = false;
        Ok(())
    }

    fn malformed(&self, reason: String) -> Malformed {
        Malformed::Line { format: "FASTQ", line: self.lines + 1, reason }
    }
}

//! FASTA: a record begins with a `>` line; names (up to the first blank) must differ.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use super::{Malformed, RecordScanner, show};

/// Names remembered for the duplicate check; beyond, memory would no longer be bounded.
const NAMES_LIMIT: usize = 4 << 20;
/// Longer names are refused.
const NAME_LIMIT: usize = 64 * 1024;

/// Whether the bytes look like FASTA: `>` and no blank after it.
pub(super) fn sniff(prefix: &[u8]) -> bool {
    let content = prefix.trim_ascii_start();
    content.first() == Some(&b'>') && content.get(1).is_some_and(|byte| !byte.is_ascii_whitespace())
}

#[derive(Default)]
pub(super) struct FastaScanner {
    started: u64,
    lines: u64,
    /// The next byte is not the first of its line.
    inside_line: bool,
    /// The name being read, while it is.
    name: Option<Vec<u8>>,
    /// 128-bit digest of each name, with its record number from 1.
    names: HashMap<u128, u64>,
}

impl RecordScanner for FastaScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        if self.started == 0 {
            match self.leading_blanks(bytes)? {
                Some(blanks) => at = blanks,
                None => return Ok(bytes.len()),
            }
        }
        at += self.rest_of_name(&bytes[at..])?;
        while at < bytes.len() {
            let Some(start) = self.next_start(bytes, at) else { break };
            self.pass(&bytes[at..start]);
            if self.started == until {
                return Ok(start);
            }
            self.started += 1;
            self.name = Some(Vec::new());
            self.inside_line = true;
            at = start + 1;
            at += self.rest_of_name(&bytes[at..])?;
        }
        self.pass(&bytes[at..]);
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.started
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if let Some(name) = self.name.take() {
            self.add_name(name)?;
        }
        if self.started == 0 && (self.lines > 0 || self.inside_line) {
            return Err(self.malformed("no record begins with `>`".into()));
        }
        Ok(())
    }
}

impl FastaScanner {
    /// Passes over blank bytes before the first record; `None` when there is nothing else.
    fn leading_blanks(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(at) = bytes.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            self.pass(bytes);
            return Ok(None);
        };
        self.pass(&bytes[..at]);
        if bytes[at] != b'>' || self.inside_line {
            let reason = format!("the first record must begin with `>`, here stands {}", show(bytes[at]));
            return Err(self.malformed(reason));
        }
        Ok(Some(at))
    }

    /// Where the next record begins, at `from` or after.
    fn next_start(&self, bytes: &[u8], from: usize) -> Option<usize> {
        memchr::memchr_iter(b'>', &bytes[from..])
            .map(|offset| from + offset)
            .find(|at| if *at == from { !self.inside_line } else { bytes[*at - 1] == b'\n' })
    }

    /// Notes that these bytes went by.
    fn pass(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.lines += super::count_lines(bytes);
            self.inside_line = *last != b'\n';
        }
    }

    /// Takes what `bytes` hold of a name that is being read.
    fn rest_of_name(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let Some(mut name) = self.name.take() else { return Ok(0) };
        let length = bytes.iter().position(u8::is_ascii_whitespace);
        let piece = &bytes[..length.unwrap_or(bytes.len())];
        if name.len() + piece.len() > NAME_LIMIT {
            return Err(self.malformed("a sequence name is longer than 64 KiB; is this FASTA?".into()));
        }
        name.extend_from_slice(piece);
        match length {
            Some(_) => self.add_name(name)?,
            None => self.name = Some(name),
        }
        Ok(piece.len())
    }

    fn add_name(&mut self, name: Vec<u8>) -> Result<(), Malformed> {
        if name.is_empty() || self.names.len() >= NAMES_LIMIT {
            return Ok(());
        }
        match self.names.insert(digest(&name), self.started) {
            None => Ok(()),
            Some(first) => {
                let sequence = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
                Err(Malformed::Duplicate { sequence, first, second: self.started })
            }
        }
    }

    fn malformed(&self, reason: String) -> Malformed {
        Malformed::Line { format: "FASTA", line: self.lines + 1, reason }
    }
}

fn digest(name: &[u8]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(name);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

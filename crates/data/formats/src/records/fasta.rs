//! FASTA: a record begins with a `>` line; names (up to the first blank) must differ.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State, show};

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
    passed: FastaState,
    /// A record began before the first byte.
    begun: bool,
    names: Names,
}

/// What went by of FASTA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FastaState {
    started: u64,
    lines: u64,
    /// The next byte is not the first of its line.
    inside_line: bool,
    /// The name being read, while it is.
    name: Option<Vec<u8>>,
    /// Digests of the names of a part, in order; they travel as a table of their own.
    #[serde(skip)]
    pub(crate) names: Vec<u128>,
}

/// The names read so far, as 128-bit digests.
enum Names {
    /// With their record numbers, from 1: none may come again.
    Different(HashMap<u128, u64>),
    /// Of a part, one a record in order, 0 for an empty one: they are compared when parts are joined.
    Gathered(Vec<u128>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Different(HashMap::new())
    }
}

impl RecordScanner for FastaScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        if self.passed.started == 0 && !self.begun {
            match self.leading_blanks(bytes)? {
                Some(blanks) => at = blanks,
                None => return Ok(bytes.len()),
            }
        }
        at += self.rest_of_name(&bytes[at..])?;
        while at < bytes.len() {
            let Some(start) = self.next_start(bytes, at) else { break };
            self.pass(&bytes[at..start]);
            if self.passed.started == until {
                return Ok(start);
            }
            self.passed.started += 1;
            self.passed.name = Some(Vec::new());
            self.passed.inside_line = true;
            at = start + 1;
            at += self.rest_of_name(&bytes[at..])?;
        }
        self.pass(&bytes[at..]);
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.passed.started
    }

    fn position(&self) -> Option<Position> {
        let passed = &self.passed;
        (!passed.inside_line && passed.name.is_none() && passed.started > 0).then_some(Position::Line)
    }

    fn within_line(&mut self, _length: u64) -> bool {
        // Not blank bytes before the first record, nor a name.
        self.passed.started > 0 && self.passed.inside_line && self.passed.name.is_none()
    }

    fn gather(&mut self) {
        self.names = Names::Gathered(Vec::new());
    }

    fn state(&mut self) -> Option<State> {
        let names = match &mut self.names {
            Names::Gathered(names) => std::mem::take(names),
            Names::Different(_) => return None,
        };
        Some(State::Fasta(FastaState { names, ..self.passed.clone() }))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Fasta(later) = later else { return false };
        if !self.add_names(&later.names) {
            return false;
        }
        let (started, lines) = (self.passed.started.saturating_add(later.started), self.passed.lines.saturating_add(later.lines));
        self.passed = FastaState { started, lines, names: Vec::new(), ..later };
        true
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if let Some(name) = self.passed.name.take() {
            self.add_name(name)?;
        }
        if self.passed.started == 0 && !self.begun && (self.passed.lines > 0 || self.passed.inside_line) {
            return Err(self.malformed("no record begins with `>`".into()));
        }
        Ok(())
    }
}

impl FastaScanner {
    pub(super) fn at(position: Position) -> Self {
        Self { begun: position == Position::Line, ..Self::default() }
    }

    /// Passes over blank bytes before the first record; `None` when there is nothing else.
    fn leading_blanks(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(at) = bytes.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            self.pass(bytes);
            return Ok(None);
        };
        self.pass(&bytes[..at]);
        if bytes[at] != b'>' || self.passed.inside_line {
            let reason = format!("the first record must begin with `>`, here stands {}", show(bytes[at]));
            return Err(self.malformed(reason));
        }
        Ok(Some(at))
    }

    /// Where the next record begins, at `from` or after.
    fn next_start(&self, bytes: &[u8], from: usize) -> Option<usize> {
        memchr::memchr_iter(b'>', &bytes[from..])
            .map(|offset| from + offset)
            .find(|at| if *at == from { !self.passed.inside_line } else { bytes[*at - 1] == b'\n' })
    }

    /// Notes that these bytes went by.
    fn pass(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.passed.lines += super::count_lines(bytes);
            self.passed.inside_line = *last != b'\n';
        }
    }

    /// Takes what `bytes` hold of a name that is being read.
    fn rest_of_name(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let Some(mut name) = self.passed.name.take() else { return Ok(0) };
        let length = bytes.iter().position(u8::is_ascii_whitespace);
        let piece = &bytes[..length.unwrap_or(bytes.len())];
        if name.len() + piece.len() > NAME_LIMIT {
            return Err(self.malformed("a sequence name is longer than 64 KiB; is this FASTA?".into()));
        }
        name.extend_from_slice(piece);
        match length {
            Some(_) => self.add_name(name)?,
            None => self.passed.name = Some(name),
        }
        Ok(piece.len())
    }

    fn add_name(&mut self, name: Vec<u8>) -> Result<(), Malformed> {
        let second = self.passed.started;
        match &mut self.names {
            Names::Gathered(names) if names.len() >= NAMES_LIMIT => {
                Err(self.malformed("a part has too many names to be scanned on its own".into()))
            }
            Names::Gathered(names) => {
                names.push(if name.is_empty() { 0 } else { digest(&name) });
                Ok(())
            }
            Names::Different(names) if name.is_empty() || names.len() >= NAMES_LIMIT => Ok(()),
            Names::Different(names) => match names.insert(digest(&name), second) {
                None => Ok(()),
                Some(first) => {
                    let sequence = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
                    Err(Malformed::Duplicate { sequence, first, second })
                }
            },
        }
    }

    /// Adds the names of the records that come next; leaves everything as it was, and says so, if one is there already.
    fn add_names(&mut self, later: &[u128]) -> bool {
        let before = self.passed.started;
        let Names::Different(names) = &mut self.names else { return false };
        for (number, name) in later.iter().enumerate().filter(|(_, name)| **name != 0) {
            if names.len() >= NAMES_LIMIT {
                break;
            }
            if names.contains_key(name) {
                for added in &later[..number] {
                    if names.get(added).is_some_and(|record| *record > before) {
                        names.remove(added);
                    }
                }
                return false;
            }
            names.insert(*name, before + number as u64 + 1);
        }
        true
    }

    fn malformed(&self, reason: String) -> Malformed {
        Malformed::Line { format: "FASTA", line: self.passed.lines + 1, reason }
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

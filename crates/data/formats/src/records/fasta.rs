//! FASTA: a record begins with a `>` line.

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State, show};

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
}

/// What went by of FASTA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FastaState {
    started: u64,
    lines: u64,
    /// The next byte is not the first of its line.
    inside_line: bool,
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
        while let Some(start) = self.next_start(bytes, at) {
            self.pass(&bytes[at..start]);
            if self.passed.started == until {
                return Ok(start);
            }
            self.passed.started += 1;
            self.passed.inside_line = true;
            at = start + 1;
        }
        self.pass(&bytes[at..]);
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.passed.started
    }

    fn position(&self) -> Option<Position> {
        (!self.passed.inside_line && self.passed.started > 0).then_some(Position::Line)
    }

    fn within_line(&mut self, _length: u64) -> bool {
        // Not blank bytes before the first record.
        self.passed.started > 0 && self.passed.inside_line
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Fasta(self.passed.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Fasta(later) = later else { return false };
        let (started, lines) = (self.passed.started.saturating_add(later.started), self.passed.lines.saturating_add(later.lines));
        self.passed = FastaState { started, lines, ..later };
        true
    }

    fn finish(&mut self) -> Result<(), Malformed> {
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

    fn malformed(&self, reason: String) -> Malformed {
        Malformed::Line { format: "FASTA", line: self.passed.lines + 1, reason }
    }
}

//! Lines. A line is a record; the last needs no line feed.

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State};

/// Whether the bytes look like text: no control bytes but white space and escapes.
pub(super) fn sniff(prefix: &[u8]) -> bool {
    !prefix.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextScanner {
    started: u64,
    inside: bool,
}

impl RecordScanner for TextScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        if !self.inside && !bytes.is_empty() {
            if self.started == until {
                return Ok(0);
            }
            self.started += 1;
            self.inside = true;
        }
        if until == u64::MAX {
            // Nothing to stop for: count line feeds. One as the very last byte begins no line yet.
            let ends_line = bytes.last() == Some(&b'\n');
            self.started += super::count_lines(bytes) - u64::from(ends_line);
            self.inside = (self.inside || !bytes.is_empty()) && !ends_line;
            return Ok(bytes.len());
        }
        while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
            at += length + 1;
            self.inside = false;
            if at == bytes.len() || self.started == until {
                return Ok(at);
            }
            self.started += 1;
            self.inside = true;
        }
        Ok(bytes.len())
    }

    fn started(&self) -> u64 {
        self.started
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        Ok(())
    }

    fn position(&self) -> Option<Position> {
        (!self.inside).then_some(Position::Line)
    }

    fn within_line(&mut self, _length: u64) -> bool {
        self.inside
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Text(self.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Text(later) = later else { return false };
        self.started = self.started.saturating_add(later.started);
        self.inside = later.inside;
        true
    }
}

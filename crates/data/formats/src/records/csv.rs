//! Rows of separated fields (RFC 4180): a row ends at a line feed outside quotes. The header row is record 0.
//!
//! A quote opens a quoted field only where a field begins; anywhere else it is a character like others (`5" pipe`).

use serde::{Deserialize, Serialize};

use super::{Malformed, Position, RecordScanner, State};

/// What may stand between the fields of CSV: the scanner need not know which of them does.
const CSV_SEPARATORS: &[u8] = b",;\t|";
const TSV_SEPARATORS: &[u8] = b"\t";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) struct CsvScanner {
    format: &'static str,
    separators: &'static [u8],
    now: CsvState,
}

/// What went by of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CsvState {
    started: u64,
    inside: bool,
    quoted: bool,
    /// Bytes of the row that were passed, and the last three of them.
    passed: u64,
    last: [u8; 3],
    /// The last of them is a quote that closed a field: another one opens it again.
    closed: bool,
    lines: u64,
    /// Line feeds before the last quote outside quotes.
    quote_line: Option<u64>,
}

impl CsvScanner {
    pub(crate) fn csv() -> Self {
        Self::new("CSV", CSV_SEPARATORS)
    }

    pub(crate) fn tsv() -> Self {
        Self::new("TSV", TSV_SEPARATORS)
    }

    fn new(format: &'static str, separators: &'static [u8]) -> Self {
        Self { format, separators, now: CsvState::default() }
    }

    /// The same at such a position.
    pub(super) fn at(mut self, position: Position) -> Self {
        if position == Position::QuotedLine {
            // Some of the row was passed, and no byte order mark that a quote may follow.
            self.now = CsvState { inside: true, quoted: true, passed: 4, ..CsvState::default() };
        }
        self
    }

    /// Whether the bytes given so far end where a row does.
    pub(crate) fn between_rows(&self) -> bool {
        !self.now.inside
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.now.passed += bytes.len() as u64;
        self.now.closed &= bytes.is_empty();
        for byte in &bytes[bytes.len().saturating_sub(3)..] {
            self.now.last = [self.now.last[1], self.now.last[2], *byte];
        }
    }

    /// Whether a field begins here.
    fn field_begins(&self) -> bool {
        let first = self.now.passed == 0 || (self.now.passed == 3 && self.now.last == BYTE_ORDER_MARK);
        first || self.now.closed || self.separators.contains(&self.now.last[2])
    }
}

impl RecordScanner for CsvScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        loop {
            if !self.now.inside && at < bytes.len() {
                if self.now.started == until {
                    return Ok(at);
                }
                self.now.started += 1;
                self.now.inside = true;
                (self.now.passed, self.now.closed) = (0, false);
            }
            let found = match self.now.quoted {
                true => memchr::memchr(b'"', &bytes[at..]),
                false => memchr::memchr2(b'\n', b'"', &bytes[at..]),
            };
            let Some(length) = found else {
                self.now.lines += if self.now.quoted { super::count_lines(&bytes[at..]) } else { 0 };
                self.pass(&bytes[at..]);
                return Ok(bytes.len());
            };
            let end = at + length;
            self.pass(&bytes[at..end]);
            if self.now.quoted {
                self.now.lines += super::count_lines(&bytes[at..end]);
                self.now.quoted = false;
                self.pass(b"\"");
                self.now.closed = true;
            } else if bytes[end] == b'"' {
                self.now.quoted = self.field_begins();
                self.now.quote_line = Some(self.now.lines);
                self.pass(b"\"");
            } else {
                self.now.lines += 1;
                self.now.inside = false;
            }
            at = end + 1;
        }
    }

    fn started(&self) -> u64 {
        self.now.started
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if !self.now.quoted {
            return Ok(());
        }
        let reason =
            "the quote opened here is never closed; close it, or give the object a name ending in .txt to cut it by lines";
        Err(Malformed::Line { format: self.format, line: self.now.quote_line.unwrap_or_default() + 1, reason: reason.into() })
    }

    fn position(&self) -> Option<Position> {
        match (self.now.quoted, self.now.inside) {
            (true, _) => Some(Position::QuotedLine),
            (false, false) => Some(Position::Line),
            (false, true) => None,
        }
    }

    fn state(&mut self) -> Option<State> {
        Some(State::Csv(self.now.clone()))
    }

    fn append(&mut self, later: State) -> bool {
        let State::Csv(later) = later else { return false };
        let now = &self.now;
        let (started, lines) = (now.started.saturating_add(later.started), now.lines.saturating_add(later.lines));
        let quote_line = later.quote_line.map(|line| now.lines.saturating_add(line)).or(now.quote_line);
        self.now = CsvState { started, lines, quote_line, ..later };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{CsvScanner, RecordScanner};

    /// Where rows begin, whatever the pieces the bytes come in.
    fn begins(make: fn() -> CsvScanner, bytes: &[u8]) -> Vec<usize> {
        let by_pieces = |size: usize| {
            let (mut scanner, mut begins) = (make(), Vec::new());
            for (number, piece) in bytes.chunks(size).enumerate() {
                let mut at = 0;
                while at < piece.len() {
                    let before = scanner.started();
                    at += scanner.scan(&piece[at..], before).unwrap();
                    if at < piece.len() {
                        begins.push(number * size + at);
                        at += scanner.scan(&piece[at..], before + 1).unwrap();
                    }
                }
            }
            begins
        };
        let whole = by_pieces(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(by_pieces(size), whole, "pieces of {size}");
        }
        whole
    }

    #[test]
    fn quotes_open_fields_and_are_characters_elsewhere() {
        assert_eq!(begins(CsvScanner::csv, b"a,b\n1,\"x\ny\"\n2,3"), [0, 4, 12]);
        assert_eq!(begins(CsvScanner::csv, b"\"a\"\"\n\"\"b\",c\n5\" pipe,1\n6\",2\n"), [0, 12, 22]);
        assert_eq!(begins(CsvScanner::csv, b"x;\"a\nb\"\ny|\"c\nd\"\n"), [0, 8]);
        assert_eq!(begins(CsvScanner::csv, b"\xef\xbb\xbf\"a\nb\",c\nd,e\n"), [0, 11]);
        assert_eq!(begins(CsvScanner::tsv, b"a,\"b\n\"c\td\"\t\"e\nf\"\n"), [0, 5]);
    }
}

//! Rows of separated fields (RFC 4180): a row ends at a line feed outside quotes. The header row is record 0.
//!
//! A quote opens a quoted field only where a field begins; anywhere else it is a character like others (`5" pipe`).

use super::{Malformed, RecordScanner};

/// What may stand between the fields of CSV: the scanner need not know which of them does.
const CSV_SEPARATORS: &[u8] = b",;\t|";
const TSV_SEPARATORS: &[u8] = b"\t";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) struct CsvScanner {
    format: &'static str,
    separators: &'static [u8],
    started: u64,
    inside: bool,
    quoted: bool,
    /// Bytes of the row that were passed, and the last three of them.
    passed: u64,
    last: [u8; 3],
    /// The last of them is a quote that closed a field: another one opens it again.
    closed: bool,
    lines: u64,
    quote_line: u64,
}

impl CsvScanner {
    pub(crate) fn csv() -> Self {
        Self::new("CSV", CSV_SEPARATORS)
    }

    pub(crate) fn tsv() -> Self {
        Self::new("TSV", TSV_SEPARATORS)
    }

    fn new(format: &'static str, separators: &'static [u8]) -> Self {
        Self {
            format,
            separators,
            started: 0,
            inside: false,
            quoted: false,
            passed: 0,
            last: [0; 3],
            closed: false,
            lines: 0,
            quote_line: 0,
        }
    }

    /// Whether the bytes given so far end where a row does.
    pub(crate) fn between_rows(&self) -> bool {
        !self.inside
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.passed += bytes.len() as u64;
        self.closed &= bytes.is_empty();
        for byte in &bytes[bytes.len().saturating_sub(3)..] {
            self.last = [self.last[1], self.last[2], *byte];
        }
    }

    /// Whether a field begins here.
    fn field_begins(&self) -> bool {
        let first = self.passed == 0 || (self.passed == 3 && self.last == BYTE_ORDER_MARK);
        first || self.closed || self.separators.contains(&self.last[2])
    }
}

impl RecordScanner for CsvScanner {
    fn scan(&mut self, bytes: &[u8], until: u64) -> Result<usize, Malformed> {
        let mut at = 0;
        loop {
            if !self.inside && at < bytes.len() {
                if self.started == until {
                    return Ok(at);
                }
                self.started += 1;
                self.inside = true;
                (self.passed, self.closed) = (0, false);
            }
            let found = match self.quoted {
                true => memchr::memchr(b'"', &bytes[at..]),
                false => memchr::memchr2(b'\n', b'"', &bytes[at..]),
            };
            let Some(length) = found else {
                self.lines += if self.quoted { super::count_lines(&bytes[at..]) } else { 0 };
                self.pass(&bytes[at..]);
                return Ok(bytes.len());
            };
            let end = at + length;
            self.pass(&bytes[at..end]);
            if self.quoted {
                self.lines += super::count_lines(&bytes[at..end]);
                self.quoted = false;
                self.pass(b"\"");
                self.closed = true;
            } else if bytes[end] == b'"' {
                self.quoted = self.field_begins();
                self.quote_line = self.lines;
                self.pass(b"\"");
            } else {
                self.lines += 1;
                self.inside = false;
            }
            at = end + 1;
        }
    }

    fn started(&self) -> u64 {
        self.started
    }

    fn finish(&mut self) -> Result<(), Malformed> {
        if !self.quoted {
            return Ok(());
        }
        let reason =
            "the quote opened here is never closed; close it, or give the object a name ending in .txt to cut it by lines";
        Err(Malformed::Line { format: self.format, line: self.quote_line + 1, reason: reason.into() })
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

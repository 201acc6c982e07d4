//! CSV rows (RFC 4180): a row ends at a line feed outside quotes. The header row is record 0.

use super::{Malformed, RecordScanner};

#[derive(Default)]
pub(super) struct CsvScanner {
    started: u64,
    inside: bool,
    quoted: bool,
    lines: u64,
    quote_line: u64,
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
            }
            let Some(length) = memchr::memchr2(b'\n', b'"', &bytes[at..]) else { return Ok(bytes.len()) };
            at += length + 1;
            if bytes[at - 1] == b'"' {
                // A doubled quote inside a quoted field closes and opens again: parity is all that counts.
                self.quoted = !self.quoted;
                self.quote_line = self.lines;
            } else {
                self.lines += 1;
                self.inside = self.quoted;
            }
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
        Err(Malformed::Line { format: "CSV", line: self.quote_line + 1, reason: reason.into() })
    }
}

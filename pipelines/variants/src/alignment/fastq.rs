//! FASTQ records of a slice, single or in pairs.

use std::io::{self, BufRead, BufReader, Read};

use thiserror::Error;

/// Reads that cannot be used.
#[derive(Debug, Error)]
pub enum FastqError {
    /// The bytes could not be read.
    #[error("{source_name}: {error}")]
    Io {
        /// the object
        source_name: String,
        /// what happened
        error: io::Error,
    },
    /// Not a FASTQ record of four lines.
    #[error("{source_name}, record {record}: {reason}; FASTQ records have four lines: @name, bases, +, qualities")]
    Malformed {
        /// the object
        source_name: String,
        /// the record's ordinal, from 1
        record: u64,
        /// what is wrong
        reason: String,
    },
    /// A quality that FASTQ does not have, and BAM cannot say.
    #[error(
        "{source_name}, record {record}: read `{name}` has the byte {byte:#04x} among its qualities, which are the letters `!` to `~` \
         (Phred+33); the file is damaged or no FASTQ: get it again"
    )]
    Quality {
        /// the object
        source_name: String,
        /// the record's ordinal, from 1
        record: u64,
        /// the read
        name: String,
        /// the first such byte
        byte: u8,
    },
    /// The two reads at the same place are no pair.
    #[error(
        "record {record}: `{name1}` of {source1} and `{name2}` of {source2} are no pair; mates must stand at the same place in both files"
    )]
    NoPair {
        /// the record's ordinal, from 1
        record: u64,
        /// first mate's file
        source1: String,
        /// first mate's name
        name1: String,
        /// second mate's file
        source2: String,
        /// second mate's name
        name2: String,
    },
    /// One file ends before the other.
    #[error("{short} ends after record {record} but {long} goes on; both mates' files must have the same number of reads")]
    UnequalMates {
        /// the file that ends
        short: String,
        /// the file that goes on
        long: String,
        /// records before the end
        record: u64,
    },
    /// Neighbours of one name in what should be single reads.
    #[error(
        "{source_name}, records {record} and the one before are both named `{name}`: these are pairs in one file; say --interleaved"
    )]
    Interleaved {
        /// the object
        source_name: String,
        /// ordinal of the second record, from 1
        record: u64,
        /// the name
        name: String,
    },
}

/// One read.
#[derive(Clone, Debug, Default)]
pub struct FastqRecord {
    /// The first word of its header.
    pub name: String,
    /// Its bases.
    pub bases: Vec<u8>,
    /// Its qualities, as letters.
    pub qualities: String,
}

/// Reads records of four lines; LF or CRLF; the last line may lack its end.
pub struct FastqReader<R> {
    source_name: String,
    input: BufReader<R>,
    line: Vec<u8>,
    record: u64,
}

impl<R: Read> FastqReader<R> {
    /// A reader of `input`, whose first record is number `first` (from 0) of `source_name`.
    pub fn new(source_name: impl Into<String>, first: u64, input: R) -> Self {
        Self { source_name: source_name.into(), input: BufReader::with_capacity(1 << 18, input), line: Vec::new(), record: first }
    }

    /// Ordinal of the record read last, from 1.
    pub fn record(&self) -> u64 {
        self.record
    }

    /// What the records come from.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// Reads the next record into `read`; `false` at the end.
    pub fn next(&mut self, read: &mut FastqRecord) -> Result<bool, FastqError> {
        if !self.next_line()? {
            return Ok(false);
        }
        self.record += 1;
        let Some(header) = self.line.strip_prefix(b"@") else {
            return Err(self.malformed("the header does not begin with `@`"));
        };
        let word = header.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        replace_text(&mut read.name, word).ok_or_else(|| self.malformed("a name that is no text"))?;
        self.expect_line("the bases are missing")?;
        std::mem::swap(&mut read.bases, &mut self.line);
        self.expect_line("the `+` line is missing")?;
        if !self.line.starts_with(b"+") {
            return Err(self.malformed("the third line does not begin with `+`"));
        }
        self.expect_line("the qualities are missing")?;
        if self.line.len() != read.bases.len() {
            let reason = format!("{} qualities for {} bases", self.line.len(), read.bases.len());
            return Err(self.malformed(&reason));
        }
        if !are_qualities(&self.line) {
            let byte = self.line.iter().copied().find(|byte| !are_qualities(&[*byte])).unwrap_or_default();
            let (source_name, name) = (self.source_name.clone(), read.name.clone());
            return Err(FastqError::Quality { source_name, record: self.record, name, byte });
        }
        replace_text(&mut read.qualities, &self.line).ok_or_else(|| self.malformed("qualities that are no text"))?;
        Ok(true)
    }

    fn expect_line(&mut self, reason: &str) -> Result<(), FastqError> {
        if self.next_line()? { Ok(()) } else { Err(self.malformed(&format!("{reason}: the file is cut off"))) }
    }

    fn next_line(&mut self) -> Result<bool, FastqError> {
        self.line.clear();
        let read = self.input.read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| FastqError::Io { source_name: self.source_name.clone(), error })?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(read > 0)
    }

    fn malformed(&self, reason: &str) -> FastqError {
        FastqError::Malformed { source_name: self.source_name.clone(), record: self.record, reason: reason.to_owned() }
    }
}

/// Whether all letters are from `!` to `~`. It looks at every one, so that the loop runs over many at once.
pub fn are_qualities(letters: &[u8]) -> bool {
    letters.iter().fold(true, |all, letter| all & (letter.wrapping_sub(b'!') <= b'~' - b'!'))
}

fn replace_text(text: &mut String, bytes: &[u8]) -> Option<()> {
    text.clear();
    text.push_str(std::str::from_utf8(bytes).ok()?);
    Some(())
}

/// Whether two names are those of one fragment: equal but for a `/1`, `/2` at the end, as minimap2 has it.
pub fn same_fragment(name1: &str, name2: &str) -> bool {
    fragment_name(name1) == fragment_name(name2)
}

fn fragment_name(name: &str) -> &str {
    match name.as_bytes() {
        [.., b'/', digit] if digit.is_ascii_digit() && name.len() >= 3 => &name[..name.len() - 2],
        _ => name,
    }
}

/// Where a slice's reads come from.
pub enum Fragments<R> {
    /// Single reads.
    Single(FastqReader<R>),
    /// Pairs, one after the other in one object.
    Interleaved(FastqReader<R>),
    /// Pairs, at the same place in two objects.
    Paired(FastqReader<R>, FastqReader<R>),
}

/// Goes through the fragments of a slice.
pub struct FragmentReader<R> {
    fragments: Fragments<R>,
    first: FastqRecord,
    second: FastqRecord,
    previous: String,
}

impl<R: Read> FragmentReader<R> {
    /// A reader of these fragments.
    pub fn new(fragments: Fragments<R>) -> Self {
        Self { fragments, first: FastqRecord::default(), second: FastqRecord::default(), previous: String::new() }
    }

    /// The next fragment, a read with or without its mate; `None` at the end.
    pub fn next_fragment(&mut self) -> Result<Option<(&FastqRecord, Option<&FastqRecord>)>, FastqError> {
        match &mut self.fragments {
            Fragments::Single(reader) => {
                std::mem::swap(&mut self.previous, &mut self.first.name);
                if !reader.next(&mut self.first)? {
                    return Ok(None);
                }
                if same_fragment(&self.previous, &self.first.name) {
                    let (source_name, name) = (reader.source_name.clone(), self.first.name.clone());
                    return Err(FastqError::Interleaved { source_name, record: reader.record, name });
                }
                Ok(Some((&self.first, None)))
            }
            Fragments::Interleaved(reader) => {
                if !reader.next(&mut self.first)? {
                    return Ok(None);
                }
                if !reader.next(&mut self.second)? {
                    return Err(reader.malformed("the last read has no mate"));
                }
                let (source, record) = (reader.source_name.clone(), reader.record);
                self.checked_pair(source.clone(), source, record)
            }
            Fragments::Paired(reader1, reader2) => {
                let (has1, has2) = (reader1.next(&mut self.first)?, reader2.next(&mut self.second)?);
                let (source1, source2) = (reader1.source_name.clone(), reader2.source_name.clone());
                match (has1, has2) {
                    (false, false) => Ok(None),
                    (true, false) => Err(FastqError::UnequalMates { short: source2, long: source1, record: reader2.record }),
                    (false, true) => Err(FastqError::UnequalMates { short: source1, long: source2, record: reader1.record }),
                    (true, true) => {
                        let record = reader1.record;
                        self.checked_pair(source1, source2, record)
                    }
                }
            }
        }
    }

    fn checked_pair(
        &self,
        source1: String,
        source2: String,
        record: u64,
    ) -> Result<Option<(&FastqRecord, Option<&FastqRecord>)>, FastqError> {
        if same_fragment(&self.first.name, &self.second.name) {
            return Ok(Some((&self.first, Some(&self.second))));
        }
        let (name1, name2) = (self.first.name.clone(), self.second.name.clone());
        Err(FastqError::NoPair { record, source1, name1, source2, name2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(text1: &str, text2: &str) -> Result<usize, FastqError> {
        let reader = |name: &str, text: &str| FastqReader::new(name, 0, io::Cursor::new(text.as_bytes().to_vec()));
        let mut fragments = FragmentReader::new(Fragments::Paired(reader("r1", text1), reader("r2", text2)));
        let mut count = 0;
        while fragments.next_fragment()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn pairs_are_read_in_step_whatever_the_line_ends() {
        assert_eq!(paired("@a/1 x\r\nAC\r\n+\r\nII\r\n@b\nA\n+\nI", "@a/2\nAC\n+a\nII\n@b\nA\n+\nI\n").unwrap(), 2);
        assert_eq!(paired("", "").unwrap(), 0);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let refuse = |text1, text2| paired(text1, text2).unwrap_err().to_string();
        let one = "@a\nAC\n+\nII\n";
        assert!(refuse(one, "").contains("r2 ends after record 0 but r1 goes on"));
        assert!(refuse(one, "@b\nAC\n+\nII\n").contains("record 1: `a` of r1 and `b` of r2 are no pair"));
        assert!(refuse("@a\nAC\n+\nI\n", one).contains("1 qualities for 2 bases"));
        assert!(refuse("@a\nAC\n", one).contains("cut off"));
        assert!(refuse(one, "@a\nAC\n+\nI \n").contains("r2, record 1: read `a` has the byte 0x20 among its qualities"));
        assert!(refuse("@a\nAC\n+\n\x7fI\n", one).contains("byte 0x7f"));
        assert!(refuse("@a\nAC\n+\nI\u{e}\n", one).contains("byte 0x0e"));
        assert_eq!(paired("@a\nAC\n+\n!~\n", one).unwrap(), 1);
        assert!(refuse(">a\nAC\n", one).contains("does not begin with `@`"));
    }
}

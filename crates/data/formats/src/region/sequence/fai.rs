//! Where the bases of each sequence lie: the table that `samtools faidx` keeps in a `.fai` file (faidx(5)).

use std::collections::HashSet;
use std::fmt::Write;

use crate::records::Malformed;

/// Longer names are refused.
const NAME_LIMIT: usize = 64 * 1024;
/// More sequences are refused: the table is held in memory.
const SEQUENCES_LIMIT: usize = 16 << 20;

/// A sequence whose lines, but for the last, have one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) name: String,
    /// Number of bases.
    pub(crate) length: u64,
    pub(crate) layout: Layout,
}

/// Where bases lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Of the first base, in the uncompressed object.
    pub(crate) offset: u64,
    /// Bases of a line.
    pub(crate) line_bases: u64,
    /// Bytes of a line, with its end.
    pub(crate) line_width: u64,
}

impl Layout {
    /// Where base `position` (from 0) lies in the uncompressed object; none if the layout makes no sense.
    pub(crate) fn place(&self, position: u64) -> Option<u64> {
        if self.line_width <= self.line_bases {
            return None;
        }
        let lines = position.checked_div(self.line_bases)?.checked_mul(self.line_width)?;
        self.offset.checked_add(lines)?.checked_add(position % self.line_bases)
    }
}

/// Reads a `.fai`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Sequence>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| sequence(line).ok_or_else(|| format!("its line {} makes no sense", number + 1))).collect()
}

fn sequence(line: &[u8]) -> Option<Sequence> {
    let text = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    let mut fields = text.split('\t');
    let name = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse().ok();
    let (length, offset, line_bases, line_width) = (number()?, number()?, number()?, number()?);
    let sequence = Sequence { name, length, layout: Layout { offset, line_bases, line_width } };
    let sensible = length == 0 || sequence.layout.place(length - 1).is_some();
    sensible.then_some(sequence)
}

/// The same table as text.
pub(crate) fn format(sequences: &[Sequence]) -> String {
    let mut text = String::new();
    for Sequence { name, length, layout: Layout { offset, line_bases, line_width } } in sequences {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}\t{length}\t{offset}\t{line_bases}\t{line_width}");
    }
    text
}

/// Makes the table while an object goes by.
#[derive(Default)]
pub(crate) struct Scan {
    sequences: Vec<Sequence>,
    names: HashSet<String>,
    /// Bytes of whole lines so far, and how many lines.
    out: u64,
    lines: u64,
    /// The present line, as far as it went by: its first and last byte, its length, and its start if it is one with a name.
    first: Option<u8>,
    last: u8,
    length: u64,
    title: Vec<u8>,
    /// The lines of the present sequence are over: one was short.
    over: bool,
}

impl Scan {
    /// The next bytes.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.first.is_none() {
                at += self.even_lines(&bytes[at..]);
            }
            match memchr::memchr(b'\n', &bytes[at..]) {
                Some(length) => {
                    self.part_of_line(&bytes[at..at + length])?;
                    self.end_line(1)?;
                    at += length + 1;
                }
                None => {
                    self.part_of_line(&bytes[at..])?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The table; the object ends here.
    pub(crate) fn finish(mut self) -> Result<Vec<Sequence>, Malformed> {
        if self.first.is_some() {
            // The last line needs no end.
            self.end_line(0)?;
        }
        if self.sequences.is_empty() && self.out > 0 {
            return Err(self.malformed("no record begins with `>`".into()));
        }
        Ok(self.sequences)
    }

    /// Passes over whole lines that are like those before them, which nearly all are; gives how many bytes.
    fn even_lines(&mut self, bytes: &[u8]) -> usize {
        let Some(sequence) = self.sequences.last_mut().filter(|_| !self.over) else { return 0 };
        let Layout { line_bases, line_width, .. } = sequence.layout;
        let (Ok(width), true) = (usize::try_from(line_width), line_bases > 0) else { return 0 };
        let returned = line_width - line_bases == 2;
        let mut at = 0;
        // Like the first line: a line feed where it had its own and none before, and a carriage return in front if it had one.
        while let Some(line) = bytes.get(at..).and_then(|rest| rest.get(..width)) {
            let even = memchr::memchr(b'\n', line) == Some(width - 1)
                && line[0] != b'>'
                && (line.len() >= 2 && line[width - 2] == b'\r') == returned;
            if !even {
                break;
            }
            at += width;
        }
        let lines = (at / width) as u64;
        sequence.length += lines * line_bases;
        self.lines += lines;
        self.out += at as u64;
        at
    }

    fn part_of_line(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(()) };
        let first = *self.first.get_or_insert(*first);
        self.last = *last;
        self.length += part.len() as u64;
        if first == b'>' {
            let room = (NAME_LIMIT + 2).saturating_sub(self.title.len());
            self.title.extend_from_slice(&part[..part.len().min(room)]);
        }
        Ok(())
    }

    /// The present line is over; its line feed has `ending` bytes.
    fn end_line(&mut self, ending: u64) -> Result<(), Malformed> {
        let returned = u64::from(self.length > 0 && self.last == b'\r');
        let (first, bases) = (self.first.take(), self.length - returned);
        self.out += self.length + ending;
        self.length = 0;
        let outcome = match first {
            Some(b'>') => self.begin_sequence(),
            _ => self.sequence_line(bases, bases + returned + 1),
        };
        self.lines += 1;
        outcome
    }

    fn begin_sequence(&mut self) -> Result<(), Malformed> {
        let title = std::mem::take(&mut self.title);
        let name = title[1..].split(u8::is_ascii_whitespace).next().unwrap_or_default();
        if name.len() > NAME_LIMIT {
            return Err(self.malformed("a sequence name is longer than 64 KiB; is this FASTA?".into()));
        }
        if self.sequences.len() >= SEQUENCES_LIMIT {
            return Err(self.malformed("there are more than 16 million sequences; partition the object instead".into()));
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if !self.names.insert(name.clone()) {
            let first = self.sequences.iter().position(|sequence| sequence.name == name).unwrap_or(0) as u64 + 1;
            return Err(Malformed::Duplicate { sequence: name, first, second: self.sequences.len() as u64 + 1 });
        }
        let layout = Layout { offset: self.out, ..Layout::default() };
        self.sequences.push(Sequence { name, length: 0, layout });
        self.over = false;
        Ok(())
    }

    fn sequence_line(&mut self, bases: u64, width: u64) -> Result<(), Malformed> {
        let Some(sequence) = self.sequences.last_mut() else {
            return if bases == 0 { Ok(()) } else { Err(self.malformed("the first record must begin with `>`".into())) };
        };
        if bases == 0 {
            self.over = true;
            return Ok(());
        }
        let layout = &mut sequence.layout;
        if self.over || (layout.line_bases > 0 && bases > layout.line_bases) {
            let name: String = sequence.name.chars().take(100).collect();
            return Err(self.malformed(format!(
                "the lines of sequence `{name}` differ in length, so its regions cannot be found; wrap them evenly: \
                 `seqtk seq -l 60 FILE > NEW.fa`"
            )));
        }
        if layout.line_bases == 0 {
            (layout.line_bases, layout.line_width) = (bases, width);
        }
        self.over = (bases, width) != (layout.line_bases, layout.line_width);
        sequence.length += bases;
        Ok(())
    }

    fn malformed(&self, reason: String) -> Malformed {
        Malformed::Line { format: "FASTA", line: self.lines + 1, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::{Scan, format, parse};

    /// The table of `text`, or the error; the same whatever pieces it comes in.
    fn scan(text: &str) -> Result<String, String> {
        let of_pieces = |length: usize| {
            let mut scan = Scan::default();
            text.as_bytes().chunks(length).try_for_each(|piece| scan.scan(piece)).and_then(|()| scan.finish())
        };
        let whole = of_pieces(text.len().max(1));
        for length in 1..20 {
            assert_eq!(of_pieces(length), whole);
        }
        whole.map(|sequences| format(&sequences)).map_err(|malformed| malformed.of("x").to_string())
    }

    #[test]
    fn tables_are_those_of_samtools() {
        assert_eq!(
            scan(">a b\nACGT\nACGT\nAC\n>b\nAC\n>e\n>c\nACG").unwrap(),
            "a\t10\t5\t4\t5\nb\t2\t21\t2\t3\ne\t0\t27\t0\t0\nc\t3\t30\t3\t4\n"
        );
        assert_eq!(scan("\n>a\r\nACGT\r\nACGT\r\nA\r\n\r\n>b\r\nAC").unwrap(), "a\t9\t5\t4\t6\nb\t2\t26\t2\t3\n");
        assert_eq!(scan("").unwrap(), "");
        for wrong in [">a\nACG\nAC\nACG\n", ">a\nACG\n\nACG\n", ">a\nACG\nACGT\n"] {
            assert!(scan(wrong).unwrap_err().contains("differ in length"), "{wrong}");
        }
        assert!(scan(">a\nACG\n>a x\nA\n").unwrap_err().contains("`a` occurs twice, as record 1 and as record 2"));
        assert!(scan("A\n").unwrap_err().contains("must begin with `>`"));
    }

    #[test]
    fn tables_survive_their_text_and_nonsense_is_refused() {
        let sequences = parse(b"a\t10\t5\t4\t5\nb\t2\t21\t2\t3\n").unwrap();
        assert_eq!(parse(format(&sequences).as_bytes()).unwrap(), sequences);
        assert_eq!([0, 3, 4, 9].map(|base| sequences[0].layout.place(base)), [Some(5), Some(8), Some(10), Some(16)]);
        for wrong in ["a\t1\t2\t3", "a\t5\t0\t0\t1", "a\t5\t0\t3\t3", "a\tx\t0\t3\t4", "a\t18446744073709551615\t0\t1\t9"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

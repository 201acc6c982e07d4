//! The reference genome: FASTA, plain or compressed, of any number of contigs, made into what aligners and callers read.
//!
//! Tools need an uncompressed FASTA whose lines are equally long, with a `.fai` beside it. [`normalise`] writes both in one pass and
//! refuses what would give wrong answers later: two contigs of one name, no contig at all, a file that is no FASTA or is cut off.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bases on a line of the normalised FASTA.
const LINE: usize = 60;

/// One sequence of the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contig {
    /// The first word of its header.
    pub name: String,
    /// Its number of bases.
    pub length: u64,
}

/// The contigs of a reference, in file order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contigs(Vec<Contig>);

/// A reference that cannot be used.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// Bytes could not be read or written, or the compressed stream is damaged.
    #[error("{name}: {source}; if it is a compressed file, test it with `gzip -t`")]
    Io {
        /// the reference
        name: String,
        /// what happened
        source: io::Error,
    },
    /// Not FASTA.
    #[error("{name}, line {line}: not FASTA ({reason}); give a genome as FASTA, plain, gzip or BGZF")]
    NotFasta {
        /// the reference
        name: String,
        /// where
        line: u64,
        /// what is wrong
        reason: String,
    },
    /// A name that SAM, and so BAM and VCF, cannot say.
    #[error(
        "{name}, line {line}: the contig name `{contig}` has {letter:?} in a place where SAM does not allow it; rename the contig, with \
         letters, digits and . _ -"
    )]
    IllegalName {
        /// the reference
        name: String,
        /// where
        line: u64,
        /// the contig's name
        contig: String,
        /// the first letter that is not allowed
        letter: char,
    },
    /// Two contigs of one name: alignments could not be told apart.
    #[error("{name}, line {line}: a second contig named `{contig}`; give every contig a name of its own")]
    Duplicate {
        /// the reference
        name: String,
        /// where
        line: u64,
        /// the name
        contig: String,
    },
}

impl Contigs {
    /// A table of these contigs; `None` if there are none, or one is longer than BAM can say.
    pub fn new(contigs: Vec<Contig>) -> Option<Self> {
        let usable = !contigs.is_empty() && contigs.iter().all(|contig| contig.length < 1 << 31);
        usable.then_some(Self(contigs))
    }

    /// The contigs in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Contig> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none (never, for a table that [`Contigs::new`] made).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The contig with this number.
    pub fn get(&self, id: usize) -> Option<&Contig> {
        self.0.get(id)
    }

    /// The number of the contig with this name.
    pub fn id(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|contig| contig.name == name)
    }

    /// Bases in all contigs together.
    pub fn total_length(&self) -> u64 {
        self.0.iter().map(|contig| contig.length).sum()
    }
}

/// What [`normalise`] found.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// The contigs.
    pub contigs: Contigs,
    /// The text of the `.fai` index of the FASTA written.
    pub fai: String,
}

/// Copies the FASTA of `input` (already decompressed) to `output` with lines of 60 bases, names without descriptions, LF line ends.
pub fn normalise(name: &str, input: impl Read, output: impl Write) -> Result<Normalised, ReferenceError> {
    let mut writer = Writer { output: io::BufWriter::with_capacity(1 << 18, output), written: 0, column: 0 };
    let mut scan = Scan { name, contigs: Vec::new(), seen: HashSet::new(), fai: String::new(), offset: 0 };
    let io_error = |source| ReferenceError::Io { name: name.to_owned(), source };
    let mut input = BufReader::with_capacity(1 << 18, input);
    let mut line = Vec::with_capacity(256);
    let mut number = 0;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(io_error)? == 0 {
            break;
        }
        number += 1;
        let text = line.trim_ascii_end();
        match text {
            [b'>', header @ ..] => {
                writer.end_line().map_err(io_error)?;
                scan.finish_contig();
                let contig = scan.begin_contig(header, number)?;
                writer.put(format!(">{contig}\n").as_bytes()).map_err(io_error)?;
                scan.offset = writer.written;
            }
            [] | [b';', ..] => {}
            bases => {
                scan.add(bases, number)?;
                writer.put_bases(bases).map_err(io_error)?;
            }
        }
    }
    writer.end_line().map_err(io_error)?;
    scan.finish_contig();
    writer.output.flush().map_err(io_error)?;
    let reason = "it holds no sequence, or one of 2^31 bases or more".to_owned();
    let contigs =
        Contigs::new(scan.contigs).ok_or_else(|| ReferenceError::NotFasta { name: name.to_owned(), line: number, reason })?;
    Ok(Normalised { contigs, fai: scan.fai })
}

struct Scan<'a> {
    name: &'a str,
    contigs: Vec<Contig>,
    seen: HashSet<String>,
    fai: String,
    offset: u64,
}

impl Scan<'_> {
    fn begin_contig(&mut self, header: &[u8], line: u64) -> Result<String, ReferenceError> {
        let word = header.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let name = self.name.to_owned();
        let contig = String::from_utf8_lossy(word).into_owned();
        if contig.is_empty() {
            return Err(ReferenceError::NotFasta { name, line, reason: "a header without a name".into() });
        }
        if let Some(letter) = illegal_letter(&contig) {
            return Err(ReferenceError::IllegalName { name, line, contig, letter });
        }
        if !self.seen.insert(contig.clone()) {
            return Err(ReferenceError::Duplicate { name, line, contig });
        }
        self.contigs.push(Contig { name: contig.clone(), length: 0 });
        Ok(contig)
    }

    fn add(&mut self, bases: &[u8], line: u64) -> Result<(), ReferenceError> {
        let refuse = |reason: &str| ReferenceError::NotFasta { name: self.name.to_owned(), line, reason: reason.into() };
        if !bases.iter().all(|base| base.is_ascii_alphabetic() || matches!(base, b'*' | b'-')) {
            return Err(refuse("a sequence line with letters that are no bases"));
        }
        let refused = refuse("sequence before the first `>` header");
        let contig = self.contigs.last_mut().ok_or(refused)?;
        contig.length += bases.len() as u64;
        Ok(())
    }

    fn finish_contig(&mut self) {
        if let Some(Contig { name, length }) = self.contigs.last() {
            let bases = LINE.min(*length as usize).max(1);
            self.fai.push_str(&format!("{name}\t{length}\t{}\t{bases}\t{}\n", self.offset, bases + 1));
        }
    }
}

/// The first letter of a contig's name that the SAM specification (1.2.1, reference sequence names) does not allow.
fn illegal_letter(name: &str) -> Option<char> {
    let anywhere = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&+./:;?@^_|~-".contains(letter);
    let legal = |(at, letter): &(usize, char)| anywhere(*letter) || (*at > 0 && "*=".contains(*letter));
    name.char_indices().find(|place| !legal(place)).map(|(_, letter)| letter)
}

struct Writer<W: Write> {
    output: io::BufWriter<W>,
    written: u64,
    column: usize,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    fn put_bases(&mut self, mut bases: &[u8]) -> io::Result<()> {
        while !bases.is_empty() {
            let (now, later) = bases.split_at(bases.len().min(LINE - self.column));
            self.put(now)?;
            self.column += now.len();
            if self.column == LINE {
                self.end_line()?;
            }
            bases = later;
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.column > 0 {
            self.put(b"\n")?;
        }
        self.column = 0;
        Ok(())
    }
}

/// Decompresses a plain, gzip (of any number of members) or BGZF stream; what it is shows in the first two bytes.
pub fn decompressed<'a>(input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut input = BufReader::with_capacity(1 << 18, input);
    let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(flate2::bufread::MultiGzDecoder::new(input)) } else { Box::new(input) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rewrapped_and_the_index_points_at_the_bases() {
        let text = format!(">a some words\r\n{}\r\n\r\nacgt\n>b\nACG\n", "A".repeat(100));
        let mut out = Vec::new();
        let found = normalise("x.fa", text.as_bytes(), &mut out).unwrap();
        assert_eq!(found.fai, format!("a\t104\t3\t60\t61\nb\t3\t{}\t3\t4\n", 3 + 104 + 2 + 3));
        assert_eq!(String::from_utf8(out).unwrap(), format!(">a\n{}\n{}acgt\n>b\nACG\n", "A".repeat(60), "A".repeat(40)));
        assert_eq!(found.contigs.total_length(), 107);
    }

    #[test]
    fn what_is_no_genome_is_refused_with_its_place() {
        let refuse = |text: &str| normalise("x.fa", text.as_bytes(), io::sink()).unwrap_err().to_string();
        assert!(refuse(">a\nAC\n>b\nA\n>a x\nC\n").contains("line 5: a second contig named `a`"));
        assert!(refuse(">a\nAC\n>b,c d\nA\n").contains("line 3: the contig name `b,c` has ',' in a place"));
        for illegal in ["*a", "=a", "a(1)", "a\"", "<a>", "ä", "a\u{1}"] {
            assert!(refuse(&format!(">{illegal}\nAC\n")).contains("SAM does not allow"), "{illegal}");
        }
        for legal in ["HLA-A*01:01:01:01", "gi|49175990|ref|NC_000913.2|", "a=b", "!#$%&+./:;?@^_|~-"] {
            assert!(normalise("x.fa", format!(">{legal}\nAC\n").as_bytes(), io::sink()).is_ok(), "{legal}");
        }
        assert!(refuse("@r\nAC\n+\nII\n").contains("line 1: not FASTA"));
        assert!(refuse("").contains("holds no sequence"));
        assert!(refuse("ACGT\n").contains("before the first"));
    }
}

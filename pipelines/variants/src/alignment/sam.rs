//! SAM lines to BAM records, as htslib encodes them (the smallest integer type a tag's value fits in, `bin` filled).
//!
//! A record here is the byte sequence of the BAM specification from `refID` on; a `u32` length goes before it wherever records follow
//! each other.

use std::collections::HashMap;

use thiserror::Error;

use super::fastq::are_qualities;
use crate::reference::Contigs;

/// A SAM line that cannot be encoded: the aligner that wrote it does not keep to the format.
#[derive(Debug, Error)]
#[error("the aligner wrote a line that is not SAM ({reason}): {line}")]
pub struct SamError {
    reason: String,
    line: String,
}

/// Encodes lines against one set of contigs.
#[derive(Debug)]
pub struct Encoder {
    ids: HashMap<Vec<u8>, i32>,
    last: (Vec<u8>, i32),
    /// The encoded `RG` tag, where the lines come without it.
    read_group: Vec<u8>,
}

/// `=ACMGRSVTWYHKDBN` by letter, everything else N, as the specification says.
const NIBBLE: [u8; 256] = nibble_table();

const fn nibble_table() -> [u8; 256] {
    let mut table = [15u8; 256];
    let letters = b"=ACMGRSVTWYHKDBN";
    let mut code = 0;
    while code < 16 {
        let letter = letters[code];
        table[letter as usize] = code as u8;
        table[letter.to_ascii_lowercase() as usize] = code as u8;
        code += 1;
    }
    table
}

impl Encoder {
    /// An encoder for alignments to these contigs.
    pub fn new(contigs: &Contigs) -> Self {
        let ids = contigs.iter().enumerate().map(|(id, contig)| (contig.name.clone().into_bytes(), id as i32)).collect();
        Self { ids, last: (Vec::new(), -1), read_group: Vec::new() }
    }

    /// Puts `RG:Z:id` before the other tags of every record, where minimap2's `-R` has it: for lines that come without.
    pub fn with_read_group(mut self, id: &str) -> Self {
        self.read_group = [b"RGZ", id.as_bytes(), b"\0"].concat();
        self
    }

    /// Appends the record of one line (without its line feed) to `out`, after its length as a little-endian `u32`.
    pub fn encode(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), SamError> {
        let start = out.len();
        self.try_encode(line, out).map_err(|reason| {
            out.truncate(start);
            let shown = &line[..line.len().min(200)];
            SamError { reason, line: String::from_utf8_lossy(shown).into_owned() }
        })
    }

    fn try_encode(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let mut fields = Fields { rest: Some(line) };
        let name = fields.next("QNAME")?;
        let flag = number(fields.next("FLAG")?)? as u16;
        let contig = self.contig(fields.next("RNAME")?)?;
        let position = number(fields.next("POS")?)? as i32 - 1;
        let quality = number(fields.next("MAPQ")?)? as u8;
        let cigar = fields.next("CIGAR")?;
        let mate_contig = match fields.next("RNEXT")? {
            b"=" => contig,
            name => self.contig(name)?,
        };
        let mate_position = number(fields.next("PNEXT")?)? as i32 - 1;
        let template = number(fields.next("TLEN")?)? as i32;
        let bases = match fields.next("SEQ")? {
            b"*" => &b""[..],
            bases => bases,
        };
        let qualities = fields.next("QUAL")?;
        if name.len() > 254 {
            return Err("a read name longer than 254 letters".into());
        }

        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&contig.to_le_bytes());
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&[name.len() as u8 + 1, quality, 0, 0, 0, 0]);
        out.extend_from_slice(&flag.to_le_bytes());
        out.extend_from_slice(&(bases.len() as u32).to_le_bytes());
        out.extend_from_slice(&mate_contig.to_le_bytes());
        out.extend_from_slice(&mate_position.to_le_bytes());
        out.extend_from_slice(&template.to_le_bytes());
        out.extend_from_slice(name);
        out.push(0);
        let (operations, span) = push_cigar(cigar, out)?;
        let end = position + if span == 0 || flag & 4 != 0 { 1 } else { span };
        out[start + 14..start + 16].copy_from_slice(&bin(position, end).to_le_bytes());
        out[start + 16..start + 18].copy_from_slice(&operations.to_le_bytes());
        push_bases(bases, out);
        push_qualities(qualities, bases.len(), out)?;
        out.extend_from_slice(&self.read_group);
        while let Some(tag) = fields.optional() {
            push_tag(tag, out)?;
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn contig(&mut self, name: &[u8]) -> Result<i32, String> {
        if name == b"*" {
            return Ok(-1);
        }
        if self.last.0 != name {
            let id = *self.ids.get(name).ok_or_else(|| format!("unknown contig `{}`", String::from_utf8_lossy(name)))?;
            self.last = (name.to_vec(), id);
        }
        Ok(self.last.1)
    }
}

struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn optional(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match memchr::memchr(b'\t', rest) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Some(&rest[..at])
            }
            None => self.rest.take(),
        }
    }

    fn next(&mut self, what: &str) -> Result<&'a [u8], String> {
        self.optional().ok_or_else(|| format!("no {what}"))
    }
}

fn number(text: &[u8]) -> Result<i64, String> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(format!("`{}` is not a number", String::from_utf8_lossy(text)));
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Ok(if negative { -value } else { value })
}

/// Appends the operations; gives their number and how many reference bases they cover.
fn push_cigar(cigar: &[u8], out: &mut Vec<u8>) -> Result<(u16, i32), String> {
    if cigar == b"*" {
        return Ok((0, 0));
    }
    let (mut operations, mut span, mut length) = (0u32, 0i32, 0u32);
    for &byte in cigar {
        if byte.is_ascii_digit() {
            length = length.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
            continue;
        }
        let code = match byte {
            b'M' => 0u32,
            b'I' => 1,
            b'D' => 2,
            b'N' => 3,
            b'S' => 4,
            b'H' => 5,
            b'P' => 6,
            b'=' => 7,
            b'X' => 8,
            _ => return Err("an unknown CIGAR operation".into()),
        };
        if matches!(code, 0 | 2 | 3 | 7 | 8) {
            span = span.saturating_add(length as i32);
        }
        out.extend_from_slice(&(length << 4 | code).to_le_bytes());
        operations += 1;
        length = 0;
    }
    let operations = u16::try_from(operations).map_err(|_| "more than 65535 CIGAR operations".to_owned())?;
    Ok((operations, span))
}

fn push_bases(bases: &[u8], out: &mut Vec<u8>) {
    let pairs = bases.chunks_exact(2);
    let odd = pairs.remainder();
    out.extend(pairs.map(|pair| NIBBLE[pair[0] as usize] << 4 | NIBBLE[pair[1] as usize]));
    out.extend(odd.iter().map(|&base| NIBBLE[base as usize] << 4));
}

fn push_qualities(qualities: &[u8], bases: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if qualities == b"*" && bases != 1 {
        out.resize(out.len() + bases, 0xff);
        return Ok(());
    }
    if qualities.len() != bases {
        return Err(format!("{} qualities for {bases} bases", qualities.len()));
    }
    if !are_qualities(qualities) {
        return Err("a quality that is not from `!` to `~`".to_owned());
    }
    out.extend(qualities.iter().map(|quality| quality.wrapping_sub(33)));
    Ok(())
}

fn push_tag(tag: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let [a, b, b':', kind, b':', value @ ..] = tag else {
        return Err(format!("`{}` is not a tag", String::from_utf8_lossy(tag)));
    };
    out.extend_from_slice(&[*a, *b]);
    match kind {
        b'i' => push_integer(number(value)?, out),
        b'Z' | b'H' => {
            out.push(*kind);
            out.extend_from_slice(value);
            out.push(0);
        }
        b'A' => out.extend_from_slice(&[b'A', *value.first().ok_or("an empty tag")?]),
        b'f' => {
            out.push(b'f');
            out.extend_from_slice(&float(value)?.to_le_bytes());
        }
        _ => return Err(format!("tag type `{}`, which short-read aligners do not write", *kind as char)),
    }
    Ok(())
}

fn push_integer(value: i64, out: &mut Vec<u8>) {
    match value {
        0..=0xff => out.extend_from_slice(&[b'C', value as u8]),
        0x100..=0xffff => {
            out.push(b'S');
            out.extend_from_slice(&(value as u16).to_le_bytes());
        }
        0x1_0000.. => {
            out.push(b'I');
            out.extend_from_slice(&(value as u32).to_le_bytes());
        }
        -0x80..=-1 => out.extend_from_slice(&[b'c', value as i8 as u8]),
        -0x8000..=-0x81 => {
            out.push(b's');
            out.extend_from_slice(&(value as i16).to_le_bytes());
        }
        _ => {
            out.push(b'i');
            out.extend_from_slice(&(value as i32).to_le_bytes());
        }
    }
}

fn float(text: &[u8]) -> Result<f32, String> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .map(|value| value as f32)
        .ok_or_else(|| format!("`{}` is not a number", String::from_utf8_lossy(text)))
}

/// The bin of the specification's `reg2bin` for `[start, end)`.
pub fn bin(start: i32, end: i32) -> u16 {
    let (start, end) = (i64::from(start), i64::from(end) - 1);
    for (shift, offset) in [(14, 4681), (17, 585), (20, 73), (23, 9), (26, 1)] {
        if start >> shift == end >> shift {
            return (offset + (start >> shift)) as u16;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Contig;

    #[test]
    fn a_line_becomes_the_bytes_of_the_specification() {
        let contigs = Contigs::new(vec![Contig { name: "K12".into(), length: 1000 }]).unwrap();
        let mut out = Vec::new();
        let line = b"r1\t99\tK12\t11\t60\t3M1D2M\t=\t101\t95\tACGTN\tIIII#\tNM:i:1\tde:f:0.0067\ttp:A:P\tRG:Z:s";
        Encoder::new(&contigs).encode(line, &mut out).unwrap();
        assert_eq!(u32::from_le_bytes(out[..4].try_into().unwrap()) as usize, out.len() - 4);
        assert_eq!(&out[4..12], &[0, 0, 0, 0, 10, 0, 0, 0]);
        assert_eq!(u16::from_le_bytes(out[14..16].try_into().unwrap()), 4681);
        assert_eq!(&out[36..39], b"r1\0");
        assert_eq!(&out[51..54], &[0x12, 0x48, 0xf0]);
        assert_eq!(&out[54..59], &[40, 40, 40, 40, 2]);
        assert_eq!(&out[59..63], b"NMC\x01");
    }

    #[test]
    fn lines_that_are_not_sam_are_refused_and_leave_nothing_behind() {
        let contigs = Contigs::new(vec![Contig { name: "K12".into(), length: 1000 }]).unwrap();
        let mut encoder = Encoder::new(&contigs);
        let mut out = vec![7];
        for line in [
            &b"r1\t99"[..],
            b"r\t0\tchr9\t1\t0\t1M\t*\t0\t0\tA\tI",
            b"r\t0\tK12\t1\t0\t1M\t*\t0\t0\tAC\tI",
            b"r\t0\tK12\t1\t0\t1M\t*\t0\t0\tA\t ",
        ] {
            assert!(encoder.encode(line, &mut out).is_err());
            assert_eq!(out, [7]);
        }
    }
}

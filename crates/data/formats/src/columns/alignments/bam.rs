//! Alignments in binary (SAMv1 §4.2).

use std::fmt::Write;

use super::{Alignments, Column};
use crate::columns::Wrong;
use crate::columns::number::write_general;

/// Bytes of a record in front of its name.
const FIXED: usize = 36;
const BASES: &[u8; 16] = b"=ACMGRSVTWYHKDBN";
const OPERATIONS: &[u8; 9] = b"MIDNSHP=X";
const SHORT: &str = "it is shorter than its parts";
/// A quality that stands for none at all.
const NO_QUALITY: u8 = 0xff;

/// The parts of a record that have no fixed length.
struct Parts<'r> {
    name: &'r [u8],
    cigar: &'r [u8],
    bases: &'r [u8],
    length: usize,
    qualities: &'r [u8],
    tags: &'r [u8],
}

impl<'r> Parts<'r> {
    fn of(record: &'r [u8]) -> Option<Self> {
        let (name, operations) = (usize::from(*record.get(12)?), usize::from(u16_at(record, 16)?));
        let length = u32_at(record, 20)? as usize;
        let (name, rest) = record.get(FIXED..)?.split_at_checked(name)?;
        let (cigar, rest) = rest.split_at_checked(4 * operations)?;
        let (bases, rest) = rest.split_at_checked(length.div_ceil(2))?;
        let (qualities, tags) = rest.split_at_checked(length)?;
        Some(Self { name: name.strip_suffix(b"\0").unwrap_or(name), cigar, bases, length, qualities, tags })
    }
}

impl Alignments {
    pub(super) fn push_bam(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        let short = || Wrong::record(SHORT);
        let parts = Parts::of(record).ok_or_else(short)?;
        let number = |at: usize| u32_at(record, at).map(|bits| bits as i32).ok_or_else(short);
        let (reference, pos, mate, mate_pos, template) = (number(4)?, number(8)?, number(24)?, number(28)?, number(32)?);
        self.text(Column::Name, Some(parts.name).filter(|name| !matches!(*name, b"*" | b"")))?;
        self.number(Column::Flag, Some(u16_at(record, 18).ok_or_else(short)?.into()))?;
        self.reference(Column::Reference, reference)?;
        let position = |pos: i32| (pos >= 0).then_some(i64::from(pos) + 1);
        self.number(Column::Pos, position(pos))?;
        self.number(Column::Mapq, record.get(13).map(|mapq| i64::from(*mapq)))?;
        self.reference(Column::MateReference, mate)?;
        self.number(Column::MatePos, position(mate_pos))?;
        self.number(Column::TemplateLength, Some(template.into()))?;
        self.sequence(&parts)?;
        self.tags_and_cigar(&parts)?;
        Ok(true)
    }

    fn reference(&mut self, column: Column, number: i32) -> Result<(), Wrong> {
        if !self.wants(column) || number < 0 {
            return self.text(column, None);
        }
        let name = self.references.get(number as usize).map(|name| name.clone().into_bytes());
        let name = name.ok_or_else(|| Wrong::Record(format!("its header has no reference number {number}")))?;
        self.text(column, Some(&name))
    }

    fn sequence(&mut self, parts: &Parts<'_>) -> Result<(), Wrong> {
        if self.wants(Column::Sequence) {
            let mut bases = Vec::with_capacity(parts.length + 1);
            for pair in parts.bases {
                bases.extend([BASES[usize::from(pair >> 4)], BASES[usize::from(pair & 15)]]);
            }
            bases.truncate(parts.length);
            self.text(Column::Sequence, Some(bases.as_slice()).filter(|bases| !bases.is_empty()))?;
        }
        if self.wants(Column::Quality) {
            let known = !parts.qualities.is_empty() && parts.qualities.first() != Some(&NO_QUALITY);
            let letters: Vec<u8> = parts.qualities.iter().map(|quality| quality.saturating_add(33).min(126)).collect();
            self.text(Column::Quality, known.then_some(letters.as_slice()))?;
        }
        Ok(())
    }

    /// A CIGAR of more operations than a record has room for stands in the tag `CG` (SAMv1 §4.2.2).
    fn tags_and_cigar(&mut self, parts: &Parts<'_>) -> Result<(), Wrong> {
        let placeholder = parts.cigar.len() == 8
            && u32_at(parts.cigar, 0).is_some_and(|clip| clip & 15 == 4 && (clip >> 4) as usize == parts.length)
            && u32_at(parts.cigar, 4).is_some_and(|skip| skip & 15 == 3);
        let mut operations = parts.cigar;
        let mut tags = Tags { rest: parts.tags };
        let mut text = std::mem::take(&mut self.scratch);
        while (self.wants(Column::Tags) || placeholder) && !tags.rest.is_empty() {
            let tag = tags.next().map_err(Wrong::record)?;
            if placeholder && tag.key == b"CG" && tag.kind == b'B' && tag.value.first() == Some(&b'I') {
                operations = tag.value.get(5..).unwrap_or_default();
                continue;
            }
            text.clear();
            match tag.kind {
                b'A' | b'Z' | b'H' => self.tag(tag.key, tag.value)?,
                _ => {
                    tag.write(&mut text).ok_or_else(|| Wrong::record("a tag has a value of an unknown type"))?;
                    self.tag(tag.key, text.as_bytes())?;
                }
            }
        }
        self.end_tags()?;
        if self.wants(Column::Cigar) {
            text.clear();
            for operation in operations.chunks_exact(4).filter_map(|bytes| u32_at(bytes, 0)) {
                let letter = OPERATIONS.get((operation & 15) as usize);
                let letter = letter.ok_or_else(|| Wrong::record("its CIGAR has an unknown operation"))?;
                // Writing to a string does not fail.
                let _ = write!(text, "{}{}", operation >> 4, *letter as char);
            }
            self.text(Column::Cigar, Some(text.as_bytes()).filter(|cigar| !cigar.is_empty()))?;
        }
        self.scratch = text;
        Ok(())
    }
}

/// Takes the tags apart.
struct Tags<'r> {
    rest: &'r [u8],
}

struct Tag<'r> {
    key: &'r [u8],
    kind: u8,
    /// Of text without its end; of an array with its type and count.
    value: &'r [u8],
}

impl<'r> Tags<'r> {
    fn next(&mut self) -> Result<Tag<'r>, &'static str> {
        let (head, rest) = self.rest.split_at_checked(3).ok_or(SHORT)?;
        let kind = head[2];
        let (length, end) = match kind {
            b'Z' | b'H' => (memchr::memchr(0, rest).ok_or("a tag of text has no end")?, 1),
            b'B' => {
                let width = rest.first().and_then(|kind| width(*kind)).ok_or("an array has values of an unknown type")?;
                let count = u32_at(rest, 1).ok_or(SHORT)? as usize;
                (count.checked_mul(width).and_then(|bytes| bytes.checked_add(5)).ok_or(SHORT)?, 0)
            }
            _ => (width(kind).ok_or("a tag has a value of an unknown type")?, 0),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest.get(end..).unwrap_or_default();
        Ok(Tag { key: &head[..2], kind, value })
    }
}

impl Tag<'_> {
    /// The value as SAM writes it; arrays as `c,1,2`.
    fn write(&self, out: &mut String) -> Option<()> {
        if self.kind != b'B' {
            return write_number(self.kind, self.value, out);
        }
        let (kind, values) = (*self.value.first()?, self.value.get(5..)?);
        out.push(kind as char);
        for value in values.chunks_exact(width(kind)?) {
            out.push(',');
            write_number(kind, value, out)?;
        }
        Some(())
    }
}

fn width(kind: u8) -> Option<usize> {
    match kind {
        b'A' | b'c' | b'C' => Some(1),
        b's' | b'S' => Some(2),
        b'i' | b'I' | b'f' => Some(4),
        _ => None,
    }
}

fn write_number(kind: u8, value: &[u8], out: &mut String) -> Option<()> {
    let written = match kind {
        b'c' => write!(out, "{}", *value.first()? as i8),
        b'C' => write!(out, "{}", value.first()?),
        b's' => write!(out, "{}", u16_at(value, 0)? as i16),
        b'S' => write!(out, "{}", u16_at(value, 0)?),
        b'i' => write!(out, "{}", u32_at(value, 0)? as i32),
        b'I' => write!(out, "{}", u32_at(value, 0)?),
        b'f' => {
            write_general(f32::from_bits(u32_at(value, 0)?), out);
            Ok(())
        }
        _ => return None,
    };
    written.ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

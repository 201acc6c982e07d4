//! Variants in binary (VCFv4.3 §6.3).

use super::typed::{Kind, Typed};
use super::{Variants, text, texts};
use crate::columns::Wrong;

const MISSING_FLOAT: u32 = 0x7f80_0001;
const END_FLOAT: u32 = 0x7f80_0002;

/// Typed values, as they lie.
#[derive(Clone, Copy)]
struct Values<'r> {
    kind: u8,
    /// Values of one entry.
    count: usize,
    bytes: &'r [u8],
}

/// Takes a record apart; every read is checked against its end.
struct Cursor<'r> {
    rest: &'r [u8],
}

type Decoded<T> = Result<T, &'static str>;
const SHORT: &str = "it is shorter than its parts";

impl<'r> Cursor<'r> {
    fn take(&mut self, count: usize) -> Decoded<&'r [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Decoded<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(SHORT)
    }

    /// A type and how many values of it.
    fn descriptor(&mut self) -> Decoded<(u8, usize)> {
        let byte = self.take(1)?.first().copied().ok_or(SHORT)?;
        let count = match byte >> 4 {
            15 => usize::try_from(self.integer()?).map_err(|_| "a length is negative")?,
            count => usize::from(count),
        };
        Ok((byte & 15, count))
    }

    fn values(&mut self, entries: usize) -> Decoded<Values<'r>> {
        let (kind, count) = self.descriptor()?;
        let width = width(kind).ok_or("it has values of an unknown type")?;
        let bytes = count.checked_mul(width).and_then(|bytes| bytes.checked_mul(entries)).ok_or(SHORT)?;
        Ok(Values { kind, count, bytes: self.take(bytes)? })
    }

    fn integer(&mut self) -> Decoded<i32> {
        let byte = self.take(1)?.first().copied().ok_or(SHORT)?;
        let width = width(byte & 15).filter(|_| byte >> 4 == 1 && byte & 15 <= 3).ok_or("a number is of another type")?;
        number(self.take(width)?).ok_or("a number is missing")
    }
}

fn width(kind: u8) -> Option<usize> {
    match kind {
        0 => Some(0),
        1 | 7 => Some(1),
        2 => Some(2),
        3 | 5 => Some(4),
        _ => None,
    }
}

/// An integer of one, two or four bytes; none if it is missing.
fn number(bytes: &[u8]) -> Option<i32> {
    match raw(bytes) {
        (value, least) if value == least => None,
        (value, _) => Some(value),
    }
}

/// An integer, and the least of its width: that one is missing, the next ends a list.
fn raw(bytes: &[u8]) -> (i32, i32) {
    match *bytes {
        [a] => (i32::from(a as i8), i32::from(i8::MIN)),
        [a, b] => (i32::from(i16::from_le_bytes([a, b])), i32::from(i16::MIN)),
        [a, b, c, d] => (i32::from_le_bytes([a, b, c, d]), i32::MIN),
        _ => (i32::MIN, i32::MIN),
    }
}

impl<'r> Values<'r> {
    /// The values of one entry up to where its list ends.
    fn integers(self) -> impl Iterator<Item = Option<i32>> + Clone + use<'r> {
        let width = width(self.kind).unwrap_or(1).max(1);
        let values = self.bytes.chunks_exact(width).map(raw);
        values.take_while(|(value, least)| *value != least + 1).map(|(value, least)| (value != least).then_some(value))
    }

    fn floats(self) -> impl Iterator<Item = Option<f32>> + Clone + use<'r> {
        let bits = self.bytes.chunks_exact(4).filter_map(|bytes| bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)));
        bits.take_while(|bits| *bits != END_FLOAT).map(|bits| (bits != MISSING_FLOAT).then(|| f32::from_bits(bits)))
    }

    fn text(self) -> &'r [u8] {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        &self.bytes[..end]
    }

    /// One entry of several samples.
    fn of_sample(self, sample: usize) -> Self {
        let length = self.count * width(self.kind).unwrap_or(0);
        Self { bytes: self.bytes.get(sample * length..(sample + 1) * length).unwrap_or_default(), ..self }
    }

    /// Puts one entry into a column.
    fn put(self, column: &mut Typed, name: &str) -> Result<(), Wrong> {
        let misfit = |reason: &str| Wrong::Record(format!("`{name}` is not what the header declares: {reason}"));
        match self.kind {
            1..=3 if one_missing(self.integers()) => drop(column.no_entry()),
            5 if one_missing(self.floats()) => drop(column.no_entry()),
            1..=3 => {
                self.single(column, self.integers().count()).map_err(misfit)?;
                self.integers().for_each(|value| column.integer(value));
                column.end_entry();
            }
            5 => {
                self.single(column, self.floats().count()).map_err(misfit)?;
                self.floats().try_for_each(|value| column.float(value)).map_err(misfit)?;
                column.end_entry();
            }
            7 => column.entry(self.text(), name)?,
            _ => drop(column.no_entry()),
        }
        Ok(())
    }

    fn single(self, column: &Typed, count: usize) -> Result<(), &'static str> {
        if column.shape.list || count == 1 { Ok(()) } else { Err("it holds several values") }
    }
}

/// Nothing, or one missing value: what VCF writes as a dot.
fn one_missing<T>(mut values: impl Iterator<Item = Option<T>>) -> bool {
    values.next().flatten().is_none() && values.next().is_none()
}

/// A genotype as VCF writes it: allele numbers with `/` or `|` between them.
fn genotype(values: Values<'_>, out: &mut String) {
    use std::fmt::Write;
    out.clear();
    for (place, value) in values.integers().enumerate() {
        let value = value.unwrap_or(0);
        if place > 0 {
            out.push(if value & 1 == 1 { '|' } else { '/' });
        }
        match value >> 1 {
            0 => out.push('.'),
            // Writing to a string does not fail.
            allele => drop(write!(out, "{}", allele - 1)),
        }
    }
}

impl Variants {
    pub(super) fn push_bcf(&mut self, record: &[u8]) -> Result<bool, Wrong> {
        let mut frame = Cursor { rest: record };
        let (shared, own) = (frame.u32().map_err(Wrong::record)?, frame.u32().map_err(Wrong::record)?);
        let mut shared = Cursor { rest: frame.take(shared as usize).map_err(Wrong::record)? };
        let mut own = Cursor { rest: frame.take(own as usize).map_err(Wrong::record)? };
        let counts = self.push_site(&mut shared)?;
        self.push_bcf_info(&mut shared, counts.infos)?;
        self.push_bcf_samples(&mut own, counts.formats, counts.samples)?;
        Ok(true)
    }

    /// The fixed columns.
    fn push_site(&mut self, cursor: &mut Cursor<'_>) -> Result<Counts, Wrong> {
        let mut fixed = [0_u32; 6];
        for number in &mut fixed {
            *number = cursor.u32().map_err(Wrong::record)?;
        }
        let [chrom, pos, _, qual, alleles, samples] = fixed;
        let counts = Counts { infos: alleles & 0xffff, formats: samples >> 24, samples: (samples & 0xff_ffff) as usize };
        let contig = self.contigs.get(chrom as usize).filter(|name| !name.is_empty());
        let contig = contig.ok_or_else(|| Wrong::record(format!("its header has no contig number {chrom}")))?;
        text(&mut self.fixed.chrom, Some(contig.as_bytes()), "CHROM")?;
        if let Some(builder) = &mut self.fixed.pos {
            builder.append_value(i64::from(pos as i32) + 1);
        }
        if let Some(builder) = &mut self.fixed.qual {
            builder.append_option((qual != MISSING_FLOAT).then(|| f32::from_bits(qual)));
        }
        let id = cursor.values(1).map_err(Wrong::record)?.text();
        text(&mut self.fixed.id, Some(id).filter(|id| !matches!(*id, b"" | b".")), "ID")?;
        let mut names = Vec::new();
        for _ in 0..alleles >> 16 {
            names.push(cursor.values(1).map_err(Wrong::record)?.text());
        }
        text(&mut self.fixed.reference, Some(names.first().copied().unwrap_or(b".")), "REF")?;
        texts(&mut self.fixed.alt, Some(names.iter().skip(1).copied()), "ALT")?;
        let filters = cursor.values(1).map_err(Wrong::record)?;
        let name = |number: Option<i32>| {
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.and_then(|number| self.strings.get(number)).map(|name| name.as_bytes()).filter(|name| !name.is_empty())
        };
        let found: Vec<Option<&[u8]>> = filters.integers().map(name).collect();
        if found.contains(&None) {
            return Err(Wrong::record("its header does not declare one of its filters"));
        }
        texts(&mut self.fixed.filter, (!found.is_empty()).then(|| found.into_iter().flatten()), "FILTER")?;
        Ok(counts)
    }

    fn push_bcf_info(&mut self, cursor: &mut Cursor<'_>, count: u32) -> Result<(), Wrong> {
        let row = self.rows;
        for _ in 0..count {
            let key = cursor.integer().map_err(Wrong::record)?;
            let values = cursor.values(1).map_err(Wrong::record)?;
            let key = name_of(&self.strings, key)?;
            let Some((name, column, last)) = self.info.column(key.as_bytes(), row)? else { continue };
            *last = row;
            if column.shape.kind == Kind::Flag && !column.shape.list {
                column.flag(true);
            } else {
                values.put(column, name)?;
            }
        }
        Ok(())
    }

    fn push_bcf_samples(&mut self, cursor: &mut Cursor<'_>, count: u32, samples: usize) -> Result<(), Wrong> {
        if samples != self.samples && count > 0 {
            return Err(Wrong::record(format!("it has {samples} samples, its header has {}", self.samples)));
        }
        self.expect_keys(count as usize)?;
        let row = self.rows;
        let mut text = String::new();
        for _ in 0..count {
            let key = cursor.integer().map_err(Wrong::record)?;
            let values = cursor.values(samples).map_err(Wrong::record)?;
            let key = name_of(&self.strings, key)?;
            let Some((name, column, last)) = self.format.column(key.as_bytes(), row)? else { continue };
            *last = row;
            for sample in 0..samples {
                let entry = values.of_sample(sample);
                if key == "GT" && matches!(values.kind, 1..=3) {
                    genotype(entry, &mut text);
                    column.entry(text.as_bytes(), name)?;
                } else {
                    entry.put(column, name)?;
                }
            }
            column.end_samples();
        }
        Ok(())
    }
}

/// How many parts a record has.
struct Counts {
    infos: u32,
    formats: u32,
    samples: usize,
}

fn name_of(strings: &[String], number: i32) -> Result<&str, Wrong> {
    let name = usize::try_from(number).ok().and_then(|number| strings.get(number)).filter(|name| !name.is_empty());
    name.map(String::as_str).ok_or_else(|| Wrong::record(format!("its header declares nothing of number {number}")))
}

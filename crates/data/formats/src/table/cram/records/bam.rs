//! A record as BAM (SAMv1 §4.2), which needs the bases of the reference unless none are wanted.

use super::compression::Compression;
use super::record::{Decoded, Feature, NO_SEQUENCE, Record, UNMAPPED, Value};
use super::{Fault, SliceHeader};

/// What stands for bases that no reference gives.
const UNKNOWN: u8 = b'N';
/// What stands for no quality.
const NO_QUALITY: u8 = 0xff;
/// The quality of bases whose own is not stored while that of others is, as htslib and htsjdk have it.
const USUAL_QUALITY: u8 = 30;
/// Operations of a CIGAR.
const MATCH: u32 = 0;
const INSERTION: u32 = 1;
const DELETION: u32 = 2;
const SKIP: u32 = 3;
const SOFT_CLIP: u32 = 4;
const HARD_CLIP: u32 = 5;
const PADDING: u32 = 6;
/// More operations stand in a tag.
const OPERATIONS_LIMIT: usize = 65_535;
/// A tag in which htslib notes what it is not to make up.
const NOTE: &[u8] = b"cFC";

/// Where bases of the reference come from.
pub(in crate::table::cram) enum Bases<'r> {
    /// They are not wanted.
    Unwanted,
    /// There are none: what is not stored is unknown.
    None,
    /// Those of these positions, from 1.
    Known { start: i64, bases: &'r [u8] },
}

/// What is made of the features of a record.
struct Alignment {
    cigar: Vec<u32>,
    bases: Vec<u8>,
    qualities: Vec<u8>,
}

/// The embedded bases of the reference.
impl Decoded {
    pub(in crate::table::cram) fn embedded(&self, header: &SliceHeader) -> Option<Bases<'_>> {
        self.embedded.as_ref().map(|bases| Bases::Known { start: header.start.into(), bases })
    }

    /// Whether the bases of the record are to be looked up in the reference.
    pub(in crate::table::cram) fn needs_reference(&self, record: &Record) -> bool {
        if record.flags & UNMAPPED != 0 || record.kind & NO_SEQUENCE != 0 || record.reference < 0 {
            return false;
        }
        let features = self.features(record);
        let stored = |feature: &Feature| if feature.code == b'X' { 0 } else { feature.extent()[0] };
        features.iter().map(stored).sum::<u64>() < record.length as u64
    }
}

/// Adds a record as BAM. `groups`: the names of the read groups.
pub(in crate::table::cram) fn write_bam(
    compression: &Compression,
    decoded: &Decoded,
    record: &Record,
    bases: &Bases<'_>,
    groups: &[String],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut alignment = align(compression, decoded, record, bases)?;
    if !compression.forward && record.flags & super::record::REVERSE != 0 {
        alignment.qualities.reverse();
    }
    let wanted = !matches!(bases, Bases::Unwanted) && (record.kind & NO_SEQUENCE == 0 || record.flags & UNMAPPED != 0);
    let length = if wanted { alignment.bases.len() } else { 0 };
    // Without bases BAM has no room for qualities; those of a record that has some stand beside unknown ones.
    let length =
        if record.kind & NO_SEQUENCE == 0 || record.flags & UNMAPPED != 0 { length.max(alignment.qualities.len()) } else { 0 };
    let name = decoded.bytes(record.name);
    let name_length = u8::try_from(name.len() + 1).map_err(|_| "a name is longer than 254 bytes")?;
    let begin = out.len();
    let (cigar, long) = match alignment.cigar.len() {
        0..=OPERATIONS_LIMIT => (&alignment.cigar[..], None),
        // SAMv1 §4.2.2.
        _ => {
            let covered = (record.end - i64::from(record.start) + 1) as u32;
            (&[(length as u32) << 4 | SOFT_CLIP, covered << 4 | SKIP][..], Some(&alignment.cigar))
        }
    };
    let quality = if record.flags & UNMAPPED == 0 { record.quality } else { 0 };
    out.extend([0; 4]);
    out.extend(record.reference.to_le_bytes());
    out.extend((record.start - 1).to_le_bytes());
    out.extend([name_length, quality as u8, 0, 0]);
    out.extend((cigar.len() as u16).to_le_bytes());
    out.extend(record.flags.to_le_bytes());
    out.extend((length as u32).to_le_bytes());
    out.extend(record.mate.reference.to_le_bytes());
    out.extend((record.mate.start.wrapping_sub(1)).to_le_bytes());
    out.extend(record.mate.template.to_le_bytes());
    out.extend_from_slice(name);
    out.push(0);
    cigar.iter().for_each(|operation| out.extend(operation.to_le_bytes()));
    alignment.bases.resize(length, UNKNOWN);
    alignment.qualities.resize(length, NO_QUALITY);
    out.extend(alignment.bases.chunks(2).map(|pair| four_bits(pair[0]) << 4 | pair.get(1).map_or(0, |base| four_bits(*base))));
    out.extend(&alignment.qualities);
    put_tags(compression, decoded, record, groups, out)?;
    if let Some(cigar) = long {
        out.extend(b"CGBI");
        out.extend((cigar.len() as u32).to_le_bytes());
        cigar.iter().for_each(|operation| out.extend(operation.to_le_bytes()));
    }
    let size = ((out.len() - begin - 4) as u32).to_le_bytes();
    out[begin..begin + 4].copy_from_slice(&size);
    Ok(())
}

fn put_tags(
    compression: &Compression,
    decoded: &Decoded,
    record: &Record,
    groups: &[String],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let tags = compression.lines.get(record.line).map(Vec::as_slice).unwrap_or_default();
    for (tag, value) in tags.iter().zip(&record.tags) {
        let [_, key @ ..] = tag.to_be_bytes();
        if key != NOTE {
            out.extend(key);
            out.extend_from_slice(decoded.bytes(*value));
        }
    }
    if let Ok(group) = usize::try_from(record.group) {
        out.extend(b"RGZ");
        out.extend_from_slice(groups.get(group).ok_or("a record has an unknown read group")?.as_bytes());
        out.push(0);
    }
    Ok(())
}

/// As SAMv1 §4.2 counts bases.
fn four_bits(base: u8) -> u8 {
    const BASES: &[u8; 16] = b"=ACMGRSVTWYHKDBN";
    BASES.iter().position(|known| *known == base.to_ascii_uppercase()).unwrap_or(15) as u8
}

fn align(compression: &Compression, decoded: &Decoded, record: &Record, bases: &Bases<'_>) -> Result<Alignment, Fault> {
    let mut alignment = Alignment { cigar: Vec::new(), bases: Vec::new(), qualities: Vec::new() };
    if let Some(qualities) = record.qualities {
        alignment.qualities = decoded.bytes(qualities).to_vec();
    }
    if record.flags & UNMAPPED != 0 {
        alignment.bases = decoded.bytes(record.bases).to_vec();
        return Ok(alignment);
    }
    let mut place = 0_u64;
    let mut read = 0;
    let mut reference = i64::from(record.start);
    for feature in decoded.features(record) {
        place += feature.step.max(0) as u64;
        let matching = (place - 1).saturating_sub(read);
        alignment.matching(bases, reference, matching);
        (read, reference) = (read + matching, reference + matching as i64);
        alignment.feature(compression, decoded, feature, base_at(bases, reference), place as usize - 1, record);
        let [passed, covered] = feature.extent();
        (read, reference) = (read + passed, reference + covered as i64);
    }
    alignment.matching(bases, reference, (record.length as u64).saturating_sub(read));
    Ok(alignment)
}

/// The base of the reference at a position from 1.
fn base_at(bases: &Bases<'_>, position: i64) -> u8 {
    match bases {
        Bases::Known { start, bases } => {
            let place = usize::try_from(position - start).ok();
            place.and_then(|place| bases.get(place)).copied().unwrap_or(UNKNOWN)
        }
        _ => UNKNOWN,
    }
}

impl Alignment {
    fn operation(&mut self, operation: u32, length: u64) {
        match self.cigar.last_mut() {
            // Soft clips are told one by one.
            Some(last) if *last & 15 == operation && operation != SOFT_CLIP => *last += (length as u32) << 4,
            _ if length > 0 => self.cigar.push((length as u32) << 4 | operation),
            _ => {}
        }
    }

    fn matching(&mut self, bases: &Bases<'_>, position: i64, length: u64) {
        if length == 0 {
            return;
        }
        self.operation(MATCH, length);
        match bases {
            Bases::Unwanted => {}
            Bases::Known { start, bases } => {
                let begin = usize::try_from(position - start).unwrap_or(usize::MAX);
                let known = bases.get(begin..).unwrap_or_default();
                let known = &known[..known.len().min(length as usize)];
                self.bases.extend_from_slice(known);
                self.bases.extend(std::iter::repeat_n(UNKNOWN, length as usize - known.len()));
            }
            Bases::None => self.bases.extend(std::iter::repeat_n(UNKNOWN, length as usize)),
        }
    }

    fn feature(
        &mut self,
        compression: &Compression,
        decoded: &Decoded,
        feature: &Feature,
        reference: u8,
        place: usize,
        record: &Record,
    ) {
        let [bases, positions] = feature.extent();
        match (feature.code, feature.value) {
            (b'X', Value::Base(code)) => {
                self.operation(MATCH, 1);
                self.bases.push(compression.substitute(reference, code));
            }
            (b'B', Value::BaseAndQuality(base, quality)) => {
                self.operation(MATCH, 1);
                self.bases.push(base);
                self.qualities_at(place, &[quality], record);
            }
            (b'Q', Value::Quality(quality)) => self.qualities_at(place, &[quality], record),
            (b'q', Value::Bytes(span)) => self.qualities_at(place, decoded.bytes(span), record),
            (b'i', Value::Base(base)) => {
                self.operation(INSERTION, 1);
                self.bases.push(base);
            }
            (code @ (b'b' | b'I' | b'S'), Value::Bytes(span)) => {
                self.operation(
                    if code == b'b' {
                        MATCH
                    } else if code == b'I' {
                        INSERTION
                    } else {
                        SOFT_CLIP
                    },
                    bases,
                );
                self.bases.extend_from_slice(decoded.bytes(span));
            }
            (b'D', _) => self.operation(DELETION, positions),
            (b'N', _) => self.operation(SKIP, positions),
            (b'P', Value::Length(length)) => self.operation(PADDING, length.max(0) as u64),
            (b'H', Value::Length(length)) => self.operation(HARD_CLIP, length.max(0) as u64),
            _ => {}
        }
    }

    /// Single qualities of a record whose others are not stored.
    fn qualities_at(&mut self, place: usize, qualities: &[u8], record: &Record) {
        if record.qualities.is_some() {
            return;
        }
        if self.qualities.is_empty() {
            self.qualities = vec![USUAL_QUALITY; record.length];
        }
        for (to, from) in self.qualities.iter_mut().skip(place).zip(qualities) {
            *to = *from;
        }
    }
}

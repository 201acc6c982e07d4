//! The compression header of a container (CRAMv3 §8.4): what is preserved, and how each data series is encoded.

use super::Fault;
use super::cursor::Cursor;
use super::encoding::{ArrayEncoding, Encoding, Streams};

/// Data series of numbers and bytes, by the keys of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// Flags of the alignment.
    BF,
    /// Flags of the record.
    CF,
    /// Reference.
    RI,
    /// Length of the read.
    RL,
    /// Position.
    AP,
    /// Read group.
    RG,
    /// Flags of the mate.
    MF,
    /// Reference of the mate.
    NS,
    /// Position of the mate.
    NP,
    /// Template length.
    TS,
    /// Records up to the mate.
    NF,
    /// Line of the dictionary of tags.
    TL,
    /// Number of features.
    FN,
    /// Code of a feature.
    FC,
    /// Position of a feature.
    FP,
    /// Length of a deletion.
    DL,
    /// Code of a substitution.
    BS,
    /// Length of a skip.
    RS,
    /// Length of a padding.
    PD,
    /// Length of a hard clip.
    HC,
    /// Mapping quality.
    MQ,
    /// Bases.
    BA,
    /// Qualities.
    QS,
}

/// Data series of arrays of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrays {
    /// Names.
    RN,
    /// Runs of bases.
    BB,
    /// Runs of qualities.
    QQ,
    /// Insertions.
    IN,
    /// Soft clips.
    SC,
}

pub(super) const SERIES: [&[u8; 2]; 23] = [
    b"BF", b"CF", b"RI", b"RL", b"AP", b"RG", b"MF", b"NS", b"NP", b"TS", b"NF", b"TL", b"FN", b"FC", b"FP", b"DL", b"BS", b"RS",
    b"PD", b"HC", b"MQ", b"BA", b"QS",
];
pub(super) const ARRAYS: [&[u8; 2]; 5] = [b"RN", b"BB", b"QQ", b"IN", b"SC"];

/// The header, understood.
#[derive(Debug)]
pub(in crate::table::cram) struct Compression {
    /// Whether names are stored (RN); else only those of records whose mate is elsewhere.
    pub(super) names: bool,
    /// Whether positions are differences (AP).
    pub(super) delta: bool,
    /// Whether bases are to be had from the reference (RR).
    pub(super) reference: bool,
    /// Whether qualities are in the order of the bases (QO).
    pub(super) forward: bool,
    /// Codes of substitutions, by base of the reference (SM).
    pub(super) matrix: [u8; 5],
    /// The dictionary of tags as it is stored (TD): lines of three bytes a tag.
    pub(super) dictionary: Vec<u8>,
    /// Tags of each line, as numbers.
    pub(super) lines: Vec<Vec<i32>>,
    series: [Option<Encoding>; SERIES.len()],
    arrays: [Option<ArrayEncoding>; ARRAYS.len()],
    tags: Vec<(i32, ArrayEncoding)>,
}

impl Compression {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut from = Cursor(bytes);
        let mut compression = Self {
            names: true,
            delta: true,
            reference: true,
            forward: true,
            matrix: [0x1b; 5],
            dictionary: Vec::new(),
            lines: Vec::new(),
            series: [const { None }; SERIES.len()],
            arrays: [const { None }; ARRAYS.len()],
            tags: Vec::new(),
        };
        compression.preservation(from.run()?)?;
        compression.encodings(from.run()?)?;
        let mut map = from.run()?;
        for _ in 0..map.count()? {
            let tag = map.itf8()?;
            if let Some(encoding) = ArrayEncoding::read(&mut map)? {
                compression.tags.push((tag, encoding));
            }
        }
        compression.tags.sort_by_key(|(tag, _)| *tag);
        Ok(compression)
    }

    fn preservation(&mut self, mut map: Cursor<'_>) -> Result<(), Fault> {
        for _ in 0..map.count()? {
            match map.take(2)? {
                b"RN" => self.names = map.byte()? != 0,
                b"AP" => self.delta = map.byte()? != 0,
                b"RR" => self.reference = map.byte()? != 0,
                b"QO" => self.forward = map.byte()? != 0,
                b"SM" => self.matrix.copy_from_slice(map.take(5)?),
                b"TD" => self.dictionary = map.run()?.0.to_vec(),
                _ => return Err(Fault::Unread("a preservation map with unknown keys")),
            }
        }
        // The last line may lack its end.
        let whole = self.dictionary.strip_suffix(&[0]).unwrap_or(&self.dictionary);
        if !self.dictionary.is_empty() {
            self.lines = whole.split(|byte| *byte == 0).map(|line| line.as_chunks().0.iter().map(tag_number).collect()).collect();
        }
        Ok(())
    }

    fn encodings(&mut self, mut map: Cursor<'_>) -> Result<(), Fault> {
        for _ in 0..map.count()? {
            let key = map.take(2)?;
            if let Some(place) = SERIES.iter().position(|known| *known == key) {
                self.series[place] = Encoding::read(&mut map)?;
            } else if let Some(place) = ARRAYS.iter().position(|known| *known == key) {
                self.arrays[place] = ArrayEncoding::read(&mut map)?;
            } else {
                // Series of versions before.
                map.itf8()?;
                map.run()?;
            }
        }
        Ok(())
    }

    fn encoding(&self, series: Series) -> Result<&Encoding, Fault> {
        self.series[series as usize].as_ref().ok_or("a data series of its records has no encoding".into())
    }

    pub(super) fn number(&self, series: Series, from: &mut Streams<'_>) -> Result<i32, Fault> {
        self.encoding(series)?.number(from)
    }

    pub(super) fn byte(&self, series: Series, from: &mut Streams<'_>) -> Result<u8, Fault> {
        self.encoding(series)?.byte(from)
    }

    pub(super) fn bytes(&self, series: Series, from: &mut Streams<'_>, count: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.encoding(series)?.bytes(from, count, out)
    }

    pub(super) fn array(&self, arrays: Arrays, from: &mut Streams<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.arrays[arrays as usize].as_ref().ok_or("a data series of its records has no encoding")?.array(from, out)
    }

    pub(super) fn tag(&self, tag: i32, from: &mut Streams<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let place = self.tags.binary_search_by_key(&tag, |(known, _)| *known);
        let found = place.ok().and_then(|place| self.tags.get(place));
        found.ok_or("a tag of its records has no encoding")?.1.array(from, out)
    }

    /// Whether bases are to be looked up in the reference.
    pub(in crate::table::cram) fn needs_reference(&self) -> bool {
        self.reference
    }

    /// The base that a code stands for where the reference has this one.
    pub(super) fn substitute(&self, reference: u8, code: u8) -> u8 {
        const BASES: [u8; 5] = *b"ACGTN";
        let row = BASES.iter().position(|base| *base == reference).unwrap_or(4);
        let others = BASES.iter().filter(|base| **base != BASES[row]).enumerate();
        let mut coded = others.filter(|(place, _)| self.matrix[row] >> (6 - 2 * place) & 3 == code & 3);
        coded.next().map_or(b'N', |(_, base)| *base)
    }
}

/// A tag's two letters and its type as the number that its encoding is found by.
fn tag_number(tag: &[u8; 3]) -> i32 {
    i32::from(tag[0]) << 16 | i32::from(tag[1]) << 8 | i32::from(tag[2])
}

//! The terms of the controlled vocabularies (psi-ms.obo, imagingMS.obo) that say where arrays lie and what is in them.

use quick_xml::events::BytesStart;

use super::number::Number;

/// A term that is understood; all others pass by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Continuous,
    Processed,
    Uuid,
    /// Any checksum of the .ibd.
    Checksum,
    PixelsX,
    PixelsY,
    PixelSizeX,
    PixelSizeY,
    Profile,
    Centroid,
    Positive,
    Negative,
    X,
    Y,
    Z,
    LowestMz,
    HighestMz,
    /// Base peak and total ion current: what is true of a whole spectrum only.
    OfWholeSpectrum,
    Offset,
    Length,
    EncodedLength,
    MzArray,
    IntensityArray,
    Number(Number),
    /// 16-bit floats, text.
    OtherNumber,
    NoCompression,
    Zlib,
    /// MS-Numpress and whatever comes.
    OtherCompression,
}

/// A `cvParam` that is understood.
#[derive(Clone, Debug)]
pub(super) struct Param {
    pub(super) term: Term,
    value: Vec<u8>,
}

impl Param {
    /// What a `cvParam` element says; `None` if it is of no interest here.
    pub(super) fn of(tag: &BytesStart<'_>) -> Option<Self> {
        let (mut accession, mut name, mut value) = (None, None, None);
        for attribute in tag.attributes().with_checks(false).flatten() {
            match attribute.key.as_ref() {
                b"accession" => accession = Some(attribute.value),
                b"name" => name = Some(attribute.value),
                b"value" => value = Some(attribute.value),
                _ => {}
            }
        }
        let term = term(accession.as_deref()?, name.as_deref().unwrap_or_default())?;
        Some(Self { term, value: value.map_or_else(Vec::new, |value| value.trim_ascii().to_vec()) })
    }

    /// The value as text; numbers and identifiers are ASCII whatever the encoding of the document.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap_or_default()
    }

    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        self.text().parse().ok()
    }
}

fn term(accession: &[u8], name: &[u8]) -> Option<Term> {
    let (vocabulary, digits) = accession.split_at_checked(accession.iter().position(|byte| *byte == b':')?)?;
    let number: u32 = std::str::from_utf8(digits.get(1..)?).ok()?.parse().ok()?;
    match vocabulary {
        b"IMS" => imaging(number),
        b"MS" => mass_spectrometry(number, name),
        _ => None,
    }
}

fn imaging(number: u32) -> Option<Term> {
    Some(match number {
        1_000_030 => Term::Continuous,
        1_000_031 => Term::Processed,
        1_000_042 => Term::PixelsX,
        1_000_043 => Term::PixelsY,
        1_000_046 => Term::PixelSizeX,
        1_000_047 => Term::PixelSizeY,
        1_000_050 => Term::X,
        1_000_051 => Term::Y,
        1_000_052 => Term::Z,
        1_000_080 => Term::Uuid,
        1_000_090..=1_000_092 => Term::Checksum,
        1_000_102 => Term::Offset,
        1_000_103 => Term::Length,
        1_000_104 => Term::EncodedLength,
        1_000_141 => Term::Number(Number::I32),
        1_000_142 => Term::Number(Number::I64),
        1_100_000 => Term::Number(Number::I8),
        1_100_001 => Term::Number(Number::I16),
        _ => return None,
    })
}

fn mass_spectrometry(number: u32, name: &[u8]) -> Option<Term> {
    // Exporters are known that give a float the other's accession but its right name.
    match (number, name) {
        (1_000_523, b"32-bit float") => return Some(Term::Number(Number::F32)),
        (1_000_521, b"64-bit float") => return Some(Term::Number(Number::F64)),
        _ => {}
    }
    Some(match number {
        1_000_127 => Term::Centroid,
        1_000_128 => Term::Profile,
        1_000_129 => Term::Negative,
        1_000_130 => Term::Positive,
        1_000_285 | 1_000_504 | 1_000_505 => Term::OfWholeSpectrum,
        1_000_514 => Term::MzArray,
        1_000_515 => Term::IntensityArray,
        1_000_519 => Term::Number(Number::I32),
        1_000_521 => Term::Number(Number::F32),
        1_000_522 => Term::Number(Number::I64),
        1_000_523 => Term::Number(Number::F64),
        1_000_520 | 1_001_479 => Term::OtherNumber,
        1_000_527 => Term::HighestMz,
        1_000_528 => Term::LowestMz,
        1_000_574 => Term::Zlib,
        1_000_576 => Term::NoCompression,
        1_002_312..=1_002_314 | 1_002_746..=1_002_748 | 1_003_088..=1_003_090 | 1_003_780..=1_003_785 => Term::OtherCompression,
        _ => return None,
    })
}

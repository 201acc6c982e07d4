//! The XML of a slice: the head of the object, the elements of its spectra with the places of their arrays written anew, the tail.

use bytes::Bytes;
use neardata_core::ByteRange;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use quick_xml::writer::Writer;

use super::data::{Spectra, Spectrum, Want};
use super::entry::Entry;
use super::ibd::{Layout, Place, until_error};
use super::param::{Param, Term};
use super::selection::Selection;
use super::xml::damaged;
use crate::FormatError;
use crate::table::Pieces;

/// Bytes of the tail read at a time.
const PIECE: u64 = 1 << 20;

/// What is needed to write the XML: with a window the m/z, as they tell how many peaks are left.
pub(super) fn want(_: &Selection) -> Want {
    Want { xml: true, stored: true, ..Want::default() }
}

/// The XML of a slice.
pub(super) fn pieces(mut spectra: Spectra) -> Result<Pieces, FormatError> {
    let windowed = spectra.selection.window.is_some();
    let head = head(&spectra, windowed)?;
    let (xml, tail) = (spectra.objects.xml.clone(), spectra.footer.tail);
    let mut layout = Layout::new();
    let elements = move || {
        let batch = spectra.next_batch().transpose()?;
        let name = spectra.objects.xml.name();
        let written = |batch: Vec<Spectrum>| -> Result<Bytes, FormatError> {
            let mut out = Vec::new();
            for spectrum in &batch {
                let places = layout.place(spectrum, windowed);
                out.extend_from_slice(b"\n      ");
                element(name, spectrum, places, windowed, &mut out)?;
            }
            Ok(out.into())
        };
        Some(batch.and_then(written))
    };
    let mut at = tail.start;
    let rest = move || {
        let range = ByteRange::new(at, at.saturating_add(PIECE).min(tail.end));
        at = range.end;
        (!range.is_empty()).then(|| xml.read(range).map_err(FormatError::from))
    };
    let line_end = || std::iter::once(Ok(Bytes::from_static(b"\n    ")));
    let end = std::iter::once(Ok(Bytes::from_static(b"\n")));
    let whole = std::iter::once(Ok(head)).chain(until_error(elements)).chain(line_end()).chain(until_error(rest)).chain(end);
    let mut whole = whole;
    Ok(Box::new(until_error(move || whole.next())))
}

/// The head with the number of spectra of the slice. What it says of the whole .ibd (its checksum) is left out.
fn head(spectra: &Spectra, windowed: bool) -> Result<Bytes, FormatError> {
    let list = spectra.objects.head.list;
    let bytes = spectra.objects.xml.read(ByteRange::new(0, list.end))?;
    let name = spectra.objects.xml.name();
    let count = spectra.selection.count.to_string();
    let mut reader = Reader::from_reader(&*bytes);
    let mut writer = Writer::new(Vec::with_capacity(bytes.len()));
    loop {
        let event = reader.read_event().map_err(|error| damaged(name, reader.error_position(), error.to_string()))?;
        let event = match event {
            Event::Eof => break,
            Event::Start(tag) if tag.local_name().as_ref() == b"indexedmzML" => continue,
            Event::Start(tag) if tag.local_name().as_ref() == b"spectrumList" => Event::Start(with(&tag, &[(b"count", &count)])),
            Event::Empty(tag) => match param(&tag).map(|param| param.term) {
                Some(Term::Checksum) => continue,
                Some(Term::Zlib) if windowed => Event::Empty(uncompressed(&tag)),
                _ => Event::Empty(tag),
            },
            event => event,
        };
        writer.write_event(event).map_err(|error| damaged(name, 0, error.to_string()))?;
    }
    Ok(writer.into_inner().into())
}

/// The element of a spectrum with its arrays where they lie now. Arrays other than m/z and intensities are left out, and with a
/// window so is what is true of the whole spectrum only.
fn element(name: &str, spectrum: &Spectrum, places: [Place; 2], windowed: bool, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let at = spectrum.entry.xml;
    let mut reader = Reader::from_reader(&*spectrum.xml);
    let mut writer = Writer::new(out);
    let mut arrays = Arrays { entry: &spectrum.entry, places, seen: 0, inside: Inside::None };
    let count = spectrum.peaks.to_string();
    loop {
        let event = reader.read_event().map_err(|error| damaged(name, at + reader.error_position(), error.to_string()))?;
        if matches!(event, Event::Eof) {
            break;
        }
        let event = match event {
            Event::Start(tag) => match tag.local_name().as_ref() {
                b"spectrum" => Event::Start(with(&tag, &[(b"defaultArrayLength", default_length(&tag, &count))])),
                b"binaryDataArrayList" => Event::Start(with(&tag, &[(b"count", "2")])),
                b"binaryDataArray" => {
                    arrays.enter();
                    Event::Start(with(&tag, &[(b"arrayLength", &count)]))
                }
                _ => Event::Start(tag),
            },
            Event::Empty(tag) if tag.local_name().as_ref() == b"binaryDataArray" => {
                arrays.seen = arrays.seen.saturating_add(1);
                continue;
            }
            Event::Empty(tag) => match param(&tag).map_or(Fate::Kept, |p| fate(&tag, p.term, arrays.inside, &count, windowed)) {
                Fate::Kept => Event::Empty(tag),
                Fate::LeftOut => continue,
                Fate::Written(tag) => Event::Empty(tag),
            },
            Event::End(tag) if tag.local_name().as_ref() == b"binaryDataArray" => {
                let left_out = matches!(std::mem::replace(&mut arrays.inside, Inside::None), Inside::Other);
                if left_out {
                    continue;
                }
                Event::End(tag)
            }
            event => event,
        };
        if !matches!(arrays.inside, Inside::Other) {
            writer.write_event(event).map_err(|error| damaged(name, at, error.to_string()))?;
        }
    }
    Ok(())
}

/// Which array the events are inside of.
#[derive(Clone, Copy)]
enum Inside {
    None,
    Array(Place),
    /// One that is left out.
    Other,
}

struct Arrays<'e> {
    entry: &'e Entry,
    places: [Place; 2],
    seen: u8,
    inside: Inside,
}

impl Arrays<'_> {
    fn enter(&mut self) {
        let [mz, intensity] = self.places;
        self.inside = match self.seen {
            position if position == self.entry.mz.position => Inside::Array(mz),
            position if position == self.entry.intensity.position => Inside::Array(intensity),
            _ => Inside::Other,
        };
        self.seen = self.seen.saturating_add(1);
    }
}

/// What becomes of a parameter.
enum Fate {
    Kept,
    LeftOut,
    Written(BytesStart<'static>),
}

/// A parameter of a spectrum as it is true of the slice.
fn fate(tag: &BytesStart<'_>, term: Term, inside: Inside, count: &str, windowed: bool) -> Fate {
    let value = |value: &str| Fate::Written(with(tag, &[(b"value", value)]));
    match (term, inside) {
        (Term::Offset, Inside::Array(place)) => value(&place.offset.to_string()),
        (Term::Length, Inside::Array(_)) => value(count),
        (Term::EncodedLength, Inside::Array(place)) => value(&place.encoded.to_string()),
        (Term::Zlib, _) if windowed => Fate::Written(uncompressed(tag)),
        (Term::LowestMz | Term::HighestMz | Term::OfWholeSpectrum, _) if windowed => Fate::LeftOut,
        _ => Fate::Kept,
    }
}

fn param(tag: &BytesStart<'_>) -> Option<Param> {
    if tag.local_name().as_ref() == b"cvParam" { Param::of(tag) } else { None }
}

fn default_length<'c>(tag: &BytesStart<'_>, count: &'c str) -> &'c str {
    match super::xml::attribute(tag, b"defaultArrayLength") {
        Some(length) if &*length != b"0" => count,
        _ => "0",
    }
}

/// A window's arrays are written as plain values, whatever they were.
fn uncompressed(tag: &BytesStart<'_>) -> BytesStart<'static> {
    with(tag, &[(b"accession", "MS:1000576"), (b"name", "no compression")])
}

/// The tag with other values of those of these attributes that it has.
fn with(tag: &BytesStart<'_>, values: &[(&[u8], &str)]) -> BytesStart<'static> {
    let mut written = tag.to_owned();
    written.clear_attributes();
    for mut attribute in tag.attributes().with_checks(false).flatten() {
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == attribute.key.as_ref()) {
            attribute.value = value.as_bytes().into();
        } else if attribute.value.contains(&b'"') {
            // It stood between apostrophes.
            attribute.value = attribute.value.split(|byte| *byte == b'"').collect::<Vec<_>>().join(&b"&quot;"[..]).into();
        }
        written.push_attribute(attribute);
    }
    written
}

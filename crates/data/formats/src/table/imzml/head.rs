//! What stands in front of the first spectrum.

use neardata_core::{ByteRange, RangedRead};
use quick_xml::events::{BytesStart, Event};

use super::FORMAT;
use super::number::Number;
use super::param::{Param, Term};
use super::xml::{Xml, attribute, damaged};
use crate::FormatError;

/// A longer head is refused; usual ones have 10 KB.
const LIMIT: u64 = 64 << 20;

/// Sets of parameters that spectra refer to by a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(Vec<(Vec<u8>, Vec<Param>)>);

impl Groups {
    /// The parameters of the group that a `referenceableParamGroupRef` names; none if there is no such group.
    pub(super) fn named(&self, reference: &BytesStart<'_>) -> &[Param] {
        let Some(name) = attribute(reference, b"ref") else { return &[] };
        self.0.iter().find(|(id, _)| *id == *name).map_or(&[], |(_, params)| params)
    }

    fn params(&self) -> impl Iterator<Item = &Param> {
        self.0.iter().flat_map(|(_, params)| params)
    }

    /// The number type of the group that describes this kind of array.
    fn number(&self, kind: Term) -> Option<Number> {
        let (_, params) = self.0.iter().find(|(_, params)| params.iter().any(|param| param.term == kind))?;
        params.iter().find_map(|param| if let Term::Number(number) = param.term { Some(number) } else { None })
    }
}

/// The head of an imzML document.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) groups: Groups,
    /// The identifier that the .ibd begins with, where one is given.
    pub(super) uuid: Option<[u8; 16]>,
    /// Number of spectra, as the list says.
    pub(super) spectra: Option<u64>,
    /// The `<spectrumList>` tag.
    pub(super) list: ByteRange,
    /// Whether the list is `<spectrumList/>`.
    pub(super) closed: bool,
    /// `continuous` or `processed`.
    pub(super) mode: Option<&'static str>,
    facts: Vec<(Term, String)>,
}

impl Head {
    /// Reads up to the list of spectra, and nothing behind it but what came with it.
    pub(super) fn of(object: &dyn RangedRead) -> Result<Self, FormatError> {
        Self::read(&mut Xml::head(object), object.name())
    }

    /// Reads events up to the start of the list of spectra.
    pub(super) fn read(xml: &mut Xml<'_>, name: &str) -> Result<Self, FormatError> {
        let list = ByteRange::new(0, 0);
        let mut head =
            Self { groups: Groups::default(), uuid: None, spectra: None, list, closed: false, mode: None, facts: Vec::new() };
        let mut group: Option<(Vec<u8>, Vec<Param>)> = None;
        let mut referred = Vec::new();
        loop {
            let (event, place) = xml.next()?;
            if place.end > LIMIT {
                return Err(damaged(name, place.start, format!("no spectrum begins within {} MiB", LIMIT >> 20)));
            }
            let closed = matches!(event, Event::Empty(_));
            match event {
                Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                    b"cvParam" => {
                        let Some(param) = Param::of(&tag) else { continue };
                        match &mut group {
                            Some((_, params)) => params.push(param),
                            None => head.learn(&param),
                        }
                    }
                    b"referenceableParamGroup" if !closed => {
                        group = Some((attribute(&tag, b"id").unwrap_or_default().into_owned(), Vec::new()));
                    }
                    b"referenceableParamGroupRef" => referred.push(tag.into_owned()),
                    b"spectrumList" => {
                        head.spectra = attribute(&tag, b"count").and_then(|count| std::str::from_utf8(&count).ok()?.parse().ok());
                        (head.list, head.closed) = (place, closed);
                        break;
                    }
                    b"spectrum" => return Err(damaged(name, place.start, "a spectrum lies outside the list of spectra")),
                    _ => {}
                },
                Event::End(tag) if tag.local_name().as_ref() == b"referenceableParamGroup" => head.groups.0.extend(group.take()),
                Event::Eof => return Err(damaged(name, place.start, "it has no <spectrumList>")),
                _ => {}
            }
        }
        // What the head says by reference, as its groups may stand behind.
        let groups = std::mem::take(&mut head.groups);
        for param in referred.iter().flat_map(|reference| groups.named(reference)) {
            head.learn(param);
        }
        head.groups = groups;
        Ok(head)
    }

    fn learn(&mut self, param: &Param) {
        match param.term {
            Term::Continuous => self.mode = Some("continuous"),
            Term::Processed => self.mode = Some("processed"),
            // What is no UUID cannot be compared.
            Term::Uuid => self.uuid = uuid(param.text()),
            term => self.facts.push((term, param.text().to_owned())),
        }
    }

    /// Number types of m/z and intensity where the groups tell.
    pub(super) fn numbers(&self) -> (Option<Number>, Option<Number>) {
        (self.groups.number(Term::MzArray), self.groups.number(Term::IntensityArray))
    }

    /// What is worth a line: (name, value).
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let value = |term| self.facts.iter().find(|(known, _)| *known == term).map(|(_, value)| value.clone());
        let says = |term| self.facts.iter().any(|(known, _)| *known == term) || self.groups.params().any(|p| p.term == term);
        let either = |(first, word): (Term, &str), (second, other): (Term, &str)| match (says(first), says(second)) {
            (true, true) => Some("mixed".to_owned()),
            (true, false) => Some(word.to_owned()),
            (false, true) => Some(other.to_owned()),
            (false, false) => None,
        };
        let pair = |x, y, unit: &str| Some(format!("{} x {}{unit}", value(x)?, value(y)?));
        let arrays = |kind| {
            let (_, params) = self.groups.0.iter().find(|(_, params)| params.iter().any(|param| param.term == kind))?;
            params.iter().any(|param| param.term == Term::Zlib).then(|| "zlib".to_owned())
        };
        let facts = [
            ("mode", self.mode.map(str::to_owned)),
            ("spectra are", either((Term::Profile, "profile"), (Term::Centroid, "centroid"))),
            ("polarity", either((Term::Positive, "positive"), (Term::Negative, "negative"))),
            ("pixels", pair(Term::PixelsX, Term::PixelsY, "")),
            ("pixel size", pair(Term::PixelSizeX, Term::PixelSizeY, "")),
            ("m/z compression", arrays(Term::MzArray)),
            ("intensity compression", arrays(Term::IntensityArray)),
            ("UUID", self.uuid.map(|uuid| uuid.iter().map(|byte| format!("{byte:02x}")).collect())),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Refuses an .ibd of another document.
    pub(super) fn check_pair(&self, xml: &dyn RangedRead, ibd: &dyn RangedRead) -> Result<(), FormatError> {
        if ibd.size() < 16 {
            return Err(FormatError::Truncated { name: ibd.name().to_owned(), what: FORMAT, offset: ibd.size() });
        }
        let Some(uuid) = self.uuid else { return Ok(()) };
        let found = ibd.read(ByteRange::new(0, 16))?;
        // Some exporters write the first three fields little-endian, as GUIDs are kept in memory on Windows.
        let mut swapped = uuid;
        for field in [0..4, 4..6, 6..8] {
            swapped[field].reverse();
        }
        if *found == uuid || *found == swapped {
            return Ok(());
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let reason = format!("its UUID is {}, that of {} is {}: they are no pair", hex(&found), xml.name(), hex(&uuid));
        Err(damaged(ibd.name(), 0, reason))
    }
}

/// The bytes of a UUID, with or without braces and dashes.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim_start_matches("urn:uuid:").chars().filter(|letter| !"{}-".contains(*letter)).collect();
    let hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u128::from_str_radix(&digits, 16).ok())?.map(u128::to_be_bytes)
}

//! The one pass over the XML that makes the index.

use std::io::{self, Write};

use neardata_core::{ByteRange, RangedRead};
use quick_xml::events::Event;

use super::FORMAT;
use super::describe::describe;
use super::head::Head;
use super::index::{Footer, Writer};
use super::spectrum::{Seen, Spectra, Tag};
use super::xml::{Xml, damaged};
use crate::table::{Description, Extent};
use crate::{FormatError, Progress};

/// Progress is told every so many spectra.
const TELL_EVERY: u64 = 1024;

/// What is learned beside the index.
#[derive(Default)]
struct Learned {
    count: u64,
    peaks: u64,
    mz: Option<[f64; 2]>,
    more_arrays: u64,
}

impl Learned {
    fn take(&mut self, seen: &Seen) {
        self.count += 1;
        self.peaks = self.peaks.saturating_add(u64::from(seen.entry.count));
        self.more_arrays += u64::from(seen.more_arrays);
        if let Some([low, high]) = seen.mz {
            let [lowest, highest] = self.mz.unwrap_or([low, high]);
            self.mz = Some([lowest.min(low), highest.max(high)]);
        }
    }

    fn description(&self, head: &Head, footer: &Footer) -> Description {
        let mut description = describe(head, Some(footer));
        let axes = ["x", "y", "z"].into_iter().zip(footer.min.into_iter().zip(footer.max));
        let known = if footer.some_z { 3 } else { 2 };
        if self.count > 0 {
            let extent = |(name, (min, max)): (&str, (i32, i32))| Extent { name: name.into(), min: min.into(), max: max.into() };
            description.extents = axes.take(known).map(extent).collect();
        }
        let finite = self.mz.filter(|range| range.iter().all(|end| end.is_finite()));
        description.extents.extend(finite.map(|[min, max]| Extent { name: "m/z".into(), min: min.into(), max: max.into() }));
        description.facts.push(("peaks".into(), self.peaks.to_string()));
        if self.more_arrays > 0 {
            let count = self.more_arrays.to_string();
            description.facts.push(("spectra with further arrays, which are not read".into(), count));
        }
        description
    }
}

/// Reads the whole XML, writes the index, and says what the data set holds.
pub(super) fn index(
    xml: &dyn RangedRead,
    ibd: &dyn RangedRead,
    out: &mut dyn Write,
    progress: &dyn Fn(Progress),
) -> Result<Description, FormatError> {
    let name = xml.name();
    let mut events = Xml::all(xml);
    let head = Head::read(&mut events, name)?;
    let mut writer = Writer::new(out);
    let mut learned = Learned::default();
    let tail_start = match head.closed {
        true => head.list.end,
        false => spectra(&mut events, &head, [xml, ibd], &mut writer, &mut learned, progress)?,
    };
    let end = document_end(&mut events, name)?;
    let footer = writer.finish(ByteRange::new(tail_start, end)).map_err(|source| scratch(name, source))?;
    progress(Progress { done: xml.size(), total: xml.size() });
    if head.spectra.is_some_and(|said| said != learned.count) {
        tracing::warn!(object = name, said = head.spectra, found = learned.count, "the list of spectra says another count");
    }
    Ok(learned.description(&head, &footer))
}

fn scratch(name: &str, source: io::Error) -> FormatError {
    FormatError::Scratch { name: name.to_owned(), source }
}

/// Reads the list of spectra to its end tag; gives where that is.
fn spectra(
    events: &mut Xml<'_>,
    head: &Head,
    [xml, ibd]: [&dyn RangedRead; 2],
    writer: &mut Writer<'_>,
    learned: &mut Learned,
    progress: &dyn Fn(Progress),
) -> Result<u64, FormatError> {
    let name = xml.name();
    let mut spectra = Spectra::default();
    loop {
        let (event, place) = events.next()?;
        let (tag, closed) = match event {
            Event::Start(tag) => (tag, false),
            Event::Empty(tag) => (tag, true),
            Event::End(_) => return Ok(place.start),
            _ => continue,
        };
        if tag.local_name().as_ref() != b"spectrum" {
            return Err(damaged(name, place.start, "the list of spectra holds something else"));
        }
        let count = learned.count;
        let of_spectrum = |reason: &str| damaged(name, place.start, format!("spectrum {count}: {reason}"));
        if closed {
            return Err(of_spectrum("it is empty"));
        }
        let tag = Tag::of(&tag, place.start, count);
        let seen = spectra.read(events, head, tag)?.map_err(|reason| of_spectrum(&reason))?;
        let arrays = [("m/z", &seen.entry.mz), ("intensity", &seen.entry.intensity)];
        if let Some((what, array)) = arrays.iter().find(|(_, array)| array.beyond(ibd.size())) {
            let (bytes, start) = (array.encoded, array.offset);
            let reason = format!("incomplete .ibd: the {what} array of spectrum {count} has {bytes} bytes from byte {start}");
            return Err(damaged(ibd.name(), ibd.size(), reason));
        }
        seen.entry.check(xml.size(), ibd.size()).map_err(|reason| of_spectrum(&reason))?;
        writer.push(&seen.entry).map_err(|source| scratch(name, source))?;
        learned.take(&seen);
        if learned.count.is_multiple_of(TELL_EVERY) {
            progress(Progress { done: seen.entry.xml, total: xml.size() });
        }
    }
}

/// Where the `mzML` element ends; what an `indexedmzML` around it says is not true of slices.
fn document_end(events: &mut Xml<'_>, name: &str) -> Result<u64, FormatError> {
    let mut document_end = None;
    loop {
        let (event, place) = events.next()?;
        match event {
            Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == b"spectrumList" => {
                return Err(FormatError::Unsupported {
                    name: name.to_owned(),
                    format: FORMAT,
                    what: "two lists of spectra".into(),
                    remedy: "write each run as a data set of its own".into(),
                });
            }
            Event::End(tag) if tag.local_name().as_ref() == b"mzML" => document_end = Some(place.end),
            Event::Eof => return document_end.ok_or_else(|| damaged(name, place.start, "it does not end with </mzML>")),
            _ => {}
        }
    }
}

//! From the element of a spectrum to its [`Entry`].

use quick_xml::events::{BytesStart, Event};

use super::entry::{Array, Entry};
use super::head::Head;
use super::number::Number;
use super::param::{Param, Term};
use super::xml::{Xml, attribute};
use crate::FormatError;

/// A spectrum as the XML has it.
pub(super) struct Seen {
    pub(super) entry: Entry,
    /// Smallest and largest m/z, where it says so.
    pub(super) mz: Option<[f64; 2]>,
    /// Whether it has more arrays than the two.
    pub(super) more_arrays: bool,
}

/// What an array is said to be while its element is read.
#[derive(Clone, Copy, Default)]
struct Draft {
    kind: Option<Term>,
    number: Option<Number>,
    zlib: bool,
    /// Why it cannot be read.
    unreadable: Option<&'static str>,
    offset: Option<i64>,
    length: Option<u64>,
    encoded: Option<u64>,
    position: u8,
}

/// Offsets that some exporters wrote as signed 32-bit numbers, made whole: a step from positive to negative is one past 2³¹.
#[derive(Clone, Copy, Default)]
struct Unwrapped {
    previous: Option<i64>,
    added: i64,
}

impl Unwrapped {
    fn offset(&mut self, offset: i64) -> Option<u64> {
        if offset < 0 && self.previous.is_some_and(|previous| previous >= 0) {
            self.added += 1 << 32;
        }
        self.previous = Some(offset);
        offset.checked_add(self.added)?.try_into().ok()
    }
}

/// Reads the spectra of the list one after the other.
#[derive(Default)]
pub(super) struct Spectra {
    mz: Unwrapped,
    intensity: Unwrapped,
}

impl Spectra {
    /// Reads the spectrum whose start tag was read, up to its end. What makes no sense of it is an error of its own, as text.
    pub(super) fn read(&mut self, xml: &mut Xml<'_>, head: &Head, tag: Tag) -> Result<Result<Seen, String>, FormatError> {
        let mut draft = Spectrum::default();
        let end = loop {
            let (event, place) = xml.next()?;
            match event {
                Event::Start(tag) => draft.open(&tag, head),
                Event::Empty(tag) => {
                    draft.open(&tag, head);
                    draft.close(tag.local_name().as_ref());
                }
                Event::End(tag) if tag.local_name().as_ref() == b"spectrum" => break place.end,
                Event::End(tag) => draft.close(tag.local_name().as_ref()),
                _ => {}
            }
        };
        Ok(self.finish(&draft, tag, end))
    }

    fn finish(&mut self, draft: &Spectrum, tag: Tag, end: u64) -> Result<Seen, String> {
        let Tag { start, index, default_length } = tag;
        let xml_length = u32::try_from(end.saturating_sub(start)).map_err(|_| "its element is longer than 4 GiB")?;
        let mz = draft.array(Term::MzArray)?;
        let intensity = draft.array(Term::IntensityArray)?;
        let (mz, count) = array(mz, &mut self.mz, default_length).map_err(|reason| format!("m/z array: {reason}"))?;
        let (intensity, values) =
            array(intensity, &mut self.intensity, default_length).map_err(|reason| format!("intensity array: {reason}"))?;
        if count != values {
            return Err(format!("it has {count} m/z values but {values} intensities"));
        }
        let [x, y, z] = draft.position;
        let x = x.ok_or("it has no position x")??;
        let y = y.ok_or("it has no position y")??;
        let entry = Entry { index, xml: start, xml_length, count, x, y, z: z.transpose()?, mz, intensity };
        let mz = draft.lowest.zip(draft.highest).map(|(low, high)| [low, high]);
        Ok(Seen { entry, mz, more_arrays: draft.arrays > 2 })
    }
}

/// What an array's element says, made exact.
fn array(draft: Draft, unwrapped: &mut Unwrapped, default_length: Option<u64>) -> Result<(Array, u32), String> {
    if let Some(what) = draft.unreadable {
        return Err(format!("{what} is not read here; write the data set again as 32-bit or 64-bit floats, plain or zlib"));
    }
    let number = draft.number.ok_or("it names no number type")?;
    let width = number.width() as u64;
    let plain_length = draft.encoded.filter(|encoded| !draft.zlib && encoded % width == 0).map(|encoded| encoded / width);
    let count = draft.length.or(plain_length).or(default_length).ok_or("it says neither its length nor how many bytes it has")?;
    let count = u32::try_from(count).map_err(|_| format!("it cannot have {count} values"))?;
    let encoded = match (draft.zlib, draft.encoded) {
        (false, _) => u64::from(count) * width,
        (true, Some(encoded)) => encoded,
        (true, None) if count == 0 => 0,
        (true, None) => return Err("it is compressed but does not say how many bytes it has".into()),
    };
    let offset = match draft.offset {
        Some(offset) => unwrapped.offset(offset).ok_or_else(|| format!("it cannot begin at byte {offset}"))?,
        None if encoded == 0 => 0,
        None => return Err("it has no external offset".into()),
    };
    Ok((Array { offset, encoded, number, zlib: draft.zlib, position: draft.position }, count))
}

/// A coordinate, or why it is none.
type Coordinate = Result<i32, &'static str>;

#[derive(Default)]
struct Spectrum {
    position: [Option<Coordinate>; 3],
    lowest: Option<f64>,
    highest: Option<f64>,
    current: Option<Draft>,
    mz: Option<Draft>,
    intensity: Option<Draft>,
    arrays: u32,
    twice: bool,
}

impl Spectrum {
    fn open(&mut self, tag: &BytesStart<'_>, head: &Head) {
        match tag.local_name().as_ref() {
            b"cvParam" => {
                if let Some(param) = Param::of(tag) {
                    self.learn(&param, true);
                }
            }
            b"referenceableParamGroupRef" => {
                for param in head.groups.named(tag) {
                    self.learn(param, false);
                }
            }
            b"binaryDataArray" => {
                // The positions beyond 255 of absurd lists are one.
                let position = self.arrays.min(255) as u8;
                self.current = Some(Draft { position, ..Draft::default() });
                self.arrays = self.arrays.saturating_add(1);
            }
            _ => {}
        }
    }

    fn close(&mut self, element: &[u8]) {
        if element != b"binaryDataArray" {
            return;
        }
        let Some(draft) = self.current.take() else { return };
        let place = match draft.kind {
            Some(Term::MzArray) => &mut self.mz,
            Some(Term::IntensityArray) => &mut self.intensity,
            _ => return,
        };
        self.twice |= place.is_some();
        *place = Some(draft);
    }

    /// Takes in what a parameter says; `own` where it stands in the spectrum itself, not in a group.
    fn learn(&mut self, param: &Param, own: bool) {
        let Some(array) = &mut self.current else { return self.learn_of_spectrum(param) };
        match param.term {
            Term::MzArray | Term::IntensityArray => array.kind = Some(param.term),
            Term::Number(number) => array.number = Some(number),
            Term::OtherNumber => array.unreadable = Some("its number type"),
            Term::OtherCompression => array.unreadable = Some("its compression"),
            Term::Zlib => array.zlib = true,
            Term::NoCompression => array.zlib = false,
            // The places of a group's arrays could not be written anew for one spectrum.
            Term::Offset if own => array.offset = param.number(),
            Term::Length if own => array.length = param.number(),
            Term::EncodedLength if own => array.encoded = param.number(),
            _ => {}
        }
    }

    fn learn_of_spectrum(&mut self, param: &Param) {
        let axis = match param.term {
            Term::X => 0,
            Term::Y => 1,
            Term::Z => 2,
            Term::LowestMz => return self.lowest = param.number(),
            Term::HighestMz => return self.highest = param.number(),
            _ => return,
        };
        // Where there are several scans the first one says where.
        self.position[axis].get_or_insert_with(|| param.number().ok_or("its position is no whole number"));
    }

    fn array(&self, kind: Term) -> Result<Draft, String> {
        let (draft, name) = if kind == Term::MzArray { (self.mz, "m/z") } else { (self.intensity, "intensity") };
        match draft {
            _ if self.twice => Err("it has two arrays of one kind".into()),
            Some(draft) => Ok(draft),
            None => Err(format!("it has no {name} array")),
        }
    }
}

/// The start tag of a spectrum.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    /// Where it begins.
    start: u64,
    index: u64,
    /// Length of its arrays where they say none.
    default_length: Option<u64>,
}

impl Tag {
    /// The tag of spectrum number `ordinal`, which begins at `start`.
    pub(super) fn of(tag: &BytesStart<'_>, start: u64, ordinal: u64) -> Self {
        let number = |key| std::str::from_utf8(&attribute(tag, key)?).ok()?.trim().parse().ok();
        // 0 is what most exporters write whatever the length.
        let default_length = number(b"defaultArrayLength").filter(|length| *length > 0);
        Self { start, index: number(b"index").unwrap_or(ordinal), default_length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_offsets_are_made_whole() {
        let mut unwrapped = Unwrapped::default();
        let half = 1_i64 << 31;
        let written = [16, half - 1, -half, -1, 0, half - 1, -half];
        let whole = written.map(|offset| unwrapped.offset(offset));
        let half = half as u64;
        assert_eq!(whole, [16, half - 1, half, 2 * half - 1, 2 * half, 3 * half - 1, 3 * half].map(Some));
        assert_eq!(Unwrapped::default().offset(-5), None);
    }
}

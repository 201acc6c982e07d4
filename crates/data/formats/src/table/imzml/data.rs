//! The spectra of a selection with what is wanted of them, some at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead, read_ranges};
use serde_json::Value;

use super::entry::{Array, Entry};
use super::index::{Footer, Walk};
use super::objects::{Objects, Part};
use super::peaks::Peaks;
use super::selection::Selection;
use crate::FormatError;

/// Bytes of spectra held at a time.
const BATCH: u64 = 8 << 20;
/// Spectra held at a time.
const BATCH_SPECTRA: usize = 16_384;
/// Intensities up to this length are fetched with the m/z that decide which of them are wanted.
const SMALL: u64 = 16 << 10;
/// Gaps between the peaks of neighbouring spectra that are fetched.
const WINDOW_GAP: u64 = 4 << 10;
/// Gaps between the elements of neighbouring spectra: line ends.
const XML_GAP: u64 = 1 << 10;

/// What is wanted of spectra.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    pub(super) mz: bool,
    pub(super) intensity: bool,
    /// Their elements.
    pub(super) xml: bool,
    /// Arrays as they lie in the .ibd rather than as values; where there is a window they are values all the same.
    pub(super) stored: bool,
}

/// A spectrum with what was wanted of it.
pub(super) struct Spectrum {
    pub(super) entry: Entry,
    /// Number of peaks that are wanted.
    pub(super) peaks: u32,
    /// Whether its m/z array is another than that of the spectrum before.
    pub(super) own_mz: bool,
    pub(super) mz: Bytes,
    pub(super) intensity: Bytes,
    pub(super) xml: Bytes,
}

/// Reads the spectra of a selection.
pub(super) struct Spectra {
    pub(super) objects: Arc<Objects>,
    pub(super) footer: Footer,
    pub(super) selection: Selection,
    index: Arc<dyn RangedRead>,
    walk: Walk,
    want: Want,
    waiting: VecDeque<(u64, Entry)>,
    /// Spectra that are still to come, as the selection says.
    left: u64,
    /// The last spectrum, its peaks and its m/z.
    last: Option<(Entry, Peaks, Bytes)>,
}

impl Spectra {
    pub(super) fn new(
        objects: Arc<Objects>,
        index: Option<Arc<dyn RangedRead>>,
        selection: &Value,
        want: fn(&Selection) -> Want,
    ) -> Result<Self, FormatError> {
        let index = index.ok_or_else(|| broken(&objects, "it comes without the index of its object"))?;
        let footer = objects.footer(&*index)?;
        let selection = Selection::of(selection, &footer)?;
        let walk = Walk::new(selection.spectra, objects.xml.size(), objects.ibd.size());
        let (left, want) = (selection.count, want(&selection));
        Ok(Self { objects, footer, selection, index, walk, want, waiting: VecDeque::new(), left, last: None })
    }

    /// The next spectra; `None` behind the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<Vec<Spectrum>>, FormatError> {
        let mut batch = Vec::new();
        let mut weight = 0_u64;
        loop {
            let Some((_, entry)) = self.waiting.front() else {
                let Some(entries) = self.walk.step(&*self.index, &self.footer)? else { break };
                self.waiting.extend(entries.into_iter().filter(|(_, entry)| self.selection.holds(entry)));
                continue;
            };
            weight = weight.saturating_add(self.weight(entry));
            if !batch.is_empty() && (weight > BATCH || batch.len() >= BATCH_SPECTRA) {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        let held = batch.len() as u64;
        match self.left.checked_sub(held) {
            Some(left) if held > 0 => self.left = left,
            Some(0) => return Ok(None),
            _ => return Err(broken(&self.objects, "the index holds another number of its spectra")),
        }
        self.load(batch).map(Some)
    }

    /// About how many bytes a spectrum takes while it is read.
    fn weight(&self, entry: &Entry) -> u64 {
        let count = self.selection.peaks.map_or(entry.count, |[from, to]| to - from);
        let array = |array: &Array| {
            let values = u64::from(count) * array.number.width() as u64;
            if array.zlib { values.saturating_add(array.encoded) } else { values }
        };
        let Want { mz, intensity, xml, .. } = self.want;
        let looked_at = mz || self.undecided();
        [(looked_at, array(&entry.mz)), (intensity, array(&entry.intensity)), (xml, 2 * u64::from(entry.xml_length)), (true, 64)]
            .into_iter()
            .map(|(wanted, bytes)| if wanted { bytes } else { 0 })
            .fold(0, u64::saturating_add)
    }

    /// Whether the m/z of each spectrum must be looked at to know which of its peaks are wanted.
    fn undecided(&self) -> bool {
        let Want { mz, intensity, xml, .. } = self.want;
        self.selection.window.is_some() && self.selection.peaks.is_none() && (mz || intensity || xml)
    }

    fn load(&mut self, batch: Vec<(u64, Entry)>) -> Result<Vec<Spectrum>, FormatError> {
        if self.selection.window.is_none() && self.want.stored {
            return self.load_stored(batch);
        }
        let objects = Arc::clone(&self.objects);
        let undecided = self.undecided();
        let [from, to] = self.selection.peaks.unwrap_or([0, u32::MAX]);
        let known = |entry: &Entry| (!undecided).then_some((from.min(entry.count), to.min(entry.count)));
        // First what can be asked for at once: m/z, and intensities that are known to be wanted or are not worth asking twice.
        let mut previous = self.last.as_ref().map(|(entry, ..)| *entry);
        let mut mz_parts = Vec::with_capacity(batch.len());
        let mut early = Vec::with_capacity(batch.len());
        for (_, entry) in &batch {
            let own = previous.is_none_or(|previous| !entry.shares_mz(&previous));
            previous = Some(*entry);
            let span = known(entry);
            let looked_at = own && (self.want.mz || span.is_none());
            mz_parts.push((own, looked_at.then(|| Part::new(&entry.mz, entry.count, span.unwrap_or((0, entry.count))))));
            let at_once = span.is_some() || entry.intensity.encoded <= SMALL;
            let part = Part::new(&entry.intensity, entry.count, span.unwrap_or((0, entry.count)));
            early.push((self.want.intensity && at_once).then_some(part));
        }
        let parts: Vec<Part> = mz_parts.iter().map(|(_, part)| *part).chain(early.iter().copied()).flatten().collect();
        let mut mz_bytes = self.fetch(&parts)?;
        let intensities = mz_bytes.split_off(mz_parts.iter().filter(|(_, part)| part.is_some()).count());
        // Then which peaks are wanted.
        let (mut mz_bytes, mut intensities) = (mz_bytes.into_iter(), intensities.into_iter());
        let mut spectra = Vec::with_capacity(batch.len());
        let mut late = Vec::new();
        for (((_, entry), (own_mz, mz_part)), early) in batch.into_iter().zip(mz_parts).zip(early) {
            let (peaks, mz) = match (&self.last, mz_part) {
                (Some((_, peaks, mz)), _) if !own_mz => (peaks.clone(), mz.clone()),
                (_, part) => self.peaks(&entry, known(&entry), part.zip(part.and_then(|_| mz_bytes.next())))?,
            };
            let intensity = match early {
                Some(part) => {
                    let values = part.open(intensities.next().unwrap_or_default(), objects.ibd.name())?;
                    let (from, to) = peaks.span();
                    let width = entry.intensity.number.width();
                    let within = if known(&entry).is_some() { values } else { run(&values, from, to, width) };
                    peaks.of(within, width)
                }
                None => Bytes::new(),
            };
            if self.want.intensity && early.is_none() {
                late.push((spectra.len(), peaks.clone(), Part::new(&entry.intensity, entry.count, peaks.span())));
            }
            let count = peaks.len();
            self.last = Some((entry, peaks, mz.clone()));
            spectra.push(Spectrum { entry, peaks: count, own_mz, mz, intensity, xml: Bytes::new() });
        }
        // Last the intensities of just those.
        let parts: Vec<Part> = late.iter().map(|(_, _, part)| *part).collect();
        for ((place, peaks, part), bytes) in late.into_iter().zip(self.fetch(&parts)?) {
            if let Some(spectrum) = spectra.get_mut(place) {
                let values = part.open(bytes, objects.ibd.name())?;
                spectrum.intensity = peaks.of(values, spectrum.entry.intensity.number.width());
            }
        }
        self.with_xml(spectra)
    }

    /// The wanted peaks of a spectrum with an m/z array of its own, and their m/z.
    fn peaks(
        &self,
        entry: &Entry,
        known: Option<(u32, u32)>,
        fetched: Option<(Part, Bytes)>,
    ) -> Result<(Peaks, Bytes), FormatError> {
        let values = match fetched {
            Some((part, bytes)) => part.open(bytes, self.objects.ibd.name())?,
            None => Bytes::new(),
        };
        let width = entry.mz.number.width();
        match (known, &self.selection.window) {
            (None, Some(window)) => {
                let peaks = Peaks::within(window, entry.mz.number, &values);
                let (from, to) = peaks.span();
                let mz = peaks.of(run(&values, from, to, width), width);
                Ok((peaks, mz))
            }
            (known, _) => {
                let (from, to) = known.unwrap_or((0, entry.count));
                Ok((Peaks::Run(from, to), values))
            }
        }
    }

    /// The same where arrays are handed on as they lie.
    fn load_stored(&mut self, batch: Vec<(u64, Entry)>) -> Result<Vec<Spectrum>, FormatError> {
        let mut spectra = Vec::with_capacity(batch.len());
        let mut ranges = Vec::with_capacity(batch.len() * 2);
        for (_, entry) in batch {
            let own_mz = self.last.as_ref().is_none_or(|(last, ..)| !entry.shares_mz(last));
            self.last = Some((entry, Peaks::Run(0, 0), Bytes::new()));
            let range = |wanted: bool, array: &Array| {
                if wanted && array.encoded > 0 { array.range() } else { ByteRange::new(0, 0) }
            };
            ranges.push(range(self.want.mz && own_mz, &entry.mz));
            ranges.push(range(self.want.intensity, &entry.intensity));
            let (mz, intensity, xml) = Default::default();
            spectra.push(Spectrum { entry, peaks: entry.count, own_mz, mz, intensity, xml });
        }
        let mut bytes = self.objects.fetch(&ranges, 0)?.into_iter();
        for spectrum in &mut spectra {
            spectrum.mz = bytes.next().unwrap_or_default();
            spectrum.intensity = bytes.next().unwrap_or_default();
        }
        self.with_xml(spectra)
    }

    fn with_xml(&self, mut spectra: Vec<Spectrum>) -> Result<Vec<Spectrum>, FormatError> {
        if !self.want.xml {
            return Ok(spectra);
        }
        let element = |entry: &Entry| ByteRange::new(entry.xml, entry.xml + u64::from(entry.xml_length));
        let ranges: Vec<ByteRange> = spectra.iter().map(|spectrum| element(&spectrum.entry)).collect();
        for (spectrum, xml) in spectra.iter_mut().zip(read_ranges(&*self.objects.xml, &ranges, XML_GAP)?) {
            spectrum.xml = xml;
        }
        Ok(spectra)
    }

    fn fetch(&self, parts: &[Part]) -> Result<Vec<Bytes>, FormatError> {
        let ranges: Vec<ByteRange> = parts.iter().map(Part::range).collect();
        let gap = if self.selection.window.is_some() { WINDOW_GAP } else { 0 };
        self.objects.fetch(&ranges, gap)
    }
}

/// The values `[from, to)`.
fn run(values: &Bytes, from: u32, to: u32, width: usize) -> Bytes {
    let range = from as usize * width..(to as usize * width).min(values.len());
    if range.start < range.end { values.slice(range) } else { Bytes::new() }
}

pub(super) fn broken(objects: &Objects, reason: &str) -> FormatError {
    FormatError::Broken { name: objects.xml.name().to_owned(), reason: reason.to_owned() }
}

//! Scanning one part of an object without knowing what comes before it.

use neardata_core::{ByteRange, RangedRead};

use super::PIECE;
use super::partial::{Partial, Place, Variant};
use crate::detect::Detected;
use crate::gzip::{BLOCK_LIMIT, BgzfDecoder, BgzfStep, bgzf_block};
use crate::index::IndexOptions;
use crate::input::Input;
use crate::records::{Parts, Position, RecordScanner};
use crate::{Compression, Format, FormatError};

/// A record that begins later in its part is looked for by whoever joins the parts.
const HEAD_LIMIT: usize = 1 << 20;
/// BGZF blocks that must follow each other before they are believed.
const BLOCKS_IN_A_ROW: usize = 3;

/// Whether parts of such an object can be scanned on their own.
pub(super) fn serves(detected: Detected) -> bool {
    matches!(detected.compression, Compression::Plain | Compression::Bgzf) && detected.format.entry().parts.is_some()
}

/// Scans the part of an object in a range of its bytes: of BGZF the blocks that begin there. Nothing, where only a pass from the start
/// can tell what to make of it; errors are those of reading.
pub(super) fn scan_part(
    reader: &dyn RangedRead,
    detected: Detected,
    options: IndexOptions,
    range: ByteRange,
) -> Result<Option<Partial>, FormatError> {
    let Some(parts) = detected.format.entry().parts.as_ref().filter(|_| serves(detected)) else { return Ok(None) };
    let scan = Scan::new(detected.format, parts, range.start == 0);
    let scanned = match detected.compression {
        Compression::Bgzf => scan_bgzf(reader, range, scan),
        _ => scan_plain(reader, range, options.point_span.max(1), scan),
    };
    match scanned {
        Err(error @ (FormatError::Read(_) | FormatError::Store(_))) => Err(error),
        // What is wrong with it, if anything, is told when it is scanned as what it is.
        Err(_) => Ok(None),
        Ok(partial) => Ok(partial),
    }
}

fn scan_plain(
    reader: &dyn RangedRead,
    range: ByteRange,
    point_span: u64,
    mut scan: Scan,
) -> Result<Option<Partial>, FormatError> {
    let mut input = Input::new(reader, range);
    let mut next = range.start.next_multiple_of(point_span);
    loop {
        let piece = input.take(PIECE)?;
        if piece.is_empty() {
            return Ok(scan.finish(range, None));
        }
        while next < input.offset() {
            scan.places.push(Place { offset: next, out: next - range.start });
            next = next.saturating_add(point_span);
        }
        if !scan.data(&piece) {
            return Ok(None);
        }
    }
}

fn scan_bgzf(reader: &dyn RangedRead, range: ByteRange, mut scan: Scan) -> Result<Option<Partial>, FormatError> {
    let Some(first) = first_block(reader, range)? else { return Ok(None) };
    let end = range.end.saturating_add(BLOCK_LIMIT as u64).min(reader.size());
    let mut decoder = BgzfDecoder::resume(reader.name(), Input::new(reader, ByteRange::new(first, end)));
    let mut buffer = vec![0; BLOCK_LIMIT];
    let mut marked = None;
    loop {
        let at = decoder.offset();
        if at >= range.end {
            return Ok(scan.finish(ByteRange::new(first, at), marked));
        }
        match decoder.step(&mut buffer)? {
            BgzfStep::Block { offset, produced } => {
                marked = Some(produced == 0);
                if produced > 0 {
                    scan.places.push(Place { offset, out: scan.length });
                }
                if !scan.data(buffer.get(..produced).unwrap_or_default()) {
                    return Ok(None);
                }
            }
            BgzfStep::End if range.end == reader.size() => {
                return Ok(scan.finish(ByteRange::new(first, reader.size()), marked));
            }
            BgzfStep::Ordinary | BgzfStep::End => return Ok(None),
        }
    }
}

/// Where the first block begins in a range: others must follow it. What looks like some and is none is found out when parts are joined.
fn first_block(reader: &dyn RangedRead, range: ByteRange) -> Result<Option<u64>, FormatError> {
    if range.start == 0 {
        return Ok(Some(0));
    }
    let end = range.start.saturating_add(((1 + BLOCKS_IN_A_ROW) * BLOCK_LIMIT) as u64).min(reader.size());
    let bytes = reader.read(ByteRange::new(range.start, end))?;
    let is_block = |at: usize| bytes.get(at..).and_then(bgzf_block).filter(|size| *size > 1).map(|size| at + size as usize);
    let follow = |begin: usize| {
        let mut at = begin;
        for _ in 0..BLOCKS_IN_A_ROW {
            match is_block(at) {
                Some(next) if next == bytes.len() && end == reader.size() => return true,
                Some(next) => at = next,
                // Zeros may stand at the end.
                None => return at > begin && bytes.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0)),
            }
        }
        true
    };
    let within = bytes.len().min((range.end - range.start) as usize);
    Ok(memchr::memchr_iter(bgzf_magic(), &bytes[..within]).find(|at| follow(*at)).map(|at| range.start + at as u64))
}

/// The first byte of every block.
fn bgzf_magic() -> u8 {
    crate::gzip::MAGIC[0]
}

/// What goes by of one part.
struct Scan {
    format: Format,
    parts: &'static Parts,
    /// Places that may become points.
    places: Vec<Place>,
    /// Bytes before the place where scanning begins, all but those of a line that is very long.
    head: Vec<u8>,
    within: u64,
    phase: Phase,
    variants: Vec<Candidate>,
    /// Where all suppositions came to the same, and what goes by from there on.
    shared: Option<(u64, Candidate)>,
    /// Bytes that went by.
    length: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Looking for a place where scanning can begin.
    Head,
    /// Still in the first line, which is very long.
    LongLine,
    /// Scanning, from this uncompressed byte of the part on.
    Body(u64),
}

/// One supposition about the place where scanning begins.
struct Candidate {
    position: Position,
    scanner: Box<dyn RecordScanner>,
    first: Option<u64>,
    /// For each place from the first at or behind that place on: the first record behind it, and where that begins.
    found: Vec<(u64, u64)>,
}

impl Scan {
    fn new(format: Format, parts: &'static Parts, at_start: bool) -> Self {
        let (head, places, variants) = (Vec::new(), Vec::new(), Vec::new());
        let mut scan = Self { format, parts, places, head, within: 0, phase: Phase::Head, variants, shared: None, length: 0 };
        if at_start {
            scan.start(0, &[Position::Start]);
        }
        scan
    }

    fn start(&mut self, begin: u64, positions: &[Position]) {
        self.phase = Phase::Body(begin);
        self.variants = positions.iter().map(|position| Candidate::new(self.format, *position)).collect();
    }

    /// The next uncompressed bytes; their places are known. False: this part cannot be scanned on its own.
    fn data(&mut self, bytes: &[u8]) -> bool {
        let out = self.length;
        self.length += bytes.len() as u64;
        match self.phase {
            Phase::Body(begin) => self.body(begin, out, bytes),
            Phase::LongLine => {
                let Some(at) = memchr::memchr(b'\n', bytes) else {
                    self.within += bytes.len() as u64;
                    return true;
                };
                self.within += at as u64;
                let begin = out + at as u64 + 1;
                self.start(begin, self.parts.positions);
                self.body(begin, begin, &bytes[at + 1..])
            }
            Phase::Head => {
                self.head.extend_from_slice(bytes);
                if let Some(at) = (self.parts.begin)(&self.head) {
                    let rest = self.head.split_off(at);
                    self.start(at as u64, self.parts.positions);
                    return self.body(at as u64, at as u64, &rest);
                }
                if self.head.len() < HEAD_LIMIT {
                    return true;
                }
                self.phase = Phase::LongLine;
                self.parts.long_lines
            }
        }
    }

    fn body(&mut self, begin: u64, out: u64, bytes: &[u8]) -> bool {
        if let Some((from, shared)) = &mut self.shared {
            return shared.scan(bytes, out, behind(&self.places, *from)).is_some();
        }
        let places = behind(&self.places, begin);
        if self.variants.len() < 2 {
            self.variants.retain_mut(|variant| variant.scan(bytes, out, places).is_some());
            return !self.variants.is_empty();
        }
        // Behind a line end it may show that they differ no more, but for the records before.
        let lines = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (now, later) = bytes.split_at(lines);
        self.variants.retain_mut(|variant| variant.scan(now, out, places).is_some());
        let mut positions = self.variants.iter().map(|variant| variant.scanner.position());
        if let Some(Some(position)) = positions.next()
            && positions.all(|other| other == Some(position))
        {
            self.shared = Some((out + lines as u64, Candidate::new(self.format, position)));
            return self.body(begin, out + lines as u64, later);
        }
        self.variants.retain_mut(|variant| variant.scan(later, out + lines as u64, places).is_some());
        !self.variants.is_empty()
    }

    fn finish(self, covered: ByteRange, marked: Option<bool>) -> Option<Partial> {
        let Self { places, head, within, variants, shared, length, phase, .. } = self;
        let shared = match shared {
            Some((from, shared)) => Some((from, shared.finish()?)),
            None => None,
        };
        let (begin, ended) = match phase {
            Phase::Body(begin) => (begin, within > 0),
            Phase::Head | Phase::LongLine => (length, false),
        };
        let finish = |mut variant: Candidate| {
            if let Some((from, shared)) = &shared {
                variant.go_on(*from, shared, behind(&places, begin))?;
            }
            variant.finish()
        };
        let variants = variants.into_iter().map(finish).collect::<Option<Vec<Variant>>>()?;
        Some(Partial { covered, length, head, within, ended, places, variants, marked })
    }
}

/// The places at this uncompressed byte or behind it.
fn behind(places: &[Place], out: u64) -> &[Place] {
    &places[places.partition_point(|place| place.out < out)..]
}

impl Candidate {
    fn new(format: Format, position: Position) -> Self {
        Self { position, scanner: format.scanner(position), first: None, found: Vec::new() }
    }

    /// Scans bytes that begin at `out`; nothing if they make no sense.
    fn scan(&mut self, bytes: &[u8], mut out: u64, places: &[Place]) -> Option<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = places.get(self.found.len()).map_or(u64::MAX, |place| place.out);
            let waiting = self.first.is_none() || next <= out;
            let stretch = if waiting { rest.len() } else { rest.len().min(usize::try_from(next - out).unwrap_or(usize::MAX)) };
            let until = if waiting { self.scanner.started() } else { u64::MAX };
            let passed = self.scanner.scan(&rest[..stretch], until).ok()?;
            out += passed as u64;
            rest = &rest[passed..];
            if waiting && passed < stretch {
                self.first.get_or_insert(out);
                let behind = places[self.found.len()..].partition_point(|place| place.out <= out);
                self.found.extend(std::iter::repeat_n((until, out), behind));
            }
        }
        Some(())
    }

    /// Adds what went by from `from` on.
    fn go_on(&mut self, from: u64, shared: &Variant, places: &[Place]) -> Option<()> {
        let started = self.scanner.started();
        if let Some(first) = shared.first {
            self.first.get_or_insert(first);
            let waiting = places.partition_point(|place| place.out < from).saturating_sub(self.found.len());
            self.found.extend(std::iter::repeat_n((started, first), waiting));
            self.found.extend(shared.found.iter().map(|(record, out)| (started + record, *out)));
        }
        self.scanner.append(shared.state.clone()).then_some(())
    }

    fn finish(mut self) -> Option<Variant> {
        let Self { position, first, found, .. } = self;
        Some(Variant { position, first, state: self.scanner.state()?, found })
    }
}

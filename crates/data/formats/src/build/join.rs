//! Joining parts: what scanning them one by one found becomes what a single pass would have found.

use neardata_core::ByteRange;

use super::PIECE;
use super::builder::Builder;
use super::partial::{Partial, Place};
use crate::gzip::{BLOCK_LIMIT, BgzfDecoder, BgzfStep};
use crate::index::Restart;
use crate::input::Input;
use crate::records::Position;
use crate::{Compression, FormatError};

/// Goes along an object part by part. A part that was scanned on its own is taken as it is where what it took for granted of its first
/// bytes turns out true; any other is gone over here. So the outcome, errors too, is that of a single pass.
pub(super) struct Joiner<'a> {
    builder: Builder<'a>,
    /// Everything before this byte of the object was seen.
    position: u64,
    /// The last BGZF block was empty.
    marked: bool,
    /// It is BGZF no more: the object is ordinary gzip.
    ordinary: bool,
}

/// How far a partial index could be used.
enum Absorbed {
    Whole,
    /// So many uncompressed bytes of it; the others must be scanned.
    First(u64),
}

impl<'a> Joiner<'a> {
    pub(super) fn new(builder: Builder<'a>) -> Self {
        Self { builder, position: 0, marked: false, ordinary: false }
    }

    /// Adds the next part of the object, with what scanning it on its own gave, if anything. False: nothing more is needed.
    pub(super) fn add(&mut self, range: ByteRange, partial: Option<Partial>) -> Result<bool, FormatError> {
        if self.ordinary || self.position >= range.end {
            return Ok(!self.ordinary);
        }
        let mut absorbed = 0;
        if let Some(partial) = partial.filter(|partial| partial.covered.start == self.position) {
            let (end, marked) = (partial.covered.end, partial.marked);
            match self.absorb(partial)? {
                Absorbed::Whole => {
                    (self.position, self.marked) = (end, marked.unwrap_or(self.marked));
                    self.builder.tell(end);
                    return Ok(true);
                }
                Absorbed::First(length) => absorbed = length,
            }
        }
        match self.builder.detected.compression {
            Compression::Bgzf => self.walk_bgzf(range.end, absorbed)?,
            _ => self.walk_plain(range.end, absorbed)?,
        }
        Ok(!self.ordinary)
    }

    /// What was gathered; nothing if the object is no BGZF.
    pub(super) fn finish(mut self) -> Option<Builder<'a>> {
        if self.ordinary {
            return None;
        }
        match self.builder.detected.compression {
            Compression::Bgzf => self.builder.unmarked = !self.marked,
            Compression::Plain if self.builder.wants_point() => self.builder.point(self.position * 8, Restart::Fresh),
            _ => {}
        }
        Some(self.builder)
    }

    fn walk_plain(&mut self, to: u64, skip: u64) -> Result<(), FormatError> {
        let reader = self.builder.reader;
        let mut input = Input::new(reader, ByteRange::new(self.position + skip, to));
        loop {
            let offset = input.offset();
            self.position = offset;
            if offset >= to {
                return Ok(());
            }
            if self.builder.wants_point() {
                self.builder.point(offset * 8, Restart::Fresh);
            }
            let piece = input.take(PIECE.min(self.builder.until_point() as usize).max(1))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.builder.data(&piece)?;
            self.builder.tell(offset);
        }
    }

    /// Decodes the blocks that begin before `to`; so many uncompressed bytes of the first ones were seen already.
    fn walk_bgzf(&mut self, to: u64, mut skip: u64) -> Result<(), FormatError> {
        let reader = self.builder.reader;
        let end = to.saturating_add(2 * BLOCK_LIMIT as u64).min(reader.size());
        let input = Input::new(reader, ByteRange::new(self.position, end));
        let mut decoder = match self.position {
            0 => BgzfDecoder::new(reader.name(), input),
            _ => BgzfDecoder::resume(reader.name(), input),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.position = decoder.offset();
            if self.position >= to && to < reader.size() {
                return Ok(());
            }
            match decoder.step(&mut buffer)? {
                BgzfStep::Block { offset, produced } => {
                    self.marked = produced == 0;
                    if skip == 0 && produced > 0 && self.builder.wants_point() {
                        self.builder.point(offset * 8, Restart::Fresh);
                    }
                    let seen = skip.min(produced as u64);
                    skip -= seen;
                    self.builder.data(&buffer[seen as usize..produced])?;
                    self.builder.tell(offset);
                }
                BgzfStep::Ordinary => {
                    self.ordinary = true;
                    return Ok(());
                }
                // Padding, whose end is not in sight.
                BgzfStep::End if end < reader.size() => return self.walk_bgzf(reader.size(), skip),
                BgzfStep::End => {
                    self.position = reader.size();
                    return Ok(());
                }
            }
        }
    }

    fn absorb(&mut self, partial: Partial) -> Result<Absorbed, FormatError> {
        let at_start = self.position == 0;
        let (base, begin) = (self.builder.out, partial.begin());
        let (before, behind) = partial.places.split_at(partial.places.partition_point(|place| place.out < begin));
        let mut seen = 0;
        for until in before.iter().map(Some).chain([None]) {
            let to = until.map_or(begin, |place| place.out);
            let stopped = self.begin(&partial, seen, to)?;
            if stopped < to {
                return Ok(Absorbed::First(stopped));
            }
            seen = to;
            if let Some(place) = until
                && self.builder.wants_point()
            {
                self.builder.point(place.offset * 8, Restart::Fresh);
            }
        }
        if begin == partial.length {
            return Ok(Absorbed::Whole);
        }
        let position = if at_start { Some(Position::Start) } else { self.builder.scanner.position() };
        let Some(variant) = partial.variants.into_iter().find(|variant| Some(variant.position) == position) else {
            return Ok(Absorbed::First(begin));
        };
        let started = self.builder.scanner.started();
        if !self.builder.scanner.append(variant.state) {
            return Ok(Absorbed::First(begin));
        }
        if let Some(first) = variant.first {
            self.builder.resolve(started, base + first);
        }
        self.points(base, started, behind, &variant.found);
        self.builder.out = base + partial.length;
        Ok(Absorbed::Whole)
    }

    /// Scans bytes `from` to `to` of a part, which lie before the place where its own scan began; says how far it came.
    fn begin(&mut self, partial: &Partial, from: u64, to: u64) -> Result<u64, FormatError> {
        let head_end = partial.head.len() as u64;
        let within_end = head_end + partial.within;
        if from < head_end {
            self.builder.data(partial.head.get(from as usize..to.min(head_end) as usize).unwrap_or_default())?;
        }
        let within = to.min(within_end).saturating_sub(from.max(head_end));
        if within > 0 {
            if !self.builder.scanner.within_line(within) {
                return Ok(from.max(head_end));
            }
            self.builder.out += within;
        }
        if to > within_end {
            self.builder.data(b"\n")?;
        }
        Ok(to)
    }

    /// Sets the points a single pass would have set at these places, of which the first record behind is known, or not yet.
    fn points(&mut self, base: u64, started: u64, places: &[Place], found: &[(u64, u64)]) {
        for (number, place) in places.iter().enumerate() {
            self.builder.out = base + place.out;
            if !self.builder.wants_point() {
                continue;
            }
            self.builder.point(place.offset * 8, Restart::Fresh);
            if let Some((record, record_out)) = found.get(number) {
                self.builder.resolve(started.saturating_add(*record), base + record_out);
            }
        }
    }
}

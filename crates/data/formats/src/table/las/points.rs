//! Records of chosen parts, block by block.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;
use neardata_core::{ByteRange, RangedRead};

use super::header::Header;
use super::laz::{Decoder, Laz};
use super::part::{Fetch, Part, fetches};
use super::rectangle::Rectangle;
use crate::FormatError;

/// Most records of a block.
pub(super) const BLOCK: usize = 64 * 1024;

/// An opened object.
pub(super) struct Cloud {
    pub(super) object: Arc<dyn RangedRead>,
    pub(super) header: Header,
    pub(super) laz: Option<Laz>,
}

impl Cloud {
    /// The parts of an object, in order: the chunks of LAZ, runs of `run` points of LAS.
    pub(super) fn parts(&self, run: u64) -> Result<Vec<Part>, FormatError> {
        match &self.laz {
            Some(laz) => laz.chunks(&self.header, self.object.as_ref()),
            None => Ok(self.runs(0, self.header.points, run)),
        }
    }

    /// Points `[first, end)` of LAS in runs of `run`.
    fn runs(&self, first: u64, end: u64, run: u64) -> Vec<Part> {
        let record = self.header.record as u64;
        let of = |start: u64| {
            let points = run.min(end - start);
            Part::whole(self.header.data + start * record, points * record, points)
        };
        (first..end).step_by(usize::try_from(run).unwrap_or(usize::MAX).max(1)).map(of).collect()
    }

    /// Parts that hold the points `[first, end)`.
    pub(super) fn stretch(&self, first: u64, end: u64) -> Result<Vec<Part>, FormatError> {
        let Some(laz) = &self.laz else {
            let run = (1 << 20) / self.header.record as u64 + 1;
            return Ok(self.runs(first, end, run));
        };
        let mut parts = Vec::new();
        let mut start = 0;
        for chunk in laz.chunks(&self.header, self.object.as_ref())? {
            let behind = start + chunk.points;
            let (from, to) = (first.max(start), end.min(behind));
            if from < to {
                parts.push(Part { skip: from - start, take: to - from, ..chunk });
            }
            start = behind;
        }
        Ok(parts)
    }
}

/// Records of one part, none of them outside the rectangle.
#[derive(Debug)]
pub(super) struct Block {
    /// Number of the part among those given.
    pub(super) part: usize,
    pub(super) records: Bytes,
}

/// Reads parts, in order of their places.
pub(super) struct Points {
    cloud: Arc<Cloud>,
    rectangle: Option<Rectangle>,
    fetches: IntoIter<Fetch>,
    parts: IntoIter<Part>,
    range: ByteRange,
    fetched: Bytes,
    current: Option<Current>,
    started: usize,
}

/// What is left of a part.
struct Current {
    left: u64,
    content: Content,
}

enum Content {
    Raw(Bytes),
    Laz(Box<Decoder>),
}

impl Points {
    pub(super) fn new(cloud: Arc<Cloud>, parts: Vec<Part>, rectangle: Option<Rectangle>) -> Self {
        let fetches = fetches(parts).into_iter();
        let (parts, range) = (Vec::new().into_iter(), ByteRange::new(0, 0));
        Self { cloud, rectangle, fetches, parts, range, fetched: Bytes::new(), current: None, started: 0 }
    }

    /// The next records, empty blocks left in; `None` at the end.
    pub(super) fn next_block(&mut self) -> Result<Option<Block>, FormatError> {
        while self.current.is_none() {
            let Some(part) = self.next_part()? else { return Ok(None) };
            self.current = Some(self.start(part)?);
            self.started += 1;
        }
        let Some(current) = &mut self.current else { return Ok(None) };
        let points = current.left.min(BLOCK as u64) as usize;
        let records = match &mut current.content {
            Content::Raw(left) => left.split_to((points * self.cloud.header.record).min(left.len())),
            Content::Laz(decoder) => decoder.decode(&self.cloud.header, points)?.into(),
        };
        current.left -= points as u64;
        if current.left == 0 {
            self.current = None;
        }
        let records = match &self.rectangle {
            Some(rectangle) => kept(records, self.cloud.header.record, rectangle),
            None => records,
        };
        Ok(Some(Block { part: self.started - 1, records }))
    }

    fn next_part(&mut self) -> Result<Option<Part>, FormatError> {
        loop {
            if let Some(part) = self.parts.next() {
                return Ok(Some(part));
            }
            let Some(fetch) = self.fetches.next() else { return Ok(None) };
            self.fetched = Bytes::new();
            self.fetched = self.cloud.object.read(fetch.range)?;
            self.range = fetch.range;
            self.parts = fetch.parts.into_iter();
        }
    }

    fn start(&self, part: Part) -> Result<Current, FormatError> {
        let header = &self.cloud.header;
        let begin = part.at.saturating_sub(self.range.start) as usize;
        let end = begin.saturating_add(part.length as usize);
        if begin > end || end > self.fetched.len() || part.points < part.skip.saturating_add(part.take) {
            return Err(header.damaged(part.at, "points that lie outside of what was read"));
        }
        let content = self.fetched.slice(begin..end);
        let content = match &self.cloud.laz {
            Some(laz) => {
                let mut decoder = laz.decoder(header, part, content)?;
                let mut skip = part.skip;
                while skip > 0 {
                    let step = skip.min(BLOCK as u64);
                    decoder.decode(header, step as usize)?;
                    skip -= step;
                }
                Content::Laz(Box::new(decoder))
            }
            None => {
                let skip = (part.skip as usize).saturating_mul(header.record).min(content.len());
                Content::Raw(content.slice(skip..))
            }
        };
        Ok(Current { left: part.take, content })
    }
}

impl Iterator for Points {
    type Item = Result<Block, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

fn kept(records: Bytes, record: usize, rectangle: &Rectangle) -> Bytes {
    if records.chunks_exact(record).all(|record| rectangle.holds(record)) {
        return records;
    }
    let mut kept = Vec::new();
    for record in records.chunks_exact(record).filter(|record| rectangle.holds(record)) {
        kept.extend_from_slice(record);
    }
    kept.into()
}

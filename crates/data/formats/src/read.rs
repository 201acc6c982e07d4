//! Reading one stretch: exactly the uncompressed bytes of its records.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use libdeflater::Decompressor;
use neardata_core::{ByteRange, RangedRead, ReadError};

use crate::gzip::{BgzfDecoder, BgzfStep, GzipDecoder, Stop, WINDOW};
use crate::input::Input;
use crate::records::{Format, Position, RecordScanner};
use crate::selection::{Stretch, WindowRef};
use crate::sidecar::WINDOW_CHECKSUM;
use crate::zstandard::ZstdDecoder;
use crate::{Compression, FormatError};

/// What is said of a slice that was cut on the word that rows are lines.
const QUOTED_CUT: &str = "it ends inside a quoted field, so its object has rows of several lines: cut it without one_line_rows";
/// Decoded bytes held at a time.
const BUFFER: usize = 256 * 1024;

/// Reads the uncompressed bytes of one slice's records of one object; nothing before, nothing after.
///
/// Besides [`Read`] it is [`BufRead`], whose `fill_buf` gives the decoded bytes without a copy, as does [`RecordReader::chunk`].
pub struct RecordReader {
    name: String,
    decoder: Decoder,
    format: Format,
    stretch: Stretch,
    verify_ends: bool,
    /// Uncompressed offset of the next byte the decoder gives.
    out: u64,
    phase: Phase,
    block: Block,
    /// What of `block` is still to be handed out.
    ready: std::ops::Range<usize>,
    /// What of `block` was decoded but not yet looked at.
    pending: std::ops::Range<usize>,
}

enum Decoder {
    Plain(Input<'static>),
    Gzip(Box<GzipDecoder<'static>>),
    Bgzf(BgzfDecoder<'static>),
    Zstd(Box<ZstdDecoder<'static>>),
}

/// The bytes at hand.
enum Block {
    Buffer(Vec<u8>),
    Shared(Bytes),
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Block::Buffer(buffer) => buffer,
            Block::Shared(bytes) => bytes,
        }
    }
}

/// What is done with decoded bytes.
enum Phase {
    /// Drop up to the known start.
    Drop,
    /// Drop records up to the first of the slice.
    Find(Box<dyn RecordScanner>),
    /// Hand out up to the known end.
    Give {
        /// Sees what is handed out, where the known end is somebody's word.
        witness: Option<Box<dyn RecordScanner>>,
    },
    /// Hand out so many more records.
    Count {
        scanner: Box<dyn RecordScanner>,
        records: u64,
    },
    Done,
}

/// Records of one object, and what it takes to read them.
pub struct Part {
    /// The object.
    pub object: Arc<dyn RangedRead>,
    /// Its side-car, where the stretch needs it.
    pub side_car: Option<Arc<dyn RangedRead>>,
    /// Format of its records.
    pub format: Format,
    /// Which records, and how to reach them.
    pub stretch: Stretch,
    /// Whether its ends were taken for ends of rows on the caller's word; what is read then has to show it.
    pub verify_ends: bool,
}

impl RecordReader {
    /// A reader of the records of `part`.
    pub fn new(part: Part) -> Result<Self, FormatError> {
        let Part { object, side_car, format, stretch, verify_ends } = part;
        let index = side_car.as_deref();
        let name = object.name().to_owned();
        stretch.check(format.name(), object.size(), index.map(RangedRead::size))?;
        let window = match (stretch.window, index) {
            (Some(window), Some(index)) => read_window(index, window).map_err(|error| match error {
                FormatError::Read(ReadError::NotFound { name: side_car }) => {
                    FormatError::IndexGone { object: name.clone(), side_car }
                }
                other => other,
            })?,
            _ => Vec::new(),
        };
        let empty = stretch.records[0] == stretch.records[1];
        let range = if empty { ByteRange::new(0, 0) } else { ByteRange::new(stretch.bit / 8, stretch.stop) };
        let input = Input::owning(object, range);
        let (decoder, buffer) = match stretch.compression {
            Compression::Plain => (Decoder::Plain(input), 0),
            _ if empty => (Decoder::Plain(input), 0),
            Compression::Gzip => (Decoder::Gzip(Box::new(GzipDecoder::resume(&name, input, stretch.bit, &window)?)), BUFFER),
            Compression::Bgzf => (Decoder::Bgzf(BgzfDecoder::new(&name, input)), BUFFER),
            Compression::Zstd => (Decoder::Zstd(Box::new(ZstdDecoder::new(&name, input)?)), BUFFER),
        };
        Ok(Self {
            name,
            decoder,
            format,
            out: stretch.out,
            phase: if empty { Phase::Done } else { Phase::Drop },
            verify_ends,
            stretch,
            block: Block::Buffer(vec![0; buffer]),
            ready: 0..0,
            pending: 0..0,
        })
    }

    /// The next bytes of the slice, without a copy; empty at its end. Each call moves past what the one before gave.
    pub fn chunk(&mut self) -> Result<&[u8], FormatError> {
        self.ready = self.ready.end..self.ready.end;
        self.fill()?;
        let chunk = self.ready.clone();
        self.ready = chunk.end..chunk.end;
        Ok(&self.block.bytes()[chunk])
    }

    /// The bytes at hand, not yet consumed; empty only when the slice is over.
    pub(crate) fn fill(&mut self) -> Result<&[u8], FormatError> {
        while self.ready.is_empty() {
            if matches!(self.phase, Phase::Done) {
                break;
            }
            if self.pending.is_empty() {
                let known_end = self.stretch.to[0] == self.stretch.records[1];
                let left = if known_end { self.stretch.to[1].saturating_sub(self.out) } else { u64::MAX };
                // Nothing is held any more, and what is decoded next may be shorter than where it lay.
                self.ready = 0..0;
                // At the known end nothing is decoded: right when handing out, and a lie of the slice before that.
                self.pending = if left == 0 { 0..0 } else { self.decode(left)? };
                if self.pending.is_empty() {
                    self.end_of_object()?;
                    break;
                }
                self.out += self.pending.len() as u64;
            }
            self.advance()?;
        }
        Ok(self.held())
    }

    /// How many bytes the records have, where the index knows both ends.
    pub(crate) fn size(&self) -> Option<u64> {
        let Stretch { records, from, to, .. } = &self.stretch;
        (from[0] == records[0] && to[0] == records[1]).then(|| to[1] - from[1])
    }

    /// The bytes at hand, not yet consumed.
    pub(crate) fn held(&self) -> &[u8] {
        &self.block.bytes()[self.ready.clone()]
    }

    /// Looks at pending bytes in the present phase, and moves on to the next where it ends.
    fn advance(&mut self) -> Result<(), FormatError> {
        let pending = self.pending.clone();
        let bytes = &self.block.bytes()[pending.clone()];
        let pending_out = self.out - pending.len() as u64;
        let name = &self.name;
        match &mut self.phase {
            Phase::Drop => {
                let dropped = self.stretch.from[1].saturating_sub(pending_out).min(bytes.len() as u64) as usize;
                self.pending.start += dropped;
                if pending_out + dropped as u64 == self.stretch.from[1] {
                    self.phase = self.after_known_start();
                }
            }
            Phase::Find(scanner) => {
                let wanted = self.stretch.records[0] - self.stretch.from[0];
                let passed = scanner.scan(bytes, wanted).map_err(|malformed| malformed.of(name))?;
                self.pending.start += passed;
                if passed < bytes.len() {
                    self.phase = self.after_start();
                }
            }
            Phase::Give { witness } => {
                let given = self.stretch.to[1].saturating_sub(pending_out).min(bytes.len() as u64) as usize;
                if let Some(scanner) = witness {
                    scanner.scan(&bytes[..given], u64::MAX).map_err(|malformed| malformed.of(name))?;
                }
                self.ready = pending.start..pending.start + given;
                self.pending.start += given;
                if !self.pending.is_empty() || pending_out + given as u64 >= self.stretch.to[1] {
                    if witness.as_ref().is_some_and(|scanner| scanner.position() == Some(Position::QuotedLine)) {
                        return Err(FormatError::Broken { name: name.clone(), reason: QUOTED_CUT.to_owned() });
                    }
                    self.phase = self.after_known_end(self.stretch.records[1] - self.stretch.to[0]);
                }
            }
            Phase::Count { scanner, records } => {
                let given = scanner.scan(bytes, *records).map_err(|malformed| malformed.of(name))?;
                self.ready = pending.start..pending.start + given;
                self.pending.start += given;
                if given < bytes.len() {
                    self.phase = Phase::Done;
                }
            }
            Phase::Done => self.pending = pending.end..pending.end,
        }
        Ok(())
    }

    fn after_known_start(&self) -> Phase {
        if self.stretch.from[0] == self.stretch.records[0] {
            self.after_start()
        } else {
            Phase::Find(self.format.scanner(Position::Record))
        }
    }

    fn after_start(&self) -> Phase {
        let [first, end] = self.stretch.records;
        let witness = || self.verify_ends.then(|| self.format.scanner(Position::Record));
        if self.stretch.to[0] > first { Phase::Give { witness: witness() } } else { self.after_known_end(end - first) }
    }

    fn after_known_end(&self, records: u64) -> Phase {
        if records == 0 { Phase::Done } else { Phase::Count { scanner: self.format.scanner(Position::Record), records } }
    }

    /// Nothing more comes: right only where the slice ends at a known place that was reached.
    fn end_of_object(&mut self) -> Result<(), FormatError> {
        let [first, end] = self.stretch.records;
        let reason = match &self.phase {
            Phase::Done => return Ok(()),
            Phase::Give { .. } if self.out >= self.stretch.to[1] && self.stretch.to[0] == end => {
                self.phase = Phase::Done;
                return Ok(());
            }
            Phase::Count { scanner, records } if scanner.started() == *records => {
                self.phase = Phase::Done;
                return Ok(());
            }
            _ => format!("its bytes end before record {end} of records {first} to {end}"),
        };
        Err(FormatError::Broken { name: self.name.clone(), reason })
    }

    /// Decodes some more, at most about `limit` bytes where the decoder can stop; gives their place in `block`.
    fn decode(&mut self, limit: u64) -> Result<std::ops::Range<usize>, FormatError> {
        let limit = limit.min(BUFFER as u64) as usize;
        match (&mut self.decoder, &mut self.block) {
            (Decoder::Plain(input), block) => {
                let piece = input.take(usize::MAX)?;
                let length = piece.len();
                *block = Block::Shared(piece);
                Ok(0..length)
            }
            (Decoder::Gzip(decoder), Block::Buffer(buffer)) => loop {
                let step = decoder.step(&mut buffer[..limit], Stop::Full)?;
                if step.produced > 0 || step.ended {
                    return Ok(0..step.produced);
                }
            },
            (Decoder::Bgzf(decoder), Block::Buffer(buffer)) => loop {
                match decoder.step(buffer)? {
                    BgzfStep::Block { produced: 0, .. } => {}
                    BgzfStep::Block { produced, .. } => return Ok(0..produced),
                    BgzfStep::End => return Ok(0..0),
                    BgzfStep::Ordinary => {
                        let reason = "a BGZF block is expected where there is none".into();
                        return Err(FormatError::Broken { name: self.name.clone(), reason });
                    }
                }
            },
            (Decoder::Zstd(decoder), Block::Buffer(buffer)) => loop {
                let step = decoder.step(&mut buffer[..limit])?;
                if step.produced > 0 || step.ended {
                    return Ok(0..step.produced);
                }
            },
            (_, Block::Shared(_)) => Ok(0..0),
        }
    }
}

impl BufRead for RecordReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.fill()?)
    }

    fn consume(&mut self, amount: usize) {
        self.ready.start = (self.ready.start + amount).min(self.ready.end);
    }
}

impl Read for RecordReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// Fetches, verifies and unpacks one window.
fn read_window(index: &dyn RangedRead, window: WindowRef) -> Result<Vec<u8>, FormatError> {
    let damaged = |reason: &str| FormatError::SideCar { name: index.name().to_owned(), reason: reason.to_owned() };
    let stored = index.read(ByteRange::new(window.at, window.at + u64::from(window.length)))?;
    if crc32fast::hash(&stored) != window.crc {
        return Err(damaged(WINDOW_CHECKSUM));
    }
    let mut content = vec![0; WINDOW];
    let length = Decompressor::new()
        .deflate_decompress(&stored, &mut content)
        .map_err(|error| damaged(&format!("a window does not decode: {error}")))?;
    content.truncate(length);
    Ok(content)
}

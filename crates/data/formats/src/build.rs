//! The index pass: one pass over an object in bounded memory.

use std::io::{Read, Seek, Write};

use libdeflater::{CompressionLvl, Compressor};
use neardata_core::{ByteRange, ObjectRef, RangedRead};
use tempfile::SpooledTempFile;

use crate::detect::{Compression, Detected};
use crate::gzip::{BgzfDecoder, BgzfStep, Boundary, GzipDecoder, Step, Stop, WINDOW};
use crate::index::{Index, IndexOptions, Point, Restart};
use crate::input::Input;
use crate::records::{Position, RecordScanner};
use crate::zstandard::ZstdDecoder;
use crate::{FormatError, sidecar};

/// How far an index pass has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the object read so far.
    pub done: u64,
    /// Its size.
    pub total: u64,
}

/// Decoded bytes handled at a time: small enough to stay in the processor's cache between decoding and scanning.
const PIECE: usize = 128 * 1024;
/// Windows held in memory before they go to scratch space.
const SPOOL_MEMORY: usize = 16 << 20;
/// A checkpoint is set only when so many times its window's stored size lies behind the last one: keeps side-cars below 3 %.
const COMPRESSED_PER_WINDOW: u64 = 42;
/// libdeflate's level for windows (`fastest()` is 0, which stores).
const WINDOW_LEVEL: i32 = 1;
/// So much more is decoded at most to tell whether a record that makes no sense is the fault of damaged gzip.
const BLAME_LIMIT: usize = 64 << 20;
/// Progress is told every so many bytes.
const TELL_EVERY: u64 = 4 << 20;

/// A fresh index with its window area, ready to be written as a side-car.
pub struct Built {
    /// The index.
    pub index: Index,
    windows: SpooledTempFile,
}

impl Built {
    /// Writes the whole side-car.
    pub fn write_to(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&sidecar::encode(&self.index))?;
        self.windows.rewind()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match self.windows.read(&mut buffer)? {
                0 => return Ok(()),
                count => out.write_all(&buffer[..count])?,
            }
        }
    }

    /// The whole side-car in memory.
    pub fn to_vec(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads an object from end to end, verifies its checksums and its records, and gives its index.
pub fn build_index(
    reader: &dyn RangedRead,
    source: &ObjectRef,
    detected: Detected,
    options: IndexOptions,
    progress: &dyn Fn(Progress),
) -> Result<Built, FormatError> {
    let built = match detected.compression {
        Compression::Plain => plain_pass(Builder::new(reader, detected, options, progress)).map(Some),
        Compression::Gzip => gzip_pass(Builder::new(reader, detected, options, progress)).map(Some),
        Compression::Bgzf => bgzf_pass(Builder::new(reader, detected, options, progress)),
        Compression::Zstd => zstd_pass(Builder::new(reader, detected, options, progress)).map(Some),
    }?;
    match built {
        Some(builder) => builder.finish(source),
        // Not BGZF all the way: BGZF is gzip, so read it as gzip.
        None => {
            let detected = Detected { compression: Compression::Gzip, ..detected };
            gzip_pass(Builder::new(reader, detected, options, progress))?.finish(source)
        }
    }
}

fn plain_pass<'a>(mut builder: Builder<'a>) -> Result<Builder<'a>, FormatError> {
    let mut input = Input::new(builder.reader, ByteRange::new(0, builder.reader.size()));
    loop {
        let offset = input.offset();
        if builder.wants_point() {
            builder.point(offset * 8, Restart::Fresh);
        }
        let piece = input.take(PIECE.min(builder.until_point() as usize).max(1))?;
        if piece.is_empty() {
            return Ok(builder);
        }
        builder.data(&piece)?;
        builder.tell(offset);
    }
}

fn bgzf_pass<'a>(mut builder: Builder<'a>) -> Result<Option<Builder<'a>>, FormatError> {
    let input = Input::new(builder.reader, ByteRange::new(0, builder.reader.size()));
    let mut decoder = BgzfDecoder::new(builder.reader.name(), input);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match decoder.step(&mut buffer)? {
            BgzfStep::Block { offset, produced } => {
                if builder.wants_point() && produced > 0 {
                    builder.point(offset * 8, Restart::Fresh);
                }
                builder.data(&buffer[..produced])?;
                builder.tell(offset);
            }
            BgzfStep::Ordinary => return Ok(None),
            BgzfStep::End { marked } => {
                if !marked {
                    tracing::warn!(
                        object = builder.reader.name(),
                        "BGZF without its end-of-file block; was it cut at a block's end?"
                    );
                }
                return Ok(Some(builder));
            }
        }
    }
}

fn gzip_pass<'a>(mut builder: Builder<'a>) -> Result<Builder<'a>, FormatError> {
    let input = Input::new(builder.reader, ByteRange::new(0, builder.reader.size()));
    let mut decoder = GzipDecoder::new(builder.reader.name(), input);
    let mut buffer = vec![0; PIECE];
    let mut window = Vec::with_capacity(WINDOW);
    loop {
        // Decode freely up to where the next point may lie, then from block to block until one ends.
        let (stop, limit) = match builder.until_point() {
            0 => (Stop::Block, PIECE),
            room => (Stop::Full, PIECE.min(room as usize)),
        };
        let step = decoder.step(&mut buffer[..limit], stop)?;
        if step.ended {
            return Ok(builder);
        }
        if let Err(error) = builder.data(&buffer[..step.produced]) {
            let noticed_at = decoder.offset();
            return Err(blame(&mut buffer, Compression::Gzip, noticed_at, error, |buffer| decoder.step(buffer, Stop::Full)));
        }
        match step.boundary {
            Boundary::Member { bit } if builder.wants_point() => builder.point(bit, Restart::Fresh),
            Boundary::Block { bit } if builder.wants_point() => {
                let restart = if builder.wants_checkpoint(bit) {
                    decoder.window(&mut window);
                    builder.store_window(bit, &window)?
                } else {
                    Restart::No
                };
                builder.point(bit, restart);
            }
            _ => {}
        }
        builder.tell(decoder.offset());
    }
}

fn zstd_pass<'a>(mut builder: Builder<'a>) -> Result<Builder<'a>, FormatError> {
    let input = Input::new(builder.reader, ByteRange::new(0, builder.reader.size()));
    let mut decoder = ZstdDecoder::new(builder.reader.name(), input)?;
    let mut buffer = vec![0; PIECE];
    loop {
        if builder.wants_point()
            && let Some(needed) = decoder.needed()
        {
            builder.point(needed * 8, Restart::No);
        }
        let limit = PIECE.min(builder.until_point() as usize).max(1);
        let step = decoder.step(&mut buffer[..limit])?;
        if step.ended {
            return Ok(builder);
        }
        if let Boundary::Member { bit } = step.boundary
            && builder.wants_frame(bit)
        {
            builder.point(bit, Restart::Fresh);
        }
        if let Err(error) = builder.data(&buffer[..step.produced]) {
            let noticed_at = decoder.offset();
            return Err(blame(&mut buffer, Compression::Zstd, noticed_at, error, |buffer| decoder.step(buffer)));
        }
        builder.tell(decoder.offset());
    }
}

/// Whose fault a record is that makes no sense: its content is trusted only once the checksum of its gzip member or Zstandard frame
/// fits, which stands at the end of that.
fn blame(
    buffer: &mut [u8],
    compression: Compression,
    noticed_at: u64,
    error: FormatError,
    mut step: impl FnMut(&mut [u8]) -> Result<Step, FormatError>,
) -> FormatError {
    let mut left = BLAME_LIMIT;
    loop {
        match step(buffer) {
            Ok(step) if step.ended || step.boundary != Boundary::None => return error,
            Ok(step) if step.produced >= left => return or_damaged(error, compression),
            Ok(step) => left -= step.produced,
            Err(FormatError::Corrupt { name, compression, reason, .. }) => {
                let reason = match error {
                    FormatError::Malformed { line, .. } => {
                        format!("{reason}; before that its records make no sense at line {line}")
                    }
                    _ => reason,
                };
                return FormatError::Corrupt { name, compression, offset: noticed_at, reason };
            }
            Err(truncated @ FormatError::Truncated { .. }) => return truncated,
            Err(_) => return error,
        }
    }
}

/// The same error for when the end of the gzip member or Zstandard frame is too far away to know better.
fn or_damaged(error: FormatError, compression: Compression) -> FormatError {
    match error {
        FormatError::Malformed { name, format, line, reason } => {
            let (family, program) = (compression.family(), compression.program());
            let reason = format!("{reason}; or the {family} is damaged before that line: check it with `{program} -t` first");
            FormatError::Malformed { name, format, line, reason }
        }
        other => other,
    }
}

/// Gathers points, windows and record starts while an object goes by.
struct Builder<'a> {
    reader: &'a dyn RangedRead,
    detected: Detected,
    options: IndexOptions,
    progress: &'a dyn Fn(Progress),
    told: u64,
    scanner: Box<dyn RecordScanner>,
    points: Vec<Point>,
    /// Points from here on still wait for the next record to begin.
    unresolved: usize,
    out: u64,
    last_restart: u64,
    last_restart_bit: u64,
    last_window: u64,
    windows: SpooledTempFile,
    windows_length: u64,
    compressor: Compressor,
    stored: Vec<u8>,
}

impl<'a> Builder<'a> {
    fn new(reader: &'a dyn RangedRead, detected: Detected, options: IndexOptions, progress: &'a dyn Fn(Progress)) -> Self {
        let mut compressor = Compressor::new(CompressionLvl::new(WINDOW_LEVEL).unwrap_or_default());
        let stored = vec![0; compressor.deflate_compress_bound(WINDOW)];
        Self {
            reader,
            detected,
            options: IndexOptions { span: options.span.max(1), point_span: options.point_span.max(1) },
            progress,
            told: 0,
            scanner: detected.format.scanner(Position::Start),
            points: Vec::new(),
            unresolved: 0,
            out: 0,
            last_restart: 0,
            last_restart_bit: 0,
            last_window: 0,
            windows: SpooledTempFile::new(SPOOL_MEMORY),
            windows_length: 0,
            compressor,
            stored,
        }
    }

    /// Uncompressed bytes that must still go by before the next point.
    fn until_point(&self) -> u64 {
        self.points.last().map_or(0, |last| (last.out + self.options.point_span).saturating_sub(self.out))
    }

    fn wants_point(&self) -> bool {
        self.until_point() == 0
    }

    fn wants_checkpoint(&self, bit: u64) -> bool {
        self.out >= self.last_restart + self.options.span
            && (bit - self.last_restart_bit) / 8 >= COMPRESSED_PER_WINDOW * self.last_window
    }

    /// Whether a Zstandard frame that begins at this bit is worth a point.
    fn wants_frame(&self, bit: u64) -> bool {
        self.points.is_empty()
            || (self.out > self.last_restart
                && (bit - self.last_restart_bit) / 8 >= COMPRESSED_PER_WINDOW * sidecar::ENTRY as u64)
    }

    fn point(&mut self, bit: u64, restart: Restart) {
        if restart != Restart::No {
            self.last_restart = self.out;
            self.last_restart_bit = bit;
        }
        self.points.push(Point { bit, out: self.out, record: 0, record_out: 0, restart });
    }

    /// Compresses a window and keeps it, unless it would make the side-car too large.
    fn store_window(&mut self, bit: u64, window: &[u8]) -> Result<Restart, FormatError> {
        let length =
            self.compressor.deflate_compress(window, &mut self.stored).map_err(|error| self.scratch(error.to_string()))?;
        self.last_window = length as u64;
        if !self.wants_checkpoint(bit) {
            return Ok(Restart::No);
        }
        let stored = &self.stored[..length];
        let checksum = crc32fast::hash(stored);
        let offset = self.windows_length;
        self.windows.write_all(stored).map_err(|source| FormatError::Scratch { name: self.reader.name().to_owned(), source })?;
        self.windows_length += length as u64;
        Ok(Restart::Window { offset, length: length as u32, checksum })
    }

    fn scratch(&self, reason: String) -> FormatError {
        FormatError::Scratch { name: self.reader.name().to_owned(), source: std::io::Error::other(reason) }
    }

    /// The next uncompressed bytes.
    fn data(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let malformed = |malformed: crate::records::Malformed| malformed.of(self.reader.name());
        let mut at = 0;
        if self.unresolved < self.points.len() {
            at = self.scanner.scan(bytes, self.scanner.started()).map_err(malformed)?;
            if at < bytes.len() {
                self.resolve(self.out + at as u64);
            }
        }
        self.scanner.scan(&bytes[at..], u64::MAX).map_err(|malformed| malformed.of(self.reader.name()))?;
        self.out += bytes.len() as u64;
        Ok(())
    }

    /// The next record begins at `record_out`: so it is the first after every waiting point.
    fn resolve(&mut self, record_out: u64) {
        let record = self.scanner.started();
        for point in &mut self.points[self.unresolved..] {
            (point.record, point.record_out) = (record, record_out);
        }
        self.unresolved = self.points.len();
    }

    fn tell(&mut self, done: u64) {
        if done >= self.told + TELL_EVERY {
            self.told = done;
            (self.progress)(Progress { done, total: self.reader.size() });
        }
    }

    fn finish(mut self, source: &ObjectRef) -> Result<Built, FormatError> {
        self.scanner.finish().map_err(|malformed| malformed.of(self.reader.name()))?;
        self.resolve(self.out);
        if self.out == 0 {
            self.points.clear();
        } else if let Some(first) = self.points.first_mut() {
            // Blank bytes before the first record belong to it, a header does not.
            (first.record, first.record_out) = (0, self.scanner.preamble());
        }
        let size = self.reader.size();
        (self.progress)(Progress { done: size, total: size });
        let mut index = Index {
            source: source.clone(),
            format: self.detected.format,
            compression: self.detected.compression,
            records: self.scanner.started(),
            uncompressed: self.out,
            preamble: self.scanner.preamble(),
            options: self.options,
            points: self.points,
            windows_length: self.windows_length,
            windows_start: 0,
        };
        index.windows_start = sidecar::encode(&index).len() as u64;
        Ok(Built { index, windows: self.windows })
    }
}

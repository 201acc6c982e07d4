//! The index pass: one pass over an object in bounded memory, or over its parts at once.

mod builder;
mod join;
mod part;
mod partial;
mod parts;
mod threads;

use std::io::{Read, Seek, Write};

use neardata_core::{ByteRange, ObjectRef, RangedRead};
use tempfile::SpooledTempFile;

use crate::detect::{Compression, Detected};
use crate::gzip::{Boundary, GzipDecoder, Step, Stop, WINDOW};
use crate::index::{Index, IndexOptions, Restart};
use crate::input::Input;
use crate::zstandard::ZstdDecoder;
use crate::{FormatError, sidecar};

use builder::Builder;
use join::Joiner;
pub use parts::IndexPart;
pub(crate) use parts::{index_part, join_parts, parts_of};
pub use threads::{Parallel, build_index_parallel};

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
/// So much more is decoded at most to tell whether a record that makes no sense is the fault of damaged gzip.
const BLAME_LIMIT: usize = 64 << 20;

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
    let builder = Builder::new(reader, detected, options, progress);
    match detected.compression {
        Compression::Gzip => gzip_pass(builder)?.finish(source),
        Compression::Zstd => zstd_pass(builder)?.finish(source),
        Compression::Plain | Compression::Bgzf => {
            let mut joiner = Joiner::new(builder);
            joiner.add(ByteRange::new(0, reader.size()), None)?;
            finish(joiner, reader, source, detected, options, progress)
        }
    }
}

/// The index of an object whose parts are joined.
fn finish(
    joiner: Joiner<'_>,
    reader: &dyn RangedRead,
    source: &ObjectRef,
    detected: Detected,
    options: IndexOptions,
    progress: &dyn Fn(Progress),
) -> Result<Built, FormatError> {
    match joiner.finish() {
        Some(builder) => builder.finish(source),
        // Not BGZF all the way: BGZF is gzip, so read it as gzip.
        None => {
            let detected = Detected { compression: Compression::Gzip, ..detected };
            gzip_pass(Builder::new(reader, detected, options, progress))?.finish(source)
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

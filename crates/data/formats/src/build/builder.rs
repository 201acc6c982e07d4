use std::io::Write;

use libdeflater::{CompressionLvl, Compressor};
use neardata_core::{ObjectRef, RangedRead};
use tempfile::SpooledTempFile;

use super::{Built, Progress};
use crate::detect::Detected;
use crate::gzip::WINDOW;
use crate::index::{Index, IndexOptions, Point, Restart};
use crate::records::{Position, RecordScanner};
use crate::{FormatError, sidecar};

/// Progress is told every so many bytes.
const TELL_EVERY: u64 = 4 << 20;
/// libdeflate's level for windows (`fastest()` is 0, which stores).
const WINDOW_LEVEL: i32 = 1;
/// A checkpoint is set only when so many times its window's stored size lies behind the last one: keeps side-cars below 3 %.
const COMPRESSED_PER_WINDOW: u64 = 42;
/// Windows held in memory before they go to scratch space.
const SPOOL_MEMORY: usize = 16 << 20;
/// Gathers points, windows and record starts while an object goes by.
pub(super) struct Builder<'a> {
    pub(super) reader: &'a dyn RangedRead,
    pub(super) detected: Detected,
    pub(super) options: IndexOptions,
    pub(super) progress: &'a dyn Fn(Progress),
    told: u64,
    pub(super) scanner: Box<dyn RecordScanner>,
    pub(super) points: Vec<Point>,
    /// Points from here on still wait for the next record to begin.
    pub(super) unresolved: usize,
    pub(super) out: u64,
    /// Whether the object lacks the mark at its end that its compression asks for.
    pub(super) unmarked: bool,
    last_restart: u64,
    last_restart_bit: u64,
    last_window: u64,
    windows: SpooledTempFile,
    windows_length: u64,
    compressor: Compressor,
    stored: Vec<u8>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        reader: &'a dyn RangedRead,
        detected: Detected,
        options: IndexOptions,
        progress: &'a dyn Fn(Progress),
    ) -> Self {
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
            unmarked: false,
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
    pub(super) fn until_point(&self) -> u64 {
        self.points.last().map_or(0, |last| (last.out + self.options.point_span).saturating_sub(self.out))
    }

    pub(super) fn wants_point(&self) -> bool {
        self.until_point() == 0
    }

    pub(super) fn wants_checkpoint(&self, bit: u64) -> bool {
        self.out >= self.last_restart + self.options.span
            && (bit - self.last_restart_bit) / 8 >= COMPRESSED_PER_WINDOW * self.last_window
    }

    /// Whether a Zstandard frame that begins at this bit is worth a point.
    pub(super) fn wants_frame(&self, bit: u64) -> bool {
        self.points.is_empty()
            || (self.out > self.last_restart
                && (bit - self.last_restart_bit) / 8 >= COMPRESSED_PER_WINDOW * sidecar::ENTRY as u64)
    }

    pub(super) fn point(&mut self, bit: u64, restart: Restart) {
        if restart != Restart::No {
            self.last_restart = self.out;
            self.last_restart_bit = bit;
        }
        self.points.push(Point { bit, out: self.out, record: 0, record_out: 0, restart });
    }

    /// Compresses a window and keeps it, unless it would make the side-car too large.
    pub(super) fn store_window(&mut self, bit: u64, window: &[u8]) -> Result<Restart, FormatError> {
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
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let malformed = |malformed: crate::records::Malformed| malformed.of(self.reader.name());
        let mut at = 0;
        if self.unresolved < self.points.len() {
            at = self.scanner.scan(bytes, self.scanner.started()).map_err(malformed)?;
            if at < bytes.len() {
                self.resolve(self.scanner.started(), self.out + at as u64);
            }
        }
        self.scanner.scan(&bytes[at..], u64::MAX).map_err(|malformed| malformed.of(self.reader.name()))?;
        self.out += bytes.len() as u64;
        Ok(())
    }

    /// The next record begins at `record_out`: so it is the first after every waiting point.
    pub(super) fn resolve(&mut self, record: u64, record_out: u64) {
        for point in &mut self.points[self.unresolved..] {
            (point.record, point.record_out) = (record, record_out);
        }
        self.unresolved = self.points.len();
    }

    pub(super) fn tell(&mut self, done: u64) {
        if done >= self.told + TELL_EVERY {
            self.told = done;
            (self.progress)(Progress { done, total: self.reader.size() });
        }
    }

    pub(super) fn finish(mut self, source: &ObjectRef) -> Result<Built, FormatError> {
        self.scanner.finish().map_err(|malformed| malformed.of(self.reader.name()))?;
        self.resolve(self.scanner.started(), self.out);
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
            unmarked: self.unmarked,
            points: self.points,
            windows_length: self.windows_length,
            windows_start: 0,
        };
        index.windows_start = sidecar::encode(&index).len() as u64;
        Ok(Built { index, windows: self.windows })
    }
}

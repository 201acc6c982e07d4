//! Objects as streams, and slices that name parts of what earlier stages wrote.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ByteRange, ObjectRef, RangedRead, Slice};
use neardata_functions::CallError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Format name of a slice of a run of alignments.
const RUN: &str = "alignment-run";
/// Format name of a slice that is a whole object.
const WHOLE: &str = "object";

#[derive(Serialize, Deserialize)]
struct RunSelection {
    bytes: ByteRange,
}

/// The part of a run that lies in a range of its bytes.
pub fn run_slice(run: &ObjectRef, bytes: ByteRange) -> Slice {
    let selection = serde_json::json!({ "bytes": bytes });
    Slice { v: Slice::VERSION, format: RUN.into(), objects: vec![run.clone()], selection, index: Vec::new() }
}

/// Whole objects.
pub fn object_slice(objects: Vec<ObjectRef>) -> Slice {
    Slice { v: Slice::VERSION, format: WHOLE.into(), objects, selection: serde_json::Value::Null, index: Vec::new() }
}

/// The object and the range that [`run_slice`] put into a slice.
pub(super) fn run_of(slice: &Slice) -> Result<(&ObjectRef, ByteRange), CallError> {
    let selection: RunSelection = slice.selection_as().map_err(CallError::input)?;
    let object = slice.objects.first().filter(|_| slice.format == RUN);
    let object =
        object.ok_or_else(|| CallError::input(format!("a slice of `{}` is no part of a run of alignments", slice.format)))?;
    Ok((object, selection.bytes))
}

/// Reads a range of an object piece by piece.
pub(crate) struct ObjectReader {
    object: Arc<dyn RangedRead>,
    range: ByteRange,
    piece: u64,
    held: Bytes,
}

impl ObjectReader {
    pub(crate) fn new(object: Arc<dyn RangedRead>, range: ByteRange, piece: u64) -> Self {
        Self { object, range, piece, held: Bytes::new() }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() && !self.range.is_empty() {
            let piece = ByteRange::new(self.range.start, self.range.end.min(self.range.start + self.piece));
            self.held = self.object.read(piece)?;
            self.range.start = piece.end;
        }
        let count = out.len().min(self.held.len());
        out[..count].copy_from_slice(&self.held.split_to(count));
        Ok(count)
    }
}

/// Passes bytes on, in or out, and keeps their digest.
pub(super) struct Digesting<T> {
    inner: T,
    digest: Sha256,
    length: u64,
}

impl<T> Digesting<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, digest: Sha256::new(), length: 0 }
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What is inside, and the digest in hex.
    pub(super) fn finish(self) -> (T, String) {
        (self.inner, hex::encode(self.digest.finalize()))
    }

    fn note(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.note(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.note(&out[..count]);
        Ok(count)
    }
}

//! From blobs to a body: pieces of half a megabyte, one read ahead, no hashing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use neardata_core::ByteRange;
use tokio::task::JoinHandle;

use super::reaper::Pinned;
use super::{Shared, blob_path};
use crate::disk::{Disk, DiskFile};
use crate::error::OperationError;
use crate::meta::Blob;
use crate::operation::{Body, BodyError};

/// A stretch of one blob.
enum Stretch {
    Inline(Bytes),
    File { path: PathBuf, start: u64, end: u64 },
}

/// The bytes `range` of the object made of `blobs`, whose files stay while `pinned` lives. The first piece is read before this
/// returns, so that a missing file is an error and not a cut answer.
pub(super) async fn body(
    shared: &Arc<Shared>,
    blobs: &[Blob],
    range: ByteRange,
    pinned: Option<Pinned>,
) -> Result<Body, OperationError> {
    let mut stretches = stretches(shared, blobs, range);
    if stretches.len() <= 1
        && let Some(Stretch::Inline(bytes)) = stretches.pop_front_if(|stretch| matches!(stretch, Stretch::Inline(_)))
    {
        return Ok(Body::from_bytes(bytes));
    }
    let reader = Reader { disk: Arc::clone(&shared.disk), piece: shared.options.piece, stretches, file: None };
    let (reader, first) =
        spawn_piece(reader).await.map_err(|error| OperationError::Internal(format!("a read ended: {error}")))?;
    let first = first.map_err(|error| OperationError::Internal(error.to_string()))?;
    let next = (!reader.stretches.is_empty()).then(|| spawn_piece(reader));
    Ok(Body::new(Pieces { first, next, _pinned: pinned }, Some(range.len())))
}

fn stretches(shared: &Shared, blobs: &[Blob], range: ByteRange) -> VecDeque<Stretch> {
    let mut stretches = VecDeque::new();
    let mut offset = 0;
    for blob in blobs {
        let start = range.start.max(offset) - offset;
        let end = range.end.min(offset + blob.size).saturating_sub(offset);
        if start < end {
            stretches.push_back(match &blob.inline {
                Some(bytes) => Stretch::Inline(bytes.slice(start as usize..end as usize)),
                None => Stretch::File { path: blob_path(&shared.folder, blob.id), start, end },
            });
        }
        offset += blob.size;
    }
    stretches
}

type Piece = Result<Option<Bytes>, BodyError>;

fn spawn_piece(mut reader: Reader) -> JoinHandle<(Reader, Piece)> {
    tokio::task::spawn_blocking(move || {
        let piece = reader.next_piece();
        (reader, piece)
    })
}

/// Reads stretches one piece at a time, on a disk thread.
struct Reader {
    disk: Arc<dyn Disk>,
    piece: usize,
    stretches: VecDeque<Stretch>,
    /// The file of the first stretch, once it is open.
    file: Option<Box<dyn DiskFile>>,
}

impl Reader {
    fn next_piece(&mut self) -> Piece {
        let (path, start, end) = match self.stretches.pop_front() {
            None => return Ok(None),
            Some(Stretch::Inline(bytes)) => return Ok(Some(bytes)),
            Some(Stretch::File { path, start, end }) => (path, start, end),
        };
        let failed = |error: std::io::Error| {
            tracing::error!(path = %path.display(), %error, "a stored blob cannot be read");
            BodyError::Disk(format!("{}: {error}", path.display()))
        };
        let file = match self.file.take() {
            Some(file) => file,
            None => self.disk.open(&path).map_err(failed)?,
        };
        let length = (end - start).min(self.piece as u64) as usize;
        let mut buffer = vec![0; length];
        let count = file.read_at(start, &mut buffer).map_err(failed)?;
        if count < length {
            return Err(failed(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file is shorter than its blob")));
        }
        let next = start + length as u64;
        if next < end {
            self.stretches.push_front(Stretch::File { path, start: next, end });
            self.file = Some(file);
        }
        Ok(Some(Bytes::from(buffer)))
    }
}

struct Pieces {
    first: Option<Bytes>,
    next: Option<JoinHandle<(Reader, Piece)>>,
    _pinned: Option<Pinned>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let joined = ready!(Pin::new(next).poll(context));
        self.next = None;
        let (reader, piece) = match joined {
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(BodyError::Disk(format!("a read ended: {error}"))))),
        };
        if piece.is_ok() && !reader.stretches.is_empty() {
            self.next = Some(spawn_piece(reader));
        }
        Poll::Ready(piece.transpose())
    }
}

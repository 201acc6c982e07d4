//! From a body to a durable blob: hashed once, while it is written.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::{Shared, blob_path};
use crate::checksum::{Checksum, ChecksumAlgorithm, Digests, Hasher};
use crate::disk::{Disk, DiskFile};
use crate::error::OperationError;
use crate::meta::{Blob, BlobId};
use crate::operation::{Body, BodyError, Expected};

/// What a body became. Its blob is durable, but nothing names it yet.
pub(super) struct Received {
    pub(super) size: u64,
    /// MD5 in hex.
    pub(super) etag: String,
    pub(super) checksum: Checksum,
    pub(super) blob: Option<PendingBlob>,
}

/// A blob that nothing names yet. Dropped, it is removed again.
pub(super) struct PendingBlob {
    blob: Blob,
    file: Option<UnnamedFile>,
}

impl PendingBlob {
    /// The blob, for a commit. Whoever takes it removes its file if the commit is known to have failed.
    pub(super) fn named(mut self) -> Blob {
        if let Some(file) = &mut self.file {
            file.keep = true;
        }
        self.blob.clone()
    }
}

/// A blob's file that goes away unless it is kept.
struct UnnamedFile {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    keep: bool,
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let (disk, path) = (Arc::clone(&self.disk), std::mem::take(&mut self.path));
        let remove = move || {
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(path = %path.display(), %error, "could not remove an unfinished blob; the next start does");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Reads `body` to its end, hashes it, stores it, checks what the client expects.
pub(super) async fn receive(shared: &Arc<Shared>, mut body: Body, expected: Expected) -> Result<Received, OperationError> {
    let limit = shared.options.max_request;
    let declared = body.length;
    if declared.is_some_and(|length| length > limit) {
        return Err(OperationError::TooLarge { limit });
    }
    let algorithm = expected.algorithm.unwrap_or(ChecksumAlgorithm::DEFAULT);
    let mut sink = Sink::new(shared, algorithm);
    let mut size = 0u64;
    while let Some(bytes) = next_bytes(shared, &mut body).await? {
        size += bytes.len() as u64;
        if size > limit {
            return Err(OperationError::TooLarge { limit });
        }
        sink.push(bytes).await?;
    }
    if let Some(declared) = declared
        && declared != size
    {
        return Err(BodyError::Incomplete(format!("{declared} bytes were announced, {size} came")).into());
    }
    let (digests, pending) = sink.finish(size, expected).await?;
    Ok(Received { size, etag: hex::encode(digests.md5), checksum: digests.checksum, blob: pending })
}

async fn next_bytes(shared: &Shared, body: &mut Body) -> Result<Option<Bytes>, OperationError> {
    let stall = shared.options.stall;
    match tokio::time::timeout(stall, body.next()).await {
        Ok(next) => Ok(next.transpose()?),
        Err(_) => Err(OperationError::Timeout { seconds: stall.as_secs() }),
    }
}

fn verify(expected: Expected, digests: &Digests) -> Result<(), OperationError> {
    let check = |algorithm, expected: String, computed: &str| {
        if expected == computed {
            Ok(())
        } else {
            Err(OperationError::BadDigest { algorithm, expected, computed: computed.to_owned() })
        }
    };
    if let Some(md5) = expected.md5 {
        check("MD5", BASE64.encode(md5), &BASE64.encode(digests.md5))?;
    }
    let name = digests.checksum.algorithm.name();
    if let Some(value) = expected.value {
        check(name, value, &digests.checksum.value)?;
    }
    if let Some(trailer) = expected.trailer {
        let value = trailer().ok_or_else(|| BodyError::Incomplete(format!("the announced {name} trailer is missing")))?;
        check(name, value, &digests.checksum.value)?;
    }
    Ok(())
}

/// Small bodies stay in memory and are hashed at once; larger ones are hashed and written on a disk thread while more comes in.
struct Sink<'a> {
    shared: &'a Arc<Shared>,
    algorithm: ChecksumAlgorithm,
    gathered: Vec<Bytes>,
    gathered_size: usize,
    writing: Option<JoinHandle<Result<Writer, OperationError>>>,
}

impl<'a> Sink<'a> {
    fn new(shared: &'a Arc<Shared>, algorithm: ChecksumAlgorithm) -> Self {
        Self { shared, algorithm, gathered: Vec::new(), gathered_size: 0, writing: None }
    }

    async fn push(&mut self, bytes: Bytes) -> Result<(), OperationError> {
        self.gathered_size += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_size >= self.shared.options.gather { self.write_gathered().await } else { Ok(()) }
    }

    /// Hands what was gathered to a disk thread, after the stretch before it was written.
    async fn write_gathered(&mut self) -> Result<(), OperationError> {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_size = 0;
        let before = match self.writing.take() {
            Some(writing) => Some(joined(writing).await?),
            None => None,
        };
        let (shared, algorithm) = (Arc::clone(self.shared), self.algorithm);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let mut writer = match before {
                Some(writer) => writer,
                None => Writer::create(&shared, algorithm)?,
            };
            writer.write(&gathered)?;
            Ok(writer)
        }));
        Ok(())
    }

    async fn finish(mut self, size: u64, expected: Expected) -> Result<(Digests, Option<PendingBlob>), OperationError> {
        if size <= self.shared.options.inline_limit && self.writing.is_none() {
            return self.finish_inline(size, expected);
        }
        if self.gathered_size > 0 {
            self.write_gathered().await?;
        }
        let Some(writing) = self.writing.take() else { return self.finish_inline(size, expected) };
        let writer = joined(writing).await?;
        // The trailer was read with the body, so the client's claim is checked before anything is synced.
        joined(tokio::task::spawn_blocking(move || writer.finish(expected))).await
    }

    fn finish_inline(self, size: u64, expected: Expected) -> Result<(Digests, Option<PendingBlob>), OperationError> {
        let mut hasher = Hasher::new(self.algorithm);
        self.gathered.iter().for_each(|bytes| hasher.update(bytes));
        let digests = hasher.finish();
        verify(expected, &digests)?;
        if size == 0 {
            return Ok((digests, None));
        }
        let mut bytes = BytesMut::with_capacity(self.gathered_size);
        self.gathered.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let blob = Blob { id: self.shared.next_blob(), size, inline: Some(bytes.freeze()) };
        Ok((digests, Some(PendingBlob { blob, file: None })))
    }
}

async fn joined<T>(task: JoinHandle<Result<T, OperationError>>) -> Result<T, OperationError> {
    task.await.map_err(|error| OperationError::Internal(format!("a write ended: {error}")))?
}

/// A blob's file being written, on a disk thread.
struct Writer {
    id: BlobId,
    file: Box<dyn DiskFile>,
    unnamed: UnnamedFile,
    hasher: Hasher,
    size: u64,
}

impl Writer {
    fn create(shared: &Shared, algorithm: ChecksumAlgorithm) -> Result<Self, OperationError> {
        let id = shared.next_blob();
        let path = blob_path(&shared.folder, id);
        let file = shared.disk.create(&path).map_err(|error| OperationError::from_io(&path, &error))?;
        let unnamed = UnnamedFile { path, disk: Arc::clone(&shared.disk), keep: false };
        Ok(Self { id, file, unnamed, hasher: Hasher::new(algorithm), size: 0 })
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), OperationError> {
        for piece in pieces {
            self.hasher.update(piece);
            self.file.write_at(self.size, piece).map_err(|error| OperationError::from_io(&self.unnamed.path, &error))?;
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    /// Checks the hashes, then makes the bytes and the name durable.
    fn finish(self, expected: Expected) -> Result<(Digests, Option<PendingBlob>), OperationError> {
        let digests = self.hasher.finish();
        verify(expected, &digests)?;
        let path = &self.unnamed.path;
        let failed = |error: std::io::Error| OperationError::from_io(path, &error);
        self.file.sync().map_err(failed)?;
        if let Some(folder) = path.parent() {
            self.unnamed.disk.sync_folder(folder).map_err(failed)?;
        }
        let blob = Blob { id: self.id, size: self.size, inline: None };
        Ok((digests, Some(PendingBlob { blob, file: Some(self.unnamed) })))
    }
}

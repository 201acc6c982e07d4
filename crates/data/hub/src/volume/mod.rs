//! The local volume: a folder with a metadata database and one file for each large blob, by number, never by key.
//!
//! ```text
//! format_version      "1"
//! meta.sqlite         objects, small blobs, uploads (write-ahead log beside it)
//! blobs/3f/…3f        large blobs, by number
//! ```
//!
//! A write is acknowledged after its blob's bytes, the blob's name and the transaction that names the blob are durable, in this
//! order. What a crash leaves unnamed is swept when the volume opens.

mod read;
mod reaper;
mod receive;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::task::TaskTracker;

use crate::disk::Disk;
use crate::error::{HubError, OperationError};
use crate::meta::{BlobId, MetaStore, SqliteMeta, SqliteOptions};
use reaper::Reaper;

/// The layout this build writes.
const FORMAT_VERSION: u32 = 1;
/// Folders that blobs are spread over.
const SHARDS: i64 = 256;

/// Sizes and limits; the defaults are S3's own where it has any.
#[derive(Clone, Debug)]
pub(crate) struct VolumeOptions {
    /// Objects and parts up to this size lie in the metadata.
    pub(crate) inline_limit: u64,
    /// Every part of an upload but the last has at least this size.
    pub(crate) min_part: u64,
    /// Bytes in one request at most.
    pub(crate) max_request: u64,
    /// Bytes gathered before they go to a disk thread.
    pub(crate) gather: usize,
    /// Bytes read from a file at once.
    pub(crate) piece: usize,
    /// How long a body may stall.
    pub(crate) stall: Duration,
    /// The metadata engine.
    pub(crate) sqlite: SqliteOptions,
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self {
            inline_limit: 16 << 10,
            min_part: 5 << 20,
            max_request: 5 << 30,
            gather: 1 << 20,
            piece: 512 << 10,
            stall: Duration::from_secs(60),
            sqlite: SqliteOptions::default(),
        }
    }
}

/// An open volume. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Volume {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    meta: Arc<dyn MetaStore>,
    options: VolumeOptions,
    last_blob: AtomicI64,
    reaper: Reaper,
    /// Commits under way: they finish even if their client goes away.
    commits: TaskTracker,
}

impl Volume {
    /// Opens or makes the volume in `folder`: checks its version, opens the metadata, sweeps blobs that were never committed.
    pub(crate) async fn open(disk: Arc<dyn Disk>, folder: &Path, options: VolumeOptions) -> Result<Self, HubError> {
        let (task_disk, task_folder, sqlite) = (Arc::clone(&disk), folder.to_owned(), options.sqlite.clone());
        let opened = tokio::task::spawn_blocking(move || prepare(&*task_disk, &task_folder, &sqlite)).await;
        let meta: Arc<dyn MetaStore> = Arc::new(joined(opened)?);
        let census = meta.census().await?;
        let (task_disk, task_folder) = (Arc::clone(&disk), folder.to_owned());
        let swept = tokio::task::spawn_blocking(move || sweep(&*task_disk, &task_folder, &census.files)).await;
        let last_file = joined(swept)?;
        let reaper = Reaper::start(Arc::clone(&disk), folder.to_owned());
        let shared = Shared {
            disk,
            folder: folder.to_owned(),
            meta,
            options,
            last_blob: AtomicI64::new(census.last.max(last_file)),
            reaper,
            commits: TaskTracker::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which blobs the metadata names.
    #[cfg(test)]
    pub(crate) async fn census(&self) -> Result<crate::meta::BlobCensus, OperationError> {
        self.shared.meta.census().await
    }

    /// Waits for commits under way, then closes the metadata.
    pub(crate) async fn close(&self) {
        self.shared.commits.close();
        self.shared.commits.wait().await;
        self.shared.reaper.finish().await;
        let shared = Arc::clone(&self.shared);
        let _closed = tokio::task::spawn_blocking(move || shared.meta.close()).await;
    }
}

impl Shared {
    fn next_blob(&self) -> BlobId {
        self.last_blob.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn joined<T>(result: Result<Result<T, HubError>, tokio::task::JoinError>) -> Result<T, HubError> {
    result.map_err(|error| OperationError::Internal(format!("a task of the volume ended: {error}")))?
}

/// The file of a blob.
fn blob_path(folder: &Path, id: BlobId) -> PathBuf {
    shard_path(folder, id.rem_euclid(SHARDS)).join(format!("{id:016x}"))
}

fn shard_path(folder: &Path, shard: i64) -> PathBuf {
    folder.join("blobs").join(format!("{shard:02x}"))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Makes or checks the layout and opens the metadata.
fn prepare(disk: &dyn Disk, folder: &Path, options: &SqliteOptions) -> Result<SqliteMeta, HubError> {
    let failed = |source| HubError::Io { path: folder.to_owned(), source };
    disk.create_folder(folder).map_err(failed)?;
    if !has_format_version(disk, folder)? {
        for shard in 0..SHARDS {
            disk.create_folder(&shard_path(folder, shard)).map_err(failed)?;
        }
        disk.sync_folder(&folder.join("blobs")).map_err(failed)?;
        write_format_version(disk, folder).map_err(failed)?;
    }
    let meta = SqliteMeta::open(&folder.join("meta.sqlite"), options)?;
    // The database's own name must be durable before anything in it is acknowledged.
    disk.sync_folder(folder).map_err(failed)?;
    if let Some(parent) = folder.parent() {
        // Not every parent may be opened; the folder's own name was there before us then.
        let _unreadable_parent = disk.sync_folder(parent);
    }
    Ok(meta)
}

fn has_format_version(disk: &dyn Disk, folder: &Path) -> Result<bool, HubError> {
    let path = folder.join("format_version");
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(HubError::Io { path, source }),
    };
    let mut buffer = [0; 32];
    let count = file.read_at(0, &mut buffer).map_err(|source| HubError::Io { path: path.clone(), source })?;
    let text = String::from_utf8_lossy(&buffer[..count]);
    match text.trim().parse::<u32>() {
        Ok(found) if found <= FORMAT_VERSION => Ok(true),
        Ok(found) => Err(HubError::NewerFormat { folder: folder.to_owned(), found, known: FORMAT_VERSION }),
        Err(_) => Err(HubError::BadFormat { file: path, found: text.trim().to_owned() }),
    }
}

fn write_format_version(disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
    let unfinished = folder.join("format_version.new");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&unfinished)?;
    file.write_at(0, format!("{FORMAT_VERSION}\n").as_bytes())?;
    file.sync()?;
    disk.rename(&unfinished, &folder.join("format_version"))?;
    disk.sync_folder(folder)
}

/// Removes the files of blobs that no commit names; gives the largest number seen.
fn sweep(disk: &dyn Disk, folder: &Path, named: &[BlobId]) -> Result<BlobId, HubError> {
    let mut last = 0;
    let mut swept = 0u64;
    for shard in 0..SHARDS {
        let path = shard_path(folder, shard);
        let failed = |source| HubError::Io { path: path.clone(), source };
        for name in disk.list(&path).map_err(failed)? {
            let Ok(id) = BlobId::from_str_radix(&name, 16) else { continue };
            last = last.max(id);
            if named.binary_search(&id).is_err() {
                disk.remove(&path.join(&name)).map_err(failed)?;
                swept += 1;
            }
        }
    }
    if swept > 0 {
        tracing::info!(folder = %folder.display(), swept, "removed blobs of writes that never finished");
    }
    Ok(last)
}

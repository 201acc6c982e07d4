//! The embedded engine: SQLite in WAL mode with full sync. One thread writes: it drains a queue, runs what waits as one
//! transaction, and answers after the commit. Reads go to a few read-only connections beside it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{BlobCensus, Committed, MetaStore, PartCommit, PutCommit, StoredObject, list, objects, uploads};
use crate::error::{HubError, OperationError};
use crate::operation::{
    Address, BucketInfo, CompleteUpload, CopyObject, CreateUpload, ListObjects, ListParts, ListUploads, ObjectPage, PartInfo,
    PartPage, Stored, UploadInfo, UploadPage, WriteCondition,
};

/// How many waiting writes one transaction takes.
const BATCH: usize = 256;
/// The write-ahead log's file is cut to this once it was folded back.
const LOG_SIZE: i64 = 64 << 20;
/// How many writes may wait.
const QUEUE: usize = 1024;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS buckets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    bucket INTEGER NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL,
    parts INTEGER NOT NULL, upload TEXT, headers TEXT, checksum TEXT, blobs BLOB NOT NULL,
    PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, refs INTEGER NOT NULL, data BLOB);
CREATE TABLE IF NOT EXISTS uploads (
    bucket INTEGER NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, initiated INTEGER NOT NULL, headers TEXT,
    algorithm TEXT NOT NULL, kind TEXT NOT NULL,
    PRIMARY KEY (bucket, key, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL,
    checksum TEXT, blobs BLOB NOT NULL,
    PRIMARY KEY (upload, number)) WITHOUT ROWID;
";

/// How the engine is opened.
#[derive(Clone, Debug)]
pub(crate) struct SqliteOptions {
    /// Read-only connections; with none, reads queue with the writes and the database is held exclusively (the simulator's VFS has
    /// no shared memory).
    pub(crate) readers: usize,
    /// The VFS to use instead of SQLite's own.
    pub(crate) vfs: Option<String>,
    /// Pages in the write-ahead log before it is folded back.
    pub(crate) checkpoint_pages: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 8, vfs: None, checkpoint_pages: 2000 }
    }
}

/// Tells a job's caller how the transaction ended.
type Finish = Box<dyn FnOnce(Result<(), OperationError>) + Send>;
/// Runs inside the transaction; its changes are kept if it says so.
type Job = Box<dyn FnOnce(&Connection) -> (bool, Finish) + Send>;

/// See the module.
pub(crate) struct SqliteMeta {
    path: PathBuf,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    reader_permits: Option<Arc<Semaphore>>,
}

impl SqliteMeta {
    /// Opens or makes the database file.
    pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Self, HubError> {
        let failed = |error: rusqlite::Error| HubError::Metadata { path: path.to_owned(), message: error.to_string() };
        let writer = open_writer(path, options).map_err(failed)?;
        let readers = (0..options.readers).map(|_| open_reader(path)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread_path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("hub-metadata".to_owned())
            .spawn(move || write_loop(&writer, receiver, &thread_path))
            .map_err(|source| HubError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            queue: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(thread)),
            reader_permits: (options.readers > 0).then(|| Arc::new(Semaphore::new(options.readers))),
            readers: Arc::new(Mutex::new(readers)),
        })
    }

    /// Runs `work` in the next transaction; returns after its commit. Changes of work that fails are undone.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, OperationError> {
        let (answer, answered) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            let result = work(connection).map_err(|failure| failure.into_error(&path));
            let keep = result.is_ok();
            let finish: Finish = Box::new(move |committed| {
                // The caller may have gone away; what was committed stays committed.
                let _ = answer.send(if keep { committed.and(result) } else { result });
            });
            (keep, finish)
        });
        let queue = lock(&self.queue).clone();
        let closed = || OperationError::Internal(format!("{}: the metadata engine has ended", self.path.display()));
        queue.ok_or_else(closed)?.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Runs `work` in one read transaction.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, OperationError> {
        let Some(permits) = &self.reader_permits else { return self.write(work).await };
        let permit = Arc::clone(permits).acquire_owned().await;
        let readers = Arc::clone(&self.readers);
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = lock(&readers).pop();
            let Some(connection) = connection else {
                return Err(OperationError::Internal("no metadata reader is free".to_owned()));
            };
            let result = in_read_transaction(&connection, work);
            lock(&readers).push(connection);
            // Held until the connection is back, also when the caller has gone away.
            drop(permit);
            result.map_err(|failure| failure.into_error(&path))
        });
        task.await.map_err(|error| OperationError::Internal(format!("a metadata read ended: {error}")))?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_read_transaction<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
    let transaction = connection.unchecked_transaction()?;
    work(&transaction)
}

fn open_writer(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &options.vfs {
        None => Connection::open_with_flags(path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
    };
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    if options.readers == 0 {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("this file system does not allow a write-ahead log (journal mode is {mode})")),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE)?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE;{SCHEMA}COMMIT;"))?;
    Ok(connection)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn write_loop(connection: &Connection, mut queue: mpsc::Receiver<Job>, path: &Path) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut finishes = Vec::with_capacity(batch.len());
        let result = run_batch(connection, batch.drain(..), &mut finishes);
        if let Err(error) = &result {
            tracing::error!(path = %path.display(), %error, "a metadata transaction failed; nothing of it was acknowledged");
            if !connection.is_autocommit() {
                let _already_rolled_back = connection.execute_batch("ROLLBACK");
            }
        }
        for finish in finishes {
            finish(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(sqlite_error(path, error)),
            });
        }
    }
}

/// Runs the jobs as one transaction, each under a savepoint of its own.
fn run_batch(connection: &Connection, jobs: impl Iterator<Item = Job>, finishes: &mut Vec<Finish>) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for job in jobs {
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        let (keep, finish) = job(connection);
        finishes.push(finish);
        if !keep {
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// Why work inside a transaction failed.
pub(super) enum Failure {
    /// The answer is an error.
    Operation(OperationError),
    /// The engine failed.
    Sqlite(rusqlite::Error),
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    fn into_error(self, path: &Path) -> OperationError {
        match self {
            Self::Operation(error) => error,
            Self::Sqlite(error) => sqlite_error(path, &error),
        }
    }
}

fn sqlite_error(path: &Path, error: &rusqlite::Error) -> OperationError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => OperationError::DiskFull(path.to_owned()),
        _ => OperationError::Internal(format!("{}: {error}", path.display())),
    }
}

/// The row of a bucket.
pub(super) fn bucket_id(connection: &Connection, name: &str) -> Result<i64, Failure> {
    let id =
        connection.prepare_cached("SELECT id FROM buckets WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    Ok(id.ok_or_else(|| OperationError::NoSuchBucket(name.to_owned()))?)
}

#[async_trait]
impl MetaStore for SqliteMeta {
    async fn create_bucket(&self, bucket: BucketInfo) -> Result<(), OperationError> {
        self.write(move |connection| {
            let made = connection
                .prepare_cached("INSERT INTO buckets (name, created) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![bucket.name, bucket.created_ms])?;
            if made == 1 { Ok(()) } else { Err(OperationError::BucketExists(bucket.name).into()) }
        })
        .await
    }

    async fn head_bucket(&self, bucket: &str) -> Result<BucketInfo, OperationError> {
        let name = bucket.to_owned();
        self.read(move |connection| {
            let created = connection
                .prepare_cached("SELECT created FROM buckets WHERE name = ?1")?
                .query_row([&name], |row| row.get(0))
                .optional()?;
            match created {
                Some(created_ms) => Ok(BucketInfo { name, created_ms }),
                None => Err(OperationError::NoSuchBucket(name).into()),
            }
        })
        .await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketInfo>, OperationError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT name, created FROM buckets ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok(BucketInfo { name: row.get(0)?, created_ms: row.get(1)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<Committed<()>, OperationError> {
        let name = bucket.to_owned();
        self.write(move |connection| uploads::delete_bucket(connection, &name)).await
    }

    async fn head_object(&self, address: &Address) -> Result<StoredObject, OperationError> {
        let address = address.clone();
        self.read(move |connection| objects::get(connection, &address, false)).await
    }

    async fn get_object(&self, address: &Address) -> Result<StoredObject, OperationError> {
        let address = address.clone();
        self.read(move |connection| objects::get(connection, &address, true)).await
    }

    async fn list_objects(&self, query: ListObjects) -> Result<ObjectPage, OperationError> {
        self.read(move |connection| list::objects(connection, &query)).await
    }

    async fn commit_put(&self, put: PutCommit) -> Result<Committed<Stored>, OperationError> {
        self.write(move |connection| objects::put(connection, put)).await
    }

    async fn commit_copy(&self, copy: CopyObject, now_ms: i64) -> Result<Committed<Stored>, OperationError> {
        self.write(move |connection| objects::copy(connection, copy, now_ms)).await
    }

    async fn commit_delete(&self, address: Address, condition: WriteCondition) -> Result<Committed<()>, OperationError> {
        self.write(move |connection| objects::delete(connection, &address, &condition)).await
    }

    async fn commit_delete_many(&self, bucket: String, keys: Vec<String>) -> Result<Committed<Vec<String>>, OperationError> {
        self.write(move |connection| objects::delete_many(connection, &bucket, keys)).await
    }

    async fn create_upload(&self, create: CreateUpload, now_ms: i64) -> Result<UploadInfo, OperationError> {
        self.write(move |connection| uploads::create(connection, create, now_ms)).await
    }

    async fn head_upload(&self, address: &Address, upload: &str) -> Result<UploadInfo, OperationError> {
        let (address, upload) = (address.clone(), upload.to_owned());
        self.read(move |connection| Ok(uploads::find(connection, &address, &upload)?.info)).await
    }

    async fn commit_part(&self, part: PartCommit) -> Result<Committed<PartInfo>, OperationError> {
        self.write(move |connection| uploads::put_part(connection, part)).await
    }

    async fn commit_complete(
        &self,
        complete: CompleteUpload,
        min_part: u64,
        now_ms: i64,
    ) -> Result<Committed<Stored>, OperationError> {
        self.write(move |connection| uploads::complete(connection, complete, min_part, now_ms)).await
    }

    async fn commit_abort(&self, address: Address, upload: String) -> Result<Committed<()>, OperationError> {
        self.write(move |connection| uploads::abort(connection, &address, &upload)).await
    }

    async fn list_parts(&self, query: ListParts) -> Result<PartPage, OperationError> {
        self.read(move |connection| uploads::list_parts(connection, &query)).await
    }

    async fn list_uploads(&self, query: ListUploads) -> Result<UploadPage, OperationError> {
        self.read(move |connection| list::uploads(connection, &query)).await
    }

    async fn census(&self) -> Result<BlobCensus, OperationError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT id FROM blobs WHERE data IS NULL ORDER BY id")?;
            let files = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let last: Option<i64> = connection.query_row("SELECT max(id) FROM blobs", [], |row| row.get(0))?;
            Ok(BlobCensus { files, last: last.unwrap_or(0) })
        })
        .await
    }

    fn close(&self) {
        lock(&self.queue).take();
        lock(&self.readers).clear();
        if let Some(thread) = lock(&self.writer).take() {
            let _writer_panicked = thread.join();
        }
    }
}

impl Drop for SqliteMeta {
    fn drop(&mut self) {
        self.close();
    }
}

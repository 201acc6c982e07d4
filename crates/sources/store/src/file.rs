//! Local files: pinned reads, and writes that are durable when they return.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use neardata_core::{ByteRange, Chunks, ObjectRef, ObjectUri, Pin, RangedRead, ReadError};

use crate::StoreError;
use crate::meter::Meter;
use crate::stores::Listed;

/// Pins the current version of a file by size and modification time.
pub(crate) fn head(uri: &ObjectUri, path: &Path) -> Result<ObjectRef, StoreError> {
    let name = uri.to_string();
    let metadata = fs::metadata(path).map_err(|error| StoreError::io(&name, &error))?;
    if metadata.is_dir() {
        return Err(StoreError::failed(&name, "is a folder, not an object"));
    }
    Ok(ObjectRef { uri: uri.clone(), store: None, pin: Pin::WeakMtime(stamp(&metadata)), size: metadata.len() })
}

/// A stamp that moves whenever the file is written or replaced: `cp -p` and `rsync -t` restore the modification time, but neither the
/// inode nor the time of the last status change. Only equality means anything.
fn stamp(metadata: &fs::Metadata) -> i64 {
    let facts = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec(), metadata.ino() as i64];
    // FNV-1a over the words.
    facts.into_iter().fold(-3_750_763_034_362_895_579, |stamp: i64, fact| (stamp ^ fact).wrapping_mul(1_099_511_628_211))
}

/// A pinned, open file.
pub(crate) struct FileObject {
    name: String,
    file: File,
    pin: Pin,
    size: u64,
    fetched: AtomicU64,
    meter: Meter,
}

impl FileObject {
    pub(crate) fn open(object: &ObjectRef, path: &Path, meter: Meter) -> Result<Self, StoreError> {
        let name = object.uri.to_string();
        let file = File::open(path).map_err(|error| StoreError::io(&name, &error))?;
        let opened = Self { name, file, pin: object.pin.clone(), size: object.size, fetched: AtomicU64::new(0), meter };
        opened.check_unchanged()?;
        Ok(opened)
    }

    /// A file has no entity tag to send along: its size and time are compared after the bytes were taken.
    fn check_unchanged(&self) -> Result<(), ReadError> {
        let metadata = self.file.metadata().map_err(|error| self.failed(&error))?;
        let detail = if metadata.len() != self.size {
            format!("{} bytes then, {} now", self.size, metadata.len())
        } else if matches!(self.pin, Pin::WeakMtime(then) if then != stamp(&metadata)) {
            "it was written or replaced".to_owned()
        } else {
            return Ok(());
        };
        Err(ReadError::Changed { name: self.name.clone(), detail })
    }

    fn failed(&self, error: &io::Error) -> ReadError {
        ReadError::Failed { name: self.name.clone(), detail: error.to_string() }
    }
}

impl RangedRead for FileObject {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let mut buffer = BytesMut::zeroed(range.len() as usize);
        match self.file.read_exact_at(&mut buffer, range.start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.check_unchanged()?;
                let detail = format!("range {range} lies beyond its {} bytes", self.size);
                return Err(ReadError::Failed { name: self.name.clone(), detail });
            }
            Err(error) => return Err(self.failed(&error)),
        }
        self.check_unchanged()?;
        self.fetched.fetch_add(range.len(), Ordering::Relaxed);
        self.meter.add_fetched(buffer.len());
        Ok(buffer.freeze())
    }

    fn stream(&self, range: ByteRange) -> Chunks<'_> {
        // Small enough to stay in the second-level cache between the copy and its use.
        const PIECE: u64 = 256 << 10;
        let mut at = range.start;
        Box::new(std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let piece = ByteRange::new(at, (at + PIECE).min(range.end));
                at = piece.end;
                self.read(piece)
            })
        }))
    }

    fn bytes_fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }
}

/// Writes a whole file so that it is there, complete and synced, or not at all. With `only_if_absent`, false says it was there.
pub(crate) fn put(uri: &ObjectUri, path: &Path, bytes: &[u8], only_if_absent: bool) -> Result<Option<ObjectRef>, StoreError> {
    let mut pending = PendingFile::create(uri, path)?;
    pending.write_all(bytes).map_err(|error| StoreError::io(&pending.name, &error))?;
    pending.commit(only_if_absent)
}

/// A file being written beside its destination under a name of its own; dropped uncommitted, it is removed.
pub(crate) struct PendingFile {
    uri: ObjectUri,
    name: String,
    destination: PathBuf,
    temporary: Option<tempfile::NamedTempFile>,
}

impl PendingFile {
    pub(crate) fn create(uri: &ObjectUri, path: &Path) -> Result<Self, StoreError> {
        let name = uri.to_string();
        let fail = |error: io::Error| StoreError::io(&name, &error);
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        create_folders(folder).map_err(fail)?;
        let temporary = tempfile::Builder::new()
            .prefix(".neardata-")
            .suffix(".part")
            // The permissions that a plain `open` would have given; tempfile's own default is 0600.
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(fail)?;
        Ok(Self { uri: uri.clone(), name, destination: path.to_owned(), temporary: Some(temporary) })
    }

    /// Syncs the file, gives it its name, syncs its folder.
    pub(crate) fn commit(mut self, only_if_absent: bool) -> Result<Option<ObjectRef>, StoreError> {
        let fail = |error: &io::Error| StoreError::io(&self.name, error);
        let Some(temporary) = self.temporary.take() else {
            return Err(StoreError::failed(&self.name, "was committed twice"));
        };
        temporary.as_file().sync_all().map_err(|error| fail(&error))?;
        let persisted =
            if only_if_absent { temporary.persist_noclobber(&self.destination) } else { temporary.persist(&self.destination) };
        match persisted {
            Ok(_) => {}
            Err(error) if only_if_absent && error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(fail(&error.error)),
        }
        if let Some(folder) = self.destination.parent() {
            sync_folder(folder).map_err(|error| fail(&error))?;
        }
        head(&self.uri, &self.destination).map(Some)
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.temporary {
            Some(temporary) => temporary.write(bytes),
            None => Err(io::Error::other("the file is already committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a folder and its parents, and syncs what names them, so that a power cut cannot take the path away. A folder that is
/// there already may be another writer's, made and not yet synced: once a process its path is synced too.
fn create_folders(folder: &Path) -> io::Result<()> {
    static SYNCED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    const REMEMBERED: usize = 10_000;
    let synced = || SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
    let exists = folder.is_dir();
    if exists && synced().contains(folder) {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_folders(parent)?;
    }
    if !exists {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    match folder.parent().map_or(Ok(()), sync_folder) {
        // A folder above that this user may not read, or of a file system that does not sync folders: nobody here made anything in it.
        Err(error) if exists && !is_input_output(&error) => {}
        outcome => outcome?,
    }
    let mut synced = synced();
    if synced.len() >= REMEMBERED {
        synced.clear();
    }
    synced.insert(folder.to_owned());
    Ok(())
}

fn is_input_output(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// Every file below a folder, or the one file of that name; sorted, unfinished files left out.
pub(crate) fn list(root: &Path) -> Result<Vec<Listed>, StoreError> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let name = path.display().to_string();
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io(&name, &error)),
        };
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).map_err(|error| StoreError::io(&name, &error))?;
            for entry in entries {
                open.push(entry.map_err(|error| StoreError::io(&name, &error))?.path());
            }
        } else if !path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".part")) {
            let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
            found.push(Listed { uri: ObjectUri::from_path(&path), size: metadata.len(), modified });
        }
    }
    found.sort_by(|a, b| a.uri.cmp(&b.uri));
    Ok(found)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn delete(uri: &ObjectUri, path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder).map_err(|error| StoreError::io(&uri.to_string(), &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(&uri.to_string(), &error)),
    }
}

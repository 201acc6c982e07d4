//! One process a folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A folder held by this process: a second holder is refused until this value is dropped or the process ends, however it ends.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let held = neardata_hub::FolderLock::acquire(folder.path())?;
/// let refused = neardata_hub::FolderLock::acquire(folder.path()).unwrap_err();
/// assert!(refused.to_string().contains("in use by process"));
/// drop(held);
/// neardata_hub::FolderLock::acquire(folder.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder could not be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{folder} is in use by process {holder}; stop that one first, or choose another folder with --data DIR")]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The other process's id, as it wrote it.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FolderLock {
    /// Holds `folder` (made if absent) through an advisory lock on the file `lock` in it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let failed = |source: std::io::Error| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.take(20).read_to_string(&mut holder).map_err(failed)?;
                let holder = if holder.trim().is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
                return Err(LockError::Held { folder: folder.to_owned(), holder });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

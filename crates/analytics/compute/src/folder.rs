//! The engine's own folder: private, and locked as long as its engine lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::EngineError;

/// Makes the folder if need be, for its owner alone, and gives its path without links.
pub(crate) fn prepare(folder: &Path) -> Result<PathBuf, EngineError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(fs::canonicalize(folder)?)
}

/// Locks the folder. A lock may outlive its owner for a moment, in a child that is just being spawned: hence the second look.
pub(crate) async fn lock(folder: &Path) -> Result<File, EngineError> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path)?;
    let mut looks = 0;
    while rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        looks += 1;
        if looks > 10 {
            let mut pid = String::new();
            let _unreadable = file.read_to_string(&mut pid);
            let pid = if pid.is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(EngineError::Locked { folder: folder.to_owned(), pid });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

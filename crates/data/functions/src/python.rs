//! The Python worker, embedded: one file that needs the standard library and the vendored cloudpickle only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The worker's main file.
pub const WORKER: &str = include_str!("../python/neardata_worker.py");
/// cloudpickle, vendored.
pub const CLOUDPICKLE: &str = include_str!("../python/neardata_cloudpickle.py");

/// Writes the worker's files below `folder` and returns the main one.
pub fn install(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let main = folder.join("neardata_worker.py");
    write_if_other(&folder.join("neardata_cloudpickle.py"), CLOUDPICKLE)?;
    write_if_other(&main, WORKER)?;
    Ok(main)
}

/// Replaces the file in one step, so that no worker ever starts from half of it.
fn write_if_other(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

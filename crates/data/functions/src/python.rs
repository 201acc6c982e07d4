//! The Python worker, embedded: one file that needs the standard library and the vendored cloudpickle only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The worker's file.
pub const WORKER: &str = include_str!("../python/neardata_worker.py");
/// cloudpickle, vendored: used where the environment has none of its own.
pub const CLOUDPICKLE: &str = include_str!("../python/neardata_cloudpickle.py");
/// How many functions a worker keeps: the oldest goes when one more comes.
pub const FUNCTIONS_KEPT: usize = 16;
/// The search path a worker sets, as a JSON list: `NEARDATA_WORKER_PATH`.
pub const ENV_PATH: &str = "NEARDATA_WORKER_PATH";

/// Writes the worker's files below `folder` and returns the one to run.
pub fn install(folder: &Path) -> io::Result<PathBuf> {
    let package = folder.join("vendor/cloudpickle");
    fs::create_dir_all(&package)?;
    write_if_other(&package.join("__init__.py"), "from . import cloudpickle\nfrom .cloudpickle import *\n")?;
    write_if_other(&package.join("cloudpickle.py"), CLOUDPICKLE)?;
    let worker = folder.join("neardata_worker.py");
    write_if_other(&worker, WORKER)?;
    Ok(worker)
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

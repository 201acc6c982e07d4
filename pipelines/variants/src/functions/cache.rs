//! What a node keeps for all its processes: folders of files that many calls need, made once, addressed by what they are made of.
//!
//! A folder appears whole, by a rename, after its files are on the disk. A list of them lies beside them, and whoever uses the folder
//! compares: what a full disk, a crash or a person cut off is made again rather than read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use neardata_core::canonical;
use neardata_functions::CallError;
use serde::Serialize;
use tempfile::TempDir;

/// The list of a folder's files: their sizes by name, as JSON.
const LIST: &str = ".files.json";

/// The folder of `kind` files made of `identity`, made by `make` in a folder of its own if it is not there yet. Other processes wait.
pub(super) fn cached<K: Serialize>(
    kind: &str,
    identity: &K,
    make: impl FnOnce(&Path) -> Result<(), CallError>,
) -> Result<PathBuf, CallError> {
    cached_in(&root(), &format!("{kind}-{}", &canonical::digest(identity)[..32]), make)
}

fn cached_in(root: &Path, name: &str, make: impl FnOnce(&Path) -> Result<(), CallError>) -> Result<PathBuf, CallError> {
    let folder = root.join(name);
    if is_whole(&folder) {
        // Says when it was used last, for `remove_unused`; a cache that cannot be written still can be read.
        let _read_only = File::open(&folder).and_then(|handle| handle.set_modified(SystemTime::now()));
        return Ok(folder);
    }
    let place = |error: io::Error| {
        let text = format!("{}: {error}; set NEARDATA_CACHE to a folder that can be written", root.display());
        CallError::from(io::Error::new(error.kind(), text))
    };
    fs::create_dir_all(root).map_err(place)?;
    let lock = lock_file(root, name).map_err(place)?;
    lock.lock().map_err(place)?;
    if is_whole(&folder) {
        return Ok(folder);
    }
    if folder.exists() {
        discarded(root, name, &folder).and_then(TempDir::close).map_err(place)?;
    }
    let fresh = beside(root, name).map_err(place)?;
    make(fresh.path())?;
    seal(fresh.path()).map_err(place)?;
    fs::rename(fresh.path(), &folder).map_err(place)?;
    // It has another name by now.
    let _renamed = fresh.keep();
    File::open(root).and_then(|root| root.sync_all()).map_err(place)?;
    Ok(folder)
}

/// The sizes of a folder's files by name, without their list.
pub(super) fn files(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != LIST {
            files.insert(name, entry.metadata()?.len());
        }
    }
    Ok(files)
}

/// Puts the files on the disk, then their list.
fn seal(folder: &Path) -> io::Result<()> {
    let files = files(folder)?;
    for name in files.keys() {
        File::open(folder.join(name))?.sync_all()?;
    }
    let mut list = File::create(folder.join(LIST))?;
    list.write_all(&serde_json::to_vec(&files)?)?;
    list.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Whether a folder holds what its list says.
fn is_whole(folder: &Path) -> bool {
    let Ok(list) = fs::read(folder.join(LIST)) else { return false };
    let Ok(listed) = serde_json::from_slice::<BTreeMap<String, u64>>(&list) else { return false };
    files(folder).is_ok_and(|found| listed.iter().all(|(name, size)| found.get(name) == Some(size)))
}

fn lock_file(root: &Path, name: &str) -> io::Result<File> {
    File::create(root.join(format!("{name}.lock")))
}

/// A new folder for what is not, or no longer, the folder `name`.
fn beside(root: &Path, name: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("{name}.")).tempdir_in(root)
}

/// Takes a folder out of its place at once, so that nobody sees it half removed; dropping or closing what this gives removes it.
fn discarded(root: &Path, name: &str, folder: &Path) -> io::Result<TempDir> {
    let place = beside(root, name)?;
    // Over an empty folder, which `rename` allows.
    fs::rename(folder, place.path())?;
    Ok(place)
}

/// What [`remove_unused`] removed, or would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Folders.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Removes references and aligner indexes of this node that no call has used for so long; they are made again when needed.
///
/// What is being made now is left alone.
pub fn remove_unused(unused_for: Duration, dry_run: bool) -> io::Result<Removed> {
    remove_unused_in(&root(), unused_for, dry_run)
}

fn remove_unused_in(root: &Path, unused_for: Duration, dry_run: bool) -> io::Result<Removed> {
    let mut removed = Removed::default();
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    for entry in entries {
        let path = entry.path();
        let is_unused = || {
            let data = entry.metadata()?;
            Ok::<_, io::Error>(data.is_dir() && data.modified()?.elapsed().unwrap_or_default() >= unused_for)
        };
        if !is_unused().or_else(|error| if gone(&error) { Ok(false) } else { Err(error) })? {
            continue;
        }
        if dry_run {
            removed.bytes += files(&path)?.values().sum::<u64>();
            removed.entries += 1;
            continue;
        }
        // `NAME` itself, or a `NAME.x` that a killed process left: both belong to whoever holds the lock of `NAME`.
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let name = file_name.split('.').next().unwrap_or_default();
        let lock = lock_file(root, name)?;
        if lock.try_lock().is_err() {
            continue;
        }
        let discarded = match discarded(root, name, &path) {
            Err(error) if gone(&error) => continue,
            discarded => discarded?,
        };
        removed.bytes += files(discarded.path())?.values().sum::<u64>();
        removed.entries += 1;
        discarded.close()?;
    }
    Ok(removed)
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn root() -> PathBuf {
    let of_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of_env("NEARDATA_CACHE")
        .or_else(|| Some(of_env("XDG_CACHE_HOME")?.join("neardata")))
        .or_else(|| Some(of_env("HOME")?.join(".cache/neardata")))
        .unwrap_or_else(|| std::env::temp_dir().join("neardata"));
    cache.join("node")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder `a`, and whether it had to be made.
    fn used(root: &Path) -> (PathBuf, bool) {
        let mut made = false;
        let folder = cached_in(root, "a", |folder| {
            made = true;
            fs::write(folder.join("x"), "whole")?;
            Ok(fs::write(folder.join("y"), "")?)
        });
        (folder.unwrap(), made)
    }

    #[test]
    fn a_folder_that_is_not_whole_is_made_again() {
        let root = TempDir::new().unwrap();
        let (folder, made) = used(root.path());
        assert!(made && !used(root.path()).1);
        let damages: [fn(&Path) -> io::Result<()>; 4] = [
            |folder| fs::write(folder.join("x"), "who"),
            |folder| fs::remove_file(folder.join("y")),
            |folder| fs::remove_file(folder.join(LIST)),
            |folder| fs::write(folder.join(LIST), "{\"x\""),
        ];
        for damage in damages {
            damage(&folder).unwrap();
            assert_eq!(used(root.path()), (folder.clone(), true));
            assert_eq!(fs::read(folder.join("x")).unwrap(), b"whole");
            assert!(!used(root.path()).1);
        }
        let names = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(names, 2, "the folder and its lock, nothing left over");
    }

    #[test]
    fn a_failed_making_leaves_nothing() {
        let root = TempDir::new().unwrap();
        cached_in(root.path(), "a", |_| Err(CallError::failed("no"))).unwrap_err();
        assert!(!root.path().join("a").exists());
        assert!(used(root.path()).1);
    }

    #[test]
    fn what_is_unused_is_removed_and_what_is_being_made_is_not() {
        let root = TempDir::new().unwrap();
        used(root.path());
        fs::create_dir(root.path().join("a.left-over")).unwrap();
        let unused = |age, dry_run| remove_unused_in(root.path(), Duration::from_secs(age), dry_run).unwrap();
        assert_eq!(unused(3600, false), Removed::default());
        assert_eq!(unused(0, true), Removed { entries: 2, bytes: 5 });
        cached_in(root.path(), "b", |folder| {
            fs::write(folder.join("z"), "z")?;
            assert_eq!(unused(0, false), Removed { entries: 2, bytes: 5 });
            Ok(())
        })
        .unwrap();
        assert!(!root.path().join("a").exists() && root.path().join("b/z").exists());
    }
}

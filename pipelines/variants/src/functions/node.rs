//! What a node keeps for all its processes: files that many calls need, made once, addressed by what they are made of.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use neardata_core::{ByteRange, ObjectRef, canonical};
use neardata_functions::{CallContext, CallError};
use serde::Serialize;

use super::ReferenceFiles;
use super::parts::{Digesting, ObjectReader};
use crate::reference::{self, Contigs, Normalised};

/// Raised when [`reference::normalise`] writes other bytes for the same reference.
const LAYOUT: u32 = 1;

/// A FASTA on this node, with its `.fai` beside it.
pub(super) struct LocalReference {
    pub(super) fasta: PathBuf,
    pub(super) fai: PathBuf,
    /// Digest of the original's bytes.
    pub(super) sha256: String,
}

/// The folder of `kind` files made of `identity`, made by `make` in a folder of its own if it is not there yet. Other processes wait.
fn cached<K: Serialize>(
    kind: &str,
    identity: &K,
    make: impl FnOnce(&Path) -> Result<(), CallError>,
) -> Result<PathBuf, CallError> {
    let root = root();
    let name = format!("{kind}-{}", &canonical::digest(identity)[..32]);
    let folder = root.join(&name);
    if folder.is_dir() {
        // Says when it was used last, for `remove_unused`; a cache that cannot be written still can be read.
        let _read_only = File::open(&folder).and_then(|handle| handle.set_modified(SystemTime::now()));
        return Ok(folder);
    }
    let place = |error: io::Error| {
        let text = format!("{}: {error}; set NEARDATA_CACHE to a folder that can be written", root.display());
        CallError::from(io::Error::new(error.kind(), text))
    };
    fs::create_dir_all(&root).map_err(place)?;
    let lock = File::create(root.join(format!("{name}.lock"))).map_err(place)?;
    lock.lock().map_err(place)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let fresh = tempfile::Builder::new().prefix(&format!("{name}.")).tempdir_in(&root).map_err(place)?;
    make(fresh.path())?;
    fs::rename(fresh.keep(), &folder).map_err(place)?;
    Ok(folder)
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
pub fn remove_unused(unused_for: Duration, dry_run: bool) -> io::Result<Removed> {
    let root = root();
    let mut removed = Removed::default();
    let entries = match fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let data = entry.metadata()?;
        if !data.is_dir() || data.modified()?.elapsed().unwrap_or_default() < unused_for {
            continue;
        }
        for file in fs::read_dir(entry.path())? {
            removed.bytes += file?.metadata()?.len();
        }
        removed.entries += 1;
        if !dry_run {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(removed)
}

fn root() -> PathBuf {
    let of_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of_env("NEARDATA_CACHE")
        .or_else(|| Some(of_env("XDG_CACHE_HOME")?.join("neardata")))
        .or_else(|| Some(of_env("HOME")?.join(".cache/neardata")))
        .unwrap_or_else(|| std::env::temp_dir().join("neardata"));
    cache.join("node")
}

/// The reference as tools read it, made of the original object once per node.
pub(super) fn local_reference(call: &CallContext, source: &ObjectRef) -> Result<LocalReference, CallError> {
    let folder = cached("reference", &(LAYOUT, &source.uri, &source.store, &source.pin, source.size), |folder| {
        let (Normalised { fai, .. }, sha256) = normalise(call, source, &folder.join("ref.fa"))?;
        fs::write(folder.join("source.sha256"), sha256)?;
        Ok(fs::write(folder.join("ref.fa.fai"), fai)?)
    })?;
    let sha256 = fs::read_to_string(folder.join("source.sha256"))?;
    Ok(LocalReference { fasta: folder.join("ref.fa"), fai: folder.join("ref.fa.fai"), sha256 })
}

fn normalise(call: &CallContext, source: &ObjectRef, path: &Path) -> Result<(Normalised, String), CallError> {
    let name = source.uri.to_string();
    let object = call.stores().open(source)?;
    let mut object = Digesting::new(ObjectReader::new(object, ByteRange::new(0, source.size), 4 << 20));
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            CallError::input(format!("{name}: {error}; it is damaged or cut off: test it with `gzip -t` and upload it again"))
        }
        _ => CallError::from(error),
    };
    let text = reference::decompressed(&mut object).map_err(damaged)?;
    let normalised = reference::normalise(&name, text, File::create(path)?).map_err(|error| match error {
        reference::ReferenceError::Io { source, .. } => damaged(source),
        other => CallError::input(other),
    })?;
    // What a decompressor left unread belongs to the digest too.
    io::copy(&mut object, &mut io::sink())?;
    Ok((normalised, object.finish().1))
}

/// The files of an aligner's index, as `make` makes them in the folder it is given.
pub(super) fn built_index(address: &str, make: impl FnOnce(&Path) -> Result<(), CallError>) -> Result<PathBuf, CallError> {
    cached("index", &address, make)
}

/// The files of an aligner's index on this node, in one folder; fetched if another node made them.
pub(super) fn local_index(call: &CallContext, reference: &ReferenceFiles) -> Result<PathBuf, CallError> {
    built_index(&reference.address, |folder| {
        for (name, object) in &reference.index {
            let source = call.stores().open(object)?;
            let mut reader = ObjectReader::new(source, ByteRange::new(0, object.size), 8 << 20);
            io::copy(&mut reader, &mut File::create(folder.join(name))?)?;
        }
        Ok(())
    })
}

/// All bytes of a small object.
pub(super) fn read_object(call: &CallContext, object: &ObjectRef) -> Result<bytes::Bytes, CallError> {
    Ok(call.stores().open(object)?.read(ByteRange::new(0, object.size))?)
}

/// The contigs of a prepared reference, read once per process.
pub(super) fn contigs(call: &CallContext, reference: &ReferenceFiles) -> Result<std::sync::Arc<Contigs>, CallError> {
    let key = format!("variants.contigs {}", canonical::digest(&reference.contigs));
    call.shared(&key, || {
        let bytes = read_object(call, &reference.contigs)?;
        let damaged = |error| {
            CallError::failed(format!("{}: {error}; remove the results and run again", reference.contigs.uri)).permanent()
        };
        serde_json::from_slice(&bytes).map_err(damaged)
    })
}

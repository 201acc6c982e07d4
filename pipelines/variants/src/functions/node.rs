//! What calls take from the node they run on: the reference as tools read it, the aligner's index.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use neardata_core::{ByteRange, ObjectRef, canonical};
use neardata_functions::{CallContext, CallError};

use super::ReferenceFiles;
use super::cache::cached;
use super::parts::{Digesting, ObjectReader};
use crate::reference::{self, Contigs, Normalised};

/// Raised when [`reference::normalise`] writes other bytes for the same reference, or refuses it.
const LAYOUT: u32 = 2;

/// A FASTA on this node, with its `.fai` beside it.
pub(super) struct LocalReference {
    pub(super) fasta: PathBuf,
    pub(super) fai: PathBuf,
    /// Digest of the original's bytes.
    pub(super) sha256: String,
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

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use neardata_core::config::Config;
use neardata_core::{ObjectUri, Slice as CoreSlice};
use neardata_formats::{Partition, SideCars, Slicer};
use neardata_store::Stores;
use pyo3::prelude::*;

use crate::errors::{Failure, value_error};
use crate::slice::Slice;

/// The stores of this process, made when first needed.
///
/// A failure to make them is not kept, as the environment may be put right meanwhile. A forked child makes its own: the threads that
/// serve the parent's do not exist there.
static STORES: Mutex<Option<(u32, Stores)>> = Mutex::new(None);

fn stores() -> Result<Stores, Failure> {
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match &*stores {
        Some((owner, stores)) if *owner == process => return Ok(stores.clone()),
        // Dropping the parent's would wait for its threads.
        Some(_) => std::mem::forget(stores.take()),
        None => {}
    }
    let made = Stores::from_env()?;
    *stores = Some((process, made.clone()));
    Ok(made)
}

fn slicer() -> Result<Slicer, Failure> {
    Ok(Slicer::new(stores()?, side_cars()?))
}

/// Where side-cars go, as for the command line: the configured prefix, the running platform's bucket, or the user's cache.
fn side_cars() -> Result<SideCars, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let below_home = |name: &str, folder: &str| {
        let absolute = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute.unwrap_or_else(|| Path::new(&variable("HOME").unwrap_or_else(|| "/".to_owned())).join(folder))
    };
    let named = variable("NEARDATA_CONFIG").map(PathBuf::from);
    let file = named.unwrap_or_else(|| below_home("XDG_CONFIG_HOME", ".config").join("neardata/config.toml"));
    let file_name = file.display().to_string();
    let text = std::fs::read_to_string(&file).ok();
    let config = Config::resolve(text.as_deref().map(|text| (file_name.as_str(), text)), variable, &[])?;
    let on_platform = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].into_iter().any(|name| variable(name).is_some());
    let root = match config.get("index_store") {
        Some(prefix) => prefix.parse()?,
        None if on_platform && variable("NEARDATA_API").is_some() => "s3://neardata-index".parse()?,
        None => {
            let cache =
                config.get("cache").map_or_else(|| below_home("XDG_CACHE_HOME", ".cache").join("neardata"), PathBuf::from);
            ObjectUri::from_path(cache.join("index"))
        }
    };
    Ok(SideCars { root })
}

/// An address as a user writes it, made absolute: slices travel to other processes.
pub(crate) fn absolute(uri: &str) -> Result<ObjectUri, Failure> {
    let folder = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    Ok(uri.parse::<ObjectUri>()?.absolute(&folder))
}

/// The whole object at `uri`.
pub(crate) fn fetch(uri: &ObjectUri) -> Result<Vec<u8>, Failure> {
    Ok(stores()?.get(uri)?.into())
}

/// A reader of the exact uncompressed bytes of one object of a slice.
pub(crate) fn open(slice: &CoreSlice, object: usize) -> Result<Box<dyn Read + Send>, Failure> {
    Ok(Box::new(slicer()?.read(slice, object)?))
}

/// The exact uncompressed bytes of one object of a slice.
pub(crate) fn read_all(slice: &CoreSlice, object: usize) -> Result<Vec<u8>, Failure> {
    let mut reader = slicer()?.read(slice, object)?;
    let mut bytes = Vec::new();
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk);
    }
}

/// Cuts an object, or a pair of objects, into slices.
#[pyfunction]
pub(crate) fn slices(
    py: Python<'_>,
    uri: &str,
    n: Option<u64>,
    bytes: Option<u64>,
    records: Option<u64>,
    mate2: Option<&str>,
) -> PyResult<Vec<Slice>> {
    let partition = match (n, bytes, records) {
        (Some(count), None, None) => Partition::Count(count),
        (None, Some(bytes), None) => Partition::Bytes(bytes),
        (None, None, Some(records)) => Partition::Records(records),
        _ => return Err(value_error("give exactly one of n, bytes and records")),
    };
    let uri = absolute(uri)?;
    let mate2 = mate2.map(absolute).transpose()?;
    let slices = py.detach(|| {
        let slicer = slicer()?;
        match &mate2 {
            None => slicer.slices(&uri, partition),
            Some(mate2) => slicer.paired_slices(&uri, mate2, partition),
        }
        .map_err(Failure::from)
    })?;
    Ok(slices.into_iter().map(Slice::from).collect())
}

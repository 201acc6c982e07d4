//! What the formats of the user's and the aliases of other libraries need of the stores.

use std::path::PathBuf;

use neardata_core::{ObjectRef, canonical};
use pyo3::prelude::*;

use crate::errors::Failure;
use crate::{settings, slicing};

fn json(object: &ObjectRef) -> String {
    canonical::to_string(object)
}

/// Pins the current version of an object; gives it as slices name it, in JSON.
#[pyfunction]
pub(crate) fn head(py: Python<'_>, uri: &str) -> Result<String, Failure> {
    let (stores, uri) = (slicing::stores()?, slicing::absolute(uri)?);
    py.detach(|| Ok(json(&stores.head(&uri)?)))
}

/// Writes an object whole; gives what was written.
#[pyfunction]
pub(crate) fn put(py: Python<'_>, uri: &str, data: Vec<u8>) -> Result<String, Failure> {
    let (stores, uri) = (slicing::stores()?, slicing::absolute(uri)?);
    py.detach(|| Ok(json(&stores.put(&uri, data.into())?)))
}

/// Writes an object with the contents of a local file, in parts if it is large.
#[pyfunction]
pub(crate) fn upload_file(py: Python<'_>, uri: &str, path: PathBuf) -> Result<String, Failure> {
    let (stores, uri) = (slicing::stores()?, slicing::absolute(uri)?);
    py.detach(|| Ok(json(&stores.upload_file(&uri, &path)?)))
}

/// Removes an object; one that is not there is fine.
#[pyfunction]
pub(crate) fn delete(py: Python<'_>, uri: &str) -> Result<(), Failure> {
    let (stores, uri) = (slicing::stores()?, slicing::absolute(uri)?);
    py.detach(|| Ok(stores.delete(&uri)?))
}

/// Below which address side-cars lie, as configured.
#[pyfunction]
pub(crate) fn side_cars() -> Result<String, Failure> {
    Ok(settings::side_cars()?.to_string())
}

/// Names of the formats that the core has.
#[pyfunction]
pub(crate) fn core_formats() -> Result<Vec<&'static str>, Failure> {
    Ok(slicing::reading()?.formats())
}

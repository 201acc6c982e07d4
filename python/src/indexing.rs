//! Indexing, by this process or as calls on any executor.

use neardata_core::{ObjectRef, canonical};
use neardata_formats::{IndexPart, IndexSummary, Prepared};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use serde_json::{Value, json};

use crate::errors::{Failure, value_error};
use crate::slicing;

/// Makes sure that there is a fresh index of an object, if its format has one; gives what is known of it, in JSON.
#[pyfunction]
pub(crate) fn index(py: Python<'_>, uri: &str) -> Result<String, Failure> {
    let (slicer, uri) = (slicing::slicer()?, slicing::absolute(uri)?);
    let prepared = py.detach(|| slicer.prepare(&uri, &|_| {}))?;
    let summary = match prepared {
        Prepared::Rows(summary) => of_rows(&summary),
        Prepared::Table(summary) => json!({
            "uri": summary.objects.first().map(|object| object.uri.to_string()),
            "size": summary.objects.iter().map(|object| object.size).sum::<u64>(),
            "side_car": summary.side_car.map(|side_car| side_car.uri.to_string()),
            "format": summary.format,
            "compression": Value::Null,
            "records": summary.description.records,
            "uncompressed": summary.description.uncompressed,
            "note": Value::Null,
            "built": summary.built,
        }),
    };
    Ok(summary.to_string())
}

/// Parts of an object that can be indexed on their own, in JSON; none where there is nothing to do.
#[pyfunction]
pub(crate) fn index_parts(py: Python<'_>, uri: &str, count: Option<u64>) -> Result<Vec<String>, Failure> {
    let (slicer, uri) = (slicing::slicer()?, slicing::absolute(uri)?);
    let parts = py.detach(|| slicer.index_parts(&uri, count))?;
    Ok(parts.iter().map(canonical::to_string).collect())
}

/// Indexes one part; needs the object and nothing else.
#[pyfunction]
pub(crate) fn index_part<'py>(py: Python<'py>, part: &str) -> PyResult<Bound<'py, PyBytes>> {
    let part: IndexPart = serde_json::from_str(part).map_err(|error| value_error(format!("no part of an index: {error}")))?;
    let slicer = slicing::reading()?;
    let partial = py.detach(|| slicer.index_part(&part, &|_| {})).map_err(Failure::from)?;
    Ok(PyBytes::new(py, &partial))
}

/// Joins what indexing all parts gave, writes the side-car, and says what is known, in JSON.
#[pyfunction]
pub(crate) fn join_index(py: Python<'_>, uri: &str, partials: Vec<PyBackedBytes>) -> Result<String, Failure> {
    let (slicer, uri) = (slicing::slicer()?, slicing::absolute(uri)?);
    let summary = py.detach(|| slicer.join_index(&uri, &partials, &|_| {}))?;
    Ok(of_rows(&summary).to_string())
}

fn of_rows(summary: &IndexSummary) -> Value {
    let ObjectRef { uri, size, .. } = &summary.object;
    json!({
        "uri": uri.to_string(),
        "size": size,
        "side_car": summary.side_car.uri.to_string(),
        "format": summary.format.name(),
        "compression": summary.compression,
        "records": summary.records,
        "uncompressed": summary.uncompressed,
        "note": summary.note,
        "built": summary.built,
    })
}

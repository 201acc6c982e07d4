use neardata_core::{ObjectRef as CoreObject, Pin, Slice as CoreSlice};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};

use crate::arrow::ArrowStream;
use crate::errors::Failure;
use crate::{slicing, stream::SliceStream, values};

/// One version of one object.
#[pyclass(frozen, eq, hash, module = "neardata")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct ObjectRef(CoreObject);

#[pymethods]
impl ObjectRef {
    #[getter]
    fn uri(&self) -> String {
        self.0.uri.to_string()
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }

    #[getter]
    fn etag(&self) -> Option<&str> {
        match &self.0.pin {
            Pin::Etag(tag) => Some(tag),
            Pin::WeakMtime(_) | Pin::WeakSize => None,
        }
    }

    #[getter]
    fn endpoint(&self) -> Option<&str> {
        self.0.store.as_ref()?.endpoint.as_deref()
    }

    #[getter]
    fn region(&self) -> Option<&str> {
        self.0.store.as_ref()?.region.as_deref()
    }

    fn __repr__(&self) -> String {
        format!("ObjectRef({}, {} bytes)", self.0.uri, self.0.size)
    }
}

/// A typed, lazily read part of an object; its canonical JSON text is its identity.
#[pyclass(frozen, eq, hash, module = "neardata")]
pub(crate) struct Slice {
    text: String,
    slice: CoreSlice,
}

impl From<CoreSlice> for Slice {
    fn from(slice: CoreSlice) -> Self {
        Self { text: slice.to_json(), slice }
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::hash::Hash for Slice {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[pymethods]
impl Slice {
    #[new]
    fn new(text: &str) -> Result<Self, Failure> {
        Ok(CoreSlice::from_json(text)?.into())
    }

    #[classmethod]
    fn from_json(_class: &Bound<'_, PyType>, text: &str) -> Result<Self, Failure> {
        Self::new(text)
    }

    fn to_json(&self) -> &str {
        &self.text
    }

    #[getter]
    fn format(&self) -> &str {
        &self.slice.format
    }

    #[getter]
    fn selection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::to_python(py, &self.slice.selection)
    }

    #[getter]
    fn objects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.slice.objects.iter().map(|object| ObjectRef(object.clone())))
    }

    #[pyo3(signature = (object = 0))]
    fn read<'py>(&self, py: Python<'py>, object: usize) -> PyResult<Bound<'py, PyBytes>> {
        slicing::read_all(py, &self.slice, object)
    }

    #[pyo3(signature = (object = 0))]
    fn open<'py>(&self, py: Python<'py>, object: usize) -> PyResult<Bound<'py, PyAny>> {
        let reader = slicing::open(py, &self.slice, object)?;
        py.import("neardata._slices")?.getattr("open_stream")?.call1((SliceStream::new(reader),))
    }

    fn to_arrow(&self, py: Python<'_>) -> Result<ArrowStream, Failure> {
        Ok(ArrowStream::new(slicing::batches(py, &self.slice)?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (String,)) {
        (slf.get_type(), (slf.get().text.clone(),))
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.slice.objects.iter().map(|object| object.uri.to_string()).collect();
        format!("Slice({} of {}: {})", self.slice.format, names.join(" and "), self.slice.selection)
    }
}

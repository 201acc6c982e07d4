use neardata_core::{ObjectRef as CoreObject, Pin, Slice as CoreSlice};
use neardata_formats::ArrowOptions;
use pyo3::prelude::*;
use pyo3::types::{PyModule, PyTuple, PyType};

use crate::arrow::{self, ArrowStream};
use crate::errors::{Failure, value_error};
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

impl Slice {
    /// Where formats of the user's are read, if the core does not know this slice's.
    fn of_python<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyModule>>> {
        match slicing::reading()?.formats().contains(&slf.get().slice.format.as_str()) {
            true => Ok(None),
            false => slf.py().import("neardata._user_formats").map(Some),
        }
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
    fn read<'py>(slf: &Bound<'py, Self>, object: usize) -> PyResult<Bound<'py, PyAny>> {
        match Self::of_python(slf)? {
            Some(formats) => formats.call_method1("read", (slf, object)),
            None => slicing::read_all(slf.py(), &slf.get().slice, object).map(Bound::into_any),
        }
    }

    #[pyo3(signature = (object = 0))]
    fn open<'py>(slf: &Bound<'py, Self>, object: usize) -> PyResult<Bound<'py, PyAny>> {
        if let Some(formats) = Self::of_python(slf)? {
            return formats.call_method1("open_slice", (slf, object));
        }
        let py = slf.py();
        let reader = slicing::open(py, &slf.get().slice, object)?;
        py.import("neardata._slices")?.getattr("open_stream")?.call1((SliceStream::new(reader),))
    }

    #[pyo3(signature = (columns = None, *, object = 0, schema = None, separator = None, header_row = true))]
    fn to_arrow<'py>(
        slf: &Bound<'py, Self>,
        columns: Option<Vec<String>>,
        object: usize,
        schema: Option<&Bound<'py, PyAny>>,
        separator: Option<char>,
        header_row: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(formats) = Self::of_python(slf)? {
            return formats.call_method1("to_arrow", (slf,));
        }
        let separator = separator.map(u8::try_from).transpose();
        let options = ArrowOptions {
            object,
            columns: columns.unwrap_or_default(),
            schema: schema.map(arrow::schema).transpose()?,
            separator: separator.map_err(|_| value_error("a separator is one character of ASCII"))?,
            header_row,
            ..ArrowOptions::default()
        };
        let batches = slicing::batches(slf.py(), &slf.get().slice, &options)?;
        Ok(Bound::new(slf.py(), ArrowStream::new(batches))?.into_any())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (String,)) {
        (slf.get_type(), (slf.get().text.clone(),))
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.slice.objects.iter().map(|object| object.uri.to_string()).collect();
        format!("Slice({} of {}: {})", self.slice.format, names.join(" and "), self.slice.selection)
    }
}

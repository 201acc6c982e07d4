use neardata_core::config::ConfigError;
use neardata_core::{ReadError, SliceError, UriError};
use neardata_formats::FormatError;
use neardata_store::StoreError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// An error of the core on its way to Python: the class of `neardata._errors` it becomes, and its text.
pub(crate) struct Failure {
    class: &'static str,
    message: String,
}

impl Failure {
    fn new(class: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self { class, message: error.to_string() }
    }

    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        Ok(py.import("neardata._errors")?.getattr(self.class)?.cast_into::<PyType>()?)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        Python::attach(|py| match failure.class(py) {
            Ok(class) => PyErr::from_type(class, failure.message),
            Err(error) => error,
        })
    }
}

impl From<UriError> for Failure {
    fn from(error: UriError) -> Self {
        Self::new("UriError", &error)
    }
}

impl From<SliceError> for Failure {
    fn from(error: SliceError) -> Self {
        Self::new("SliceError", &error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let class = match &error {
            ReadError::Changed { .. } => "ObjectChangedError",
            ReadError::NotFound { .. } => "ObjectNotFoundError",
            ReadError::Denied { .. } => "AccessDeniedError",
            ReadError::Failed { .. } => "ReadError",
        };
        Self::new(class, &error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new("ConfigError", &error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let class = match &error {
            StoreError::NotFound { .. } => "ObjectNotFoundError",
            StoreError::Denied { .. } => "AccessDeniedError",
            StoreError::Changed { .. } => "ObjectChangedError",
            _ => "ReadError",
        };
        Self::new(class, &error)
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Read(error) => error.into(),
            FormatError::Store(error) => error.into(),
            FormatError::Slice(error) => error.into(),
            error => Self::new("FormatError", &error),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Readers are `std::io::Read`, so the core's own errors come wrapped.
    fn from(error: std::io::Error) -> Self {
        let kind = error.kind();
        let Some(inner) = error.into_inner() else {
            return Self::new("ReadError", &kind);
        };
        match inner.downcast::<FormatError>() {
            Ok(error) => (*error).into(),
            Err(inner) => match inner.downcast::<ReadError>() {
                Ok(error) => (*error).into(),
                Err(inner) => Self::new("ReadError", &inner),
            },
        }
    }
}

/// A `ValueError` with this text, for arguments that Python itself could have refused.
pub(crate) fn value_error(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::Failure;

/// The uncompressed bytes of a slice, as they come.
#[pyclass(frozen, module = "neardata._native")]
pub(crate) struct SliceStream(Mutex<Box<dyn Read + Send>>);

impl SliceStream {
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self(Mutex::new(reader))
    }
}

#[pymethods]
impl SliceStream {
    /// Up to `size` bytes; none at the end only.
    fn read<'py>(&self, py: Python<'py>, size: usize) -> Result<Bound<'py, PyBytes>, Failure> {
        let bytes = py.detach(|| {
            let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = Vec::with_capacity(size);
            reader.by_ref().take(size as u64).read_to_end(&mut bytes).map(|_| bytes)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}

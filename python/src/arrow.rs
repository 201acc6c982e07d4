use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{Schema, SchemaRef};
use neardata_formats::Batches;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::errors::value_error;

/// A stream of Arrow record batches, taken once, through the Arrow PyCapsule interface
/// (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).
#[pyclass(frozen, module = "neardata")]
pub(crate) struct ArrowStream {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
}

impl ArrowStream {
    pub(crate) fn new(batches: Batches) -> Self {
        Self { schema: batches.schema(), batches: Mutex::new(Some(batches)) }
    }
}

/// The schema of anything that has one in the PyCapsule interface, such as `pyarrow.schema`.
pub(crate) fn schema(object: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let capsule = object.call_method0("__arrow_c_schema__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(c"arrow_schema"))?;
    // SAFETY: a capsule of this name points to an ArrowSchema (the interface says so, and the name was just checked) which lives as
    // long as the capsule; it is borrowed while `capsule` is held here, and not released.
    let schema = unsafe { pointer.cast::<FFI_ArrowSchema>().as_ref() };
    let schema = Schema::try_from(schema).map_err(|error| value_error(error.to_string()))?;
    Ok(Arc::new(schema))
}

#[pymethods]
impl ArrowStream {
    /// Batches keep the schema they have; who asks for another casts them.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let batches = batches.ok_or_else(|| value_error("this stream was taken already; call to_arrow() again"))?;
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(&*self.schema).map_err(|error| value_error(error.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// Names and types of the columns.
    #[getter]
    fn columns(&self) -> Vec<(String, String)> {
        self.schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }

    fn __repr__(&self) -> String {
        let columns: Vec<String> = self.columns().into_iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        format!("ArrowStream({})", columns.join(", "))
    }
}

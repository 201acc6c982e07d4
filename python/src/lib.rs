//! `neardata._native`: what the Python package takes from the Rust core.
//!
//! Everything here is thin: it converts values, releases the interpreter while Rust works, and turns errors into the classes of
//! `neardata._errors`. What a user sees is documented in `_native.pyi`.

mod arrow;
mod errors;
mod indexing;
mod log;
mod objects;
mod settings;
mod slice;
mod slicing;
mod stream;
mod values;

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::errors::Failure;

/// Bytes that a text like `64M` stands for.
#[pyfunction]
fn parse_bytes(text: &str) -> PyResult<u64> {
    neardata_core::parse_bytes(text).map_err(|error| errors::value_error(error.to_string()))
}

/// The whole object at `uri`.
#[pyfunction]
fn fetch<'py>(py: Python<'py>, uri: &str) -> Result<Bound<'py, pyo3::types::PyBytes>, Failure> {
    let uri = slicing::absolute(uri)?;
    let bytes = slicing::fetch(py, &uri)?;
    Ok(pyo3::types::PyBytes::new(py, &bytes))
}

/// Runs the `neardata` command and gives its exit code. Signals are the command's own business.
#[pyfunction]
fn run_cli(py: Python<'_>, arguments: Vec<OsString>, self_command: Vec<OsString>) -> i32 {
    py.detach(|| neardata_cli::main_with(arguments, self_command))
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        arrow::ArrowStream,
        fetch,
        indexing::{index, index_part, index_parts, join_index},
        objects::{core_formats, delete, head, put, side_cars, upload_file},
        parse_bytes, run_cli,
        settings::cache_folder,
        slice::{ObjectRef, Slice},
        slicing::{inspect, slices},
        stream::SliceStream,
    };

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = neardata_core::VERSION;
}

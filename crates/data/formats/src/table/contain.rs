use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::FormatError;

/// Runs decoding of foreign bytes that other crates do, and turns a panic into an error.
///
/// The `parquet` and `arrow` crates check most of what they read but not all of it: a crafted page or flatbuffer can still make them
/// panic, which would take down a worker that serves others. What bounds memory is checked before they see the bytes; this holds what
/// is left. Whatever `work` changed must not be used after an error.
pub(crate) fn contain<T>(
    name: &str,
    format: &'static str,
    offset: u64,
    work: impl FnOnce() -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let reason = format!("it cannot be decoded ({})", words.unwrap_or("a count or length makes no sense"));
        Err(FormatError::Damaged { name: name.to_owned(), format, offset, reason })
    })
}

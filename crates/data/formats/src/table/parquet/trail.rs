//! What is known of a row group while the `parquet` crate decodes it.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::damaged;
use crate::FormatError;
use crate::table::contain::caught;

/// Where decoding of a row group is, and what went wrong below the crate, which keeps only the words of an error.
#[derive(Clone)]
pub(super) struct Trail {
    name: Arc<str>,
    group: usize,
    /// Where the first of the columns begins.
    offset: u64,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    error: Option<FormatError>,
    /// Column and offset of the page that was handed out last.
    page: Option<(Arc<str>, u64)>,
}

impl Trail {
    /// The row group of this number, whose columns begin at `offset`.
    pub(super) fn new(name: &str, group: usize, offset: u64) -> Self {
        Self { name: name.into(), group, offset, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page is handed out.
    pub(super) fn page(&self, column: &Arc<str>, offset: u64) {
        self.seen().page = Some((column.clone(), offset));
    }

    /// Something went wrong below the crate.
    pub(super) fn keep(&self, error: FormatError) {
        self.seen().error = Some(error);
    }

    /// ` in column … of row group …`.
    pub(super) fn place(&self, column: Option<&str>) -> String {
        let column = column.map_or_else(String::new, |column| format!(" in column `{column}`"));
        format!("{column}{}row group {}", if column.is_empty() { " in " } else { " of " }, self.group)
    }

    /// What an error of the crate means: what went wrong below it, else damage of the page it decoded.
    pub(super) fn explain(&self, words: &dyn Display) -> FormatError {
        let mut seen = self.seen();
        if let Some(error) = seen.error.take() {
            return error;
        }
        let (column, offset) = match &seen.page {
            Some((column, offset)) => (Some(&**column), *offset),
            None => (None, self.offset),
        };
        damaged(&self.name, offset, &format!("{words}{}", self.place(column)))
    }

    /// Damage of the row group that no page is known of.
    pub(super) fn damaged(&self, reason: &str) -> FormatError {
        damaged(&self.name, self.offset, &format!("{reason}{}", self.place(None)))
    }

    /// Runs the crate; a panic of it becomes an error.
    pub(super) fn contain<T>(&self, work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
        caught(work).unwrap_or_else(|words| Err(self.explain(&format_args!("it cannot be decoded ({words})"))))
    }
}

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::FormatError;

thread_local! {
    /// Whether this thread runs contained work.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs decoding of foreign bytes that other crates do, and turns a panic into an error at this offset.
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
    caught(work).unwrap_or_else(|words| {
        let reason = format!("it cannot be decoded ({words})");
        Err(FormatError::Damaged { name: name.to_owned(), format, offset, reason })
    })
}

/// Runs work that may panic; gives the words of the panic, which nobody else gets to see.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence_contained();
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        words.unwrap_or("a count or length makes no sense").to_owned()
    })
}

/// A panic of contained work is an error of some object, told as such; any other goes to the hook that was there before.
fn silence_contained() {
    static ONCE: Once = Once::new();
    // Hooks cannot be changed by a thread that panics.
    if ONCE.is_completed() || std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_of_the_object() {
        assert_eq!(caught(|| caught(|| panic!("{}", "inner")).unwrap_err()), Ok("inner".to_owned()));
        let error = contain::<()>("x", "Parquet", 7, || panic!("words")).unwrap_err();
        assert!(matches!(&error, FormatError::Damaged { offset: 7, .. }) && error.to_string().contains("words"), "{error}");
    }

    #[test]
    #[ignore = "panics; `only_other_panics_are_printed` runs it in a process of its own"]
    fn panics_of_both_kinds() {
        assert!(caught(|| panic!("the contained one")).is_err());
        assert!(catch_unwind(|| panic!("the other one")).is_err());
    }

    #[test]
    fn only_other_panics_are_printed() {
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "table::contain::tests::panics_of_both_kinds", "--ignored", "--nocapture"]);
        let output = test.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("the other one") && !told.contains("the contained one"), "{told}");
    }
}

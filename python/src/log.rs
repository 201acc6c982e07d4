//! Warnings of the core, handed to Python's `logging` under the name `neardata`: by default it prints them to standard error.

use std::fmt::{Debug, Write};
use std::sync::Once;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Hands warnings on from now. The command line has its own log; this is for programs that import the package.
pub(crate) fn hand_on() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A program that has its own subscriber keeps it.
        let _kept = tracing_subscriber::registry().with(ToPython).try_init();
    });
}

struct ToPython;

impl<S: Subscriber> Layer<S> for ToPython {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("neardata")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = format!("{}{}", text.message, text.fields);
        let warned = Python::try_attach(|py| {
            let logger = py.import("logging")?.call_method1("getLogger", ("neardata",))?;
            logger.call_method1("warning", ("%s", line)).map(drop)
        });
        // A logger that fails, or an interpreter that ends, is no reason to fail.
        drop(warned);
    }
}

/// An event as text: its words, then its values in brackets.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " ({name}: {value:?})"),
        };
    }
}

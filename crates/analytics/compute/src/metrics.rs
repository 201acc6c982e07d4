//! Counts of what an engine has done since it started, as Prometheus reads them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    JobsSubmitted,
    JobsDone,
    JobsFailed,
    JobsCancelled,
    CallsDone,
    CallsReused,
    CallsFailed,
    CallsRetried,
    CallsCancelled,
}

const NAMES: [(&str, &str); 9] = [
    ("neardata_jobs_total", "submitted"),
    ("neardata_jobs_total", "done"),
    ("neardata_jobs_total", "failed"),
    ("neardata_jobs_total", "cancelled"),
    ("neardata_calls_total", "done"),
    ("neardata_calls_total", "reused"),
    ("neardata_calls_total", "failed"),
    ("neardata_calls_total", "retried"),
    ("neardata_calls_total", "cancelled"),
];

/// The counters of one engine.
#[derive(Default)]
pub(crate) struct Metrics {
    counters: [AtomicU64; NAMES.len()],
}

impl Metrics {
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// The counters and these gauges in Prometheus' text format.
    pub(crate) fn render(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        let mut last = "";
        for ((name, state), counter) in NAMES.iter().zip(&self.counters) {
            if *name != last {
                let _never_fails = writeln!(text, "# TYPE {name} counter");
                last = name;
            }
            let _never_fails = writeln!(text, "{name}{{state=\"{state}\"}} {}", counter.load(Ordering::Relaxed));
        }
        for (name, help, value) in gauges {
            let _never_fails = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes moved by one `Stores` and its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    fetched: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn add_fetched(&self, bytes: usize) {
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

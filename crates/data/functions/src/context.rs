use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use neardata_core::{ObjectRef, ObjectUri, Slice};
use neardata_formats::{SideCars, Slicer};
use neardata_store::Stores;
use serde_json::Value;

use crate::system::{self, Usage};
use crate::{CallError, ChildCall, Figures, OutputWriter, shared};

/// How one running call sees the world. Cheap to clone; clones are the same call.
#[derive(Clone)]
pub struct CallContext {
    inner: Arc<Inner>,
}

/// What a [`CallContext`] is made of. The worker makes one for every attempt; a test of a native function may make its own.
pub struct ContextOptions {
    /// Object access; the call gets fresh counters over the same connections.
    pub stores: Stores,
    /// Where side-car indexes lie.
    pub side_cars: SideCars,
    /// The slices of the call.
    pub slices: Vec<Slice>,
    /// The prefix below which the attempt publishes.
    pub outputs: ObjectUri,
    /// An empty folder of the attempt's own.
    pub scratch: PathBuf,
}

struct Inner {
    stores: Stores,
    slicer: Slicer,
    slices: Vec<Slice>,
    outputs: ObjectUri,
    scratch: PathBuf,
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    published: BTreeMap<String, ObjectRef>,
    children: Vec<u32>,
    child_usage: Usage,
    helper_cpu_s: f64,
    records: u64,
    details: BTreeMap<String, Value>,
}

impl CallContext {
    /// A call with these surroundings.
    pub fn new(options: ContextOptions) -> Self {
        let stores = options.stores.metered();
        let slicer = Slicer::new(stores.clone(), options.side_cars);
        let inner = Inner {
            stores,
            slicer,
            slices: options.slices,
            outputs: options.outputs,
            scratch: options.scratch,
            cancelled: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Object access, metered for this call.
    pub fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    /// Slices and their bytes, metered for this call.
    pub fn slicer(&self) -> &Slicer {
        &self.inner.slicer
    }

    /// The slices this call works on.
    pub fn slices(&self) -> &[Slice] {
        &self.inner.slices
    }

    /// An empty folder of this attempt, removed afterwards.
    pub fn scratch(&self) -> &Path {
        &self.inner.scratch
    }

    /// Publishes `bytes` as the output `name`.
    pub fn publish(&self, name: &str, bytes: Bytes) -> Result<ObjectRef, CallError> {
        let object = self.stores().put(&self.output_address(name)?, bytes)?;
        self.add_output(name.to_owned(), object.clone());
        Ok(object)
    }

    /// Publishes a file as the output `name`.
    pub fn publish_file(&self, name: &str, path: &Path) -> Result<ObjectRef, CallError> {
        let object = self.stores().upload_file(&self.output_address(name)?, path)?;
        self.add_output(name.to_owned(), object.clone());
        Ok(object)
    }

    /// Publishes what will be written as the output `name`.
    pub fn upload(&self, name: &str) -> Result<OutputWriter<'_>, CallError> {
        let upload = self.stores().upload(&self.output_address(name)?)?;
        Ok(OutputWriter::new(self, name.to_owned(), upload))
    }

    fn output_address(&self, name: &str) -> Result<ObjectUri, CallError> {
        self.check_cancelled()?;
        let fine = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
        if !name.split('/').all(fine) {
            return Err(CallError::input(format!(
                "`{name}` is not the name of an output; use words separated by single slashes"
            )));
        }
        Ok(self.inner.outputs.join(name))
    }

    /// The value under `key`, built once a process: calls of one [shared group](crate::NativeFunction::shared_group) run as threads
    /// of one process and so share it. Who asks while it is being built waits.
    pub fn shared<T: Send + Sync + 'static>(
        &self,
        key: &str,
        build: impl FnOnce() -> Result<T, CallError>,
    ) -> Result<Arc<T>, CallError> {
        shared::get_or_build(key, build)
    }

    /// A supervised child process: killed when the call is cancelled or its worker dies; its errors name the command line, and what
    /// it used counts for this call. `stage` says in errors and the log what it is for.
    pub fn child(&self, command: Command, stage: &str) -> ChildCall<'_> {
        ChildCall::new(self, command, stage)
    }

    /// An error once the call is cancelled. Long loops ask every now and then.
    pub fn check_cancelled(&self) -> Result<(), CallError> {
        if self.is_cancelled() { Err(CallError::cancelled()) } else { Ok(()) }
    }

    /// Whether the call is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::Relaxed)
    }

    /// Says how far the call is, in units of its own.
    pub fn progress(&self, done: u64, total: u64) {
        self.inner.total.store(total, Ordering::Relaxed);
        self.inner.done.store(done, Ordering::Relaxed);
    }

    /// Adds to the records this call has processed.
    pub fn count_records(&self, records: u64) {
        self.state().records += records;
    }

    /// Adds a measurement of the function's own to the call's figures.
    pub fn figure(&self, name: &str, value: impl Into<Value>) {
        self.state().details.insert(name.to_owned(), value.into());
    }

    /// Runs `work` on the calling helper thread and counts its CPU time for this call.
    pub fn on_helper_thread<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = system::thread_cpu();
        let value = work();
        self.state().helper_cpu_s += system::thread_cpu() - before;
        value
    }

    /// Cancels the call: its children are killed, its next look at [`check_cancelled`](Self::check_cancelled) fails.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        // The lock is held while killing, so that no id can be reaped and given to another process in between.
        self.state().children.iter().copied().for_each(system::kill_group);
    }

    /// What was published so far, by name.
    pub fn published(&self) -> BTreeMap<String, ObjectRef> {
        self.state().published.clone()
    }

    /// How far the call says it is: done and total, zeros if it never said.
    pub fn progress_made(&self) -> (u64, u64) {
        (self.inner.done.load(Ordering::Relaxed), self.inner.total.load(Ordering::Relaxed))
    }

    /// The figures known to the call itself: bytes, records, helper threads and children. The worker adds time and its own memory.
    pub fn figures(&self) -> Figures {
        let state = self.state();
        Figures {
            cpu_s: state.child_usage.cpu_s + state.helper_cpu_s,
            child_cpu_s: state.child_usage.cpu_s,
            peak_rss: state.child_usage.peak_rss,
            bytes_fetched: self.stores().bytes_fetched(),
            bytes_written: self.stores().bytes_written(),
            records: state.records,
            details: state.details.clone(),
            ..Figures::default()
        }
    }

    pub(crate) fn add_output(&self, name: String, object: ObjectRef) {
        self.state().published.insert(name, object);
    }

    /// From now on `pid` is killed when the call is cancelled; at once if it already is.
    pub(crate) fn add_child(&self, pid: u32) {
        let mut state = self.state();
        state.children.push(pid);
        if self.is_cancelled() {
            system::kill_group(pid);
        }
    }

    /// `pid` has ended; called before it is reaped.
    pub(crate) fn remove_child(&self, pid: u32) {
        self.state().children.retain(|child| *child != pid);
    }

    pub(crate) fn add_child_usage(&self, usage: Usage) {
        let total = &mut self.state().child_usage;
        total.cpu_s += usage.cpu_s;
        total.peak_rss = total.peak_rss.max(usage.peak_rss);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Where attempts run: the one trait every executor implements.

mod exit;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use neardata_core::{AttemptId, CallKey, JobId, ObjectRef, ObjectUri};
use neardata_functions::{CallError, CallSpec, Figures};
use serde_json::Value;

/// Runs attempts at native and command calls somewhere.
///
/// The engine decides what runs when; an executor runs what it is given at once. Dropping the future of an attempt cancels it: the
/// executor kills what still runs of it.
pub trait Executor: Send + Sync {
    /// How many attempts may run at once.
    fn slots(&self) -> usize;

    /// How many worker processes exist now, as far as known.
    fn workers(&self) -> usize;

    /// Runs one attempt to its end, within its limits.
    fn attempt(&self, order: AttemptOrder, observer: Arc<dyn Observer>) -> BoxFuture<'static, Result<AttemptDone, AttemptLost>>;
}

/// One attempt to be run.
#[derive(Clone, Debug)]
pub struct AttemptOrder {
    /// The job.
    pub job: JobId,
    /// Stage.
    pub stage: String,
    /// Number of the call in the job.
    pub call: u64,
    /// Content address.
    pub key: CallKey,
    /// The attempt.
    pub attempt: AttemptId,
    /// What to run, and its limits.
    pub spec: CallSpec,
    /// The prefix below which it publishes.
    pub outputs: ObjectUri,
    /// Calls of the same group on one node share a process.
    pub shared_group: Option<String>,
}

/// Who hears of a running attempt.
pub trait Observer: Send + Sync {
    /// It has started in process `pid` on machine `host`.
    fn started(&self, pid: u32, host: &str);

    /// So far it is.
    fn progress(&self, done: u64, total: u64);

    /// Its process wrote a line on standard output or error.
    fn line(&self, line: &str);
}

/// What a successful attempt leaves.
#[derive(Clone, Debug)]
pub struct AttemptDone {
    /// What the function returned.
    pub result: Value,
    /// What it published.
    pub outputs: BTreeMap<String, ObjectRef>,
    /// What it used.
    pub figures: Figures,
}

/// Why an attempt gave nothing.
#[derive(Clone, Debug)]
pub struct AttemptLost {
    /// What happened.
    pub error: CallError,
    /// What it used, as far as known.
    pub figures: Option<Box<Figures>>,
    /// It was lost because of another call in the same process: it is run again and does not count.
    pub blameless: bool,
}

impl From<CallError> for AttemptLost {
    fn from(error: CallError) -> Self {
        Self { error, figures: None, blameless: false }
    }
}

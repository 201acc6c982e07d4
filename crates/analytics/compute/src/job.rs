use std::future::Future;
use std::sync::{Arc, PoisonError};

use neardata_core::{CallKey, JobId, ObjectUri};
use neardata_formats::Slicer;
use neardata_functions::{CallError, CallRecord, CallSpec};
use neardata_store::Stores;
use serde_json::Value;

use crate::calls;
use crate::event::EventKind;
use crate::running::RunningJob;
use crate::{CallFailed, PipelineError};

/// A running job, as its driver holds it. Cheap to clone.
#[derive(Clone)]
pub struct Job {
    running: Arc<RunningJob>,
}

impl Job {
    pub(crate) fn new(running: Arc<RunningJob>) -> Self {
        Self { running }
    }

    /// Runs one call to its end: at once if its record is committed already, together with the same call if that is running in this
    /// job, else on a worker, with retries. Dropping the future kills the call unless somebody else waits for it.
    pub fn call(&self, stage: &str, spec: CallSpec) -> impl Future<Output = Result<CallRecord, CallFailed>> + Send + use<> {
        calls::run(self.running.clone(), stage.to_owned(), spec)
    }

    /// Announces a stage, and how many calls it will have as soon as that is known.
    pub fn stage(&self, name: &str, calls: Option<u64>) {
        self.running.log.push(EventKind::Stage { stage: name.to_owned(), calls });
    }

    /// Keeps a value with the job for people to see.
    pub fn note(&self, key: &str, value: Value) {
        self.running.log.push(EventKind::Note { key: key.to_owned(), value });
    }

    /// Writes a line to the job's log.
    pub fn log(&self, line: &str) {
        self.running.output.line("driver", line);
    }

    /// How many attempts at a call this job has made, in all its lives; 0 for one that was committed before.
    pub fn attempts(&self, key: &CallKey) -> u32 {
        let calls = self.running.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.known.get(key).map_or(0, |known| known.attempts)
    }

    /// Its identifier.
    pub fn id(&self) -> &JobId {
        &self.running.id
    }

    /// The prefix below which its records and outputs lie.
    pub fn results(&self) -> &ObjectUri {
        &self.running.results
    }

    /// Object access for the driver's own small work. Blocking: see [`Job::blocking`].
    pub fn stores(&self) -> &Stores {
        &self.running.engine.stores
    }

    /// Slices, for the driver. Blocking: see [`Job::blocking`].
    pub fn slicer(&self) -> Slicer {
        Slicer::new(self.stores().clone(), self.running.engine.side_cars.clone())
    }

    /// How many calls of this job can run at once.
    pub fn workers(&self) -> usize {
        self.running.cap
    }

    /// Runs blocking work, such as a look into a store, beside the asynchronous driver.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, PipelineError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done.map_err(PipelineError::from),
            Err(error) => Err(PipelineError::failed(format!("the driver's own work failed: {error}"))),
        }
    }
}

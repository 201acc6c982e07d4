//! One native or command call from request to record: look whether it is done, run attempts, commit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use neardata_core::{AttemptId, CallKey, ObjectRef, ObjectUri, Pin};
use neardata_functions::{CallError, CallRecord, CallSpec, Cause, FunctionSpec};
use neardata_store::{PutOutcome, StoreError, Stores};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::CallFailed;
use crate::event::{CallEvent, CallState, EventKind, Failure};
use crate::executor::{AttemptDone, AttemptLost, AttemptOrder, Observer};
use crate::metrics::Counter;
use crate::running::{Calls, Known, RunningJob};

type Outcome = Result<Arc<CallRecord>, Arc<CallFailed>>;
type Running = BoxFuture<'static, Outcome>;

/// A call that runs, as long as somebody waits for it.
pub(crate) struct InFlight(WeakShared<Running>);

/// Runs the call, or joins in if the same call runs in this job.
pub(crate) async fn run(job: Arc<RunningJob>, stage: String, spec: CallSpec) -> Result<CallRecord, CallFailed> {
    let shared = join_or_start(&job, stage, spec);
    match shared.await {
        Ok(record) => Ok(Arc::unwrap_or_clone(record)),
        Err(failed) => Err(Arc::unwrap_or_clone(failed)),
    }
}

fn join_or_start(job: &Arc<RunningJob>, stage: String, spec: CallSpec) -> Shared<Running> {
    let key = spec.key();
    let mut calls = lock(&job.calls);
    if let Some(running) = calls.in_flight.get(&key).and_then(|running| running.0.upgrade()) {
        return running;
    }
    let known = number_of(&mut calls, &key);
    let call = Call { job: job.clone(), stage, number: known.number, key: key.clone(), spec };
    let shared = call.run(known.attempts).boxed().shared();
    if let Some(weak) = shared.downgrade() {
        calls.in_flight.insert(key, InFlight(weak));
    }
    shared
}

fn number_of(calls: &mut Calls, key: &CallKey) -> Known {
    let next = calls.next;
    let known = *calls.known.entry(key.clone()).or_insert(Known { number: next, attempts: 0 });
    calls.next = next.max(known.number + 1);
    known
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call on its way.
#[derive(Clone)]
struct Call {
    job: Arc<RunningJob>,
    stage: String,
    number: u64,
    key: CallKey,
    spec: CallSpec,
}

impl Call {
    async fn run(self, attempts_before: u32) -> Outcome {
        let mut attempt = attempts_before;
        let cancel = self.job.cancel.clone();
        let outcome = tokio::select! {
            outcome = self.run_attempts(&mut attempt) => outcome,
            // The end of the job is the end of its calls, also of those that the driver started on tasks of their own.
            () = cancel.cancelled() => Err(CallError::cancelled().into()),
        };
        match outcome {
            Ok(record) => Ok(Arc::new(record)),
            Err(lost) => {
                let CallError { cause, message, .. } = lost.error.clone();
                let failure = Failure { cause, message, traceback: None, pickle: None };
                let state = if cause == Cause::Cancelled { CallState::Cancelled } else { CallState::Failed };
                self.event(CallEvent { state, attempt, error: Some(failure), figures: lost.figures, ..CallEvent::default() });
                self.job.engine.metrics.add(Counter::CallsFailed, 1);
                let (stage, call, key) = (self.stage.clone(), self.number, self.key.clone());
                Err(Arc::new(CallFailed { stage, call, key, attempts: attempt, error: lost.error }))
            }
        }
    }

    async fn run_attempts(&self, attempt: &mut u32) -> Result<CallRecord, AttemptLost> {
        if let Some(record) = self.committed().await? {
            self.event(CallEvent {
                state: CallState::Reused,
                figures: Some(Box::new(record.figures.clone())),
                ..CallEvent::default()
            });
            self.job.engine.metrics.add(Counter::CallsReused, 1);
            return Ok(record);
        }
        let group = self.shared_group()?;
        let function = Some(self.spec.function.label().to_owned());
        self.event(CallEvent { state: CallState::Queued, function, ..CallEvent::default() });
        let mut failures = 0;
        let mut blameless = 0;
        loop {
            *attempt += 1;
            let lost = match self.attempt(*attempt, group.clone()).await {
                Ok(record) => return Ok(record),
                Err(lost) => lost,
            };
            if lost.blameless && blameless < 20 {
                blameless += 1;
            } else {
                failures += 1;
                if lost.error.permanent || failures > self.spec.retries {
                    return Err(lost);
                }
            }
            let figures = lost.figures;
            let error = Some(lost.error.into());
            self.event(CallEvent { state: CallState::Retried, attempt: *attempt, error, figures, ..CallEvent::default() });
            self.job.engine.metrics.add(Counter::CallsRetried, 1);
            tokio::time::sleep(back_off(self.job.engine.tuning.back_off, failures)).await;
        }
    }

    /// The call's record, if it is committed and its outputs are there.
    async fn committed(&self) -> Result<Option<CallRecord>, CallError> {
        let address = CallRecord::address(&self.job.results, &self.key);
        let stores = self.job.engine.stores.clone();
        blocking(move || usable_record(&stores, &address)).await
    }

    fn shared_group(&self) -> Result<Option<String>, CallError> {
        let FunctionSpec::Native { name, version } = &self.spec.function else { return Ok(None) };
        let Some(function) = self.job.engine.registry.get(name) else {
            return Err(CallError::input(format!("there is no native function `{name}` in this `neardata`")));
        };
        if function.version() != *version {
            let text = format!("`{name}` is wanted in version {version}, this `neardata` has {}", function.version());
            return Err(CallError::new(Cause::Version, text));
        }
        Ok(function.shared_group(&self.spec.arguments))
    }

    /// One attempt, on a place of its own, and the commit of what it made.
    async fn attempt(&self, number: u32, shared_group: Option<String>) -> Result<CallRecord, AttemptLost> {
        let engine = self.job.engine.clone();
        let slot = engine.slots.acquire(&self.job.id, self.job.cap, self.number).await;
        let attempt = AttemptId::fresh();
        lock(&self.job.calls).ran.entry(self.key.clone()).or_default().insert(attempt.clone());
        if let Some(known) = lock(&self.job.calls).known.get_mut(&self.key) {
            known.attempts = number;
        }
        let outputs = CallRecord::outputs_prefix(&self.job.results, &self.key, &attempt);
        let order = AttemptOrder {
            job: self.job.id.clone(),
            stage: self.stage.clone(),
            call: self.number,
            key: self.key.clone(),
            attempt: attempt.clone(),
            spec: self.spec.clone(),
            outputs,
            shared_group,
        };
        let observer = CallObserver { call: self.clone(), attempt: number, _alive: self.job.attempts.token() };
        let outcome = engine.executor.attempt(order, Arc::new(observer)).await;
        drop(slot);
        let done = outcome?;
        let figures = done.figures.clone();
        let record = self.commit(attempt, done).await?;
        let figures = Some(Box::new(figures));
        self.event(CallEvent { state: CallState::Done, attempt: number, figures, ..CallEvent::default() });
        engine.metrics.add(Counter::CallsDone, 1);
        Ok(record)
    }

    /// Makes the attempt's work the call's result, unless another engine was first: then its record is the result.
    async fn commit(&self, attempt: AttemptId, done: AttemptDone) -> Result<CallRecord, CallError> {
        let record = CallRecord {
            v: CallRecord::VERSION,
            key: self.key.clone(),
            function: self.spec.function.clone(),
            attempt,
            result: done.result,
            outputs: done.outputs,
            figures: done.figures,
        };
        let address = CallRecord::address(&self.job.results, &self.key);
        let stores = self.job.engine.stores.clone();
        blocking(move || {
            let text = serde_json::to_vec(&record).map_err(|error| CallError::failed(error).permanent())?;
            match stores.put_if_absent(&address, Bytes::from(text))? {
                PutOutcome::Created(_) => Ok(record),
                PutOutcome::AlreadyThere => {
                    let other = read_record(&stores, &address)?;
                    other.ok_or_else(|| CallError::failed(format!("{address} was there and then was not")))
                }
            }
        })
        .await
    }

    fn event(&self, event: CallEvent) {
        let (stage, call, key) = (self.stage.clone(), self.number, Some(self.key.clone()));
        self.job.log.push(EventKind::Call(CallEvent { stage, call, key, ..event }));
    }
}

/// Tells the job's log what the executor sees.
struct CallObserver {
    call: Call,
    attempt: u32,
    _alive: TaskTrackerToken,
}

impl Observer for CallObserver {
    fn started(&self, pid: u32, host: &str) {
        let (pid, host) = (Some(pid), Some(host.to_owned()));
        self.call.event(CallEvent { state: CallState::Started, attempt: self.attempt, pid, host, ..CallEvent::default() });
    }

    fn progress(&self, done: u64, total: u64) {
        self.call.job.log.progress(&self.call.stage, self.call.number, done, total);
    }

    fn line(&self, line: &str) {
        self.call.job.output.line(&format!("{} {}", self.call.stage, self.call.number), line);
    }
}

/// The record at `address`, if there is one. One that cannot be understood is an error: it must not be overwritten.
pub(crate) fn read_record(stores: &Stores, address: &ObjectUri) -> Result<Option<CallRecord>, CallError> {
    let bytes = match stores.get(address) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |reason: &dyn std::fmt::Display| {
        CallError::input(format!("{address} is not the record of a call ({reason}); remove it to have the call run again"))
    };
    let record: CallRecord = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
    if record.v > CallRecord::VERSION {
        return Err(damaged(&format!("version {} is newer than this program understands", record.v)));
    }
    Ok(Some(record))
}

/// The record at `address` if everything it names can still be read. One whose outputs were removed or changed would fail every call
/// that needs them, each time again: it is removed, so that its call runs again.
pub(crate) fn usable_record(stores: &Stores, address: &ObjectUri) -> Result<Option<CallRecord>, CallError> {
    let Some(record) = read_record(stores, address)? else { return Ok(None) };
    let mut lost = None;
    for output in record.outputs.values() {
        if !is_there(stores, output)? {
            lost = Some(output);
            break;
        }
    }
    let Some(lost) = lost else { return Ok(Some(record)) };
    // Another engine may have noticed too, and committed the call anew meanwhile.
    match read_record(stores, address)? {
        Some(now) if now.attempt != record.attempt => return Ok(Some(now)),
        _ => {}
    }
    tracing::warn!(record = %address, output = %lost.uri, "an output of a finished call is gone or changed; the call runs again");
    stores.delete(address)?;
    Ok(None)
}

/// Whether an object is the version that a record names, as far as opening it would tell.
fn is_there(stores: &Stores, object: &ObjectRef) -> Result<bool, StoreError> {
    let now = match stores.head(&object.uri) {
        Ok(now) => now,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let changed = match (&object.pin, &now.pin) {
        (Pin::Etag(then), Pin::Etag(now)) => then != now,
        // Only a file's time is compared on opening.
        (Pin::WeakMtime(then), Pin::WeakMtime(now)) => object.uri.path().is_some() && then != now,
        _ => false,
    };
    Ok(now.size == object.size && !changed)
}

/// Runs blocking store work beside the engine.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(CallError::failed(format!("the engine's own work failed: {error}"))),
    }
}

/// How long to wait before the next attempt: doubling, with some scatter so that failures do not march in step.
fn back_off(base: Duration, failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doubled = base.saturating_mul(1 << (failures - 1).min(10)).min(Duration::from_secs(30));
    let scatter = uuid::Uuid::new_v4().as_bytes()[0];
    doubled.mul_f64(0.75 + f64::from(scatter) / 510.0)
}

/// Removes what attempts of this job left behind: everything below a call's prefix that its record does not name, and, where there is
/// no record, what this job's own attempts wrote.
pub(crate) fn sweep(job: &RunningJob) {
    let ran: Vec<_> = lock(&job.calls).ran.drain().collect();
    let stores = &job.engine.stores;
    for (key, attempts) in ran {
        let record = read_record(stores, &CallRecord::address(&job.results, &key));
        let swept = match record {
            Ok(Some(record)) => sweep_beside(stores, &job.results, &key, &record.attempt),
            Ok(None) => attempts
                .iter()
                .try_for_each(|attempt| remove_attempt(stores, &CallRecord::outputs_prefix(&job.results, &key, attempt))),
            Err(error) => {
                tracing::warn!(%error, "cannot sweep after a call");
                Ok(())
            }
        };
        if let Err(error) = swept {
            tracing::warn!(%error, %key, "cannot sweep after a call");
        }
    }
}

fn sweep_beside(stores: &Stores, results: &ObjectUri, key: &CallKey, keep: &AttemptId) -> Result<(), StoreError> {
    let prefix = CallRecord::attempts_prefix(results, key);
    for attempt in attempts_below(stores, &prefix)? {
        if attempt != keep.as_str() {
            remove_attempt(stores, &prefix.join(&attempt))?;
        }
    }
    Ok(())
}

/// The attempts that left something below `prefix`.
fn attempts_below(stores: &Stores, prefix: &ObjectUri) -> Result<BTreeSet<String>, StoreError> {
    if let Some(folder) = prefix.path() {
        // A listing does not show unfinished files, nor empty folders.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        return Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect());
    }
    let below = format!("{}/", prefix.key());
    let listed = stores.list(prefix)?;
    Ok(listed.iter().filter_map(|object| Some(object.uri.key().strip_prefix(&below)?.split('/').next()?.to_owned())).collect())
}

fn remove_attempt(stores: &Stores, prefix: &ObjectUri) -> Result<(), StoreError> {
    stores.delete_prefix(prefix)?;
    if let Some(folder) = prefix.path() {
        let _nothing_there = std::fs::remove_dir_all(folder);
    }
    Ok(())
}

//! One Python job: its queue of calls, and what becomes of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use neardata_core::{AttemptId, CallKey, JobId, ObjectUri, canonical};
use neardata_functions::{CallError, CallRecord, Cause, Figures, FunctionSpec};
use neardata_store::{PutOutcome, Stores};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Decoded, serve};
use crate::calls::{blocking, read_record, usable_record};
use crate::engine::Shared;
use crate::event::{CallEvent, CallState, EventKind, Failure, JobError, JobState};
use crate::log::{JobLog, OutputLog};
use crate::metrics::Counter;

/// The largest pickle that is pushed; larger ones are stored.
const MAX_PUSHED: usize = 64 * 1024;

/// A running Python job.
pub(crate) struct PythonJob {
    pub(crate) id: JobId,
    pub(crate) engine: Arc<Shared>,
    pub(crate) results: ObjectUri,
    pub(crate) log: Arc<JobLog>,
    pub(crate) output: Arc<OutputLog>,
    pub(crate) request: Decoded,
    pub(crate) cap: usize,
    state: Mutex<State>,
    /// Told whenever calls were queued, ended or cancelled.
    changed: watch::Sender<u64>,
}

struct State {
    queue: VecDeque<u32>,
    calls: Vec<Call>,
    open: usize,
    failed: usize,
    cancelled: bool,
    first_error: Option<Failure>,
}

#[derive(Clone, Copy, Default)]
struct Call {
    failures: u32,
    ended: bool,
    cancelled: bool,
}

/// How an attempt at a call ended.
pub(crate) enum Ending {
    Value(Bytes),
    Failed(Failure),
    Cancelled,
}

impl PythonJob {
    pub(crate) fn new(id: JobId, engine: Arc<Shared>, log: Arc<JobLog>, output: Arc<OutputLog>, request: Decoded) -> Arc<Self> {
        let count = request.calls.len();
        let state = State {
            queue: (0..count as u32).collect(),
            calls: vec![Call::default(); count],
            open: count,
            failed: 0,
            cancelled: false,
            first_error: None,
        };
        let slots = engine.slot_count;
        let cap = request.options.workers.unwrap_or(slots).clamp(1, slots);
        let results = engine.results.clone();
        Arc::new(Self {
            id,
            engine,
            results,
            log,
            output,
            request,
            cap,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Calls for one worker: enough to keep it busy, few enough that there is work for the others.
    pub(crate) fn take(&self, room: usize) -> Vec<u32> {
        let mut state = self.state();
        let share = (state.queue.len() / (2 * self.cap)).max(1);
        let count = state.queue.len().min(share).min(room);
        state.queue.drain(..count).collect()
    }

    /// Puts calls that did not start back to the front of the queue.
    pub(crate) fn give_back(self: &Arc<Self>, calls: impl DoubleEndedIterator<Item = u32>) {
        let mut dropped = Vec::new();
        let mut state = self.state();
        for call in calls.rev() {
            if state.calls[call as usize].cancelled {
                dropped.push((call, Ending::Cancelled))
            } else {
                state.queue.push_front(call)
            }
        }
        drop(state);
        self.end(dropped);
        self.tell();
    }

    pub(crate) fn is_cancelled(&self, call: u32) -> bool {
        self.state().calls[call as usize].cancelled
    }

    /// Whether there is nothing left to start.
    pub(crate) fn queue_is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }

    fn is_over(&self) -> bool {
        self.state().open == 0
    }

    /// The number of the attempt that runs or will run next.
    pub(crate) fn attempt(&self, call: u32) -> u32 {
        self.state().calls[call as usize].failures + 1
    }

    /// Takes note of attempts that ended, all in one step.
    pub(crate) fn end(self: &Arc<Self>, endings: Vec<(u32, Ending)>) {
        let mut events = Vec::with_capacity(endings.len());
        let cached = self.request.options.cached.is_some();
        for (call, ending) in endings {
            let attempt = self.attempt(call);
            let event = CallEvent { stage: self.request.name.clone(), call: u64::from(call), attempt, ..CallEvent::default() };
            match ending {
                Ending::Value(value) if cached || value.len() > MAX_PUSHED => {
                    tokio::spawn(self.clone().store(event, value));
                }
                Ending::Value(value) => {
                    let value = Some(BASE64_STANDARD.encode(&value));
                    events.push(CallEvent { state: CallState::Done, value, ..event });
                }
                Ending::Cancelled => events.push(CallEvent { state: CallState::Cancelled, ..event }),
                Ending::Failed(failure) => {
                    let state = self.fail(call, &failure);
                    events.push(CallEvent { state, error: Some(failure), ..event });
                }
            }
        }
        self.publish(events);
    }

    /// Counts a failure; a call that may be tried again is queued after a while.
    fn fail(self: &Arc<Self>, call: u32, failure: &Failure) -> CallState {
        let mut state = self.state();
        let entry = &mut state.calls[call as usize];
        if entry.cancelled {
            return CallState::Cancelled;
        }
        entry.failures += 1;
        let failures = entry.failures;
        if failures > self.request.options.retries {
            state.first_error.get_or_insert_with(|| failure.clone());
            return CallState::Failed;
        }
        let pause = self.engine.tuning.back_off.saturating_mul(1 << (failures - 1).min(10)).min(Duration::from_secs(30));
        let job = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            job.give_back(std::iter::once(call));
        });
        CallState::Retried
    }

    /// Adds events, and counts what ended with them.
    pub(crate) fn publish(&self, events: Vec<CallEvent>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.state();
        let mut kept = Vec::with_capacity(events.len());
        for event in events {
            if event.state.is_final() {
                let Some(call) = state.calls.get_mut(event.call as usize).filter(|call| !call.ended) else { continue };
                call.ended = true;
                state.open -= 1;
                state.failed += usize::from(event.state == CallState::Failed);
            }
            self.count(event.state);
            kept.push(EventKind::Call(event));
        }
        let over = state.open == 0;
        drop(state);
        self.log.extend(kept);
        if over {
            self.tell();
        }
    }

    fn count(&self, state: CallState) {
        let counter = match state {
            CallState::Done => Counter::CallsDone,
            CallState::Reused => Counter::CallsReused,
            CallState::Failed => Counter::CallsFailed,
            CallState::Retried => Counter::CallsRetried,
            CallState::Cancelled => Counter::CallsCancelled,
            CallState::Queued | CallState::Started => return,
        };
        self.engine.metrics.add(counter, 1);
    }

    /// Cancels calls: those that wait at once, those that run through whoever serves them.
    pub(crate) fn cancel(self: &Arc<Self>, calls: Option<&[u64]>) {
        let mut state = self.state();
        state.cancelled |= calls.is_none();
        let chosen: Vec<usize> = match calls {
            None => (0..state.calls.len()).collect(),
            Some(calls) => {
                calls.iter().filter_map(|call| usize::try_from(*call).ok()).filter(|call| *call < state.calls.len()).collect()
            }
        };
        chosen.iter().for_each(|call| state.calls[*call].cancelled = true);
        let queue = std::mem::take(&mut state.queue);
        let (gone, kept): (VecDeque<u32>, VecDeque<u32>) =
            queue.into_iter().partition(|call| state.calls[*call as usize].cancelled);
        state.queue = kept;
        drop(state);
        self.end(gone.into_iter().map(|call| (call, Ending::Cancelled)).collect());
        self.tell();
    }

    /// Commits a large or a cached value, then publishes where it is.
    async fn store(self: Arc<Self>, event: CallEvent, value: Bytes) {
        let digests = self.request.options.cached.as_ref();
        let digest = digests.and_then(|digests| digests.get(event.call as usize)).cloned();
        let (stores, results, job, call) = (self.engine.stores.clone(), self.results.clone(), self.id.clone(), event.call);
        let stored = blocking(move || match digest {
            Some(digest) => commit(&stores, &results, &digest, &value),
            None => {
                let uri = results.join(&format!("python/{job}/{call}.pickle"));
                stores.put(&uri, value)?;
                Ok((None, Some(uri)))
            }
        });
        let event = match stored.await {
            Ok((value, value_uri)) => CallEvent { state: CallState::Done, value, value_uri, ..event },
            Err(error) => CallEvent { state: CallState::Failed, error: Some(error.into()), ..event },
        };
        self.publish(vec![event]);
    }

    /// Answers the calls whose digests are committed already.
    async fn reuse(self: &Arc<Self>) {
        let Some(digests) = self.request.options.cached.clone() else { return };
        let (stores, results) = (self.engine.stores.clone(), self.results.clone());
        let looked = blocking(move || {
            let look =
                |digest: &String| usable_record(&stores, &CallRecord::address(&results, &cached_key(digest))).ok().flatten();
            Ok(digests.iter().map(look).collect::<Vec<_>>())
        });
        let Ok(records) = looked.await else { return };
        let mut events = Vec::new();
        for (call, record) in records.into_iter().enumerate() {
            let Some((value, value_uri)) = record.and_then(|record| value_of(&record)) else { continue };
            let stage = self.request.name.clone();
            events.push(CallEvent {
                stage,
                call: call as u64,
                state: CallState::Reused,
                value,
                value_uri,
                ..CallEvent::default()
            });
        }
        let mut state = self.state();
        let done: Vec<u32> = events.iter().map(|event| event.call as u32).collect();
        state.queue.retain(|call| done.binary_search(call).is_err());
        drop(state);
        self.publish(events);
    }

    fn ending(&self) -> (JobState, Value, Option<JobError>) {
        let state = self.state();
        let calls = state.calls.len();
        let result = json!({"calls": calls, "failed": state.failed});
        if state.cancelled {
            let message = "the job was cancelled".to_owned();
            return (JobState::Cancelled, result, Some(JobError { cause: Cause::Cancelled, message }));
        }
        match &state.first_error {
            None => (JobState::Done, result, None),
            Some(first) => {
                let message = format!("{} of {calls} calls failed; the first: {}", state.failed, first.message);
                (JobState::Failed, result, Some(JobError { cause: first.cause, message }))
            }
        }
    }
}

/// The address of a cached call: the client's digest, in a name space of its own.
fn cached_key(digest: &str) -> CallKey {
    CallKey::from_text(canonical::digest(&json!({"python": digest})))
}

type Stored = (Option<String>, Option<ObjectUri>);

/// Commits a cached value; whoever was first wins, and its value is the answer.
fn commit(stores: &Stores, results: &ObjectUri, digest: &str, value: &Bytes) -> Result<Stored, CallError> {
    let key = cached_key(digest);
    let attempt = AttemptId::fresh();
    let mut outputs = std::collections::BTreeMap::new();
    let mut result = Value::Null;
    if value.len() > MAX_PUSHED {
        let uri = CallRecord::outputs_prefix(results, &key, &attempt).join("value.pickle");
        outputs.insert("value".to_owned(), stores.put(&uri, value.clone())?);
    } else {
        result = json!({"pickle": BASE64_STANDARD.encode(value)});
    }
    let function = FunctionSpec::Python { digest: digest.to_owned() };
    let figures = Figures::default();
    let record = CallRecord { v: CallRecord::VERSION, key: key.clone(), function, attempt, result, outputs, figures };
    let address = CallRecord::address(results, &key);
    let text = serde_json::to_vec(&record).map_err(|error| CallError::failed(error).permanent())?;
    let record = match stores.put_if_absent(&address, text.into())? {
        PutOutcome::Created(_) => record,
        PutOutcome::AlreadyThere => {
            stores.delete_prefix(&CallRecord::outputs_prefix(results, &key, &record.attempt))?;
            read_record(stores, &address)?.ok_or_else(|| CallError::failed(format!("{address} was there and then was not")))?
        }
    };
    value_of(&record).ok_or_else(|| CallError::input(format!("{address} holds no value; remove it to have the call run again")))
}

fn value_of(record: &CallRecord) -> Option<Stored> {
    if let Some(output) = record.output("value") {
        return Some((None, Some(output.uri.clone())));
    }
    Some((Some(record.result.get("pickle")?.as_str()?.to_owned()), None))
}

/// Runs the job to its end.
pub(crate) async fn run(job: Arc<PythonJob>) {
    let calls = Some(job.request.calls.len() as u64);
    job.log.extend([
        EventKind::Job { state: JobState::Running, result: None, error: None },
        EventKind::Stage { stage: job.request.name.clone(), calls },
    ]);
    job.reuse().await;
    let mut servers = JoinSet::new();
    for _ in 0..job.cap.min(job.request.calls.len()) {
        servers.spawn(serve_until_over(job.clone()));
    }
    let mut changes = job.changes();
    while !job.is_over() {
        if changes.changed().await.is_err() {
            break;
        }
    }
    // Servers that wait for a place or a worker need not come any more.
    servers.shutdown().await;
    let (state, result, error) = job.ending();
    let counter = match state {
        JobState::Done => Counter::JobsDone,
        JobState::Failed => Counter::JobsFailed,
        _ => Counter::JobsCancelled,
    };
    job.engine.metrics.add(counter, 1);
    job.log.finish(state, Some(result), error).await;
}

/// Takes a place and a worker whenever there is work.
async fn serve_until_over(job: Arc<PythonJob>) {
    let mut changes = job.changes();
    loop {
        changes.mark_unchanged();
        if job.is_over() {
            return;
        }
        if job.queue_is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let _place = job.engine.slots.acquire(&job.id, job.cap, 0).await;
        if job.queue_is_empty() {
            continue;
        }
        match job.engine.python.take(&job.request.environment, job.output.clone()).await {
            Ok(mut worker) => {
                if serve::serve(&job, &mut worker).await {
                    job.engine.python.put(&job.request.environment, worker);
                }
            }
            Err(error) => {
                // The next start would fail the same way.
                let calls = job.take_all();
                let failure = Failure::from(error);
                job.end_for_good(calls, &failure);
            }
        }
    }
}

impl PythonJob {
    fn take_all(&self) -> Vec<u32> {
        self.state().queue.drain(..).collect()
    }

    fn end_for_good(&self, calls: Vec<u32>, failure: &Failure) {
        self.state().first_error.get_or_insert_with(|| failure.clone());
        let event = |call: u32| CallEvent {
            stage: self.request.name.clone(),
            call: u64::from(call),
            attempt: 1,
            state: CallState::Failed,
            error: Some(failure.clone()),
            ..CallEvent::default()
        };
        self.publish(calls.into_iter().map(event).collect());
    }
}

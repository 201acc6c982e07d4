//! The events of one job in memory, for whoever follows; stored events also go to the journal.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::Stream;
use neardata_core::JobId;
use serde_json::Value;
use tokio::sync::watch;

use crate::event::{Event, EventKind, JobError, JobState};
use crate::journal::Journal;

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The events of one job.
pub(crate) struct JobLog {
    job: JobId,
    journal: Option<Journal>,
    store_all: bool,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    events: Vec<Arc<Event>>,
    progress: BTreeMap<u64, (u64, Arc<Event>)>,
    version: u64,
    ended: bool,
    /// Nothing more will come: the engine stops.
    closed: bool,
}

impl JobLog {
    /// A log that goes on after `earlier` events; with a journal, events are stored.
    pub(crate) fn new(job: JobId, journal: Option<Journal>, earlier: Vec<Event>) -> Arc<Self> {
        Self::make(job, journal, true, earlier)
    }

    /// A log of which only the last event is stored.
    pub(crate) fn brief(job: JobId, journal: Journal) -> Arc<Self> {
        Self::make(job, Some(journal), false, Vec::new())
    }

    fn make(job: JobId, journal: Option<Journal>, store_all: bool, earlier: Vec<Event>) -> Arc<Self> {
        let ended = earlier.iter().any(|event| ends(&event.kind));
        let state = State { events: earlier.into_iter().map(Arc::new).collect(), ended, ..State::default() };
        Arc::new(Self { job, journal, store_all, state: Mutex::new(state), changed: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub(crate) fn push(&self, kind: EventKind) {
        self.extend([kind]);
    }

    /// Adds events that happened together.
    pub(crate) fn extend(&self, kinds: impl IntoIterator<Item = EventKind>) {
        let t = now();
        let mut state = self.state();
        let first_new = state.events.len();
        for kind in kinds {
            if state.ended {
                break;
            }
            if let EventKind::Call(call) = &kind {
                state.progress.remove(&call.call);
            }
            state.ended = ends(&kind);
            let seq = state.events.last().map_or(1, |event| event.seq + 1);
            state.events.push(Arc::new(Event { seq, t, kind }));
        }
        let added = state.events[first_new..].to_vec();
        if let Some(journal) = self.journal.as_ref().filter(|_| self.store_all) {
            // Under the lock, so that the journal sees events in their order.
            journal.events(&self.job, added);
        }
        state.version += 1;
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
    }

    /// Adds the last event: durable before anybody sees it.
    pub(crate) async fn finish(&self, job_state: JobState, result: Option<Value>, error: Option<JobError>) {
        let kind = EventKind::Job { state: job_state, result, error };
        let event = {
            let mut state = self.state();
            state.ended = true; // nothing may come in between
            let seq = state.events.last().map_or(1, |event| event.seq + 1);
            Arc::new(Event { seq, t: now(), kind })
        };
        if let Some(journal) = &self.journal {
            journal.events(&self.job, vec![event.clone()]);
            journal.finish(&self.job, job_state, event.t).await;
        }
        let mut state = self.state();
        state.events.push(event);
        state.progress.clear();
        state.version += 1;
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
    }

    /// Replaces what is known of a running call's progress.
    pub(crate) fn progress(&self, stage: &str, call: u64, done: u64, total: u64) {
        let kind = EventKind::Progress { stage: stage.to_owned(), call, done, total };
        let mut state = self.state();
        if state.ended || state.progress.get(&call).is_some_and(|(_, event)| event.kind == kind) {
            return;
        }
        let seq = state.events.last().map_or(0, |event| event.seq);
        state.version += 1;
        let version = state.version;
        state.progress.insert(call, (version, Arc::new(Event { seq, t: now(), kind })));
        drop(state);
        self.changed.send_replace(version);
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        self.state().events.clone()
    }

    /// Lets followers go although the last event has not come.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.version += 1;
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
    }

    /// Bytes of values it holds, about.
    pub(crate) fn weight(&self) -> usize {
        let value = |event: &Arc<Event>| match &event.kind {
            EventKind::Call(call) => 256 + call.value.as_ref().map_or(0, String::len),
            _ => 256,
        };
        self.state().events.iter().map(value).sum()
    }

    /// Events from number `from` on, those that are there together, until the last one.
    pub(crate) fn follow(self: Arc<Self>, from: u64) -> impl Stream<Item = Vec<Arc<Event>>> + Send {
        let follower = Follower { changed: self.changed.subscribe(), log: self, from, version: 0, ended: false };
        futures::stream::unfold(follower, |mut follower| async move {
            let batch = follower.next_batch().await?;
            Some((batch, follower))
        })
    }
}

fn ends(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Job { state, .. } if state.is_final())
}

struct Follower {
    log: Arc<JobLog>,
    changed: watch::Receiver<u64>,
    from: u64,
    version: u64,
    ended: bool,
}

impl Follower {
    async fn next_batch(&mut self) -> Option<Vec<Arc<Event>>> {
        while !self.ended {
            self.changed.mark_unchanged();
            let batch = self.take();
            if !batch.is_empty() {
                return Some(batch);
            }
            if !self.ended && self.changed.changed().await.is_err() {
                break;
            }
        }
        None
    }

    fn take(&mut self) -> Vec<Arc<Event>> {
        let state = self.log.state();
        let start = state.events.partition_point(|event| event.seq < self.from);
        let mut batch = state.events[start..].to_vec();
        self.from = batch.last().map_or(self.from, |event| event.seq + 1);
        let fresh = state.progress.values().filter(|(version, _)| *version > self.version);
        batch.extend(fresh.map(|(_, event)| event.clone()));
        self.version = state.version;
        self.ended = state.closed || state.events.last().is_some_and(|event| ends(&event.kind));
        batch
    }
}

/// What the calls of a job wrote on standard output and error: a text file.
pub(crate) struct OutputLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl OutputLog {
    /// The log file of `job` below the engine's folder; made when the first line comes.
    pub(crate) fn new(folder: &Path, job: &JobId) -> Arc<Self> {
        Arc::new(Self { path: Self::path(folder, job), file: Mutex::default() })
    }

    /// Where the log of `job` lies.
    pub(crate) fn path(folder: &Path, job: &JobId) -> PathBuf {
        folder.join("logs").join(format!("{job}.log"))
    }

    /// Adds a line, with who wrote it.
    pub(crate) fn line(&self, origin: &str, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        }
        if let Some(file) = file.as_mut() {
            // A log that cannot be written must not stop the work.
            let _full = writeln!(file, "[{origin}] {line}");
        }
    }
}

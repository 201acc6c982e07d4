use std::collections::BTreeMap;

use neardata_core::{CallKey, JobId, ObjectUri};
use neardata_functions::Figures;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{CallEvent, CallState, Event, EventKind, Failure, JobError, JobState};

/// One line about a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// The job.
    pub id: JobId,
    /// The pipeline's name, or what a Python job calls itself.
    pub name: String,
    /// What drives it.
    pub kind: JobKind,
    /// Its state.
    pub state: JobState,
    /// When it was submitted, seconds since 1970.
    pub created: f64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<f64>,
    /// Where its results lie.
    pub results: ObjectUri,
}

/// What drives a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A [`Pipeline`](crate::Pipeline).
    Pipeline,
    /// A list of Python calls.
    Python,
}

/// All there is to see of a job: a fold over its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Version of this shape; 1.
    pub v: u32,
    /// What the list says.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// The arguments of the pipeline.
    pub arguments: Value,
    /// What the driver returned.
    pub result: Option<Value>,
    /// Why the job failed.
    pub error: Option<JobError>,
    /// What the driver wants people to see.
    pub notes: BTreeMap<String, Value>,
    /// The stages in the order in which they appeared.
    pub stages: Vec<StageView>,
    /// The calls in the order of their numbers.
    pub calls: Vec<CallView>,
}

/// One stage of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageView {
    /// Its name.
    pub stage: String,
    /// How many calls it will have, once announced.
    pub calls: Option<u64>,
    /// Calls by state.
    pub states: BTreeMap<CallState, u64>,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
    /// Sum over the calls that ran here.
    pub cpu_s: f64,
    /// Sum over the calls that ran here.
    pub wall_s: f64,
    /// Sum over the calls that ran here.
    pub bytes_fetched: u64,
    /// Sum over the calls that ran here.
    pub bytes_written: u64,
    /// The largest of any call that ran here.
    pub peak_rss: u64,
}

/// One call of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallView {
    /// Its number in the job.
    pub call: u64,
    /// Its stage.
    pub stage: String,
    /// Content address.
    pub key: Option<CallKey>,
    /// The function.
    pub function: Option<String>,
    /// Its state.
    pub state: CallState,
    /// Whether its result had been committed before.
    pub reused: bool,
    /// The attempts so far, the last one last.
    pub attempts: Vec<AttemptView>,
    /// What the successful attempt used, also when it was reused.
    pub figures: Option<Figures>,
}

/// One attempt at a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// Process that ran it.
    pub pid: Option<u32>,
    /// Machine that ran it.
    pub host: Option<String>,
    /// When it started, seconds since 1970.
    pub started: Option<f64>,
    /// When it ended.
    pub finished: Option<f64>,
    /// Why it failed.
    pub error: Option<Failure>,
}

impl JobView {
    /// The view that `events` make of a job.
    pub fn fold<'e>(summary: JobSummary, arguments: Value, events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut view = Self {
            v: 1,
            summary,
            arguments,
            result: None,
            error: None,
            notes: BTreeMap::new(),
            stages: Vec::new(),
            calls: Vec::new(),
        };
        for event in events {
            view.apply(event);
        }
        view.sum_stages();
        view
    }

    fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Call(call) => {
                self.stage_mut(&call.stage);
                self.call_mut(call.call).apply(event.t, call);
            }
            EventKind::Stage { stage, calls } => {
                let stage = self.stage_mut(stage);
                stage.calls = calls.or(stage.calls);
            }
            EventKind::Progress { .. } => {}
            EventKind::Note { key, value } => drop(self.notes.insert(key.clone(), value.clone())),
            EventKind::Job { state, result, error } => {
                self.summary.state = *state;
                self.summary.finished = state.is_final().then_some(event.t);
                self.result.clone_from(result);
                self.error.clone_from(error);
            }
        }
    }

    fn stage_mut(&mut self, name: &str) -> &mut StageView {
        let at = self.stages.iter().position(|stage| stage.stage == name).unwrap_or_else(|| {
            self.stages.push(StageView { stage: name.to_owned(), ..StageView::default() });
            self.stages.len() - 1
        });
        &mut self.stages[at]
    }

    fn call_mut(&mut self, number: u64) -> &mut CallView {
        let at = self.calls.binary_search_by_key(&number, |call| call.call).unwrap_or_else(|at| {
            self.calls.insert(at, CallView { call: number, ..CallView::default() });
            at
        });
        &mut self.calls[at]
    }

    fn sum_stages(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        for call in &calls {
            let stage = self.stage_mut(&call.stage);
            *stage.states.entry(call.state).or_default() += 1;
            stage.retries += (call.attempts.len() as u64).saturating_sub(1);
            let Some(figures) = call.figures.as_ref().filter(|_| !call.reused) else { continue };
            stage.cpu_s += figures.cpu_s;
            stage.wall_s += figures.wall_s;
            stage.bytes_fetched += figures.bytes_fetched;
            stage.bytes_written += figures.bytes_written;
            stage.peak_rss = stage.peak_rss.max(figures.peak_rss);
        }
        self.calls = calls;
    }
}

impl CallView {
    fn apply(&mut self, t: f64, event: &CallEvent) {
        self.stage.clone_from(&event.stage);
        self.state = event.state;
        self.key = event.key.clone().or(self.key.take());
        self.function = event.function.clone().or(self.function.take());
        self.figures = event.figures.as_deref().cloned().or(self.figures.take());
        // Reused after it ran in an earlier life of the same job is no reuse of another's work: its figures stay its own.
        self.reused = event.state == CallState::Reused && !self.attempts.iter().any(|attempt| attempt.succeeded());
        if event.attempt == 0 {
            return;
        }
        if !self.attempts.iter().any(|attempt| attempt.attempt == event.attempt) {
            self.attempts.push(AttemptView { attempt: event.attempt, ..AttemptView::default() });
        }
        let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.attempt == event.attempt) else { return };
        attempt.pid = event.pid.or(attempt.pid);
        attempt.host = event.host.clone().or(attempt.host.take());
        match event.state {
            CallState::Started => attempt.started = Some(t),
            CallState::Queued => {}
            _ => attempt.finished = Some(t),
        }
        attempt.error = event.error.clone();
    }
}

impl AttemptView {
    fn succeeded(&self) -> bool {
        self.finished.is_some() && self.error.is_none()
    }
}

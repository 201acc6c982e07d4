use neardata_core::{CallKey, ObjectUri};
use neardata_functions::{CallError, Cause, Figures};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened in a job, in order. Everything a person sees of a job is made of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in the job, from 1. Progress is not numbered: it carries the number of the last event before it.
    pub seq: u64,
    /// When, seconds since 1970.
    #[serde(default)]
    pub t: f64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[allow(clippy::large_enum_variant)] // nearly all events are of the largest kind
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A call changed its state.
    Call(CallEvent),
    /// A stage was announced, or announced again with the number of calls it will have.
    Stage {
        /// its name
        stage: String,
        /// how many calls it will have, if known
        calls: Option<u64>,
    },
    /// How far a running call is, in units of its own. Never stored.
    Progress {
        /// stage
        stage: String,
        /// number of the call in the job
        call: u64,
        /// done so far
        done: u64,
        /// of how many; 0 if unknown
        total: u64,
    },
    /// Something the driver wants people to see.
    Note {
        /// what
        key: String,
        /// its value; a later note of the same key replaces it
        value: Value,
    },
    /// The job changed its state; any state but `running` is the last event.
    Job {
        /// the state
        state: JobState,
        /// what the driver returned
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        /// why it failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<JobError>,
    },
}

/// A call changed its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallEvent {
    /// Stage.
    pub stage: String,
    /// Number of the call in the job, from 0.
    pub call: u64,
    /// The new state.
    pub state: CallState,
    /// Which attempt, from 1; 0 when none was needed.
    #[serde(default)]
    pub attempt: u32,
    /// Content address, of native and command calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<CallKey>,
    /// The function, at the first event of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Process that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Machine that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Why the attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What the attempt used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Box<Figures>>,
    /// Python: the pickled value in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Python: the object that holds the pickled value, when it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_uri: Option<ObjectUri>,
}

/// The state of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It waits for a worker.
    #[default]
    Queued,
    /// An attempt runs.
    Started,
    /// An attempt failed, another will follow.
    Retried,
    /// It succeeded.
    Done,
    /// Its result was committed before: nothing had to run.
    Reused,
    /// It failed for good.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub cause: Cause,
    /// What happened.
    pub message: String,
    /// Python: the traceback as Python prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Python: the pickled exception in base64.
    #[serde(default)]
    pub pickle: Option<String>,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It runs, or will as soon as there is room.
    Running,
    /// The engine that ran it ended before it did, and it was not resumed.
    Interrupted,
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobError {
    /// The kind of failure.
    pub cause: Cause,
    /// What happened, where, and what to do about it.
    pub message: String,
}

impl CallState {
    /// Whether nothing more will happen to the call.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Reused | Self::Failed | Self::Cancelled)
    }
}

impl JobState {
    /// Whether nothing more will happen to the job.
    pub fn is_final(self) -> bool {
        self != Self::Running
    }

    /// Its name as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self { cause: error.cause, message: error.message, traceback: None, pickle: None }
    }
}

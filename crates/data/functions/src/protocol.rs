//! What engine and worker say to each other: the headers of the [frames](crate::frames).

use std::collections::BTreeMap;

use neardata_core::{AttemptId, CallKey, JobId, ObjectRef, ObjectUri, Slice};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CallError, Figures, FunctionSpec};

/// The protocol's version; both sides name it in their first frame.
pub const PROTOCOL: u32 = 1;

/// The socket a worker dials: `NEARDATA_WORKER_SOCKET`.
pub const ENV_SOCKET: &str = "NEARDATA_WORKER_SOCKET";
/// What a worker says to show that this engine started it: `NEARDATA_WORKER_ID`.
pub const ENV_ID: &str = "NEARDATA_WORKER_ID";
/// How many calls a worker runs at once: `NEARDATA_WORKER_SLOTS`.
pub const ENV_SLOTS: &str = "NEARDATA_WORKER_SLOTS";
/// The folder below which attempts get their scratch folders: `NEARDATA_WORKER_SCRATCH`.
pub const ENV_SCRATCH: &str = "NEARDATA_WORKER_SCRATCH";

/// Engine to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    /// The answer to `hello`.
    Welcome {
        /// The engine's protocol.
        protocol: u32,
        /// The engine's version.
        version: String,
        /// Where side-car indexes lie.
        side_cars: ObjectUri,
    },
    /// Run a native function or a command.
    Call(Box<CallOrder>),
    /// Give up the call of this lease.
    Cancel {
        /// which
        lease: u64,
    },
    /// The function with this id, for calls to come (Python; the payload is its pickle).
    Function {
        /// its id
        id: String,
    },
    /// Calls of a Python function, run in order; the payload is their pickled arguments, one after the other.
    Calls {
        /// the function's id
        function: String,
        /// lease and length in the payload of each
        calls: Vec<(u64, u64)>,
    },
    /// Give back the calls that have not started (Python).
    Return,
    /// End when nothing is running.
    Stop,
}

/// One attempt at one call, as a worker gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallOrder {
    /// The lease: names this attempt on this connection.
    pub lease: u64,
    /// The job.
    pub job: JobId,
    /// Stage, for logs.
    pub stage: String,
    /// Number of the call in its job, for logs.
    pub call: u64,
    /// Content address.
    pub key: CallKey,
    /// The attempt.
    pub attempt: AttemptId,
    /// The function.
    pub function: FunctionSpec,
    /// Its arguments.
    pub arguments: Value,
    /// The slices.
    pub slices: Vec<Slice>,
    /// The prefix below which the attempt publishes.
    pub outputs: ObjectUri,
}

/// Worker to engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The first frame.
    Hello {
        /// The worker's protocol.
        protocol: u32,
        /// The worker's version.
        version: String,
        /// What it runs.
        kind: WorkerKind,
        /// Its process.
        pid: u32,
        /// How many calls it runs at once.
        slots: usize,
        /// What the engine gave it in `NEARDATA_WORKER_ID`.
        id: String,
    },
    /// The call of this lease has started.
    Started {
        /// which
        lease: u64,
    },
    /// Every second: the worker lives, and so far are its calls.
    Heartbeat {
        /// lease, done, total
        calls: Vec<(u64, u64, u64)>,
    },
    /// The call succeeded.
    Done {
        /// which
        lease: u64,
        /// what the function returned
        result: Value,
        /// what it published
        outputs: BTreeMap<String, ObjectRef>,
        /// what it used
        figures: Figures,
    },
    /// The call failed.
    Failed {
        /// which
        lease: u64,
        /// why
        error: CallError,
        /// what it used
        figures: Figures,
    },
    /// A Python call returned; the payload is the pickled value.
    Value {
        /// which
        lease: u64,
    },
    /// A Python call raised; the payload is the pickled exception, empty if it cannot be pickled.
    Raised {
        /// which
        lease: u64,
        /// the exception in one line
        message: String,
        /// as Python prints it
        traceback: String,
    },
    /// Calls given back unstarted (Python).
    Returned {
        /// which
        leases: Vec<u64>,
    },
    /// What user code wrote (Python; the payload is text).
    Log {
        /// while this call ran
        lease: u64,
    },
}

/// What a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerKind {
    /// Native functions and commands.
    Native,
    /// Python callables.
    Python,
}

//! A job that runs in this engine: what its driver, its calls and whoever cancels it share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use neardata_core::{AttemptId, CallKey, JobId, ObjectUri};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::calls::InFlight;
use crate::engine::Shared;
use crate::event::{Event, EventKind};
use crate::log::{JobLog, OutputLog};

/// A running job.
pub(crate) struct RunningJob {
    pub(crate) id: JobId,
    pub(crate) engine: Arc<Shared>,
    pub(crate) results: ObjectUri,
    pub(crate) cap: usize,
    pub(crate) log: Arc<JobLog>,
    pub(crate) output: Arc<OutputLog>,
    pub(crate) cancel: CancellationToken,
    /// Attempts that still live; the end of the job waits for them.
    pub(crate) attempts: TaskTracker,
    pub(crate) calls: Mutex<Calls>,
}

/// The calls of a job by their address.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) known: HashMap<CallKey, Known>,
    pub(crate) in_flight: HashMap<CallKey, InFlight>,
    pub(crate) next: u64,
    /// What ran here, for the sweep at the end.
    pub(crate) ran: HashMap<CallKey, BTreeSet<AttemptId>>,
}

/// What is known of a call: also from an earlier life of the job.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) number: u64,
    pub(crate) attempts: u32,
}

impl Calls {
    /// The calls that `events` of an earlier life tell of.
    pub(crate) fn from_events(events: &[Event]) -> Self {
        let mut calls = Self::default();
        for event in events {
            let EventKind::Call(call) = &event.kind else { continue };
            calls.next = calls.next.max(call.call + 1);
            if let Some(key) = &call.key {
                let known = calls.known.entry(key.clone()).or_insert(Known { number: call.call, attempts: 0 });
                known.attempts = known.attempts.max(call.attempt);
            }
        }
        calls
    }
}

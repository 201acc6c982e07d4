use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use neardata_core::{CallKey, JobId, ObjectUri};
use neardata_formats::FormatError;
use neardata_functions::{CallError, Cause};
use neardata_store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::Job;

/// What turns a request into calls: ordinary asynchronous code that runs inside the engine.
///
/// It may be run again from the start at any time; calls whose record is committed return at once, so it must ask for the same calls
/// for the same arguments. If it publishes below a prefix it takes that as its argument `output`: no two jobs with the same `output` run
/// at once in one engine. It is dropped when the job is cancelled or the engine stops.
pub trait Pipeline: Send + Sync {
    /// Its name, as in `neardata run NAME`.
    fn name(&self) -> &'static str;

    /// Runs one job to its end. What it returns is kept with the job.
    fn run(&self, job: Job, arguments: Value) -> BoxFuture<'static, Result<Value, PipelineError>>;
}

/// A job to be done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The pipeline.
    pub pipeline: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Value,
    /// The prefix for records and outputs, if not the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<ObjectUri>,
    /// How many of its calls may run at once, if fewer than the engine has workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Go on with this job of the same engine folder instead of making a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<JobId>,
    /// Wall time after which the job fails, its unstarted calls included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

impl JobRequest {
    /// A job of `pipeline` with these arguments.
    pub fn new(pipeline: impl Into<String>, arguments: Value) -> Self {
        Self { pipeline: pipeline.into(), arguments, ..Self::default() }
    }
}

/// Why a job failed, in the driver's own words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PipelineError {
    /// The kind of failure.
    pub cause: Cause,
    /// What happened, where, and what to do about it.
    pub message: String,
}

/// A call that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{stage} (call {call}, attempt {attempts}): {error}")]
pub struct CallFailed {
    /// Stage.
    pub stage: String,
    /// Number in the job.
    pub call: u64,
    /// Content address.
    pub key: CallKey,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: CallError,
}

impl PipelineError {
    /// An error of this kind.
    pub fn new(cause: Cause, message: impl std::fmt::Display) -> Self {
        Self { cause, message: message.to_string() }
    }

    /// Bad input or arguments.
    pub fn input(message: impl std::fmt::Display) -> Self {
        Self::new(Cause::Input, message)
    }

    /// Anything else.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(Cause::Failed, message)
    }
}

impl From<CallFailed> for PipelineError {
    fn from(failed: CallFailed) -> Self {
        Self::new(failed.error.cause, failed)
    }
}

impl From<CallError> for PipelineError {
    fn from(error: CallError) -> Self {
        Self::new(error.cause, error)
    }
}

impl From<StoreError> for PipelineError {
    fn from(error: StoreError) -> Self {
        CallError::from(error).into()
    }
}

impl From<FormatError> for PipelineError {
    fn from(error: FormatError) -> Self {
        CallError::from(error).into()
    }
}

impl From<io::Error> for PipelineError {
    fn from(error: io::Error) -> Self {
        CallError::from(error).into()
    }
}

/// A request's body as protocol version 1 has it.
pub(crate) fn versioned(request: &JobRequest) -> Value {
    let mut body = serde_json::to_value(request).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.insert("v".to_owned(), Value::from(1));
    }
    body
}

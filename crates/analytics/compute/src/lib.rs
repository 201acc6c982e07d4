//! Jobs and calls: where and when.
//!
//! An [`Engine`] runs [`Pipeline`]s: drivers that turn a request into calls. It finds calls that are done already by their content
//! address, shares its workers fairly between jobs, runs attempts through an [`Executor`], retries what can be retried, and commits
//! each result once. `docs/design/engine.md` tells why it is built this way.

mod calls;
mod claims;
pub mod client;
pub mod conformance;
mod drive;
mod engine;
mod error;
mod event;
mod executor;
mod folder;
mod job;
mod journal;
mod log;
mod metrics;
mod pipeline;
pub mod python;
mod running;
pub mod service;
mod slots;
mod view;

pub use engine::{Engine, EngineOptions, Tuning};
pub use error::EngineError;
pub use event::{CallEvent, CallState, Event, EventKind, Failure, JobError, JobState};
pub use executor::{AttemptDone, AttemptLost, AttemptOrder, Executor, Observer};
pub use job::Job;
pub use neardata_core::JobId;
pub use pipeline::{CallFailed, JobRequest, Pipeline, PipelineError};
pub use view::{AttemptView, CallView, JobKind, JobSummary, JobView, StageView};

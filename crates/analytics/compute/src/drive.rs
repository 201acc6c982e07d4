//! A pipeline's job from its driver's first step to its last event.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use neardata_functions::Cause;
use serde_json::Value;

use crate::claims::Claim;
use crate::event::{CallEvent, CallState, EventKind, JobError, JobState};
use crate::metrics::Counter;
use crate::running::RunningJob;
use crate::{Job, Pipeline, PipelineError, calls};

/// Runs a job's driver to its end, then tidies up.
pub(crate) async fn drive(
    job: Arc<RunningJob>,
    pipeline: Arc<dyn Pipeline>,
    arguments: Value,
    deadline: Option<Duration>,
    claim: Claim,
) {
    job.log.push(EventKind::Job { state: JobState::Running, result: None, error: None });
    let handle = Job::new(job.clone());
    let driver = AssertUnwindSafe(async move { pipeline.run(handle, arguments).await }).catch_unwind();
    let too_late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        biased;
        () = job.cancel.cancelled() => Err(PipelineError::new(Cause::Cancelled, "the job was cancelled")),
        outcome = driver => outcome.unwrap_or_else(|_| Err(PipelineError::new(Cause::Exception, "the pipeline's driver panicked; this is a bug"))),
        () = too_late => Err(PipelineError::new(Cause::Timeout, "the job ran past its deadline; finished calls are kept")),
    };

    // The driver is gone, and with it its calls: wait until the last process is dead before sweeping after them.
    job.cancel.cancel();
    job.attempts.close();
    let _still_dying = tokio::time::timeout(Duration::from_secs(10), job.attempts.wait()).await;
    cancel_open_calls(&job);
    let sweeping = job.clone();
    let _swept = tokio::task::spawn_blocking(move || calls::sweep(&sweeping)).await;
    let (state, counter) = match &outcome {
        Ok(_) => (JobState::Done, Counter::JobsDone),
        Err(error) if error.cause == Cause::Cancelled => (JobState::Cancelled, Counter::JobsCancelled),
        Err(_) => (JobState::Failed, Counter::JobsFailed),
    };
    job.engine.metrics.add(counter, 1);
    // Before the end is told: whoever waited for it may submit the next at once.
    drop(claim);
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(PipelineError { cause, message }) => (None, Some(JobError { cause, message })),
    };
    job.log.finish(state, result, error).await;
    job.engine.forget(&job.id);
}

/// Calls that the driver did not wait for are cancelled.
fn cancel_open_calls(job: &RunningJob) {
    let mut open: HashMap<u64, CallEvent> = HashMap::new();
    for event in job.log.events() {
        let EventKind::Call(call) = &event.kind else { continue };
        if call.state.is_final() {
            open.remove(&call.call);
        } else {
            open.insert(call.call, call.clone());
        }
    }
    let cancelled = open.into_values().map(|call| {
        let CallEvent { stage, call, key, attempt, .. } = call;
        EventKind::Call(CallEvent { stage, call, key, attempt, state: CallState::Cancelled, ..CallEvent::default() })
    });
    let cancelled: Vec<_> = cancelled.collect();
    job.engine.metrics.add(Counter::CallsCancelled, cancelled.len() as u64);
    job.log.extend(cancelled);
}

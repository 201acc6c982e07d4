//! The checks themselves. Each gives what was wrong as text, so that any test runner can use them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use neardata_functions::Cause;
use serde_json::Value;

use super::{ProbeArguments, ProbesArguments};
use crate::{CallState, Engine, EngineError, EventKind, JobId, JobRequest, JobState, JobView};

/// Holds an executor to its contract: an engine that runs on it, and an empty folder that its workers can write to.
///
/// # Errors
/// What was not as it should be.
pub async fn run_all(engine: &Engine, folder: &Path) -> Result<(), String> {
    let suite = Suite { engine, folder };
    suite.results_come_in_order_and_once().await.map_err(|wrong| format!("results: {wrong}"))?;
    suite.failures_are_retried_with_their_cause().await.map_err(|wrong| format!("retries: {wrong}"))?;
    suite.permanent_failures_are_not_retried().await.map_err(|wrong| format!("permanent failures: {wrong}"))?;
    suite.a_crash_costs_one_attempt().await.map_err(|wrong| format!("crashes: {wrong}"))?;
    suite.time_limits_hold().await.map_err(|wrong| format!("time limits: {wrong}"))?;
    suite.memory_limits_hold().await.map_err(|wrong| format!("memory limits: {wrong}"))?;
    suite.cancelled_jobs_end_at_once().await.map_err(|wrong| format!("cancellation: {wrong}"))
}

struct Suite<'e> {
    engine: &'e Engine,
    folder: &'e Path,
}

/// An error unless it holds.
fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Suite<'_> {
    async fn submit(&self, arguments: &ProbesArguments) -> Result<JobId, String> {
        let arguments = serde_json::to_value(arguments).map_err(|error| error.to_string())?;
        self.engine.submit(JobRequest::new("probes", arguments)).await.map_err(text)
    }

    async fn run(&self, arguments: &ProbesArguments) -> Result<JobView, String> {
        let job = self.submit(arguments).await?;
        self.engine.wait(&job).await.map_err(text)
    }

    /// Probes that count their runs in a file of this name.
    fn counted(&self, name: &str, count: u64, probe: &ProbeArguments) -> Vec<ProbeArguments> {
        let path = self.folder.join(name);
        (0..count).map(|n| ProbeArguments { n, count: Some(path.clone()), ..probe.clone() }).collect()
    }

    fn runs(&self, name: &str) -> BTreeMap<u64, usize> {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let mut runs = BTreeMap::new();
        for n in text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()) {
            *runs.entry(n).or_default() += 1;
        }
        runs
    }

    async fn results_come_in_order_and_once(&self) -> Result<(), String> {
        let probe = ProbeArguments { publish: Some("n".to_owned()), ..ProbeArguments::default() };
        let wanted = ProbesArguments { probes: self.counted("results", 9, &probe), ..ProbesArguments::default() };
        for _round in 0..2 {
            let view = self.run(&wanted).await?;
            let numbers: Vec<_> = results(&view)?.iter().filter_map(|result| result.get("n")?.as_u64()).collect();
            must(numbers.iter().copied().eq(0..9), || format!("came as {numbers:?}"))?;
        }
        must(self.runs("results").values().all(|runs| *runs == 1), || "a finished call ran again".to_owned())
    }

    async fn failures_are_retried_with_their_cause(&self) -> Result<(), String> {
        let mut probes = self.counted("retries", 3, &ProbeArguments::default());
        probes[1].fail_times = 2;
        let view = self.run(&ProbesArguments { probes, retries: 2, ..ProbesArguments::default() }).await?;
        results(&view)?;
        must(self.runs("retries") == [(0, 1), (1, 3), (2, 1)].into(), || format!("runs {:?}", self.runs("retries")))?;
        let causes = causes(&view, 1);
        must(causes == [Some(Cause::Failed), Some(Cause::Failed), None], || format!("causes {causes:?}"))
    }

    async fn permanent_failures_are_not_retried(&self) -> Result<(), String> {
        let probe = ProbeArguments { fail_times: 9, permanent: true, ..ProbeArguments::default() };
        let probes = self.counted("permanent", 1, &probe);
        let view = self.run(&ProbesArguments { probes, retries: 3, ..ProbesArguments::default() }).await?;
        must(view.summary.state == JobState::Failed, || "the job did not fail".to_owned())?;
        must(self.runs("permanent") == [(0, 1)].into(), || format!("runs {:?}", self.runs("permanent")))
    }

    async fn a_crash_costs_one_attempt(&self) -> Result<(), String> {
        let mut probes = self.counted("crash", 4, &ProbeArguments { sleep_ms: 100, ..ProbeArguments::default() });
        probes[2].signal = Some(9);
        probes[2].fail_times = 1;
        let view = self.run(&ProbesArguments { probes, retries: 1, ..ProbesArguments::default() }).await?;
        results(&view)?;
        must(self.runs("crash") == [(0, 1), (1, 1), (2, 2), (3, 1)].into(), || format!("runs {:?}", self.runs("crash")))?;
        let causes = causes(&view, 2);
        must(causes == [Some(Cause::Killed), None], || format!("causes {causes:?}"))
    }

    async fn time_limits_hold(&self) -> Result<(), String> {
        let probes = vec![ProbeArguments { sleep_ms: 60_000, deaf: true, ..ProbeArguments::default() }];
        let begun = Instant::now();
        let view = self.run(&ProbesArguments { probes, time_ms: Some(300), ..ProbesArguments::default() }).await?;
        must(causes(&view, 0) == [Some(Cause::Timeout)], || format!("causes {:?}", causes(&view, 0)))?;
        must(begun.elapsed() < Duration::from_secs(20), || format!("took {:?}", begun.elapsed()))
    }

    async fn memory_limits_hold(&self) -> Result<(), String> {
        let probes = vec![ProbeArguments { allocate: 400 << 20, ..ProbeArguments::default() }];
        let view = self.run(&ProbesArguments { probes, memory: Some(200 << 20), ..ProbesArguments::default() }).await?;
        must(causes(&view, 0) == [Some(Cause::Memory)], || format!("causes {:?}", causes(&view, 0)))
    }

    async fn cancelled_jobs_end_at_once(&self) -> Result<(), String> {
        let probe = ProbeArguments { child_ms: 60_000, ..ProbeArguments::default() };
        let probes = self.counted("cancel", 4, &probe);
        let job = self.submit(&ProbesArguments { probes, retries: 3, ..ProbesArguments::default() }).await?;
        let mut events = Box::pin(self.engine.events(&job, 0).await.map_err(text)?);
        while let Some(event) = events.next().await {
            if matches!(&event.kind, EventKind::Call(call) if call.state == CallState::Started) {
                break;
            }
        }
        let begun = Instant::now();
        self.engine.cancel(&job).await.map_err(text)?;
        let view = self.engine.wait(&job).await.map_err(text)?;
        must(view.summary.state == JobState::Cancelled, || format!("the job is {}", view.summary.state))?;
        must(view.calls.iter().all(|call| call.state == CallState::Cancelled), || "a call was not cancelled".to_owned())?;
        must(begun.elapsed() < Duration::from_secs(10), || format!("took {:?}", begun.elapsed()))
    }
}

fn text(error: EngineError) -> String {
    error.to_string()
}

fn results(view: &JobView) -> Result<&Vec<Value>, String> {
    let done = view.result.as_ref().filter(|_| view.summary.state == JobState::Done);
    done.and_then(Value::as_array).ok_or_else(|| format!("the job is {}: {:?}", view.summary.state, view.error))
}

/// Why each attempt at a call failed.
fn causes(view: &JobView, call: u64) -> Vec<Option<Cause>> {
    let call = view.calls.iter().find(|one| one.call == call);
    call.map(|call| call.attempts.iter().map(|attempt| Some(attempt.error.as_ref()?.cause)).collect()).unwrap_or_default()
}

//! Engines for tests. Workers are this very binary, told to run the one "test" that serves instead.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use neardata_compute::{Engine, EngineOptions, JobId, JobRequest, JobState, JobView, Tuning, conformance};
use neardata_core::ObjectUri;
use neardata_formats::SideCars;
use neardata_functions::protocol::ENV_SOCKET;
use neardata_functions::worker::{self, WorkerOptions};
use neardata_store::Stores;
use serde_json::Value;

use conformance::{ProbeArguments, ProbesArguments};

#[test]
fn worker_entry() {
    if std::env::var_os(ENV_SOCKET).is_none() {
        return;
    }
    let stores = Stores::from_env().unwrap();
    let options = WorkerOptions::from_env(conformance::registry(), stores).unwrap();
    let ended = worker::serve(options);
    std::process::exit(if ended.is_ok() { 0 } else { 1 });
}

/// The command that runs one "test" of this binary.
pub(crate) fn this_binary(test: &str) -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    [program].into_iter().chain([test, "--exact", "--nocapture"].map(OsString::from)).collect()
}

pub(crate) fn options(folder: &Path, workers: usize) -> EngineOptions {
    EngineOptions {
        folder: folder.join("engine"),
        results: ObjectUri::from_path(folder.join("results")),
        stores: Stores::from_env().unwrap(),
        side_cars: SideCars { root: ObjectUri::from_path(folder.join("side-cars")) },
        workers,
        worker_command: this_binary("support::worker_entry"),
        worker_environment: Vec::new(),
        registry: conformance::registry(),
        pipelines: conformance::pipelines(),
        tuning: Tuning { back_off: Duration::from_millis(10), ..Tuning::default() },
    }
}

pub(crate) async fn engine(folder: &Path, workers: usize) -> Engine {
    Engine::start(options(folder, workers)).await.unwrap()
}

pub(crate) fn request(arguments: &ProbesArguments) -> JobRequest {
    JobRequest::new("probes", serde_json::to_value(arguments).unwrap())
}

pub(crate) async fn submit(engine: &Engine, arguments: ProbesArguments) -> JobId {
    engine.submit(request(&arguments)).await.unwrap()
}

/// Runs the probes to their end.
pub(crate) async fn run(engine: &Engine, arguments: ProbesArguments) -> JobView {
    let id = submit(engine, arguments).await;
    engine.wait(&id).await.unwrap()
}

/// The results of a job that must have succeeded.
pub(crate) fn results(view: &JobView) -> &Vec<Value> {
    assert_eq!(view.summary.state, JobState::Done, "{:?}", view.error);
    view.result.as_ref().unwrap().as_array().unwrap()
}

pub(crate) fn probes(count: u64, probe: ProbeArguments) -> Vec<ProbeArguments> {
    (0..count).map(|n| ProbeArguments { n, ..probe.clone() }).collect()
}

/// How often each probe was run, by its side effects.
pub(crate) fn runs(count: &Path) -> std::collections::BTreeMap<u64, usize> {
    let mut runs = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(count).unwrap_or_default().lines() {
        let n = line.split(' ').next().unwrap().parse().unwrap();
        *runs.entry(n).or_default() += 1;
    }
    runs
}

//! Things that go wrong, and what the engine makes of them.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use neardata_compute::conformance::{ProbeArguments, ProbesArguments};
use neardata_compute::{CallState, Engine, EventKind, JobId, JobState, JobView};
use neardata_functions::Cause;
use tempfile::tempdir;

use crate::support::{engine, options, probes, request, results, run, runs, submit};

fn one(probe: ProbeArguments) -> Vec<ProbeArguments> {
    vec![probe]
}

fn only_error(view: &JobView) -> (Cause, String) {
    assert_eq!(view.summary.state, JobState::Failed);
    let attempt = view.calls[0].attempts.last().unwrap();
    let failure = attempt.error.as_ref().unwrap();
    (failure.cause, failure.message.clone())
}

/// Waits for the call to start and gives its worker's process id.
pub(crate) async fn started(engine: &Engine, id: &JobId, call: u64) -> u32 {
    let mut events = Box::pin(engine.events(id, 0).await.unwrap());
    while let Some(event) = events.next().await {
        if let EventKind::Call(event) = event.kind
            && event.call == call
            && event.state == CallState::Started
        {
            return event.pid.unwrap();
        }
    }
    panic!("call {call} never started");
}

/// The processes of the calls that start first.
async fn first_started(engine: &Engine, id: &JobId, count: usize) -> Vec<u32> {
    let events = engine.events(id, 0).await.unwrap();
    let started = events.filter_map(async |event| match event.kind {
        EventKind::Call(event) if event.state == CallState::Started => event.pid,
        _ => None,
    });
    started.take(count).collect().await
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/stat")).exists()
}

async fn gone(pid: u32) {
    let until = Instant::now() + Duration::from_secs(5);
    while alive(pid) {
        assert!(Instant::now() < until, "process {pid} still lives");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_failed_call_is_tried_again_and_says_why() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let count = folder.path().join("count");
    let mut wanted = probes(3, ProbeArguments { count: Some(count.clone()), ..ProbeArguments::default() });
    wanted[1].fail_times = 2;
    let view = run(&engine, ProbesArguments { probes: wanted, retries: 2, ..ProbesArguments::default() }).await;
    assert_eq!(results(&view).len(), 3);
    assert_eq!(runs(&count), [(0, 1), (1, 3), (2, 1)].into());
    let errors: Vec<_> = view.calls[1].attempts.iter().map(|attempt| attempt.error.as_ref().map(|error| error.cause)).collect();
    assert_eq!(errors, [Some(Cause::Failed), Some(Cause::Failed), None]);
    assert_eq!(view.stages[0].retries, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanent_errors_panics_and_exhausted_retries_fail_the_job() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let count = folder.path().join("count");
    let probe = ProbeArguments { count: Some(count.clone()), fail_times: 9, ..ProbeArguments::default() };

    let permanent = one(ProbeArguments { n: 1, permanent: true, ..probe.clone() });
    let view = run(&engine, ProbesArguments { probes: permanent, retries: 5, ..ProbesArguments::default() }).await;
    assert_eq!(only_error(&view), (Cause::Failed, "probe 1 failed as told".into()));
    let transient = one(ProbeArguments { n: 2, ..probe });
    run(&engine, ProbesArguments { probes: transient, retries: 2, ..ProbesArguments::default() }).await;
    assert_eq!(runs(&count), [(1, 1), (2, 3)].into());

    let panics = one(ProbeArguments { n: 3, panic: true, ..ProbeArguments::default() });
    let view = run(&engine, ProbesArguments { probes: panics, ..ProbesArguments::default() }).await;
    let (cause, message) = only_error(&view);
    assert!(cause == Cause::Exception && message.contains("probe 3 panicked as told"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_costs_one_attempt_of_its_call_only() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let count = folder.path().join("count");
    let probe =
        ProbeArguments { count: Some(count.clone()), publish: Some("n".into()), sleep_ms: 300, ..ProbeArguments::default() };
    let id = submit(&engine, ProbesArguments { probes: probes(4, probe), retries: 1, ..ProbesArguments::default() }).await;
    let pid = started(&engine, &id, 1).await;
    while !runs(&count).contains_key(&1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    neardata_functions::system::kill(pid);
    let view = engine.wait(&id).await.unwrap();
    assert_eq!(results(&view).len(), 4);
    assert_eq!(runs(&count), [(0, 1), (1, 2), (2, 1), (3, 1)].into());
    let lost = view.calls[1].attempts[0].error.as_ref().unwrap();
    assert!(lost.cause == Cause::Killed && lost.message.contains("signal 9 (SIGKILL)"), "{}", lost.message);
    assert_eq!(view.calls[1].attempts[0].pid, Some(pid));

    // What the killed attempt published is swept; every call has the outputs of one attempt.
    let data = folder.path().join("results/data");
    for key in std::fs::read_dir(data).unwrap() {
        assert_eq!(files_below(&key.unwrap().path()), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_crashes_its_worker_names_the_signal() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let crash =
        one(ProbeArguments { signal: Some(6), fail_times: 9, count: Some(folder.path().join("count")), ..Default::default() });
    let view = run(&engine, ProbesArguments { probes: crash, ..ProbesArguments::default() }).await;
    let (cause, message) = only_error(&view);
    assert!(cause == Cause::Killed && message.contains("SIGABRT"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_and_memory_limits_hold_and_say_so() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let begun = Instant::now();
    let slow = one(ProbeArguments { sleep_ms: 20_000, deaf: true, ..ProbeArguments::default() });
    let view = run(&engine, ProbesArguments { probes: slow, time_ms: Some(200), ..ProbesArguments::default() }).await;
    assert_eq!(only_error(&view).0, Cause::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5));

    let large = one(ProbeArguments { allocate: 300 << 20, ..ProbeArguments::default() });
    let limited = ProbesArguments { probes: large.clone(), memory: Some(150 << 20), ..ProbesArguments::default() };
    let (cause, message) = only_error(&run(&engine, limited).await);
    assert!(cause == Cause::Memory && message.contains("limit of 157.3 MB"), "{message}");
    let enough = ProbesArguments { probes: large, memory: Some(600 << 20), ..ProbesArguments::default() };
    let view = run(&engine, enough).await;
    results(&view);
    assert!(view.calls[0].figures.as_ref().unwrap().peak_rss > 300 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_kills_at_once_with_children_and_leaves_nothing() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let probe = ProbeArguments { child_ms: 60_000, publish: Some("n".into()), ..ProbeArguments::default() };
    let id = submit(&engine, ProbesArguments { probes: probes(4, probe), retries: 3, ..ProbesArguments::default() }).await;
    let pids = first_started(&engine, &id, 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let children: Vec<u32> = pids.iter().flat_map(|pid| children_of(*pid)).collect();
    assert_eq!(children.len(), 2);
    let begun = Instant::now();
    engine.cancel(&id).await.unwrap();
    let view = engine.wait(&id).await.unwrap();
    println!("cancelled within {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(view.summary.state, JobState::Cancelled);
    assert!(view.calls.iter().all(|call| call.state == CallState::Cancelled), "{:#?}", view.calls);
    for pid in pids.into_iter().chain(children) {
        gone(pid).await;
    }
    assert_eq!(std::fs::read_dir(folder.path().join("engine/scratch")).unwrap().count(), 0);
    assert!(!folder.path().join("results/data").exists() || files_below(&folder.path().join("results/data")) == 0);
    // The engine goes on.
    let again = ProbesArguments { probes: probes(2, ProbeArguments::default()), ..ProbesArguments::default() };
    results(&run(&engine, again).await);
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()).collect()
}

pub(crate) fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_group_is_one_process_and_survives_one_slow_call() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 3).await;
    let wanted = probes(6, ProbeArguments { sleep_ms: 50, ..ProbeArguments::default() });
    let view = run(&engine, ProbesArguments { probes: wanted, shared: true, ..ProbesArguments::default() }).await;
    let pids: std::collections::BTreeSet<_> = results(&view).iter().map(|result| result["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 1);

    // One call of three runs too long and notices: the others are not disturbed.
    let count = folder.path().join("count");
    let mut wanted = probes(3, ProbeArguments { n: 0, count: Some(count.clone()), sleep_ms: 150, ..ProbeArguments::default() });
    wanted[1].sleep_ms = 20_000;
    let arguments = ProbesArguments {
        probes: wanted.clone(),
        shared: true,
        time_ms: Some(250),
        tolerate: true,
        ..ProbesArguments::default()
    };
    let view = run(&engine, arguments).await;
    let told = results(&view);
    assert_eq!(told[1]["cause"], "timeout");
    assert!(told[0]["n"] == 0 && told[2]["n"] == 2);
    assert_eq!(runs(&count), [(0, 1), (1, 1), (2, 1)].into());

    // One that does not notice is killed with the process: then the others run again, without it costing them a retry.
    wanted[1].deaf = true;
    wanted[0].sleep_ms = 900;
    wanted[2].sleep_ms = 900;
    let id = engine
        .submit(request(&ProbesArguments {
            probes: wanted,
            shared: true,
            time_ms: Some(2_000),
            tolerate: true,
            ..Default::default()
        }))
        .await
        .unwrap();
    let view = engine.wait(&id).await.unwrap();
    let told = results(&view);
    assert!(told[1]["cause"] == "timeout" && told[0]["n"] == 0 && told[2]["n"] == 2, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_of_the_job_holds_for_calls_that_never_started() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 1).await;
    let wanted = probes(3, ProbeArguments { sleep_ms: 20_000, ..ProbeArguments::default() });
    let mut job = request(&ProbesArguments { probes: wanted, ..ProbesArguments::default() });
    job.deadline = Some(Duration::from_millis(300));
    let id = engine.submit(job).await.unwrap();
    let begun = Instant::now();
    let view = engine.wait(&id).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!((view.summary.state, view.error.unwrap().cause), (JobState::Failed, Cause::Timeout));
    assert!(view.calls.iter().all(|call| call.state == CallState::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_workers_fairly() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let probe = ProbeArguments { sleep_ms: 100, ..ProbeArguments::default() };
    let long = submit(&engine, ProbesArguments { probes: probes(40, probe.clone()), ..ProbesArguments::default() }).await;
    started(&engine, &long, 3).await;
    let mut short: Vec<_> = probes(3, probe);
    short.iter_mut().for_each(|probe| probe.n += 1000);
    let begun = Instant::now();
    let short = run(&engine, ProbesArguments { probes: short, ..ProbesArguments::default() }).await;
    results(&short);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    let long_view = engine.job(&long).await.unwrap();
    assert_eq!(long_view.summary.state, JobState::Running);
    engine.cancel(&long).await.unwrap();
    engine.wait(&long).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_calls_in_flight_are_one() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let count = folder.path().join("count");
    let probe = ProbeArguments { count: Some(count.clone()), sleep_ms: 100, ..ProbeArguments::default() };
    let view = run(&engine, ProbesArguments { probes: vec![probe; 5], ..ProbesArguments::default() }).await;
    assert_eq!(results(&view).len(), 5);
    assert_eq!(view.calls.len(), 1);
    assert_eq!(runs(&count), [(0, 1)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_falls_silent_is_lost_and_its_call_runs_again() {
    let folder = tempdir().unwrap();
    let mut options = options(folder.path(), 1);
    options.tuning.heartbeat_timeout = Duration::from_millis(1500);
    let engine = Engine::start(options).await.unwrap();
    let count = folder.path().join("count");
    let probe = ProbeArguments { count: Some(count.clone()), sleep_ms: 2500, ..ProbeArguments::default() };
    let id = submit(&engine, ProbesArguments { probes: one(probe), retries: 1, ..ProbesArguments::default() }).await;
    let pid = started(&engine, &id, 0).await;
    std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    let view = engine.wait(&id).await.unwrap();
    results(&view);
    let lost = view.calls[0].attempts[0].error.as_ref().unwrap();
    assert!(lost.cause == Cause::Lost && lost.message.contains("heartbeat"), "{}", lost.message);
    assert_eq!(view.calls[0].attempts.len(), 2);
    gone(pid).await;
}

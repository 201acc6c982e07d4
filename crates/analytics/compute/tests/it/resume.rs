//! An engine that is killed, and the one after it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use neardata_compute::conformance::{ProbeArguments, ProbesArguments};
use neardata_compute::{Engine, JobState};
use tempfile::tempdir;

use crate::faults::files_below;
use crate::support::{engine, options, probes, request, results, run, runs, this_binary};

const ENV_FOLDER: &str = "NEARDATA_TEST_ENGINE_FOLDER";

fn wanted(folder: &Path) -> ProbesArguments {
    let probe =
        ProbeArguments { count: Some(folder.join("count")), publish: Some("n".into()), sleep_ms: 60, ..Default::default() };
    ProbesArguments { probes: probes(12, probe), retries: 1, ..ProbesArguments::default() }
}

/// The engine that will be killed: a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_entry() {
    let Some(folder) = std::env::var_os(ENV_FOLDER).map(PathBuf::from) else { return };
    let engine = engine(&folder, 2).await;
    let id = engine.submit(request(&wanted(&folder))).await.unwrap();
    engine.wait(&id).await.unwrap();
}

fn owner(folder: &Path) -> Child {
    let command = this_binary("resume::engine_entry");
    Command::new(&command[0]).args(&command[1..]).env(ENV_FOLDER, folder).spawn().unwrap()
}

fn wait_for_runs(folder: &Path, count: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    while runs(&folder.join("count")).len() < count {
        assert!(Instant::now() < until, "the engine made no progress");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The workers of a killed engine end by themselves within two seconds.
fn workers_are_gone(count: &Path) {
    let text = std::fs::read_to_string(count).unwrap();
    let pids: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let until = Instant::now() + Duration::from_secs(2);
    while pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        assert!(Instant::now() < until, "workers outlive their engine");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn records(folder: &Path) -> usize {
    let shards = std::fs::read_dir(folder.join("results/calls")).into_iter().flatten();
    let entries = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    // A record being written when its engine was killed is none.
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".json")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_of_the_engine_nothing_finished_is_repeated() {
    let folder = tempdir().unwrap();
    let mut owner = owner(folder.path());
    wait_for_runs(folder.path(), 6);
    owner.kill().unwrap();
    owner.wait().unwrap();
    workers_are_gone(&folder.path().join("count"));
    let finished = records(folder.path());
    let started: usize = runs(&folder.path().join("count")).values().sum();
    assert!((1..12).contains(&finished), "{finished} of {started}");

    let engine = engine(folder.path(), 2).await;
    let ids = engine.resume_unfinished().await.unwrap();
    assert_eq!(ids.len(), 1);
    let view = engine.wait(&ids[0]).await.unwrap();
    assert_eq!(results(&view).len(), 12);
    assert_eq!(view.calls.len(), 12);
    let total: usize = runs(&folder.path().join("count")).values().sum();
    assert_eq!(total - started, 12 - finished, "finished calls ran again");
    assert_eq!(view.calls.iter().filter(|call| call.figures.is_some()).count(), 12);
    // What the killed attempts published is gone.
    for key in std::fs::read_dir(folder.path().join("results/data")).unwrap() {
        assert_eq!(files_below(&key.unwrap().path()), 1);
    }
    assert_eq!(engine.jobs().await.unwrap()[0].state, JobState::Done);

    // Another engine with another folder finds the results too.
    let other = tempdir().unwrap();
    let mut options = options(folder.path(), 1);
    options.folder = other.path().join("engine");
    let other = Engine::start(options).await.unwrap();
    results(&run(&other, wanted(folder.path())).await);
    assert_eq!(runs(&folder.path().join("count")).values().sum::<usize>(), total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_one_engine_and_a_stopped_job_waits_there() {
    let folder = tempdir().unwrap();
    let first = engine(folder.path(), 2).await;
    let probe = ProbeArguments { sleep_ms: 400, ..ProbeArguments::default() };
    let id = first.submit(request(&ProbesArguments { probes: probes(6, probe), ..ProbesArguments::default() })).await.unwrap();
    let refused = Engine::start(options(folder.path(), 1)).await.err().unwrap().to_string();
    assert!(refused.contains("in use by process"), "{refused}");
    first.shutdown().await;
    drop(first);
    let second = engine(folder.path(), 2).await;
    assert_eq!(second.job(&id).await.unwrap().summary.state, JobState::Interrupted);
    assert_eq!(second.resume_unfinished().await.unwrap(), std::slice::from_ref(&id));
    results(&second.wait(&id).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_unfinished_jobs_with_one_output_the_first_is_resumed() {
    let folder = tempdir().unwrap();
    let probe = ProbeArguments { sleep_ms: 60_000, ..ProbeArguments::default() };
    let mut wanted = request(&ProbesArguments { probes: probes(1, probe), ..ProbesArguments::default() });
    wanted.arguments["output"] = "s3://b/run".into();
    let mut ids = Vec::new();
    for _life in 0..2 {
        let engine = engine(folder.path(), 1).await;
        ids.push(engine.submit(wanted.clone()).await.unwrap());
        engine.shutdown().await;
    }
    let engine = engine(folder.path(), 1).await;
    assert_eq!(engine.resume_unfinished().await.unwrap(), ids[..1]);
    assert_eq!(engine.job(&ids[1]).await.unwrap().summary.state, JobState::Interrupted);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_call_whose_output_is_gone_or_changed_runs_again() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let count = folder.path().join("count");
    let probe = ProbeArguments { count: Some(count.clone()), publish: Some("n".into()), ..ProbeArguments::default() };
    let arguments = ProbesArguments { probes: probes(4, probe), ..ProbesArguments::default() };
    results(&run(&engine, arguments.clone()).await);
    assert_eq!(runs(&count), [(0, 1), (1, 1), (2, 1), (3, 1)].into());

    let data = folder.path().join("results/data");
    let output = |wanted: &str| {
        let attempts = std::fs::read_dir(&data).unwrap().flat_map(|key| std::fs::read_dir(key.unwrap().path()).unwrap());
        let outputs = attempts.map(|attempt| attempt.unwrap().path().join("n"));
        outputs.into_iter().find(|path| std::fs::read_to_string(path).is_ok_and(|text| text == wanted)).unwrap()
    };
    std::fs::remove_file(output("1")).unwrap();
    std::fs::write(output("2"), "cut and grown").unwrap();
    results(&run(&engine, arguments.clone()).await);
    assert_eq!(runs(&count), [(0, 1), (1, 2), (2, 2), (3, 1)].into());
    // What was lost is there again, once, and is reused.
    for n in ["0", "1", "2", "3"] {
        output(n);
    }
    assert_eq!(files_below(&data), 4);
    results(&run(&engine, arguments).await);
    assert_eq!(runs(&count).values().sum::<usize>(), 6);
}

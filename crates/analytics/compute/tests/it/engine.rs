use neardata_compute::conformance::{ProbeArguments, ProbesArguments};
use neardata_compute::{CallState, JobState};
use tempfile::tempdir;

use crate::support::{engine, probes, results, run, runs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_in_order_and_are_reused() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let count = folder.path().join("count");
    let probe = ProbeArguments { count: Some(count.clone()), publish: Some("n.txt".into()), ..ProbeArguments::default() };
    let arguments = ProbesArguments { probes: probes(5, probe), ..ProbesArguments::default() };

    let first = run(&engine, arguments.clone()).await;
    let numbers: Vec<_> = results(&first).iter().map(|result| result["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert!(first.calls.iter().all(|call| call.state == CallState::Done && !call.reused && call.attempts.len() == 1));
    assert!(first.calls.iter().all(|call| call.figures.as_ref().unwrap().bytes_written == 1));

    let second = run(&engine, arguments).await;
    assert_eq!(results(&second), results(&first));
    assert!(second.calls.iter().all(|call| call.state == CallState::Reused && call.reused));
    assert!(runs(&count).values().all(|runs| *runs == 1));
    assert_eq!(engine.jobs().await.unwrap().len(), 2);
    assert_eq!(second.summary.state, JobState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_workers_conform() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let counts = folder.path().join("counts");
    std::fs::create_dir(&counts).unwrap();
    neardata_compute::conformance::run_all(&engine, &counts).await.unwrap();
}

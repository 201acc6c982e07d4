use neardata_compute::conformance::{ProbeArguments, ProbesArguments};
use neardata_compute::{CallState, JobId, JobRequest, JobState};
use tempfile::tempdir;

use crate::support::{engine, probes, request, results, run, runs};

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
async fn two_running_jobs_do_not_share_an_output() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let to = |output: &str, sleep_ms: u64| {
        let probe = ProbeArguments { sleep_ms, ..ProbeArguments::default() };
        let mut request = request(&ProbesArguments { probes: probes(1, probe), ..ProbesArguments::default() });
        request.arguments["output"] = output.into();
        request
    };
    let slow = engine.submit(to("s3://b/run", 60_000)).await.unwrap();
    let refused = engine.submit(to("s3://b/run/", 0)).await.unwrap_err().to_string();
    for part in [&slow.to_string(), "s3://b/run", "jobs cancel", "another output"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert_eq!(engine.jobs().await.unwrap().len(), 1, "a refused job leaves no trace");
    let other = engine.submit(to("s3://b/running", 0)).await.unwrap();
    results(&engine.wait(&other).await.unwrap());

    // It is free again as soon as the job is over.
    engine.cancel(&slow).await.unwrap();
    engine.wait(&slow).await.unwrap();
    let next = engine.submit(to("s3://b/run/", 60_000)).await.unwrap();
    let resume = |id: &JobId| JobRequest { resume: Some(id.clone()), ..JobRequest::default() };
    let refused = engine.submit(resume(&slow)).await.unwrap_err().to_string();
    assert!(refused.contains(&next.to_string()), "{refused}");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_workers_conform() {
    let folder = tempdir().unwrap();
    let engine = engine(folder.path(), 2).await;
    let counts = folder.path().join("counts");
    std::fs::create_dir(&counts).unwrap();
    neardata_compute::conformance::run_all(&engine, &counts).await.unwrap();
}

//! `neardata jobs` and `neardata cache gc`.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Platform, fail, neardata, run, run_variants, small, succeed, text};

fn submit(platform: &Platform) -> String {
    let small = small();
    platform.upload("lab", &[(&small.mate(1), "r1.fastq.gz"), (&small.mate(2), "r2.fastq.gz"), (&small.reference(), "ref.fa")]);
    let arguments = "--json run variants --detach --ploidy 1 --reads s3://lab/r1.fastq.gz --reads2 s3://lab/r2.fastq.gz \
                     --reference s3://lab/ref.fa --output s3://lab/out --slices 8 --regions 4";
    let said: Value = serde_json::from_slice(&succeed(platform.neardata().args(arguments.split_whitespace()))).unwrap();
    said["job"].as_str().unwrap().to_owned()
}

fn state(platform: &Platform, job: &str) -> String {
    let shown: Value = serde_json::from_slice(&succeed(platform.neardata().args(["--json", "jobs", "show", job]))).unwrap();
    shown["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_detached_job_is_listed_shown_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let job = submit(&platform);
    let started = std::time::Instant::now();
    while state(&platform, &job) == "running" {
        assert!(started.elapsed().as_secs() < 120);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(state(&platform, &job), "done");
    let listed = text(succeed(platform.neardata().args(["jobs", "list"])));
    assert!(listed.contains(&job) && listed.contains("variants") && listed.contains("done"), "{listed}");
    let report = text(succeed(platform.neardata().args(["jobs", "report", &job])));
    assert!(report.contains("s3://lab/out/report.html"), "{report}");
    succeed(platform.neardata().args(["jobs", "logs", &job]));
    let error = fail(platform.neardata().args(["jobs", "show", "nonsense"]), 1);
    assert!(error.contains("nonsense"), "{error}");

    let freed = text(succeed(platform.neardata().args(["cache", "gc", "--older-than", "0s"])));
    assert!(freed.contains("removed") && !freed.contains("neardata-results): 0 objects"), "{freed}");
}

#[test]
fn a_cancelled_job_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start_with(folder.path(), |up| {
        up.env("NEARDATA_TEST_LINGER_MS", "3000");
    });
    let job = submit(&platform);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let started = std::time::Instant::now();
    succeed(platform.neardata().args(["jobs", "cancel", &job]));
    while state(&platform, &job) == "running" {
        assert!(started.elapsed().as_secs() < 10, "a cancelled job went on");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(state(&platform, &job), "cancelled");
}

#[test]
fn without_a_platform_the_remedy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = fail(neardata(folder.path()).args(["jobs", "list"]), 4);
    assert!(error.contains("neardata up") && error.contains("neardata env"), "{error}");
}

#[test]
fn what_a_running_job_may_need_is_not_swept() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start_with(folder.path(), |up| {
        up.env("NEARDATA_TEST_LINGER_MS", "1000");
    });
    let job = submit(&platform);
    let gc = || run(platform.neardata().args(["cache", "gc", "--older-than", "0s"]));
    let swept = gc();
    assert_eq!(state(&platform, &job), "running", "the job was too quick for this test");
    let (said, noted) = (text(swept.stdout), text(swept.stderr));
    assert!(swept.status.success() && noted.contains("a job is running"), "{noted}");
    assert!(!said.contains("neardata-results"), "{said}");
    succeed(platform.neardata().args(["jobs", "cancel", &job]));
    while state(&platform, &job) == "running" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let said = text(gc().stdout);
    assert!(said.contains("neardata-results"), "{said}");

    let output = folder.path().join("out");
    let mut private = run_variants(folder.path(), &output, &["--slices", "2", "--regions", "2"]);
    let mut private = private.env("NEARDATA_TEST_LINGER_MS", "1000").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lock = output.join(".neardata/engine/lock");
    while !(lock.exists() && std::fs::read_dir(output.join(".neardata/calls")).is_ok_and(|found| found.count() > 0)) {
        assert!(private.try_wait().unwrap().is_none(), "the run ended before it could be looked at");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let error = fail(neardata(folder.path()).args(["cache", "gc", "--older-than", "0s"]).arg(&output), 4);
    assert!(error.contains("under way") && error.contains(lock.to_str().unwrap()), "{error}");
    assert!(private.wait().unwrap().success(), "a run lost what it needed");
    let said = text(succeed(neardata(folder.path()).args(["cache", "gc", "--older-than", "0s"]).arg(&output)));
    assert!(said.contains(output.to_str().unwrap()), "{said}");
    assert!(output.join("calls.vcf.gz").exists(), "results are never swept");
}

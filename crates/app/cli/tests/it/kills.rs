//! `kill -9` of the worker of a running call in every stage, and of whatever owns the scheduler; then the same result, and finished
//! calls not repeated: a counting wrapper on PATH sees commands, `jobs show` and the manifest see native calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Platform, manifest, neardata, run_variants, send, small, succeed};

const SHAPE: &[&str] = &["--slices", "6", "--regions", "14", "--workers", "2"];

/// The digest every run must have, from one quiet private run.
fn expected() -> &'static Vec<u8> {
    static EXPECTED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    EXPECTED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        succeed(&mut run_variants(folder.path(), &folder.path().join("out"), SHAPE));
        std::fs::read(folder.path().join("out/calls.vcf.gz")).unwrap()
    })
}

/// A `bcftools` that notes each `call` it is asked for and takes its time, so that there is something to kill.
fn slow_bcftools(folder: &Path) -> (PathBuf, PathBuf) {
    let bin = folder.join("bin");
    let counter = folder.join("bcftools-calls");
    std::fs::create_dir_all(&bin).unwrap();
    let real = String::from_utf8(succeed(std::process::Command::new("sh").args(["-c", "command -v bcftools"]))).unwrap();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = call ]; then sleep 0.3; \"{real}\" \"$@\"; status=$?; [ $status = 0 ] && echo done >> '{counter}'; exit $status; fi\nexec \"{real}\" \"$@\"\n",
        real = real.trim(),
        counter = counter.display()
    );
    std::fs::write(bin.join("bcftools"), script).unwrap();
    std::fs::set_permissions(bin.join("bcftools"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    (bin, counter)
}

fn path_with(bin: &Path) -> String {
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn platform_run(platform: &Platform, bin: &Path) -> Child {
    let small = small();
    platform.upload("lab", &[(&small.mate(1), "r1.fastq.gz"), (&small.mate(2), "r2.fastq.gz"), (&small.reference(), "ref.fa")]);
    let mut command = platform.neardata();
    command.args(["run", "variants", "--ploidy", "1", "--sample", "K12", "--reads", "s3://lab/r1.fastq.gz"]);
    command.args(["--reads2", "s3://lab/r2.fastq.gz", "--reference", "s3://lab/ref.fa", "--output", "s3://lab/out"]);
    command.args(&SHAPE[..4]).env("PATH", path_with(bin)).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn job(platform: &Platform) -> Option<Value> {
    let listed = crate::harness::text(succeed(platform.neardata().args(["--json", "jobs", "list"])));
    let first: Value = serde_json::from_str(listed.lines().next()?).unwrap();
    let shown = succeed(platform.neardata().args(["--json", "jobs", "show", first["id"].as_str().unwrap()]));
    Some(serde_json::from_slice(&shown).unwrap())
}

/// Kills the worker of the first running call of `stage` that is seen; gives its pid.
fn kill_a_worker(platform: &Platform, stage: &str, run: &mut Child) -> u32 {
    let started = Instant::now();
    loop {
        if let Some(job) = job(platform) {
            for call in job["calls"].as_array().unwrap() {
                if call["stage"] == stage && call["state"] == "started" {
                    let pid = call["attempts"].as_array().unwrap().last().unwrap()["pid"].as_u64().unwrap() as u32;
                    send("KILL", pid);
                    return pid;
                }
            }
            assert_eq!(job["state"], "running", "the job ended before a call of `{stage}` was seen running");
        }
        assert!(started.elapsed() < Duration::from_secs(60), "no running call of `{stage}` was seen");
        assert!(run.try_wait().unwrap().is_none() || job(platform).is_some());
    }
}

#[test]
fn a_killed_worker_costs_its_own_calls_only() {
    for stage in ["index", "align", "call", "merge"] {
        let folder = tempfile::tempdir().unwrap();
        let (bin, counter) = slow_bcftools(folder.path());
        // Every native call of the pipeline lingers, so that each stage can be hit while it runs.
        let platform = Platform::start_with(folder.path(), |up| {
            up.env("PATH", path_with(&bin)).env("NEARDATA_TEST_LINGER_MS", "400");
        });
        let mut run = platform_run(&platform, &bin);
        let pid = kill_a_worker(&platform, stage, &mut run);
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "after a kill in {stage}: {}", String::from_utf8_lossy(&output.stderr));
        let job = job(&platform).unwrap();
        let mut retried = 0;
        for call in job["calls"].as_array().unwrap() {
            assert_eq!(call["state"], "done", "{call}");
            let attempts = call["attempts"].as_array().unwrap();
            for attempt in attempts.iter().filter(|attempt| !attempt["error"].is_null()) {
                let error = attempt["error"].to_string();
                if attempt["started"].is_null() {
                    // Handed to the worker, which died before it began.
                    let before = error.contains(&format!("worker {pid} ")) || error.contains("before the call began");
                    assert!(before, "a call failed that was not with the killed worker: {call}");
                    continue;
                }
                assert_eq!(
                    attempt["pid"].as_u64().unwrap() as u32,
                    pid,
                    "a call failed that did not run on the killed worker: {call}"
                );
                assert_eq!(attempt["error"]["cause"], "killed", "{attempt}");
            }
            retried += attempts.len() - 1;
        }
        assert!(retried >= 1, "nothing was tried again after a kill in {stage}");
        let calls_of = |stage: &str| job["calls"].as_array().unwrap().iter().filter(|call| call["stage"] == stage).count();
        assert_eq!(lines(&counter), calls_of("call"), "bcftools ran to its end more than once a call");
        let vcf = succeed(
            std::process::Command::new("rclone")
                .args(["cat", "nd:lab/out/calls.vcf.gz"])
                .envs(rclone(&platform))
                .env_remove("AWS_CA_BUNDLE"),
        );
        assert!(vcf == *expected(), "another result after a kill in {stage}");
    }
}

fn rclone(platform: &Platform) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = platform.variables.iter().cloned().collect();
    for (name, value) in
        [("TYPE", "s3"), ("PROVIDER", "Other"), ("ENV_AUTH", "true"), ("ENDPOINT", platform.variable("AWS_ENDPOINT_URL"))]
    {
        variables.insert(format!("RCLONE_CONFIG_ND_{name}"), value.to_owned());
    }
    variables.insert("RCLONE_CONFIG".to_owned(), "/dev/null".to_owned());
    variables
}

#[test]
fn a_killed_platform_resumes_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (bin, counter) = slow_bcftools(folder.path());
    let path = path_with(&bin);
    let mut platform = Platform::start_with(folder.path(), |up| {
        up.env("PATH", &path);
    });
    let mut run = platform_run(&platform, &bin);
    wait_for_lines(&counter, 6);
    let finished = finished_calls(&job(&platform).unwrap());
    assert!(finished.len() >= 6 + 6, "only {finished:?} were finished before the kill");
    platform.signal("KILL");
    platform.wait();
    let before = lines(&counter);
    let _client = (run.kill(), run.wait());
    drop(platform);

    let platform = Platform::start_with(folder.path(), |up| {
        up.env("PATH", &path);
    });
    let started = Instant::now();
    let job = loop {
        if let Some(job) = job(&platform).filter(|job| job["state"] != "running") {
            break job;
        }
        let log = || platform.log.lock().unwrap().clone();
        assert!(started.elapsed() < Duration::from_secs(120), "the job was not resumed: {:?}\n{}", job(&platform), log());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(job["state"], "done", "{}", job["error"]);
    let regions = job["calls"].as_array().unwrap().iter().filter(|call| call["stage"] == "call").count();
    // A call whose tool had ended but whose record was not committed when the platform died is run again: with two workers, at most two.
    assert!(
        regions >= 12 && before >= 6 && lines(&counter) <= regions + 2,
        "{} of {regions} calls, {before} before the kill",
        lines(&counter)
    );
    // What `jobs show` called finished before the kill was not started again.
    for (key, attempts, started) in finished {
        let again = job["calls"].as_array().unwrap().iter().find(|call| call["key"] == key).unwrap();
        assert_eq!(again["attempts"].as_array().unwrap().len(), attempts, "a finished call was repeated: {again}");
        assert_eq!(again["attempts"][attempts - 1]["started"], started, "a finished call was started again: {again}");
    }
    let vcf = succeed(
        std::process::Command::new("rclone")
            .args(["cat", "nd:lab/out/calls.vcf.gz"])
            .envs(rclone(&platform))
            .env_remove("AWS_CA_BUNDLE"),
    );
    assert!(vcf == *expected());
}

#[test]
fn a_killed_private_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (bin, counter) = slow_bcftools(folder.path());
    let output = folder.path().join("out");
    let command = || {
        let mut command = run_variants(folder.path(), &output, SHAPE);
        command.env("PATH", path_with(&bin)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut first = command().spawn().unwrap();
    wait_for_lines(&counter, 6);
    send("KILL", first.id());
    first.wait().unwrap();
    std::thread::sleep(Duration::from_secs(3)); // orphans end within two seconds
    let before = lines(&counter);
    succeed(&mut command());
    let manifest = manifest(&output);
    let calls: Vec<&Value> = manifest["calls"].as_array().unwrap().iter().collect();
    let reused = calls.iter().filter(|call| call["attempts"] == 0).count();
    let aligned = calls.iter().filter(|call| call["stage"] == "align");
    assert!(
        aligned.clone().count() == 6 && aligned.clone().all(|call| call["attempts"] == 0),
        "alignments were repeated: {aligned:?}"
    );
    let regions = calls.iter().filter(|call| call["stage"] == "call").count();
    assert!(
        reused >= 6 + 3 + before.saturating_sub(2) && lines(&counter) <= regions + 2,
        "{reused} reused, {} tool runs for {regions} regions",
        lines(&counter)
    );
    assert!(std::fs::read(output.join("calls.vcf.gz")).unwrap() == *expected());
    // Once finished, the same command repeats nothing at all.
    let tool_runs = lines(&counter);
    succeed(&mut command());
    assert_eq!(lines(&counter), tool_runs);
    let _quiet = neardata(folder.path());
}

/// Key, number of attempts and start of the last one, of every call that is done.
fn finished_calls(job: &Value) -> Vec<(Value, usize, Value)> {
    let done = job["calls"].as_array().unwrap().iter().filter(|call| call["state"] == "done");
    let facts = done.map(|call| {
        let attempts = call["attempts"].as_array().unwrap();
        (call["key"].clone(), attempts.len(), attempts.last().unwrap()["started"].clone())
    });
    facts.collect()
}

fn wait_for_lines(path: &Path, count: usize) {
    let started = Instant::now();
    while lines(path) < count {
        assert!(started.elapsed() < Duration::from_secs(60), "{} did not grow", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

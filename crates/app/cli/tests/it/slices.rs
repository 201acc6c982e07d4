//! `neardata slice`, `read` and `index`, with pipes, on paths, HTTP and S3.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Platform, fail, neardata, run, small, succeed, text};

#[test]
fn slices_of_a_local_gzip_concatenate_to_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let reads = small().mate(1);
    let whole = succeed(Command::new("gzip").arg("-dc").arg(&reads));
    for choice in [["--n", "7"], ["--bytes", "300K"], ["--records", "1000"], ["--n", "100000"]] {
        let slices = succeed(neardata(folder.path()).arg("slice").arg(&reads).args(choice));
        let mut reader = neardata(folder.path()).arg("read").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = reader.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&slices));
        let output = reader.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        assert!(output.stdout == whole, "{choice:?}: {} bytes, not {}", output.stdout.len(), whole.len());
    }
}

#[test]
fn mates_are_cut_at_the_same_read() {
    let folder = tempfile::tempdir().unwrap();
    let lines = text(succeed(
        neardata(folder.path()).arg("slice").arg(small().mate(1)).arg("--mate2").arg(small().mate(2)).args(["--n", "5"]),
    ));
    assert_eq!(lines.lines().count(), 5);
    for line in lines.lines() {
        let names = |object: &str| -> Vec<String> {
            let bytes = text(succeed(neardata(folder.path()).args(["read", "--object", object, line])));
            bytes.lines().step_by(4).map(|name| name.trim_end_matches(['1', '2']).to_owned()).collect()
        };
        let (first, second) = (names("0"), names("1"));
        assert!(!first.is_empty());
        assert_eq!(first, second);
    }
}

#[test]
fn an_s3_object_is_sliced_without_being_fetched_whole() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    platform.upload("lab", &[(&small().mate(1), "reads one.fastq.gz")]);
    let lines = text(succeed(platform.neardata().args(["slice", "s3://lab/reads one.fastq.gz", "--n", "4"])));
    let slices: Vec<&str> = lines.lines().collect();
    assert_eq!(slices.len(), 4);
    let key = platform.variable("AWS_SECRET_ACCESS_KEY");
    assert!(slices.iter().all(|slice| !slice.contains(key)), "a slice carries a credential");
    let whole = succeed(Command::new("gzip").arg("-dc").arg(small().mate(1)));
    assert!(succeed(platform.neardata().arg("read").args(&slices)) == whole);
    let index = text(succeed(platform.neardata().args(["--json", "index", "s3://lab/reads one.fastq.gz"])));
    assert!(index.contains("\"built\":false"), "the index was not reused: {index}");
    assert!(index.contains("s3://neardata-index/"), "the side-car is not in the platform's bucket: {index}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let slice = text(succeed(neardata(folder.path()).arg("slice").arg(small().mate(1)).args(["--n", "1"])));
    let mut child =
        neardata(folder.path()).args(["read", slice.trim()]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(output.stderr), "");
}

#[test]
fn what_is_no_slice_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = fail(neardata(folder.path()).args(["read", "{\"v\":99}"]), 2);
    assert!(error.contains("argument 1"), "{error}");
    let changed = folder.path().join("changing.txt");
    std::fs::write(&changed, "one\ntwo\nthree\n").unwrap();
    let slice = text(succeed(neardata(folder.path()).arg("slice").arg(&changed).args(["--n", "1"])));
    std::fs::write(&changed, "something else altogether\n").unwrap();
    let error = fail(neardata(folder.path()).args(["read", slice.trim()]), 1);
    assert!(error.contains("changed") && error.contains("changing.txt"), "{error}");
    assert!(run(neardata(folder.path()).args(["slice", "--help"])).status.success());
}

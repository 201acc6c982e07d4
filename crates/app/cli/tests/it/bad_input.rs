//! Bad input gets a clear error that names the file, the place and the remedy, and leaves nothing half-written.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{fail, neardata, run_variants, small, succeed, text};

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

fn fastq(records: usize, newline: &str) -> String {
    (0..records).map(|i| format!("@read{i}{newline}ACGTACGTAC{newline}+{newline}IIIIIIIIII{newline}")).collect()
}

/// Runs the pipeline on these inputs; it must fail with all these words and leave no result.
fn pipeline_fails(folder: &Path, flags: &[&str], inputs: [&Path; 3], words: &[&str]) {
    let output = folder.join("out-of-a-failure");
    let mut command = neardata(folder);
    command.args(["run", "variants", "--reads"]).arg(inputs[0]).arg("--reads2").arg(inputs[1]).arg("--reference").arg(inputs[2]);
    command.arg("--output").arg(&output).args(flags);
    let error = fail(&mut command, 1);
    for word in words {
        assert!(error.contains(word), "the error does not say `{word}`: {error}");
    }
    for name in ["calls.vcf.gz", "calls.vcf.gz.tbi", "manifest.json", "report.html", "alignments.bam"] {
        assert!(!output.join(name).exists(), "{name} is there after a failure");
    }
}

#[test]
fn a_truncated_gzip_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(small().mate(1)).unwrap();
    let cut = file(folder.path(), "cut.fastq.gz", &whole[..whole.len() / 2]);
    let error = fail(neardata(folder.path()).arg("index").arg(&cut), 1);
    assert!(error.contains("cut.fastq.gz") && error.contains("truncated"), "{error}");
    pipeline_fails(folder.path(), &[], [&cut, &small().mate(2), &small().reference()], &["cut.fastq.gz", "truncated"]);
}

#[test]
fn unequal_mates_are_refused_with_both_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        file(folder.path(), "a_1.fq.gz", &gzip(fastq(10, "\n").as_bytes())),
        file(folder.path(), "a_2.fq.gz", &gzip(fastq(9, "\n").as_bytes())),
    );
    pipeline_fails(folder.path(), &[], [&one, &two, &small().reference()], &["a_1.fq.gz", "a_2.fq.gz", "10", "9"]);
}

#[test]
fn crlf_and_a_missing_final_newline_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in [("crlf.fq", fastq(50, "\r\n")), ("open.fq", fastq(50, "\n").trim_end().to_owned())] {
        for (name, bytes) in [(name.to_owned(), contents.clone().into_bytes()), (format!("{name}.gz"), gzip(contents.as_bytes()))]
        {
            let path = file(folder.path(), &name, &bytes);
            let slices = text(succeed(neardata(folder.path()).arg("slice").arg(&path).args(["--n", "7"])));
            assert_eq!(slices.lines().count(), 7, "{name}");
            assert!(succeed(neardata(folder.path()).arg("read").args(slices.lines())) == contents.as_bytes(), "{name}");
        }
    }
}

#[test]
fn an_empty_file_is_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("empty.fastq", Vec::new()), ("empty.fastq.gz", gzip(b""))] {
        let path = file(folder.path(), name, &bytes);
        let slices = text(succeed(neardata(folder.path()).arg("slice").arg(&path).args(["--n", "3"])));
        let bytes: Vec<u8> =
            if slices.is_empty() { Vec::new() } else { succeed(neardata(folder.path()).arg("read").args(slices.lines())) };
        assert!(bytes.is_empty());
        let other = file(folder.path(), &format!("mate2-{name}"), &std::fs::read(&path).unwrap());
        pipeline_fails(folder.path(), &[], [&path, &other, &small().reference()], &[name]);
    }
}

#[test]
fn a_reference_with_duplicate_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let reference = file(folder.path(), "twice.fa", b">a one\nACGTACGTACGTACGTAAACCC\n>b\nACGTAACCCTTT\n>a two\nACGT\n");
    pipeline_fails(folder.path(), &[], [&small().mate(1), &small().mate(2), &reference], &["twice.fa", "`a`"]);
}

#[test]
fn a_wrong_reference_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing of a simple repeat aligns to the reads of a genome.
    let reference = file(folder.path(), "wrong.fa", format!(">wrong\n{}\n", "AC".repeat(5_000)).as_bytes());
    pipeline_fails(folder.path(), &[], [&small().mate(1), &small().mate(2), &reference], &["wrong.fa"]);
    let reads_as_reference = small().mate(1);
    pipeline_fails(folder.path(), &[], [&small().mate(1), &small().mate(2), &reads_as_reference], &["sim.bwa.read1.fastq.gz"]);
}

#[test]
fn a_missing_tool_comes_with_the_command_that_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("bin");
    std::fs::create_dir(&empty).unwrap();
    let error = fail(run_variants(folder.path(), &folder.path().join("out"), &[]).env("PATH", &empty), 1);
    assert!(error.contains("bcftools") && error.contains("apt-get install"), "{error}");
    let error = fail(run_variants(folder.path(), &folder.path().join("out"), &["--aligner", "bwa"]).env("PATH", &empty), 1);
    assert!(error.contains("bwa") && error.contains("apt-get install"), "{error}");
    let error = fail(neardata(folder.path()).arg("doctor").env("PATH", &empty), 1);
    assert!(error.contains("bcftools"), "{error}");
}

#[test]
fn an_unknown_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01");
    let error = fail(neardata(folder.path()).arg("slice").arg(&path), 1);
    assert!(error.contains("picture.png"), "{error}");
    let error = fail(neardata(folder.path()).args(["slice", "ftp://host/file"]), 2);
    assert!(error.contains("ftp"), "{error}");
    let error = fail(neardata(folder.path()).arg("slice").arg(folder.path().join("absent.fq")), 1);
    assert!(error.contains("absent.fq") && error.contains("does not exist"), "{error}");
}

#[test]
fn a_malformed_record_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "broken.fastq", (fastq(3, "\n") + "@read3\nACGT\nIIII\n+\n" + &fastq(1, "\n")).as_bytes());
    let error = fail(neardata(folder.path()).arg("index").arg(&path), 1);
    assert!(error.contains("broken.fastq") && error.contains("15"), "{error}");
}

#[test]
fn a_full_disk_is_said_so() {
    if !is_root() {
        // A file system of a few pages can only be mounted by root; elsewhere the same path is covered by /dev/full below.
        return full_device();
    }
    let folder = tempfile::tempdir().unwrap();
    let small_disk = folder.path().join("disk");
    std::fs::create_dir(&small_disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).arg(&small_disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return full_device();
    }
    let error = fail(&mut run_variants(folder.path(), &small_disk.join("out"), &[]), 1);
    let visible = small_disk.join("out/calls.vcf.gz").exists();
    let _unmounted = Command::new("umount").arg("-l").arg(&small_disk).status();
    assert!(error.contains("no space left"), "{error}");
    assert!(!visible);
}

fn full_device() {
    let folder = tempfile::tempdir().unwrap();
    let slice = text(succeed(neardata(folder.path()).arg("slice").arg(small().mate(1)).args(["--n", "1"])));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = neardata(folder.path()).args(["read", slice.trim()]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("no space left"));
}

fn is_root() -> bool {
    text(succeed(Command::new("id").arg("-u"))).trim() == "0"
}

//! `neardata run variants` on a small part of a real genome: the same result however the work is cut.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::{Platform, fail, manifest, neardata, run_variants, small, succeed, text};

/// Digest of every alignment record in order, as samtools prints them.
fn records_digest(bam: &Path) -> String {
    let records = succeed(Command::new("samtools").args(["view"]).arg(bam));
    assert!(records.len() > 100_000, "only {} bytes of records", records.len());
    Sha256::digest(records).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn slices_and_regions_do_not_change_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for aligner in ["rammap", "minimap2"] {
        for (slices, regions) in [("1", "1"), ("7", "5"), ("1", "5"), ("7", "1")] {
            let output = folder.path().join(format!("{aligner}-{slices}-{regions}"));
            succeed(&mut run_variants(
                folder.path(),
                &output,
                &["--slices", slices, "--regions", regions, "--aligner", aligner, "--keep-alignments", "--workers", "2"],
            ));
            let vcf = std::fs::read(output.join("calls.vcf.gz")).unwrap();
            seen.push((vcf, records_digest(&output.join("alignments.bam")), format!("{aligner} {slices} {regions}")));
        }
    }
    for (vcf, records, shape) in &seen[1..] {
        assert!(*vcf == seen[0].0, "calls.vcf.gz of {shape} differs from {}", seen[0].2);
        assert_eq!(*records, seen[0].1, "alignments of {shape} differ from {}", seen[0].2);
    }
    against_the_tools_by_hand(folder.path(), &seen[0].1, &folder.path().join("rammap-1-1/calls.vcf.gz"));
}

/// The same tools run by hand on the whole input.
fn against_the_tools_by_hand(folder: &Path, records: &str, calls: &Path) {
    let small = small();
    let script = format!(
        "set -e; minimap2 -ax sr -R '@RG\\tID:K12\\tSM:K12\\tPL:ILLUMINA' {0} {1} {2} 2>/dev/null | samtools sort -o hand.bam - 2>/dev/null; \
         bcftools mpileup -Ou -f {0} -a AD,DP hand.bam 2>/dev/null | bcftools call -mv --ploidy 1 -Ov -o hand.vcf",
        small.reference().display(),
        small.mate(1).display(),
        small.mate(2).display()
    );
    succeed(Command::new("bash").args(["-c", &script]).current_dir(folder));
    assert_eq!(records_digest(&folder.join("hand.bam")), records, "alignments differ from minimap2 | samtools sort");
    let body = |vcf: &Path| -> Vec<String> {
        let text = text(succeed(Command::new("bcftools").args(["view", "-H"]).arg(vcf)));
        text.lines().map(str::to_owned).collect()
    };
    let by_hand = body(&folder.join("hand.vcf"));
    assert!(by_hand.len() > 60, "{} calls by hand", by_hand.len());
    assert_eq!(body(calls), by_hand);
}

#[test]
fn results_hold_what_a_person_and_a_program_need() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let truth = small().truth();
    let mut command =
        run_variants(folder.path(), &output, &["--slices", "3", "--regions", "2", "--truth", truth.to_str().unwrap()]);
    let printed = text(succeed(&mut command));
    for word in ["slices", "calls", "retries", "recall", "precision", "calls.vcf.gz", "peak memory", "CPU"] {
        assert!(printed.contains(word), "the summary does not say `{word}`:\n{printed}");
    }
    let count = text(succeed(Command::new("bcftools").args(["index", "-n"]).arg(output.join("calls.vcf.gz"))));
    assert!(count.trim().parse::<u64>().unwrap() > 60);
    let header = text(succeed(Command::new("bcftools").args(["view", "-h", "--no-version"]).arg(output.join("calls.vcf.gz"))));
    assert!(
        !header.contains(folder.path().to_str().unwrap()) && !header.contains("fileDate"),
        "the header is not normalised:\n{header}"
    );
    let report = std::fs::read_to_string(output.join("report.html")).unwrap();
    let loads_something = ["<link", "src=", "@import", "url(", "fetch("].into_iter().find(|word| report.contains(word));
    assert!(report.contains("K12") && loads_something.is_none(), "the report is not self-contained: {loads_something:?}");
    let manifest = manifest(&output);
    let digest: String =
        Sha256::digest(std::fs::read(output.join("calls.vcf.gz")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    assert!(manifest.to_string().contains(&digest), "the manifest does not name the digest of calls.vcf.gz");

    let again = folder.path().join("again");
    let said =
        text(succeed(neardata(folder.path()).arg("reproduce").arg(output.join("manifest.json")).arg("--output").arg(&again)));
    assert!(said.contains("identical"), "{said}");
    assert!(std::fs::read(again.join("calls.vcf.gz")).unwrap() == std::fs::read(output.join("calls.vcf.gz")).unwrap());
}

#[test]
fn through_the_platform_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let small = small();
    platform.upload("lab", &[(&small.mate(1), "r1.fastq.gz"), (&small.mate(2), "r2.fastq.gz"), (&small.reference(), "ref.fa")]);
    let arguments = "run variants --ploidy 1 --sample K12 --reads s3://lab/r1.fastq.gz --reads2 s3://lab/r2.fastq.gz \
                     --reference s3://lab/ref.fa --output s3://lab/out --slices 4 --regions 3";
    succeed(platform.neardata().args(arguments.split_whitespace()));
    let local = folder.path().join("local");
    succeed(&mut run_variants(folder.path(), &local, &[]));
    let listed = text(succeed(platform.neardata().args(["--json", "jobs", "list"])));
    let job: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(job["state"], "done");
    let shown: Value =
        serde_json::from_slice(&succeed(platform.neardata().args(["--json", "jobs", "show", job["id"].as_str().unwrap()])))
            .unwrap();
    assert!(shown["calls"].as_array().unwrap().len() >= 9, "{shown}");
    let digest: String =
        Sha256::digest(std::fs::read(local.join("calls.vcf.gz")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    assert!(
        shown.to_string().contains(&digest),
        "the platform's result has another digest than the private run's:\n{}",
        shown["result"]
    );

    // Again on the platform: every call runs anew, beside the first run's results.
    let refused = fail(platform.neardata().args(["reproduce", "s3://lab/out/manifest.json", "--output", "s3://lab/out/"]), 2);
    assert!(refused.contains("choose another"), "{refused}");
    let said = text(succeed(platform.neardata().args(["reproduce", "s3://lab/out/manifest.json", "--output", "s3://lab/again"])));
    assert!(said.contains("identical") && said.contains(&digest) && !said.contains("DIFFERENT"), "{said}");
    let listed = text(succeed(platform.neardata().args(["--json", "jobs", "list"])));
    let job: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let again: Value =
        serde_json::from_slice(&succeed(platform.neardata().args(["--json", "jobs", "show", job["id"].as_str().unwrap()])))
            .unwrap();
    assert_ne!(again["id"], shown["id"]);
    let calls = again["calls"].as_array().unwrap();
    assert_eq!(calls.len(), shown["calls"].as_array().unwrap().len());
    assert!(calls.iter().all(|call| call["state"] == "done" && !call["attempts"].as_array().unwrap().is_empty()), "{again}");
}

#[test]
fn a_dry_run_does_nothing_and_detach_needs_a_platform() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let plan = text(succeed(&mut run_variants(folder.path(), &output, &["--dry-run"])));
    assert!(plan.contains("slices") && plan.contains("regions"), "{plan}");
    assert!(!output.exists());
    let error = fail(&mut run_variants(folder.path(), &output, &["--detach"]), 4);
    assert!(error.contains("neardata up"), "{error}");
}

//! Bad input: a clear error each, naming the file, the place and the remedy; and no results that look whole.

use std::fs;
use std::path::Path;

use neardata_compute::{JobState, JobView};
use neardata_variants::VariantsArguments;

use crate::genome::{Genome, bases, wrapped};
use crate::runner::{output, run, run_with_path, text};

fn refusal(folder: &Path, arguments: &VariantsArguments) -> String {
    refused(folder, arguments).error.unwrap().message
}

fn refused(folder: &Path, arguments: &VariantsArguments) -> JobView {
    let view = run(folder, arguments);
    assert_eq!(view.summary.state, JobState::Failed);
    assert!(!folder.join("out").exists(), "nothing half-written is to be seen");
    let calls = view.calls.iter().filter(|call| call.attempts.len() > 1).count();
    assert_eq!(calls, 0, "bad input is not tried again");
    view
}

#[test]
fn bad_input_is_refused_with_the_file_the_place_and_the_remedy() {
    let genome = Genome::small();
    let reads = text("gzip", &["-dc", genome.reads(2).path().unwrap().to_str().unwrap()]);
    let lines: Vec<&str> = reads.lines().collect();

    fs::write(genome.path("fewer.fq"), lines[..lines.len() - 4].join("\n") + "\n").unwrap();
    let (folder, mut arguments) = genome.arguments("unequal");
    arguments.reads2 = vec![genome.uri("fewer.fq")];
    let message = refusal(&folder, &arguments);
    assert!(message.contains("fewer.fq") && message.contains("same number of reads"), "{message}");

    let mut swapped = lines.clone();
    (swapped[400], swapped[404]) = (lines[404], lines[400]);
    fs::write(genome.path("swapped.fq"), swapped.join("\n") + "\n").unwrap();
    let (folder, mut arguments) = genome.arguments("swapped");
    arguments.reads2 = vec![genome.uri("swapped.fq")];
    let message = refusal(&folder, &arguments);
    assert!(message.contains("record 101") && message.contains("swapped.fq") && message.contains("are no pair"), "{message}");

    let compressed = fs::read(genome.reads(2).path().unwrap()).unwrap();
    fs::write(genome.path("short.fq.gz"), &compressed[..compressed.len() - 1000]).unwrap();
    let (folder, mut arguments) = genome.arguments("truncated");
    arguments.reads2 = vec![genome.uri("short.fq.gz")];
    let message = refusal(&folder, &arguments);
    assert!(message.contains("short.fq.gz") && message.contains("truncated"), "{message}");

    fs::write(genome.path("empty.fq"), "").unwrap();
    let (folder, mut arguments) = genome.arguments("empty");
    (arguments.reads, arguments.reads2) = (vec![genome.uri("empty.fq")], Vec::new());
    let message = refusal(&folder, &arguments);
    assert!(message.contains("empty.fq"), "{message}");

    let (folder, mut arguments) = genome.arguments("no-interleaved");
    let both: String = lines.chunks(4).map(|record| (record.join("\n") + "\n").repeat(2)).collect();
    fs::write(genome.path("both.fq"), both).unwrap();
    (arguments.reads, arguments.reads2) = (vec![genome.uri("both.fq")], Vec::new());
    let message = refusal(&folder, &arguments);
    assert!(message.contains("both.fq") && message.contains("--interleaved"), "{message}");
}

#[test]
fn a_tool_that_a_worker_lacks_is_named_with_the_command_that_installs_it() {
    let genome = Genome::small();
    let (folder, arguments) = genome.arguments("no-tool");
    let view = run_with_path(&folder, &arguments, Some("/nonexistent"));
    let message = view.error.unwrap().message;
    assert!(message.contains("missing tool: bcftools") && message.contains("apt-get install bcftools"), "{message}");
    assert!(!folder.join("out").exists());
}

#[test]
fn a_reference_that_cannot_be_right_is_refused() {
    let genome = Genome::small();
    fs::write(genome.path("twice.fa"), format!(">a\n{}\n>a\nACGT\n", wrapped(&bases(5000, 9)))).unwrap();
    let (folder, mut arguments) = genome.arguments("twice");
    arguments.reference = genome.uri("twice.fa");
    let message = refusal(&folder, &arguments);
    assert!(message.contains("twice.fa, line") && message.contains("second contig named `a`"), "{message}");

    fs::write(genome.path("other.fa"), format!(">other\n{}\n", wrapped(&bases(50_000, 77)))).unwrap();
    let (folder, mut arguments) = genome.arguments("other");
    arguments.reference = genome.uri("other.fa");
    let message = refusal(&folder, &arguments);
    assert!(message.contains("other.fa") && message.contains("right reference"), "{message}");

    output("gzip", &["-k".into(), genome.path("ref.fa")]);
    let whole = fs::read(genome.path("ref.fa.gz")).unwrap();
    fs::write(genome.path("cut.fa.gz"), &whole[..whole.len() / 2]).unwrap();
    let (folder, mut arguments) = genome.arguments("cut");
    arguments.reference = genome.uri("cut.fa.gz");
    let message = refusal(&folder, &arguments);
    assert!(message.contains("cut.fa.gz") && message.contains("gzip -t"), "{message}");

    let (folder, mut arguments) = genome.arguments("fastq");
    arguments.reference = genome.reads(1);
    let message = refusal(&folder, &arguments);
    assert!(message.contains("not FASTA"), "{message}");

    fs::write(genome.path("t.bed"), "chromosome\t1\t2\n").unwrap();
    let (folder, mut arguments) = genome.arguments("bed");
    arguments.targets = Some(genome.uri("t.bed"));
    let view = refused(&folder, &arguments);
    let message = view.error.unwrap().message;
    assert!(message.contains("t.bed, line 1: the reference has no contig `chromosome` (it has chrom, plasmid)"), "{message}");
    assert!(view.calls.iter().all(|call| call.stage == "index"), "nothing is aligned");
}

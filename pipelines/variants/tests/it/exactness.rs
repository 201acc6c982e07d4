//! However the reads and the genome are cut: the alignments and variants of the tools run by hand on everything.

use std::fs;
use std::io::Write;
use std::path::Path;

use neardata_compute::JobState;
use neardata_core::ObjectUri;
use neardata_store::{StoreOptions, Stores};
use neardata_variants::{Aligner, Caller, VariantsArguments, compare, reproduce};

use crate::genome::{ByHand, Genome, body};
use crate::runner::{output, run, text};

fn must_succeed(folder: &Path, arguments: &VariantsArguments) {
    let view = run(folder, arguments);
    assert_eq!(view.summary.state, JobState::Done, "{:?}", view.error);
}

fn alignments(folder: &Path) -> String {
    text("samtools", &["view", folder.join("out/alignments.bam").to_str().unwrap()])
}

fn variants(folder: &Path) -> String {
    body(&text("bcftools", &["view", folder.join("out/calls.vcf.gz").to_str().unwrap()]))
}

/// QUAL and the rest of a body's lines, without FORMAT details that no caller promises.
fn assert_same_lines(ours: &str, theirs: &str, what: &str) {
    let difference = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
    assert_eq!(difference, None, "{what}");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
}

#[test]
fn any_cut_gives_what_the_tools_give_by_hand() {
    let genome = Genome::small();
    let reads = [1, 2].map(|mate| genome.reads(mate).path().unwrap());
    let by_hand = ByHand::run(genome.path("").as_path(), &genome.path("ref.fa"), &reads);
    assert!(by_hand.variants.lines().count() > 100);
    assert!(by_hand.alignments.lines().any(|line| line.contains("\t*\t0\t")), "some reads are unmapped");
    let mut files = Vec::new();
    for (slices, regions, aligner) in
        [(1, 1, Aligner::Rammap), (7, 1, Aligner::Minimap2), (1, 5, Aligner::Minimap2), (7, 5, Aligner::Rammap)]
    {
        let name = format!("{aligner}-{slices}x{regions}");
        let (folder, mut arguments) = genome.arguments(&name);
        (arguments.slices, arguments.regions) = (Some(slices), Some(regions));
        (arguments.aligner, arguments.keep_alignments) = (aligner, true);
        must_succeed(&folder, &arguments);
        assert_same_lines(&alignments(&folder), &by_hand.alignments, &name);
        assert_same_lines(&variants(&folder), &by_hand.variants, &name);
        files.push(
            ["calls.vcf.gz", "calls.vcf.gz.tbi", "alignments.bam", "alignments.bam.bai"]
                .map(|file| fs::read(folder.join("out").join(file)).unwrap()),
        );
        let manifest: neardata_variants::Manifest =
            serde_json::from_slice(&fs::read(folder.join("out/manifest.json")).unwrap()).unwrap();
        assert_eq!((manifest.slices, manifest.regions), (slices, regions));
    }
    assert!(files.iter().all(|run| *run == files[0]), "every file is the same, bit for bit");
    indexes_work(&genome.path("rammap-7x5/out"));
    accuracy(&genome, &genome.path("rammap-7x5/out/calls.vcf.gz"));
}

/// Indexed look-ups find what a scan finds.
fn indexes_work(out: &Path) {
    let [bam, vcf] = ["alignments.bam", "calls.vcf.gz"].map(|name| out.join(name).display().to_string());
    for region in ["chrom:30000-41000", "plasmid:1-5000", "plasmid:19990-20000"] {
        let bed = region.replace([':', '-'], "\t");
        let (name, from) = (bed.split('\t').next().unwrap(), bed.split('\t').nth(1).unwrap().parse::<u32>().unwrap() - 1);
        let path = out.join("look-up.bed");
        fs::write(&path, format!("{name}\t{from}\t{}\n", bed.split('\t').nth(2).unwrap())).unwrap();
        let scanned = output("samtools", &["view", "-L", path.to_str().unwrap(), &bam]);
        assert_eq!(output("samtools", &["view", &bam, region]), scanned, "{region}");
        assert_eq!(
            output("bcftools", &["view", "-H", "-r", region, &vcf]),
            output("bcftools", &["view", "-H", "-t", region, &vcf]),
            "{region}"
        );
        fs::remove_file(path).unwrap();
    }
    output("samtools", &["quickcheck", &bam]);
}

fn accuracy(genome: &Genome, calls: &Path) {
    let stores = Stores::new(StoreOptions::default()).unwrap();
    let truth = genome.uri("sim.mutations.vcf");
    let found = compare(&stores, &truth, &ObjectUri::from_path(calls), &genome.uri("ref.fa")).unwrap();
    let true_snps = text("bcftools", &["view", "-H", "-v", "snps", genome.path("sim.mutations.vcf").to_str().unwrap()])
        .lines()
        .count() as u64;
    assert_eq!(found.snps.true_positives + found.snps.false_negatives, true_snps);
    assert!(found.snps.recall() > 0.9 && found.snps.precision() > 0.98 && found.indels.recall() > 0.8, "{found:?}");
    let perfect = compare(&stores, &truth, &truth, &genome.uri("ref.fa")).unwrap();
    assert_eq!((perfect.snps.recall(), perfect.snps.precision(), perfect.indels.recall()), (1.0, 1.0, 1.0));
}

#[test]
fn single_interleaved_and_several_lanes_of_every_compression() {
    let genome = Genome::small();
    let plain: Vec<String> =
        [1, 2].map(|mate| text("gzip", &["-dc", genome.reads(mate).path().unwrap().to_str().unwrap()])).into();
    let records: Vec<Vec<String>> = plain.iter().map(|text| records(text)).collect();
    // Lane 1 plain with CRLF, lane 2 as BGZF, of both mates interleaved.
    let interleaved: String = records[0].iter().zip(&records[1]).flat_map(|(first, second)| [first.as_str(), second]).collect();
    let half = records[0].len() / 2 * 2;
    let cut = interleaved.match_indices('\n').nth(half * 4 - 1).unwrap().0 + 1;
    fs::write(genome.path("lane1.fq"), interleaved[..cut].replace('\n', "\r\n")).unwrap();
    fs::write(genome.path("lane2.fq"), interleaved[cut..].trim_end()).unwrap();
    output("bgzip", &[genome.path("lane2.fq")]);
    output("gzip", &["-k".into(), genome.path("ref.fa")]);
    fs::write(genome.path("whole.fq"), &interleaved).unwrap();

    let by_hand = ByHand::run(genome.path("").as_path(), &genome.path("ref.fa"), &[genome.path("whole.fq")]);
    let (folder, mut arguments) = genome.arguments("interleaved");
    (arguments.reads, arguments.reads2, arguments.interleaved) =
        (vec![genome.uri("lane1.fq"), genome.uri("lane2.fq.gz")], Vec::new(), true);
    (arguments.slices, arguments.reference, arguments.keep_alignments) = (Some(5), genome.uri("ref.fa.gz"), true);
    must_succeed(&folder, &arguments);
    assert_same_lines(&alignments(&folder), &by_hand.alignments, "interleaved");
    assert_same_lines(&variants(&folder), &by_hand.variants, "interleaved");

    let by_hand = ByHand::run(genome.path("").as_path(), &genome.path("ref.fa"), &[genome.reads(1).path().unwrap()]);
    let (folder, mut arguments) = genome.arguments("single");
    (arguments.reads2, arguments.slices, arguments.regions, arguments.keep_alignments) = (Vec::new(), Some(3), Some(2), true);
    must_succeed(&folder, &arguments);
    assert_same_lines(&alignments(&folder), &by_hand.alignments, "single");
    assert_same_lines(&variants(&folder), &by_hand.variants, "single");
}

fn records(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(4).map(|record| record.join("\n") + "\n").collect()
}

#[test]
fn bwa_and_freebayes_agree_with_the_whole_run_where_they_must() {
    let genome = Genome::small();
    let reference = genome.path("ref.fa").display().to_string();
    let [sam, bam] = ["hand.sam", "hand.bam"].map(|name| genome.path(name).display().to_string());
    let reads = [1, 2].map(|mate| genome.reads(mate).path().unwrap().display().to_string());
    output("bwa", &["index", &reference]);
    let group = r"@RG\tID:s\tSM:s\tPL:ILLUMINA";
    output("bwa", &["mem", "-t", "1", "-K", "10000000", "-R", group, "-o", &sam, &reference, &reads[0], &reads[1]]);
    output("samtools", &["sort", "-o", &bam, &sam]);
    let by_hand = text("freebayes", &["-f", &reference, "-p", "1", &bam]);

    let (folder, mut arguments) = genome.arguments("bwa");
    (arguments.aligner, arguments.caller) = (Aligner::Bwa, Caller::Freebayes);
    (arguments.slices, arguments.regions) = (Some(4), Some(3));
    must_succeed(&folder, &arguments);
    let keys = |vcf: &str, least: f64| -> Vec<String> {
        let fields = vcf.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
        fields.filter(|f| f[5].parse::<f64>().unwrap() >= least).map(|f| [f[0], f[1], f[3], f[4]].join(":")).collect()
    };
    let ours = text("bcftools", &["view", folder.join("out/calls.vcf.gz").to_str().unwrap()]);
    assert!(keys(&by_hand, 20.0).len() > 100);
    assert_eq!(keys(&ours, 20.0), keys(&by_hand, 20.0));
}

#[test]
fn targets_limit_what_is_called_and_a_manifest_runs_again() {
    let genome = Genome::small();
    fs::File::create(genome.path("targets.bed")).unwrap().write_all(b"chrom\t10000\t30000\nplasmid\t0\t9000\n").unwrap();
    let (folder, mut arguments) = genome.arguments("targets");
    arguments.targets = Some(genome.uri("targets.bed"));
    // An earlier run to the same output kept its alignments.
    arguments.keep_alignments = true;
    must_succeed(&folder, &arguments);
    assert!(folder.join("out/alignments.bam").exists());
    arguments.keep_alignments = false;
    must_succeed(&folder, &arguments);
    let mut names: Vec<_> = fs::read_dir(folder.join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["calls.vcf.gz", "calls.vcf.gz.tbi", "manifest.json", "report.html"]);
    let (whole_folder, whole) = genome.arguments("whole");
    must_succeed(&whole_folder, &whole);
    let inside = |line: &&str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let position: u32 = fields[1].parse().unwrap();
        (fields[0] == "chrom" && (10_001..=30_000).contains(&position)) || (fields[0] == "plasmid" && position <= 9000)
    };
    let expected: Vec<String> = variants(&whole_folder).lines().filter(inside).map(str::to_owned).collect();
    assert_eq!(variants(&folder).lines().collect::<Vec<_>>(), expected);

    let stores = Stores::new(StoreOptions::default()).unwrap();
    let before = reproduce::read_manifest(&stores, &ObjectUri::from_path(folder.join("out/manifest.json"))).unwrap();
    let again_folder = genome.path("again");
    fs::create_dir(&again_folder).unwrap();
    let again = reproduce::reproduce(&stores, &before, ObjectUri::from_path(again_folder.join("out"))).unwrap();
    must_succeed(&again_folder, &again);
    let now = reproduce::read_manifest(&stores, &ObjectUri::from_path(again_folder.join("out/manifest.json"))).unwrap();
    let compared = reproduce::compare_outputs(&before, &now);
    assert!(compared.len() == 2 && compared.iter().all(reproduce::Compared::is_same), "{compared:?}");
    assert!(reproduce::changed_tools(&before).unwrap().is_empty());

    fs::write(genome.path("targets.bed"), "chrom\t1\t2\n").unwrap();
    let refused = reproduce::reproduce(&stores, &before, again.output).unwrap_err();
    assert!(refused.message.contains("targets.bed is another version"), "{refused}");
}

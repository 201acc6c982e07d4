//! `neardata slice`, `read` and `index`, with pipes, on paths, HTTP and S3.

use std::io::Write;
use std::path::Path;
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
fn slices_that_do_not_join_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/formats/tests/data");
    let cut = |uri: &Path, more: &[&str]| text(succeed(neardata(folder.path()).arg("slice").arg(uri).args(more)));
    let read = |slices: &str| {
        let mut command = neardata(folder.path());
        command.arg("read").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(slices.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let points = cut(&data.join("las/test1_4.las"), &["--n", "2"]);
    let refused = read(&points);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "nothing half-written");
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("slices of las do not make one file") && words.contains("--arrow"), "{words}");
    assert!(read(points.lines().next().unwrap()).status.success());
    let variants = cut(&data.join("arrow/calls.vcf"), &["--n", "2"]);
    assert_eq!(read(&variants).stdout, std::fs::read(data.join("arrow/calls.vcf")).unwrap());
    let copy = folder.path().join("other.vcf");
    std::fs::copy(data.join("arrow/calls.vcf"), &copy).unwrap();
    assert_eq!(read(&format!("{variants}{}", cut(&copy, &["--n", "1"]))).status.code(), Some(2), "two headers");
}

#[test]
fn options_and_queries_that_find_nothing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/formats/tests/data");
    let reads = folder.path().join("r.fastq");
    std::fs::write(&reads, "@a\nAC\n+\nII\n").unwrap();
    let run = |arguments: &[&str]| neardata(folder.path()).arg("slice").args(arguments).output().unwrap();
    let path = reads.to_str().unwrap();
    let ignored = run(&[path, "--mate2", path, "--n", "1", "--level", "3"]);
    let words = String::from_utf8_lossy(&ignored.stderr).into_owned();
    assert!(!ignored.status.success() && words.contains("paired reads") && words.contains("`level`"), "{words}");
    let outside = run(&[data.join("las/test1_4.las").to_str().unwrap(), "--bounds", "-9,-9,-8,-8"]);
    assert!(outside.status.success() && outside.stdout.is_empty());
    assert!(String::from_utf8_lossy(&outside.stderr).contains("there are no slices"), "an empty answer says so");
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

/// Sorted alignments and calls of three contigs, made by the tools that are the oracle as well.
fn alignments(folder: &Path) {
    let whole = std::fs::read_to_string(small().reference()).unwrap();
    let bases: String = whole.lines().skip(1).collect();
    let contig = |(number, bases): (usize, &[u8])| format!(">chr{}\n{}\n", number + 1, std::str::from_utf8(bases).unwrap());
    std::fs::write(folder.join("ref.fa"), bases.as_bytes().chunks(50_000).enumerate().map(contig).collect::<String>()).unwrap();
    let script = "set -e; minimap2 -ax sr ref.fa \"$1\" \"$2\" 2>/dev/null | samtools sort -o a.bam 2>/dev/null; cp a.bam bai.bam; cp a.bam csi.bam
        samtools index bai.bam; samtools index -c csi.bam; samtools view -h a.bam > a.sam
        bcftools mpileup -Ou -f ref.fa a.bam 2>/dev/null | bcftools call -m --ploidy 1 -Ou 2>/dev/null | bcftools view -Oz -o v.vcf.gz
        cp v.vcf.gz tbi.vcf.gz; tabix -p vcf tbi.vcf.gz; cp v.vcf.gz csi.vcf.gz; bcftools index -c csi.vcf.gz
        bcftools view -Ob -o v.bcf v.vcf.gz; cp v.bcf csi.bcf; bcftools index csi.bcf";
    succeed(Command::new("bash").args(["-c", script, "_"]).arg(small().mate(1)).arg(small().mate(2)).current_dir(folder));
}

/// What `tool` prints, header left out.
fn records(tool: &str, file: &Path, region: Option<&str>) -> String {
    let mut command = Command::new(tool);
    command.arg("view");
    match (tool, region) {
        ("samtools", _) => command.arg(file).args(region),
        (_, Some(region)) => command.args(["-H", "-r", region]).arg(file),
        (_, None) => command.arg("-H").arg(file),
    };
    text(succeed(&mut command))
}

#[test]
fn regions_hold_what_samtools_and_bcftools_find() {
    let folder = tempfile::tempdir().unwrap();
    alignments(folder.path());
    let regions = [
        "chr1",
        "chr2:1-1",
        "chr2:100-100",
        "chr1:10000-10200",
        "chr3:19990-",
        "chr3:20000-99999999",
        "chr2:777",
        "chr1:49900-50000",
    ];
    for (tool, oracle, files) in [
        ("samtools", "bai.bam", ["a.bam", "bai.bam", "csi.bam"]),
        ("bcftools", "tbi.vcf.gz", ["v.vcf.gz", "tbi.vcf.gz", "csi.vcf.gz"]),
    ] {
        let bcf = if tool == "bcftools" { vec!["v.bcf", "csi.bcf"] } else { Vec::new() };
        for file in files.into_iter().chain(bcf) {
            let path = folder.path().join(file);
            let slices = text(succeed(
                neardata(folder.path()).arg("slice").arg(&path).args(regions.iter().flat_map(|region| ["--region", region])),
            ));
            assert_eq!(slices.lines().count(), regions.len());
            for (region, slice) in regions.iter().zip(slices.lines()) {
                let part = folder.path().join("part");
                std::fs::write(&part, succeed(neardata(folder.path()).args(["read", slice]))).unwrap();
                let wanted = records(tool, &folder.path().join(oracle), Some(region));
                assert!(
                    records(tool, &part, None) == wanted,
                    "{file} {region}: not the {} records of {tool}",
                    wanted.lines().count()
                );
            }
        }
    }
    let error = fail(neardata(folder.path()).args(["slice", "--region", "chrX:1-5"]).arg(folder.path().join("a.bam")), 1);
    assert!(error.contains("chrX") && error.contains("chr1, chr2, chr3"), "{error}");
    let error = fail(neardata(folder.path()).args(["slice", "--region", "chr1:9-5"]).arg(folder.path().join("a.bam")), 1);
    assert!(error.contains("chr1:9-5"), "{error}");
    let error = fail(neardata(folder.path()).args(["slice", "--region", "chr1"]).arg(folder.path().join("a.sam")), 1);
    assert!(error.contains("samtools sort"), "{error}");
    let unsorted = folder.path().join("unsorted.bam");
    succeed(Command::new("samtools").args(["sort", "-n", "-o"]).arg(&unsorted).arg(folder.path().join("a.bam")));
    let error = fail(neardata(folder.path()).args(["slice", "--region", "chr1"]).arg(&unsorted), 1);
    assert!(error.contains("sort it first") && error.contains("unsorted.bam"), "{error}");
}

#[test]
fn structural_variants_are_found_by_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let head = "##fileformat=VCFv4.3\n##contig=<ID=1>\n##ALT=<ID=DEL,Description=\"d\">\n##INFO=<ID=END,Number=1,Type=Integer,Description=\"e\">\n\
                #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";
    let rows = "1\t100\ta\tA\t<DEL>\t.\t.\tEND=90000\n1\t500\tb\tACGT\tA\t.\t.\t.\n1\t70000\tc\tA\tC\t.\t.\t.\n";
    std::fs::write(folder.path().join("sv.vcf"), format!("{head}{rows}")).unwrap();
    succeed(
        Command::new("bash")
            .args(["-c", "bgzip -k sv.vcf; cp sv.vcf.gz t.vcf.gz; tabix -p vcf t.vcf.gz"])
            .current_dir(folder.path()),
    );
    for region in ["1:80000-80001", "1:503-503", "1:504-504", "1:70000-70000", "1:90001-90002", "1:1-99"] {
        let wanted = records("bcftools", &folder.path().join("t.vcf.gz"), Some(region));
        for file in ["sv.vcf.gz", "t.vcf.gz"] {
            let slice = text(succeed(neardata(folder.path()).args(["slice", "--region", region]).arg(folder.path().join(file))));
            let part = folder.path().join("part.vcf");
            std::fs::write(&part, succeed(neardata(folder.path()).args(["read", slice.trim()]))).unwrap();
            assert_eq!(records("bcftools", &part, None), wanted, "{file} {region}");
        }
    }
}

#[test]
fn a_slice_of_alignments_or_variants_is_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    alignments(folder.path());
    for (tool, file) in [("samtools", "a.bam"), ("samtools", "a.sam"), ("bcftools", "v.vcf.gz"), ("bcftools", "v.bcf")] {
        let path = folder.path().join(file);
        let whole = records(tool, &path, None);
        for choice in [["--n", "1"], ["--n", "7"], ["--records", "400"]] {
            let slices = text(succeed(neardata(folder.path()).arg("slice").arg(&path).args(choice)));
            let part = folder.path().join("part");
            let mut joined = String::new();
            for slice in slices.lines() {
                std::fs::write(&part, succeed(neardata(folder.path()).args(["read", slice]))).unwrap();
                if file == "a.bam" {
                    succeed(Command::new("samtools").arg("quickcheck").arg(&part));
                }
                joined.push_str(&records(tool, &part, None));
            }
            assert!(joined == whole, "{file} {choice:?}");
            // All slices read together are one file.
            std::fs::write(&part, succeed(neardata(folder.path()).arg("read").args(slices.lines()))).unwrap();
            assert!(records(tool, &part, None) == whole, "{file} {choice:?}, read together");
        }
    }
}

#[test]
fn inspect_says_what_a_person_wants_first() {
    let folder = tempfile::tempdir().unwrap();
    alignments(folder.path());
    std::fs::write(folder.path().join("t.csv"), "name,\"size\"\na,1\nb,2\n").unwrap();
    let inspect = |path: &Path| text(succeed(neardata(folder.path()).arg("inspect").arg(path)));
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&succeed(neardata(folder.path()).args(["--json", "inspect"]).arg(folder.path().join(name))))
            .unwrap()
    };
    let said = inspect(&small().mate(1));
    assert!(said.contains("fastq, gzip") && said.contains("not counted yet: neardata index") && said.contains("\n  @"), "{said}");
    succeed(neardata(folder.path()).arg("index").arg(small().mate(1)));
    assert!(inspect(&small().mate(1)).contains("places to start"));

    let bam = json("a.bam");
    assert_eq!(bam["sort_order"], "coordinate");
    assert_eq!(bam["references"].as_array().unwrap().len(), 3);
    assert_eq!(bam["references"][2], serde_json::json!({"name": "chr3", "length": 20_000}));
    assert_eq!(json("a.sam")["references"], bam["references"]);
    for name in ["v.vcf.gz", "v.bcf"] {
        let found = json(name);
        assert_eq!(found["references"], bam["references"], "{name}");
        assert_eq!(found["columns"][8], "FORMAT", "{name}");
        assert_eq!(found["samples"].as_array().unwrap().len(), 1, "{name}");
    }
    assert!(json("v.vcf.gz")["preview"][0].as_str().unwrap().starts_with("chr1\t"));
    assert!(json("ref.fa")["preview"][0].as_str().unwrap().starts_with(">chr1\n"));
    let csv = json("t.csv");
    assert_eq!(csv["columns"], serde_json::json!(["name", "size"]));
    assert_eq!(csv["preview"][1], "a,1");
}

//! A small part of a genome and reads simulated from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use neardata_core::ObjectUri;
use neardata_variants::VariantsArguments;
use tempfile::TempDir;

use crate::runner::{output, text};

/// A folder with `ref.fa`, paired reads and the truth.
pub(crate) struct Genome {
    folder: TempDir,
}

impl Genome {
    /// Two contigs, 120 kb together; 20x of paired reads, gzip-compressed. The contigs are parts of the genome that
    /// `NEARDATA_TEST_GENOME` names (the test script names E. coli), else of a made-up one with repeats as bacteria have them.
    pub(crate) fn small() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        let [chrom, plasmid] = contigs();
        fs::write(path.join("ref.fa"), format!(">chrom a test\n{}\n>plasmid\n{}\n", wrapped(&chrom), wrapped(&plasmid))).unwrap();
        let simulate = Command::new("dwgsim")
            .args(
                "-z 42 -H -C 20 -1 150 -2 150 -d 400 -s 50 -e 0.001-0.010 -E 0.001-0.010 -r 0.002 -R 0.10 -X 0.30 -y 0.02 -o 1"
                    .split(' '),
            )
            .args([path.join("ref.fa"), path.join("sim")])
            .output()
            .expect("dwgsim is needed: apt-get install dwgsim");
        assert!(simulate.status.success(), "{}", String::from_utf8_lossy(&simulate.stderr));
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn uri(&self, name: &str) -> ObjectUri {
        ObjectUri::from_path(self.path(name))
    }

    /// The reads of mate 1 or 2.
    pub(crate) fn reads(&self, mate: usize) -> ObjectUri {
        self.uri(&format!("sim.bwa.read{mate}.fastq.gz"))
    }

    /// A folder of its own for one run, with arguments that write there.
    pub(crate) fn arguments(&self, name: &str) -> (PathBuf, VariantsArguments) {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        let mut arguments =
            VariantsArguments::new(vec![self.reads(1)], self.uri("ref.fa"), ObjectUri::from_path(folder.join("out")));
        arguments.reads2 = vec![self.reads(2)];
        arguments.ploidy = 1;
        arguments.sample = "s".into();
        (folder, arguments)
    }
}

fn contigs() -> [String; 2] {
    let Some(path) = std::env::var_os("NEARDATA_TEST_GENOME") else { return [bases(100_000, 1), bases(20_000, 2)] };
    let text = fs::read_to_string(path).unwrap();
    let genome: String = text.lines().skip(1).take_while(|line| !line.starts_with('>')).collect();
    [genome[200_000..300_000].to_owned(), genome[3_000_000..3_020_000].to_owned()]
}

/// What the tools give by hand on the whole input.
pub(crate) struct ByHand {
    /// `samtools view` of the sorted alignments.
    pub(crate) alignments: String,
    /// The body of the VCF.
    pub(crate) variants: String,
}

impl ByHand {
    /// `minimap2 | samtools sort`, then `bcftools mpileup | bcftools call`.
    pub(crate) fn run(folder: &Path, reference: &Path, reads: &[PathBuf]) -> Self {
        let [sam, bam, bcf] = ["hand.sam", "hand.bam", "hand.bcf"].map(|name| folder.join(name).display().to_string());
        let reference = reference.display().to_string();
        let mut align: Vec<String> =
            ["-t", "1", "-ax", "sr", "-R", r"@RG\tID:s\tSM:s\tPL:ILLUMINA", "-o", &sam, &reference].map(String::from).to_vec();
        align.extend(reads.iter().map(|path| path.display().to_string()));
        output("minimap2", &align);
        output("samtools", &["sort", "-o", &bam, &sam]);
        output("bcftools", &["mpileup", "-Ob", "-f", &reference, "-a", "AD,DP", "-o", &bcf, &bam]);
        let variants = text("bcftools", &["call", "-mv", "-Ov", "--ploidy", "1", &bcf]);
        Self { alignments: text("samtools", &["view", &bam]), variants: body(&variants) }
    }
}

/// A VCF without its header.
pub(crate) fn body(vcf: &str) -> String {
    vcf.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// A text in lines of 70.
pub(crate) fn wrapped(text: &str) -> String {
    text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n")
}

/// Bases from a generator with a fixed seed; every tenth stretch of 1 kb is a copy of an earlier one with few changes, so that some
/// reads map to more than one place.
pub(crate) fn bases(length: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let mut out: Vec<u8> = Vec::with_capacity(length);
    while out.len() < length {
        let stretch = 1000.min(length - out.len());
        if out.len() > 20_000 && next() % 10 == 0 {
            let from = next() as usize % (out.len() - 2000);
            for at in from..from + stretch {
                let base = if next() % 200 == 0 { b"ACGT"[next() as usize % 4] } else { out[at] };
                out.push(base);
            }
        } else {
            out.extend((0..stretch).map(|_| b"ACGT"[next() as usize % 4]));
        }
    }
    String::from_utf8(out).unwrap()
}

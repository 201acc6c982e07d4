//! Recall and precision of called variants against a truth, SNPs and indels apart.
//!
//! Calls of QUAL 20 or more and the truth are left-aligned and split to one allele a record, the calls' multi-base substitutions to
//! single bases; then records are equal that agree in contig, position and alleles. Genotypes are not compared.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use neardata_core::{ByteRange, ObjectUri};
use neardata_functions::{CallError, Cause};
use neardata_store::Stores;
use serde::{Deserialize, Serialize};

use crate::functions::ObjectReader;
use crate::reference;

/// Calls below this QUAL are not compared.
const LEAST_QUALITY: &str = "QUAL>=20";

/// How well variants of one kind were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Called and true.
    pub true_positives: u64,
    /// Called but not true.
    pub false_positives: u64,
    /// True but not called.
    pub false_negatives: u64,
    recall: f64,
    precision: f64,
}

impl Score {
    fn new(true_positives: u64, false_positives: u64, false_negatives: u64) -> Self {
        let part = |of: u64| if of == 0 { 1.0 } else { true_positives as f64 / of as f64 };
        let (recall, precision) = (part(true_positives + false_negatives), part(true_positives + false_positives));
        Self { true_positives, false_positives, false_negatives, recall, precision }
    }

    /// Part of the true ones that were called; 1 where there is none.
    pub fn recall(&self) -> f64 {
        self.recall
    }

    /// Part of the called ones that are true; 1 where there is none.
    pub fn precision(&self) -> f64 {
        self.precision
    }
}

/// How well variants were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Single-base substitutions.
    pub snps: Score,
    /// Insertions and deletions.
    pub indels: Score,
}

/// Compares `calls` with `truth`, both VCF (plain or compressed), on `reference`; needs the program `bcftools`.
pub fn compare(stores: &Stores, truth: &ObjectUri, calls: &ObjectUri, reference: &ObjectUri) -> Result<Accuracy, CallError> {
    let folder = tempfile::Builder::new().prefix("neardata-compare-").tempdir()?;
    let work = Comparison { folder: folder.path() };
    let fasta = work.reference(stores, reference)?;
    let truth = work.normalised(stores, "truth", truth, &fasta, &[])?;
    let calls = work.normalised(stores, "calls", calls, &fasta, &["-i", LEAST_QUALITY])?;
    let shared = folder.path().join("isec");
    work.bcftools(Command::new("bcftools").args(["isec", "-c", "none", "-p"]).args([&shared, &truth, &calls]))?;
    let [missed_snps, missed_indels] = work.counts(&shared.join("0000.vcf"))?;
    let [false_snps, false_indels] = work.counts(&shared.join("0001.vcf"))?;
    let [snps, indels] = work.counts(&shared.join("0002.vcf"))?;
    Ok(Accuracy { snps: Score::new(snps, false_snps, missed_snps), indels: Score::new(indels, false_indels, missed_indels) })
}

struct Comparison<'a> {
    folder: &'a Path,
}

impl Comparison<'_> {
    fn reference(&self, stores: &Stores, uri: &ObjectUri) -> Result<PathBuf, CallError> {
        let path = self.folder.join("reference.fa");
        let text = reference::decompressed(open(stores, uri)?)?;
        let found = reference::normalise(&uri.to_string(), text, File::create(&path)?).map_err(CallError::input)?;
        std::fs::write(self.folder.join("reference.fa.fai"), found.fai)?;
        Ok(path)
    }

    /// An object as an indexed, left-aligned VCF with one allele a record.
    fn normalised(
        &self,
        stores: &Stores,
        name: &str,
        uri: &ObjectUri,
        fasta: &Path,
        select: &[&str],
    ) -> Result<PathBuf, CallError> {
        let file = |suffix: &str| self.folder.join(format!("{name}.{suffix}"));
        let (original, selected, split) = (file("vcf"), file("selected.bcf"), file("split.bcf"));
        io::copy(&mut open(stores, uri)?, &mut File::create(&original)?)?;
        let of = |error: CallError| error.context(uri);
        self.bcftools(Command::new("bcftools").args(["view", "-Ob"]).args(select).arg("-o").args([&selected, &original]))
            .map_err(of)?;
        let norm = |command: &mut Command| self.bcftools(command.arg("-Ob")).map_err(of);
        norm(Command::new("bcftools").args(["norm", "-m", "-any", "-f"]).arg(fasta).arg("-o").args([&split, &selected]))?;
        let mut ready = split;
        if name == "calls" {
            let single = file("single.bcf");
            norm(Command::new("bcftools").args(["norm", "-a", "-o"]).args([&single, &ready]))?;
            ready = single;
        }
        // Splitting may leave neighbours out of order.
        let sorted = file("sorted.bcf");
        let temporary = self.folder.join(format!("{name}.sort"));
        let mut sort = Command::new("bcftools");
        sort.arg("sort").arg("-T").arg(temporary).args(["-Ob", "-o"]).args([&sorted, &ready]);
        self.bcftools(&mut sort)?;
        self.bcftools(Command::new("bcftools").args(["index", "-f"]).arg(&sorted))?;
        Ok(sorted)
    }

    /// SNPs and indels of a file.
    fn counts(&self, path: &Path) -> Result<[u64; 2], CallError> {
        let count = |kind: &str| -> Result<u64, CallError> {
            let body = self.bcftools(Command::new("bcftools").args(["view", "-H", "-v", kind]).arg(path))?;
            Ok(memchr::memchr_iter(b'\n', &body).count() as u64)
        };
        Ok([count("snps")?, count("indels")?])
    }

    fn bcftools(&self, command: &mut Command) -> Result<Vec<u8>, CallError> {
        let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                CallError::new(Cause::MissingTool, "missing tool: bcftools; install it with `apt-get install bcftools`")
            }
            _ => CallError::from(error),
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.trim().lines().next_back().unwrap_or("it said nothing");
        Err(CallError::input(format!("bcftools {}: {last}", command.get_args().next().unwrap_or_default().to_string_lossy())))
    }
}

fn open(stores: &Stores, uri: &ObjectUri) -> Result<ObjectReader, CallError> {
    let object = stores.head(uri)?;
    Ok(ObjectReader::new(stores.open(&object)?, ByteRange::new(0, object.size), 4 << 20))
}

//! VCF: which records of a region count, one header for all of them, one file with its tabix index.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bgzf::BgzfWriter;
use super::binning::Binning;
use crate::reference::Contigs;

/// Level of libdeflate for VCF; fixed, as the file's digest depends on it.
const LEVEL: i32 = 6;

/// The fields of a line that this crate looks at.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// CHROM.
    pub contig: &'a str,
    /// POS, from 1.
    pub position: u64,
    /// REF.
    pub reference: &'a str,
    /// ALT.
    pub alternates: &'a str,
    /// QUAL, if given.
    pub quality: Option<f64>,
    /// INFO.
    pub info: &'a str,
}

impl<'a> Variant<'a> {
    /// The fields of a line of a VCF body; `None` if it is none.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('\t');
        let contig = fields.next()?;
        let position = fields.next()?.parse().ok()?;
        let _id = fields.next()?;
        let (reference, alternates) = (fields.next()?, fields.next()?);
        let quality = fields.next()?.parse().ok();
        let _filter = fields.next()?;
        let info = fields.next()?;
        Some(Self { contig, position, reference, alternates, quality, info })
    }

    /// Whether every allele is one base.
    pub fn is_snp(&self) -> bool {
        self.reference.len() == 1 && self.alternates.split(',').all(|alternate| alternate.len() == 1)
    }

    /// One past its last reference base, from 0.
    pub fn end(&self) -> u64 {
        let named = self.info.split(';').find_map(|entry| entry.strip_prefix("END=")?.parse().ok());
        named.unwrap_or(self.position - 1 + self.reference.len() as u64)
    }
}

/// Counts of variants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VariantCounts {
    /// Records.
    pub records: u64,
    /// Records whose alleles are all single bases.
    pub snps: u64,
    /// The other ones.
    pub indels: u64,
    /// Of the SNPs, those between A and G or C and T, by their first alternate.
    pub transitions: u64,
    /// Of the others, those whose first alternate is longer than the reference.
    pub insertions: u64,
    /// Of the others, those whose first alternate is shorter.
    pub deletions: u64,
    /// Records by QUAL, in steps of [`QUALITY_STEP`], the last step open.
    pub by_quality: Vec<u64>,
}

/// Width of a bar in [`VariantCounts::by_quality`].
pub const QUALITY_STEP: f64 = 10.0;
const QUALITY_STEPS: usize = 26;

impl VariantCounts {
    /// Counts one record.
    pub fn add(&mut self, variant: &Variant<'_>) {
        self.by_quality.resize(QUALITY_STEPS, 0);
        self.records += 1;
        let alternate = variant.alternates.split(',').next().unwrap_or_default();
        if variant.is_snp() {
            self.snps += 1;
            self.transitions +=
                u64::from(matches!((variant.reference, alternate), ("A", "G") | ("G", "A") | ("C", "T") | ("T", "C")));
        } else {
            self.indels += 1;
            self.insertions += u64::from(alternate.len() > variant.reference.len());
            self.deletions += u64::from(alternate.len() < variant.reference.len());
        }
        let step = (variant.quality.unwrap_or(0.0).max(0.0) / QUALITY_STEP) as usize;
        self.by_quality[step.min(QUALITY_STEPS - 1)] += 1;
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.snps += other.snps;
        self.indels += other.indels;
        self.transitions += other.transitions;
        self.insertions += other.insertions;
        self.deletions += other.deletions;
        self.by_quality.resize(self.by_quality.len().max(other.by_quality.len()), 0);
        self.by_quality.iter_mut().zip(&other.by_quality).for_each(|(ours, theirs)| *ours += theirs);
    }
}

/// A caller's header without what differs from run to run: dates, paths, command lines, versions of the tools that happened to run.
///
/// Kept: the format's version, FILTER, ALT, INFO and FORMAT lines and the column line; the contigs are those of the reference.
pub fn normalised_header(header: &str, contigs: &Contigs, source: &str) -> String {
    let mut out = String::from("##fileformat=VCFv4.2\n");
    let of_kind = |kind: &str| -> Vec<&str> { header.lines().filter(|line| line.starts_with(kind)).collect() };
    let mut push = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    of_kind("##FILTER=").into_iter().for_each(&mut push);
    push(&format!("##source={source}"));
    for contig in contigs.iter() {
        push(&format!("##contig=<ID={},length={}>", contig.name, contig.length));
    }
    for kind in ["##ALT=", "##INFO=", "##FORMAT=", "#CHROM"] {
        of_kind(kind).into_iter().for_each(&mut push);
    }
    out
}

/// Writes `calls.vcf.gz` from the bodies of regions in their order.
pub struct VcfWriter<W> {
    output: BgzfWriter<W>,
    contigs: BTreeMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    index: Binning,
    counts: VariantCounts,
    last: (u32, u64),
}

impl<W: Write> VcfWriter<W> {
    /// Begins the file with this header.
    pub fn new(output: W, header: &str, contigs: &Contigs) -> io::Result<Self> {
        let names: Vec<Arc<str>> = contigs.iter().map(|contig| Arc::from(contig.name.as_str())).collect();
        let contigs = names.iter().enumerate().map(|(id, name)| (name.clone(), id as u32)).collect();
        let mut output = BgzfWriter::new(output, LEVEL);
        output.write_whole(header.as_bytes())?;
        let (index, counts) = (Binning::default(), VariantCounts::default());
        Ok(Self { output, contigs, names, index, counts, last: (0, 0) })
    }

    /// Appends the records of one region (header lines in between are left out).
    pub fn append(&mut self, mut body: impl BufRead) -> io::Result<()> {
        let mut line = String::new();
        while body.read_line(&mut line)? > 0 {
            if !line.starts_with('#') {
                self.push(&line)?;
            }
            line.clear();
        }
        Ok(())
    }

    fn push(&mut self, line: &str) -> io::Result<()> {
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a VCF record {reason}: {line}"));
        let variant = Variant::parse(line.trim_end()).ok_or_else(|| invalid("without its fields"))?;
        let contig = *self.contigs.get(variant.contig).ok_or_else(|| invalid("on a contig the reference lacks"))?;
        if (contig, variant.position) < self.last {
            return Err(invalid("out of order"));
        }
        self.last = (contig, variant.position);
        self.output.make_room(line.len())?;
        let from = self.output.virtual_offset();
        self.output.write_whole(line.as_bytes())?;
        let to = self.output.virtual_offset();
        self.index.add(contig, variant.position as i32 - 1, variant.end() as i32, from, to, true);
        self.counts.add(&variant);
        Ok(())
    }

    /// Ends the file; gives the output, the bytes of its `.tbi`, and what it holds.
    pub fn finish(self) -> io::Result<(W, Vec<u8>, VariantCounts)> {
        let output = self.output.finish()?;
        let names = self.names;
        let mut tbi = BgzfWriter::new(Vec::new(), LEVEL);
        tbi.write_whole(&self.index.to_tbi(|contig| names[contig as usize].to_string()))?;
        Ok((output, tbi.finish()?, self.counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Contig;

    #[test]
    fn headers_lose_what_differs_from_run_to_run() {
        let contigs = Contigs::new(vec![Contig { name: "K12".into(), length: 9 }]).unwrap();
        let header = "##fileformat=VCFv4.2\n##FILTER=<ID=PASS,Description=\"x\">\n##bcftoolsVersion=1.16\n##reference=file://ref.fa\n\
                      ##contig=<ID=K12,length=9>\n##INFO=<ID=DP,Number=1>\n##bcftools_callCommand=call; Date=Mon\n#CHROM\tPOS\n";
        let normal = normalised_header(header, &contigs, "neardata");
        assert!(!normal.contains("Date") && !normal.contains("ref.fa") && !normal.contains("1.16"));
        assert!(normal.ends_with("##contig=<ID=K12,length=9>\n##INFO=<ID=DP,Number=1>\n#CHROM\tPOS\n"), "{normal}");
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let contigs = Contigs::new(vec![Contig { name: "K12".into(), length: 9 }]).unwrap();
        let mut writer = VcfWriter::new(Vec::new(), "#CHROM\n", &contigs).unwrap();
        let body = "K12\t5\t.\tA\tC\t9.5\t.\tDP=1\nK12\t4\t.\tA\tC\t9.5\t.\tDP=1\n";
        assert!(writer.append(body.as_bytes()).unwrap_err().to_string().contains("out of order"));
    }
}

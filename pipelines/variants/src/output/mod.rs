//! What a run leaves behind: VCF, BAM, their indexes.

pub mod bam;
pub mod bgzf;
pub mod binning;
pub mod vcf;

//! Reads to alignments: FASTQ in, SAM lines from an aligner, BAM records out.

pub mod fastq;
pub mod rammap;
pub mod record;
pub mod sam;

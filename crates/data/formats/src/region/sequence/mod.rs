//! Regions of FASTA, plain or in BGZF, through the tables of `samtools faidx` (`.fai`, `.gzi`) or our own.

mod blocks;
mod fai;
mod index;
mod plan;
mod read;

pub(crate) use plan::SequencePlanner;
pub use plan::{SequencePart, SequenceSelection};
pub(crate) use read::SequenceReader;

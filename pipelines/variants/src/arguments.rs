//! What a user asks for.

use std::time::Duration;

use neardata_core::ObjectUri;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The aligner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aligner {
    /// In this process; byte for byte what `minimap2 -ax sr` gives.
    #[default]
    Rammap,
    /// The `minimap2` program.
    Minimap2,
    /// The `bwa mem` program.
    Bwa,
}

/// The variant caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// `bcftools mpileup | bcftools call`.
    #[default]
    Bcftools,
    /// `freebayes`.
    Freebayes,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),* }) => {
        impl $type {
            /// Its name, as on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is none of {}", [$($name),*].join(", "))),
                }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names!(Aligner { Rammap = "rammap", Minimap2 = "minimap2", Bwa = "bwa" });
names!(Caller { Bcftools = "bcftools", Freebayes = "freebayes" });

/// The arguments of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantsArguments {
    /// Reads, one object a lane: single reads, first mates, or pairs when `interleaved`.
    pub reads: Vec<ObjectUri>,
    /// Second mates, one object a lane, in the order of `reads`.
    #[serde(default)]
    pub reads2: Vec<ObjectUri>,
    /// The objects of `reads` hold pairs, mate after mate.
    #[serde(default)]
    pub interleaved: bool,
    /// The reference genome.
    pub reference: ObjectUri,
    /// The prefix under which results appear.
    pub output: ObjectUri,
    /// Into how many slices all reads are cut; by default what fits the limits of a call.
    #[serde(default)]
    pub slices: Option<u64>,
    /// Into how many regions the genome is cut; by default what fits the limits of a call.
    #[serde(default)]
    pub regions: Option<u64>,
    /// How many workers there are, for the defaults of `slices` and `regions`.
    #[serde(default)]
    pub workers: Option<usize>,
    /// The aligner.
    #[serde(default)]
    pub aligner: Aligner,
    /// The variant caller.
    #[serde(default)]
    pub caller: Caller,
    /// Copies of each chromosome.
    #[serde(default = "default_ploidy")]
    pub ploidy: u32,
    /// Name of the sample.
    #[serde(default = "default_sample")]
    pub sample: String,
    /// A BED object: only variants inside its intervals.
    #[serde(default)]
    pub targets: Option<ObjectUri>,
    /// Memory a call may use, in bytes.
    #[serde(default = "default_call_memory")]
    pub call_memory: u64,
    /// Wall seconds a call may take.
    #[serde(default = "default_call_time")]
    pub call_time: f64,
    /// Publish the sorted alignments too.
    #[serde(default)]
    pub keep_alignments: bool,
}

fn default_ploidy() -> u32 {
    2
}

fn default_sample() -> String {
    "sample".to_owned()
}

fn default_call_memory() -> u64 {
    10 << 30
}

fn default_call_time() -> f64 {
    900.0
}

/// Arguments that make no run.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ArgumentsError(String);

/// One lane: an object of reads, or two of mates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Single reads, first mates or pairs.
    pub first: ObjectUri,
    /// Second mates.
    pub second: Option<ObjectUri>,
}

impl VariantsArguments {
    /// The arguments with everything but these at its default.
    pub fn new(reads: Vec<ObjectUri>, reference: ObjectUri, output: ObjectUri) -> Self {
        Self {
            reads,
            reads2: Vec::new(),
            interleaved: false,
            reference,
            output,
            slices: None,
            regions: None,
            workers: None,
            aligner: Aligner::default(),
            caller: Caller::default(),
            ploidy: default_ploidy(),
            sample: default_sample(),
            targets: None,
            call_memory: default_call_memory(),
            call_time: default_call_time(),
            keep_alignments: false,
        }
    }

    /// The wall time a call may take.
    pub fn call_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.call_time).unwrap_or(Duration::MAX)
    }

    /// Whether reads come in pairs.
    pub fn is_paired(&self) -> bool {
        self.interleaved || !self.reads2.is_empty()
    }

    /// The lanes, in order.
    pub fn lanes(&self) -> Vec<Lane> {
        let lane =
            |(ordinal, first): (usize, &ObjectUri)| Lane { first: first.clone(), second: self.reads2.get(ordinal).cloned() };
        self.reads.iter().enumerate().map(lane).collect()
    }

    /// Refuses what cannot run, with the remedy.
    pub fn check(&self) -> Result<(), ArgumentsError> {
        let refuse = |text: String| Err(ArgumentsError(text));
        if self.reads.is_empty() {
            return refuse("no reads; give at least one object with --reads".into());
        }
        if !self.reads2.is_empty() && self.reads2.len() != self.reads.len() {
            let (first, second) = (self.reads.len(), self.reads2.len());
            return refuse(format!(
                "{first} objects of first mates but {second} of second mates; give one --reads2 for every --reads"
            ));
        }
        if self.interleaved && !self.reads2.is_empty() {
            return refuse("--interleaved and --reads2 exclude each other; interleaved pairs lie in --reads alone".into());
        }
        if self.reads.iter().zip(&self.reads2).any(|(first, second)| first == second) {
            return refuse("--reads and --reads2 name the same object; the mates lie in two".into());
        }
        let ploidies = if self.caller == Caller::Bcftools { 1..=2 } else { 1..=64 };
        if !ploidies.contains(&self.ploidy) {
            let (caller, most) = (self.caller, ploidies.end());
            return refuse(format!(
                "--ploidy {} is more than {caller} calls (1 to {most}); freebayes calls higher ones",
                self.ploidy
            ));
        }
        if self.slices == Some(0) || self.regions == Some(0) || self.workers == Some(0) {
            return refuse("--slices, --regions and --workers count from 1; leave them out for what fits".into());
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || "._+-:".contains(c);
        if self.sample.is_empty() || !self.sample.chars().all(fine) {
            return refuse(format!("`{}` is no name for a sample; use letters, digits and . _ + - :", self.sample));
        }
        if self.call_memory < 256 << 20 || !self.call_time.is_finite() || self.call_time < 1.0 {
            return refuse("a call needs at least --call-memory 256M and --call-time 1s".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_defaults_and_refusals_say_what_to_do() {
        let json = r#"{"reads":["s3://b/r1"],"reads2":["s3://b/r2"],"reference":"s3://b/f","output":"s3://b/o","aligner":"bwa"}"#;
        let mut arguments: VariantsArguments = serde_json::from_str(json).unwrap();
        assert_eq!((arguments.aligner, arguments.ploidy, arguments.call_time), (Aligner::Bwa, 2, 900.0));
        assert_eq!(arguments.check(), Ok(()));
        arguments.ploidy = 4;
        assert!(arguments.check().unwrap_err().to_string().contains("freebayes"));
        arguments.reads2.push("s3://b/r3".parse().unwrap());
        assert!(arguments.check().unwrap_err().to_string().contains("--reads2"));
    }
}

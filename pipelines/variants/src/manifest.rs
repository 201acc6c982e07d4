//! `manifest.json`: what was run on what, with what, and what came of it; enough to run it again and compare.

use std::collections::BTreeMap;

use neardata_core::{CallKey, ObjectRef};
use neardata_functions::{CallRecord, Figures};
use serde::{Deserialize, Serialize};

use crate::VariantsArguments;
use crate::functions::Tool;
use crate::output::vcf::VariantCounts;
use crate::shuffle::RunSummary;

/// What the driver learns on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFacts {
    pub(crate) tools: Vec<Tool>,
    pub(crate) reads: Vec<ObjectRef>,
    pub(crate) read_count: u64,
    pub(crate) reference: Option<ObjectRef>,
    pub(crate) reference_sha256: Option<String>,
    pub(crate) targets: Option<ObjectRef>,
    pub(crate) slices: u64,
    pub(crate) regions: u64,
    pub(crate) alignments: RunSummary,
    pub(crate) variants: VariantCounts,
    pub(crate) calls: Vec<CallNote>,
}

impl RunFacts {
    pub(crate) fn new(tools: &[Tool]) -> Self {
        Self { tools: tools.to_vec(), ..Self::default() }
    }
}

/// One call, for the manifest and the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallNote {
    /// Its stage.
    pub stage: String,
    /// What it worked on.
    pub label: String,
    /// Its content address.
    pub key: CallKey,
    /// Attempts this job made at it; 0 if it was finished before.
    pub attempts: u32,
    /// What the attempt that succeeded used.
    pub figures: Figures,
}

impl CallNote {
    pub(crate) fn new(stage: &str, label: String, record: &CallRecord, attempts: u32) -> Self {
        Self { stage: stage.to_owned(), label, key: record.key.clone(), attempts, figures: record.figures.clone() }
    }
}

/// An input as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputNote {
    /// `reads`, `reference` or `targets`.
    pub role: String,
    /// The object, pinned.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// SHA-256 of its bytes, where a pass over them was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputNote {
    /// Its name below the output prefix.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Whether the same inputs give the same bytes.
    pub reproducible: bool,
}

/// Sums over the calls of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSum {
    /// Calls.
    pub calls: u64,
    /// Attempts beyond the first of each.
    pub retries: u64,
    /// Of the calls, those that were finished before.
    pub reused: u64,
    /// CPU seconds.
    pub cpu_s: f64,
    /// From the start of its first call to the end of its last, in seconds.
    pub wall_s: f64,
    /// Bytes fetched.
    pub bytes_fetched: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// The largest peak of any call.
    pub peak_rss: u64,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this shape; 1.
    pub v: u32,
    /// `variants`.
    pub pipeline: String,
    /// Version of NearData.
    pub neardata: String,
    /// The job.
    pub job: String,
    /// What was asked for.
    pub arguments: VariantsArguments,
    /// Tools that ran.
    pub tools: Vec<Tool>,
    /// Inputs.
    pub inputs: Vec<InputNote>,
    /// Outputs.
    pub outputs: Vec<OutputNote>,
    /// Reads, alignments.
    pub alignments: RunSummary,
    /// Variants.
    pub variants: VariantCounts,
    /// Slices.
    pub slices: u64,
    /// Regions, hot ones counted as split.
    pub regions: u64,
    /// Sums by stage.
    pub stages: BTreeMap<String, StageSum>,
    /// Every call.
    pub calls: Vec<CallNote>,
}

impl Manifest {
    /// The version written by this program.
    pub const VERSION: u32 = 1;

    pub(crate) fn new(job: String, arguments: &VariantsArguments, facts: RunFacts, outputs: Vec<OutputNote>) -> Self {
        let RunFacts {
            tools, reads, reference, reference_sha256, targets, slices, regions, alignments, variants, mut calls, ..
        } = facts;
        calls.sort_by(|a, b| a.figures.started.total_cmp(&b.figures.started));
        let note = |role: &str, object: ObjectRef, sha256| InputNote { role: role.to_owned(), object, sha256 };
        let mut inputs: Vec<InputNote> = reads.into_iter().map(|object| note("reads", object, None)).collect();
        inputs.extend(reference.map(|object| note("reference", object, reference_sha256)));
        inputs.extend(targets.map(|object| note("targets", object, None)));
        Self {
            v: Self::VERSION,
            pipeline: "variants".to_owned(),
            neardata: neardata_core::VERSION.to_owned(),
            job,
            arguments: arguments.clone(),
            tools,
            inputs,
            outputs,
            alignments,
            variants,
            slices,
            regions,
            stages: sums(&calls),
            calls,
        }
    }
}

fn sums(calls: &[CallNote]) -> BTreeMap<String, StageSum> {
    let mut stages: BTreeMap<String, (StageSum, f64, f64)> = BTreeMap::new();
    for CallNote { stage, figures, attempts, .. } in calls {
        let (sum, begin, end) = stages.entry(stage.clone()).or_insert((StageSum::default(), f64::MAX, 0.0));
        sum.calls += 1;
        sum.retries += u64::from(attempts.saturating_sub(1));
        sum.reused += u64::from(*attempts == 0);
        sum.cpu_s += figures.cpu_s;
        sum.bytes_fetched += figures.bytes_fetched;
        sum.bytes_written += figures.bytes_written;
        sum.peak_rss = sum.peak_rss.max(figures.peak_rss);
        *begin = begin.min(figures.started);
        *end = end.max(figures.started + figures.wall_s);
        sum.wall_s = *end - *begin;
    }
    stages.into_iter().map(|(stage, (sum, ..))| (stage, sum)).collect()
}

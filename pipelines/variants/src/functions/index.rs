//! Stage `index`: side-cars of the reads, one call an object; the reference and the aligner's index of it, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use neardata_core::{ObjectRef, canonical};
use neardata_functions::{CallContext, CallError};
use serde::{Deserialize, Serialize};

use super::{Stage, Tool, cache, node};
use crate::Aligner;
use crate::alignment::rammap;
use crate::output::binning::LONGEST_CONTIG;
use crate::reference::Contigs;

/// Makes sure that an object of reads has a fresh side-car.
pub struct IndexReads;

/// What to index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexReadsArguments {
    /// The object, pinned.
    pub object: ObjectRef,
}

/// What the index says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexReadsResult {
    /// Reads.
    pub records: u64,
    /// Size when uncompressed.
    pub uncompressed: u64,
    /// Places where decoding can start.
    pub checkpoints: u64,
    /// Compression of the object.
    pub compression: String,
    /// Size of the side-car.
    pub side_car: u64,
    /// Whether it had to be built.
    pub built: bool,
}

impl Stage for IndexReads {
    type Arguments = IndexReadsArguments;
    type Result = IndexReadsResult;
    const NAME: &'static str = "variants.index-reads";
    const VERSION: u32 = 1;

    fn run(&self, call: &CallContext, arguments: &IndexReadsArguments) -> Result<IndexReadsResult, CallError> {
        let uri = &arguments.object.uri;
        let summary = call.slicer().index(uri, &|progress| call.progress(progress.done, progress.total))?;
        if summary.object != arguments.object {
            return Err(CallError::input(format!("{uri} changed while the run began; run again")));
        }
        if summary.format != neardata_formats::Format::Fastq {
            return Err(CallError::input(format!(
                "{uri} holds {}, not reads; give reads as FASTQ, plain, gzip or BGZF (of alignments: `samtools fastq`)",
                summary.format
            )));
        }
        call.count_records(summary.records);
        Ok(IndexReadsResult {
            records: summary.records,
            uncompressed: summary.uncompressed,
            checkpoints: summary.checkpoints,
            compression: format!("{:?}", summary.compression).to_lowercase(),
            side_car: summary.side_car.size,
            built: summary.built,
        })
    }
}

/// Checks the reference and builds the aligner's index of it.
pub struct PrepareReference;

/// What to prepare.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferenceArguments {
    /// The reference, pinned.
    pub source: ObjectRef,
    /// For which aligner.
    pub aligner: Aligner,
    /// The aligner by version and digest.
    pub tool: Option<Tool>,
}

impl ReferenceArguments {
    /// What the index is made of.
    fn address(&self) -> String {
        canonical::digest(&(<PrepareReference as Stage>::VERSION, self))
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferenceResult {
    /// Contigs.
    pub contigs: u64,
    /// Bases.
    pub bases: u64,
    /// SHA-256 of the original's bytes, in hex.
    pub sha256: String,
}

/// A prepared reference: what every later call needs of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceFiles {
    /// Content address of the index: the original, the aligner, its version.
    pub address: String,
    /// The original.
    pub source: ObjectRef,
    /// Its contigs, as JSON.
    pub contigs: ObjectRef,
    /// The files of the aligner's index by name.
    pub index: Vec<(String, ObjectRef)>,
}

impl ReferenceFiles {
    /// The files that [`PrepareReference`] published for these arguments.
    pub fn of_outputs(arguments: &ReferenceArguments, outputs: &BTreeMap<String, ObjectRef>) -> Option<Self> {
        let contigs = outputs.get("contigs.json")?.clone();
        let index = outputs.iter().filter_map(|(name, object)| Some((name.strip_prefix("index/")?.to_owned(), object.clone())));
        Some(Self { address: arguments.address(), source: arguments.source.clone(), contigs, index: index.collect() })
    }
}

impl Stage for PrepareReference {
    type Arguments = ReferenceArguments;
    type Result = ReferenceResult;
    const NAME: &'static str = "variants.prepare-reference";
    const VERSION: u32 = 2;

    fn run(&self, call: &CallContext, arguments: &ReferenceArguments) -> Result<ReferenceResult, CallError> {
        let local = node::local_reference(call, &arguments.source)?;
        let fai = fs::read_to_string(&local.fai)?;
        let contigs =
            contigs_of(&fai).ok_or_else(|| CallError::failed(format!("{} is damaged; remove it", local.fai.display())))?;
        if let Some(contig) = contigs.iter().find(|contig| contig.length > LONGEST_CONTIG) {
            let (name, length) = (&contig.name, contig.length);
            let text = format!("{}: contig `{name}` has {length} bases; .bai and .tbi indexes end at 2^29", arguments.source.uri);
            return Err(CallError::input(format!("{text}; cut the contig")));
        }
        build_index(call, arguments, &local.fasta)?;
        call.publish("reference.fai", Bytes::from(fai))?;
        call.publish("contigs.json", Bytes::from(serde_json::to_vec(&contigs).map_err(CallError::failed)?))?;
        Ok(ReferenceResult { contigs: contigs.len() as u64, bases: contigs.total_length(), sha256: local.sha256 })
    }
}

fn contigs_of(fai: &str) -> Option<Contigs> {
    let contig = |line: &str| {
        let mut fields = line.split('\t');
        Some(crate::reference::Contig { name: fields.next()?.to_owned(), length: fields.next()?.parse().ok()? })
    };
    Contigs::new(fai.lines().map(contig).collect::<Option<_>>()?)
}

/// Builds the index in a folder of this node, where later calls find it, and publishes it for other nodes.
fn build_index(call: &CallContext, arguments: &ReferenceArguments, fasta: &Path) -> Result<(), CallError> {
    let folder = node::built_index(&arguments.address(), |folder| match arguments.aligner {
        Aligner::Rammap => Ok(rammap::build_index(fasta, fs::File::create(folder.join("reference.rmmi"))?)?),
        Aligner::Minimap2 => {
            let mut command = Command::new("minimap2");
            command.args(["-t", "1", "-x", "sr", "-d"]).arg(folder.join("reference.mmi")).arg(fasta);
            call.child(command, "minimap2 index").run().map(drop)
        }
        Aligner::Bwa => {
            let mut command = Command::new("bwa");
            command.args(["index", "-p"]).arg(folder.join("reference")).arg(fasta);
            call.child(command, "bwa index").run().map(drop)
        }
    })?;
    for name in cache::files(&folder)?.keys() {
        call.publish_file(&format!("index/{name}"), &folder.join(name))?;
    }
    Ok(())
}

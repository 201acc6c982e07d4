//! The end of a run: results appear under the output prefix, the manifest last, so that whoever sees it sees everything.

use bytes::Bytes;
use neardata_core::{ByteRange, JobId, ObjectRef, ObjectUri};
use neardata_functions::{CallError, CallRecord};
use neardata_store::{StoreError, Stores};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

use crate::functions::MergeResult;
use crate::manifest::{Manifest, OutputNote, RunFacts};
use crate::reference::Contigs;
use crate::regions::Region;
use crate::{VariantsArguments, coverage, report};

/// What stage `merge` may give, besides which there are only the report and the manifest.
const FILES: [&str; 4] = ["alignments.bam", "alignments.bam.bai", "calls.vcf.gz", "calls.vcf.gz.tbi"];

/// What stage `merge` gave.
pub(crate) struct Merged {
    pub(crate) variants: (CallRecord, MergeResult),
    pub(crate) alignments: Option<(CallRecord, MergeResult)>,
}

/// Copies what is to be seen, writes report and manifest, and sums the run up.
pub(crate) fn publish(
    stores: &Stores,
    job: &JobId,
    arguments: &VariantsArguments,
    facts: RunFacts,
    contigs: &Contigs,
    coverage: Vec<(Region, ObjectRef)>,
    merged: Merged,
) -> Result<Value, CallError> {
    let output = &arguments.output;
    // From here on the old results, if any, are being replaced: they must not be taken for whole.
    remove(stores, output, "manifest.json")?;
    let results = || [Some(&merged.variants), merged.alignments.as_ref()].into_iter().flatten();
    // An older run's alignments beside this run's variants would be taken for this run's.
    for name in FILES.into_iter().filter(|name| results().all(|(record, _)| record.output(name).is_none())) {
        remove(stores, output, name)?;
    }
    let mut outputs = Vec::new();
    for (record, result) in results() {
        for name in FILES {
            let Some(object) = record.output(name) else { continue };
            copy(stores, object, output, name)?;
            let is_index = name.ends_with("i") && !name.ends_with(".bam");
            let sha256 = if is_index { &result.index_sha256 } else { &result.sha256 };
            outputs.push(OutputNote { name: name.to_owned(), bytes: object.size, sha256: sha256.clone(), reproducible: true });
        }
    }
    let mut manifest = Manifest::new(job.to_string(), arguments, facts, outputs);
    let mut bins = Vec::with_capacity(coverage.len());
    for (region, object) in coverage {
        let bytes = stores.open(&object)?.read(ByteRange::new(0, object.size))?;
        bins.push((region, coverage::bins(&bytes).collect()));
    }
    let page = report::render(&manifest, contigs, bins).map_err(CallError::failed)?;
    let sha256 = hex::encode(Sha256::digest(page.as_bytes()));
    let note = OutputNote { name: "report.html".into(), bytes: page.len() as u64, sha256, reproducible: false };
    stores.put(&output.join("report.html"), Bytes::from(page))?;
    manifest.outputs.push(note);
    let text = serde_json::to_vec_pretty(&manifest).map_err(CallError::failed)?;
    stores.put(&output.join("manifest.json"), Bytes::from(text))?;
    Ok(summary(&manifest))
}

fn remove(stores: &Stores, output: &ObjectUri, name: &str) -> Result<(), StoreError> {
    match stores.delete(&output.join(name)) {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn copy(stores: &Stores, object: &ObjectRef, output: &ObjectUri, name: &str) -> Result<(), CallError> {
    let reader = stores.open(object)?;
    let mut upload = stores.upload(&output.join(name))?;
    for piece in reader.stream(ByteRange::new(0, object.size)) {
        upload.write_all(&piece?)?;
    }
    upload.finish()?;
    Ok(())
}

/// What `neardata run variants` prints, and `--json` gives.
fn summary(manifest: &Manifest) -> Value {
    let file = |name: &str| manifest.outputs.iter().find(|output| output.name == name);
    let uri = |name: &str| file(name).map(|_| manifest.arguments.output.join(name).to_string());
    let input_bytes: u64 = manifest.inputs.iter().map(|input| input.object.size).sum();
    let fetched: u64 = manifest.stages.values().map(|stage| stage.bytes_fetched).sum();
    json!({
        "v": 1,
        "output": manifest.arguments.output,
        "calls_vcf": uri("calls.vcf.gz"),
        "calls_sha256": file("calls.vcf.gz").map(|output| &output.sha256),
        "alignments": uri("alignments.bam"),
        "alignments_sha256": file("alignments.bam").map(|output| &output.sha256),
        "manifest": manifest.arguments.output.join("manifest.json"),
        "report": uri("report.html"),
        "reads": manifest.alignments.reads,
        "mapped": manifest.alignments.mapped,
        "variants": manifest.variants.records,
        "snps": manifest.variants.snps,
        "indels": manifest.variants.indels,
        "slices": manifest.slices,
        "regions": manifest.regions,
        "calls": manifest.calls.len(),
        "input_bytes": input_bytes,
        "bytes_fetched": fetched,
        "peak_rss": manifest.stages.values().map(|stage| stage.peak_rss).max(),
        "stages": manifest.stages,
    })
}

//! What a finished run prints.

use neardata_compute::JobView;
use neardata_core::format_bytes;
use neardata_variants::Accuracy;
use serde_json::Value;

use crate::{CliError, output};

/// The summary of a finished variants job.
pub(crate) fn print(view: &JobView, accuracy: Option<&Accuracy>, as_json: bool) -> Result<(), CliError> {
    if as_json {
        let mut value = serde_json::to_value(view)?;
        value["accuracy"] = serde_json::to_value(accuracy)?;
        return output::json(&value);
    }
    let result = view.result.clone().unwrap_or_default();
    let number = |name: &str| result[name].as_u64().unwrap_or_default();
    let text = |name: &str| result[name].as_str().unwrap_or("-").to_owned();
    let retries: u64 = view.stages.iter().map(|stage| stage.retries).sum();
    let reused = view.calls.iter().filter(|call| call.reused).count();
    let (fetched, inputs) = (number("bytes_fetched"), number("input_bytes"));

    output::line("")?;
    output::line(format!("slices        {}", number("slices")))?;
    output::line(format!("regions       {}", number("regions")))?;
    output::line(format!("calls         {}, {reused} reused from an earlier run", view.calls.len()))?;
    output::line(format!("retries       {retries}"))?;
    output::line(format!("inputs        {}; fetched in all stages {}", format_bytes(inputs), format_bytes(fetched)))?;
    output::line(format!("reads         {} ({} mapped)", number("reads"), number("mapped")))?;
    output::line(format!("peak memory   {} in the largest process", format_bytes(number("peak_rss"))))?;
    output::line("")?;
    stages(&result["stages"])?;
    output::line("")?;
    output::line(format!("variants      {} ({} SNPs, {} indels)", number("variants"), number("snps"), number("indels")))?;
    if let Some(accuracy) = accuracy {
        for (name, counts) in [("SNPs", &accuracy.snps), ("indels", &accuracy.indels)] {
            output::line(format!(
                "{name:<13} recall {:.4}  precision {:.4}  ({} true, {} false, {} missed)",
                counts.recall(),
                counts.precision(),
                counts.true_positives,
                counts.false_positives,
                counts.false_negatives
            ))?;
        }
    }
    output::line(format!("calls         {}", text("calls_vcf")))?;
    output::line(format!("digest        sha256 {}", text("calls_sha256")))?;
    if result["alignments"].is_string() {
        output::line(format!("alignments    {}", text("alignments")))?;
    }
    output::line(format!("report        {}", text("report")))?;
    output::line(format!("again         neardata reproduce {}", text("manifest")))
}

fn stages(stages: &Value) -> Result<(), CliError> {
    let order = ["index", "align", "call", "merge"];
    let rows: Vec<Vec<String>> = order
        .iter()
        .filter_map(|name| {
            let stage = stages.get(name)?;
            let (seconds, bytes) = (|key: &str| stage[key].as_f64(), |key: &str| format_bytes(stage[key].as_u64().unwrap_or(0)));
            Some(vec![
                (*name).to_owned(),
                stage["calls"].to_string(),
                format!("{:.1}", seconds("cpu_s").unwrap_or(0.0)),
                format!("{:.1}", seconds("wall_s").unwrap_or(0.0)),
                bytes("bytes_fetched"),
                bytes("bytes_written"),
                bytes("peak_rss"),
            ])
        })
        .collect();
    output::table(&["STAGE", "CALLS", "CPU s", "WALL s", "FETCHED", "WRITTEN", "PEAK MEMORY"], &rows)
}

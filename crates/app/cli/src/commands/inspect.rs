//! `neardata inspect`: what an object is, before anything is done with it.

use neardata_core::format_bytes;
use neardata_formats::{Inspection, Reference};

use crate::args::InspectArgs;
use crate::commands::slices::slicer;
use crate::settings::object_uri;
use crate::{CliError, output};

/// Names shown before "and N more".
const SHOWN: usize = 9;
/// Characters of a line shown.
const WIDTH: usize = 110;

pub(crate) fn run(args: &InspectArgs, as_json: bool) -> Result<(), CliError> {
    let found = slicer()?.inspect(&object_uri(&args.uri)?)?;
    if as_json {
        let mut value = serde_json::to_value(&found).map_err(|error| CliError::Failed(error.to_string()))?;
        value["v"] = 1.into();
        return output::json(&value);
    }
    for (name, value) in facts(&found) {
        output::line(format!("{name:<12} {value}"))?;
    }
    if !found.preview.is_empty() {
        output::line("first")?;
    }
    for line in found.preview.iter().flat_map(|record| record.lines()) {
        let short: String = line.chars().take(WIDTH).collect();
        let more = if short.len() < line.len() { "…" } else { "" };
        output::line(format!("  {short}{more}"))?;
    }
    Ok(())
}

fn facts(found: &Inspection) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("object", format!("{}, {}", found.object.uri, format_bytes(found.object.size))),
        ("format", format!("{}, {}", found.format, found.compression)),
    ];
    facts.push(match &found.indexed {
        Some(counts) => (
            "records",
            format!(
                "{}, {} uncompressed, {} places to start",
                counts.records,
                format_bytes(counts.uncompressed),
                counts.checkpoints
            ),
        ),
        None => ("records", format!("not counted yet: neardata index {}", found.object.uri)),
    });
    let named = |reference: &Reference| match reference.length {
        Some(length) => format!("{} ({length})", reference.name),
        None => reference.name.clone(),
    };
    let references: Vec<String> = found.references.iter().map(named).collect();
    for (name, values) in [("columns", &found.columns), ("references", &references), ("samples", &found.samples)] {
        if !values.is_empty() {
            let more = if values.len() > SHOWN { format!(", and {} more", values.len() - SHOWN) } else { String::new() };
            facts.push((name, format!("{}{more}", values[..values.len().min(SHOWN)].join(", "))));
        }
    }
    facts.extend(found.sort_order.clone().map(|order| ("sorted", order)));
    facts
}

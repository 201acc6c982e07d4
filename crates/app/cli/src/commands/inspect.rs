//! `neardata inspect`: what an object is, before anything is done with it.

use neardata_core::format_bytes;
use neardata_formats::table::Description;
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
    let mut facts = vec![("object", format!("{}, {}", found.object.uri, format_bytes(found.object.size)))];
    match &found.table {
        Some(table) => facts.extend(facts_of_table(found, table)),
        None => facts.extend(facts_of_rows(found)),
    }
    let named = |reference: &Reference| match reference.length {
        Some(length) => format!("{} ({length})", reference.name),
        None => reference.name.clone(),
    };
    let references: Vec<String> = found.references.iter().map(named).collect();
    let typed = found.table.iter().flat_map(|table| &table.columns).map(|column| format!("{} {}", column.name, column.kind));
    let schema = found.schema.iter().map(|column| format!("{} {}", column.name, column.kind));
    let columns = match (&found.table, found.schema.is_empty()) {
        (Some(_), _) => typed.collect(),
        (None, false) => schema.collect(),
        (None, true) => found.columns.clone(),
    };
    for (name, values) in [("columns", &columns), ("references", &references), ("samples", &found.samples)] {
        if !values.is_empty() {
            let more = if values.len() > SHOWN { format!(", and {} more", values.len() - SHOWN) } else { String::new() };
            facts.push((name, format!("{}{more}", values[..values.len().min(SHOWN)].join(", "))));
        }
    }
    facts.extend(found.sort_order.clone().map(|order| ("sorted", order)));
    facts
}

fn facts_of_rows(found: &Inspection) -> Vec<(&'static str, String)> {
    let compression = found.compression.map_or_else(String::new, |compression| format!(", {compression}"));
    let records = match &found.indexed {
        Some(counts) => format!(
            "{}, {} uncompressed, {} places to start",
            counts.records,
            format_bytes(counts.uncompressed),
            counts.checkpoints
        ),
        None => format!("not counted yet: neardata index {}", found.object.uri),
    };
    vec![("format", format!("{}{compression}", found.format)), ("records", records)]
}

fn facts_of_table(found: &Inspection, table: &Description) -> Vec<(&'static str, String)> {
    let records = match table.records {
        Some(records) => format!("{records} {}", table.unit),
        None => format!("{} not counted yet: neardata index {}", table.unit, found.object.uri),
    };
    let size = table.uncompressed.map_or_else(String::new, |bytes| format!(", {} uncompressed", format_bytes(bytes)));
    let mut facts = vec![("format", found.format.clone()), ("records", format!("{records}{size}"))];
    facts.extend(table.extents.iter().map(|extent| ("extent", format!("{} from {} to {}", extent.name, extent.min, extent.max))));
    facts.extend(table.facts.iter().map(|(name, value)| ("", format!("{name}: {value}"))));
    facts
}

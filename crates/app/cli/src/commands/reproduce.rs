//! `neardata reproduce`: runs a finished job again and compares digests.

use std::ffi::OsString;

use neardata_functions::CallError;
use neardata_variants::reproduce::{changed_tools, compare_outputs, read_manifest, reproduce};
use tokio::task::block_in_place;

use crate::args::ReproduceArgs;
use crate::commands::run::{execute, request};
use crate::settings::{Settings, object_uri, output_uri};
use crate::{CliError, output};

pub(crate) async fn run(args: &ReproduceArgs, self_command: Vec<OsString>, as_json: bool) -> Result<(), CliError> {
    let failed = |error: CallError| CliError::Failed(error.to_string());
    let settings = Settings::load(&[])?;
    let stores = settings.stores()?;
    let uri = object_uri(&args.manifest)?;
    let first = block_in_place(|| read_manifest(&stores, &uri)).map_err(failed)?;
    let second_output = match &args.output {
        Some(text) => output_uri(text)?,
        None => first.arguments.output.join(&format!("reproduced-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])),
    };
    if second_output == first.arguments.output {
        return Err(CliError::Usage(format!("--output is where the first run's results lie ({second_output}); choose another")));
    }
    let arguments = block_in_place(|| reproduce(&stores, &first, second_output)).map_err(failed)?;
    let mut request = request(&arguments)?;
    // Records of its own: finished calls of the first run must not answer for the second.
    let results = arguments.output.join(&format!(".neardata/reproduce-{}", uuid::Uuid::new_v4().simple()));
    request.results = Some(results.clone());
    execute(request, &arguments.output, &settings, &self_command).await?;
    let second = block_in_place(|| read_manifest(&stores, &arguments.output.join("manifest.json"))).map_err(failed)?;

    if let Some(call) = second.calls.iter().find(|call| call.attempts == 0) {
        return Err(CliError::Failed(format!(
            "nothing was reproduced: call {} ({}) was taken from an earlier run",
            call.label, call.stage
        )));
    }
    block_in_place(|| stores.delete_prefix(&results))?;

    let compared = compare_outputs(&first, &second);
    for pair in &compared {
        if as_json {
            output::json(
                &serde_json::json!({"name": pair.name, "first": pair.before, "second": pair.now, "identical": pair.is_same()}),
            )?;
        } else {
            let verdict = if pair.is_same() { "identical" } else { "DIFFERENT" };
            output::line(format!("{:<20} {verdict}  {}", pair.name, pair.before))?;
        }
    }
    if !as_json {
        output::line(format!("the second run's results: {}", arguments.output))?;
    }
    let different: Vec<&str> = compared.iter().filter(|pair| !pair.is_same()).map(|pair| pair.name.as_str()).collect();
    if different.is_empty() {
        return Ok(());
    }
    let tools = changed_tools(&first).map_err(failed)?;
    let why = if tools.is_empty() { "the tools are the same".to_owned() } else { tools.join(", ") };
    Err(CliError::Failed(format!("{} came out different; {why}", different.join(", "))))
}

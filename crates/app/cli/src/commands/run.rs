//! `neardata run variants`.

use std::ffi::OsString;

use neardata_compute::{JobRequest, JobState, JobView};
use neardata_core::{ObjectUri, parse_bytes, parse_duration};
use neardata_variants::VariantsArguments;

use crate::args::{Aligner, Caller, VariantsArgs};
use crate::commands::{jobs, private, summary};
use crate::settings::{Settings, object_uri, output_uri};
use crate::{CliError, output};

pub(crate) async fn variants(args: &VariantsArgs, self_command: Vec<OsString>, as_json: bool) -> Result<(), CliError> {
    let flag = |key, value: &Option<String>| value.clone().map(|value| (key, value));
    let flags = [flag("workers", &args.workers), flag("call_memory", &args.call_memory), flag("call_time", &args.call_time)];
    let flags: Vec<_> = flags.iter().flatten().map(|(key, value)| (*key, value.as_str())).collect();
    let settings = Settings::load(&flags)?;
    let arguments = arguments(args, &settings)?;
    arguments.check().map_err(|error| CliError::Usage(error.to_string()))?;

    if args.dry_run {
        let stores = settings.stores()?;
        let workers = settings.workers()?;
        let plan = tokio::task::block_in_place(|| neardata_variants::plan(&stores, &arguments, workers));
        let plan = plan.map_err(|error| CliError::Failed(error.to_string()))?;
        return if as_json { output::json(&plan) } else { output::line(plan) };
    }
    if args.detach {
        let client = jobs::client().map_err(|_| {
            CliError::Unavailable(
                "--detach leaves the job on a running platform; start one with `neardata up`, then: eval \"$(neardata env)\""
                    .to_owned(),
            )
        })?;
        let job = client.submit(&request(&arguments)?).await.map_err(jobs::client_error)?;
        return if as_json {
            output::json(&serde_json::json!({"v": 1, "job": job}))
        } else {
            output::line(format!("job {job} runs; see: neardata jobs show {job}"))
        };
    }
    let view = execute(request(&arguments)?, &arguments.output, &settings, &self_command).await?;
    let accuracy = match &args.truth {
        Some(truth) => Some(accuracy(truth, &arguments, &settings)?),
        None => None,
    };
    summary::print(&view, accuracy.as_ref(), as_json)
}

/// Runs a job to its end, on the platform of the environment or in a private engine; a failed one is an error.
pub(crate) async fn execute(
    request: JobRequest,
    output: &ObjectUri,
    settings: &Settings,
    self_command: &[OsString],
) -> Result<JobView, CliError> {
    let view = match jobs::client_if_any()? {
        Some(client) => jobs::follow(&client, &request).await?,
        None => private::run(request, output, settings, self_command).await?,
    };
    match (view.summary.state, &view.error) {
        (JobState::Done, _) => Ok(view),
        (_, Some(error)) => Err(CliError::Failed(error.message.clone())),
        (state, None) => Err(CliError::Failed(format!("the job ended {state}"))),
    }
}

/// The job that runs these arguments.
pub(crate) fn request(arguments: &VariantsArguments) -> Result<JobRequest, CliError> {
    let mut request = JobRequest::new("variants", serde_json::to_value(arguments)?);
    request.workers = arguments.workers;
    Ok(request)
}

fn arguments(args: &VariantsArgs, settings: &Settings) -> Result<VariantsArguments, CliError> {
    let uris = |texts: &[String]| texts.iter().map(|text| object_uri(text)).collect::<Result<Vec<_>, _>>();
    let mut arguments = VariantsArguments::new(uris(&args.reads)?, object_uri(&args.reference)?, output_uri(&args.output)?);
    arguments.reads2 = uris(&args.reads2)?;
    arguments.interleaved = args.interleaved;
    arguments.slices = args.slices;
    arguments.regions = args.regions;
    arguments.workers = if args.workers.is_some() { Some(settings.workers()?) } else { None };
    arguments.aligner = match args.aligner {
        Aligner::Rammap => neardata_variants::Aligner::Rammap,
        Aligner::Minimap2 => neardata_variants::Aligner::Minimap2,
        Aligner::Bwa => neardata_variants::Aligner::Bwa,
    };
    arguments.caller = match args.caller {
        Caller::Bcftools => neardata_variants::Caller::Bcftools,
        Caller::Freebayes => neardata_variants::Caller::Freebayes,
    };
    arguments.ploidy = args.ploidy;
    arguments.sample.clone_from(&args.sample);
    arguments.targets = args.targets.as_deref().map(object_uri).transpose()?;
    if let Some(text) = settings.config.get("call_memory") {
        arguments.call_memory = parse_bytes(text)?;
    }
    if let Some(text) = settings.config.get("call_time") {
        arguments.call_time = parse_duration(text)?.as_secs_f64();
    }
    arguments.keep_alignments = args.keep_alignments;
    Ok(arguments)
}

fn accuracy(truth: &str, arguments: &VariantsArguments, settings: &Settings) -> Result<neardata_variants::Accuracy, CliError> {
    let stores = settings.stores()?;
    let truth = object_uri(truth)?;
    let calls = arguments.output.join("calls.vcf.gz");
    let compared = tokio::task::block_in_place(|| neardata_variants::compare(&stores, &truth, &calls, &arguments.reference));
    compared.map_err(|error| CliError::Failed(error.to_string()))
}

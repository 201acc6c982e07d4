//! A private engine: the same engine as the platform's, inside this process, for one run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use neardata_compute::{Engine, EngineError, EngineOptions, JobRequest, JobView, Pipeline, Tuning};
use neardata_core::{ObjectUri, canonical};

use crate::CliError;
use crate::commands::{told_to_stop, worker};
use crate::progress::JobBars;
use crate::settings::Settings;

/// Every pipeline of this binary.
pub(crate) fn pipelines() -> Vec<Arc<dyn Pipeline>> {
    vec![Arc::new(neardata_variants::VariantsPipeline)]
}

pub(crate) fn worker_command(self_command: &[OsString]) -> Vec<OsString> {
    self_command.iter().cloned().chain([OsString::from("worker")]).collect()
}

pub(crate) fn engine_error(error: EngineError) -> CliError {
    match error {
        EngineError::Locked { .. } => CliError::Unavailable(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    }
}

/// Runs one job to its end in an engine of its own. Records and outputs of its calls lie below `OUTPUT/.neardata`, so that the same
/// command goes on where an earlier one was stopped.
pub(crate) async fn run(
    request: JobRequest,
    output: &ObjectUri,
    settings: &Settings,
    self_command: &[OsString],
) -> Result<JobView, CliError> {
    let results = output.join(".neardata");
    let workers = settings.workers()?;
    let options = EngineOptions {
        folder: engine_folder(&results, settings),
        results: results.clone(),
        stores: settings.stores()?,
        side_cars: settings.side_cars()?,
        workers,
        worker_command: worker_command(self_command),
        worker_environment: settings.worker_environment(),
        registry: worker::registry(),
        pipelines: pipelines(),
        tuning: Tuning::default(),
    };
    // The engine makes its own folder private; the results' folder is an ordinary one.
    if let Some(path) = output.path() {
        std::fs::create_dir_all(&path).map_err(|error| CliError::io(path.display(), &error))?;
    }
    let engine = Engine::start(options).await.map_err(engine_error)?;
    let job = engine.submit(request).await.map_err(engine_error)?;
    let bars = JobBars::new();
    let follow = async {
        let mut events = Box::pin(engine.events(&job, 0).await.map_err(engine_error)?);
        while let Some(event) = events.next().await {
            bars.show(&event);
        }
        bars.finish();
        engine.job(&job).await.map_err(engine_error)
    };
    let outcome = tokio::select! {
        view = follow => view,
        () = told_to_stop() => {
            let _already_ended = engine.cancel(&job).await;
            let _dying = tokio::time::timeout(std::time::Duration::from_secs(10), engine.wait(&job)).await;
            Err(CliError::Interrupted)
        }
    };
    engine.shutdown().await;
    outcome
}

/// Beside the results on a local disk; else in the cache, one folder an output.
pub(crate) fn engine_folder(results: &ObjectUri, settings: &Settings) -> PathBuf {
    match results.path() {
        Some(path) => path.join("engine"),
        None => settings.cache_folder().join("runs").join(&canonical::digest(results)[..24]),
    }
}

//! `neardata jobs`, and what other commands need to talk to the platform.

use futures::StreamExt;
use neardata_compute::client::{Client, ClientError};
use neardata_compute::{JobId, JobRequest, JobSummary, JobView};

use crate::args::JobsCommand;
use crate::commands::told_to_stop;
use crate::progress::JobBars;
use crate::{CliError, output};

/// The platform the environment names.
pub(crate) fn client_if_any() -> Result<Option<Client>, CliError> {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match text("NEARDATA_API") {
        Some(api) => Client::tcp(&api, text("NEARDATA_TOKEN").as_deref()).map(Some).map_err(client_error),
        None => Ok(None),
    }
}

pub(crate) fn client() -> Result<Client, CliError> {
    client_if_any()?.ok_or_else(|| {
        CliError::Unavailable(
            "NEARDATA_API is not set: start a platform with `neardata up`, then run: eval \"$(neardata env)\"".to_owned(),
        )
    })
}

pub(crate) fn client_error(error: ClientError) -> CliError {
    match error {
        // Nobody there, somebody else, another version, or a token that is not theirs: the platform cannot be had.
        ClientError::Unreachable { .. }
        | ClientError::NotNearData { .. }
        | ClientError::Refused { status: 401 | 403 | 426, .. } => CliError::Unavailable(error.to_string()),
        ClientError::Address(_) => CliError::Usage(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    }
}

/// Submits a job and shows its progress until it ends; the first Ctrl-C cancels it.
pub(crate) async fn follow(client: &Client, request: &JobRequest) -> Result<JobView, CliError> {
    let job = client.submit(request).await.map_err(client_error)?;
    let bars = JobBars::new();
    let follow = async {
        let mut events = Box::pin(client.events(&job, 0));
        while let Some(event) = events.next().await {
            bars.show(&event.map_err(client_error)?);
        }
        bars.finish();
        client.job(&job).await.map_err(client_error)
    };
    tokio::select! {
        view = follow => view,
        () = told_to_stop() => {
            let _already_ended = client.cancel(&job).await;
            Err(CliError::Interrupted)
        }
    }
}

pub(crate) async fn run(command: &JobsCommand, as_json: bool) -> Result<(), CliError> {
    let client = client()?;
    match command {
        JobsCommand::List => list(&client.jobs().await.map_err(client_error)?, as_json),
        JobsCommand::Show { job } => {
            let view = client.job(&find(&client, job).await?).await.map_err(client_error)?;
            if as_json { output::json(&view) } else { show(&view) }
        }
        JobsCommand::Logs { job } => {
            let text = client.logs(&find(&client, job).await?).await.map_err(client_error)?;
            if text.is_empty() { Ok(()) } else { output::line(text.trim_end()) }
        }
        JobsCommand::Cancel { job } => {
            let id = find(&client, job).await?;
            let view = client.job(&id).await.map_err(client_error)?;
            if view.summary.state.is_final() {
                return Err(CliError::Failed(format!("job {id} is {} already", view.summary.state)));
            }
            client.cancel(&id).await.map_err(client_error)?;
            output::line(format!("job {id} is being cancelled; finished calls are kept"))
        }
        JobsCommand::Report { job } => {
            let view = client.job(&find(&client, job).await?).await.map_err(client_error)?;
            match view.result.as_ref().and_then(|result| result["report"].as_str()) {
                Some(report) => output::line(report),
                None => Err(CliError::Failed(format!("job {} is {} and has no report", view.summary.id, view.summary.state))),
            }
        }
    }
}

/// The one job whose id begins with `text`.
async fn find(client: &Client, text: &str) -> Result<JobId, CliError> {
    if text.is_empty() {
        return Err(CliError::Usage("give the id of a job, or the beginning of it; see: neardata jobs list".to_owned()));
    }
    let jobs = client.jobs().await.map_err(client_error)?;
    let mut matching = jobs.iter().filter(|job| job.id.as_str().starts_with(text));
    match (matching.next(), matching.next()) {
        (Some(job), None) => Ok(job.id.clone()),
        (Some(_), Some(_)) => Err(CliError::Failed(format!("more than one job begins with `{text}`; give more of the id"))),
        _ => Err(CliError::Failed(format!("there is no job `{text}`; see: neardata jobs list"))),
    }
}

fn list(jobs: &[JobSummary], as_json: bool) -> Result<(), CliError> {
    if as_json {
        return jobs.iter().try_for_each(output::json);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let seconds = job.finished.map_or_else(|| "-".to_owned(), |finished| format!("{:.1}", finished - job.created));
            vec![job.id.to_string(), job.name.clone(), job.state.to_string(), ago(job.created), seconds]
        })
        .collect();
    output::table(&["JOB", "WHAT", "STATE", "SUBMITTED", "SECONDS"], &rows)
}

fn ago(then: f64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    match (now - then).max(0.0) as u64 {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86400),
    }
}

fn show(view: &JobView) -> Result<(), CliError> {
    output::line(format!("job {} ({}): {}", view.summary.id, view.summary.name, view.summary.state))?;
    if let Some(error) = &view.error {
        output::line(format!("error: {}", error.message))?;
    }
    let rows: Vec<Vec<String>> = view
        .calls
        .iter()
        .map(|call| {
            let last = call.attempts.last();
            let state = format!("{:?}", call.state).to_lowercase();
            let pid = last.and_then(|attempt| attempt.pid).map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let host = last.and_then(|attempt| attempt.host.clone()).unwrap_or_default();
            let (cpu, wall) = call.figures.as_ref().map_or_else(
                || ("-".to_owned(), "-".to_owned()),
                |figures| (format!("{:.1}", figures.cpu_s), format!("{:.1}", figures.wall_s)),
            );
            let trouble =
                call.attempts.iter().rev().find_map(|attempt| attempt.error.as_ref()).map_or("", |error| error.message.as_str());
            let trouble = trouble.lines().next().unwrap_or_default().to_owned();
            vec![call.stage.clone(), call.call.to_string(), state, call.attempts.len().to_string(), pid, host, cpu, wall, trouble]
        })
        .collect();
    output::table(&["STAGE", "CALL", "STATE", "ATTEMPTS", "PID", "HOST", "CPU s", "WALL s", "TROUBLE"], &rows)
}

//! One module a command.

mod cache;
mod config;
mod doctor;
mod engine;
mod env;
mod inspect;
mod jobs;
mod private;
mod reproduce;
mod run;
mod slices;
mod summary;
mod up;
mod worker;

use std::ffi::OsString;

use clap::CommandFactory;

use crate::CliError;
use crate::args::{CacheCommand, Cli, Command, ConfigCommand, RunCommand};
use crate::output;
use crate::settings::Settings;

/// Runs the command of a parsed command line.
pub(crate) fn run(cli: Cli, self_command: Vec<OsString>) -> Result<(), CliError> {
    let log = Settings::load(&[])?;
    // s3s calls every 404 an error; the hub logs what a person should see.
    let filter = log.config.get("log").unwrap_or("warn");
    let filter = if matches!(cli.command, Command::Up(_)) && filter == "warn" { "warn,s3s=off" } else { filter };
    neardata_core::telemetry::install("warn", Some(filter), output::is_fancy());
    let json = cli.json;
    if matches!(cli.command, Command::Slice(_) | Command::Read(_) | Command::Index(_) | Command::Worker) {
        neardata_store::keep_freed_buffers();
    }
    match cli.command {
        Command::Up(args) => asynchronous(up::run(&args, self_command)),
        Command::Env(args) => env::run(&args, json),
        Command::Slice(args) => slices::slice(&args),
        Command::Read(args) => slices::read(&args),
        Command::Inspect(args) => inspect::run(&args, json),
        Command::Index(args) => slices::index(&args, json),
        Command::Run(RunCommand::Variants(args)) => asynchronous(run::variants(&args, self_command, json)),
        Command::Reproduce(args) => asynchronous(reproduce::run(&args, self_command, json)),
        Command::Jobs(command) => asynchronous(jobs::run(&command, json)),
        Command::Cache(CacheCommand::Gc { older_than, outputs, dry_run }) => {
            asynchronous(cache::gc(&older_than, &outputs, dry_run, json))
        }
        Command::Doctor => doctor::run(json),
        Command::Config(ConfigCommand::Show) => config::show(json),
        Command::Completions { shell } => {
            // Made in memory first: the generator panics when the reader of a pipe goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "neardata", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())
        }
        Command::Worker => worker::run(),
        Command::Engine(args) => asynchronous(engine::run(&args, self_command)),
    }
}

fn asynchronous(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("runtime", &error))?;
    let outcome = runtime.block_on(work);
    // Blocking work of a cancelled command must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

/// Ends when the process is told to: SIGINT or SIGTERM.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

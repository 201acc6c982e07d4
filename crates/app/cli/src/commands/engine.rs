//! `neardata engine`: a private engine for the SDK, on a Unix socket; it ends when its parent does.

use std::ffi::OsString;
use std::io::Read;

use neardata_compute::{Engine, EngineOptions, Tuning, service};
use neardata_core::ObjectUri;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::args::EngineArgs;
use crate::commands::{private, told_to_stop, worker};
use crate::settings::{Settings, object_uri};
use crate::{CliError, output};

pub(crate) async fn run(args: &EngineArgs, self_command: Vec<OsString>) -> Result<(), CliError> {
    let flags: Vec<_> = args.workers.as_deref().map(|workers| ("workers", workers)).into_iter().collect();
    let settings = Settings::load(&flags)?;
    let options = EngineOptions {
        folder: args.folder.clone(),
        results: match &args.results {
            Some(text) => object_uri(text)?,
            None => ObjectUri::from_path(args.folder.join("results")),
        },
        stores: settings.stores()?,
        side_cars: settings.side_cars()?,
        workers: settings.workers()?,
        worker_command: private::worker_command(&self_command),
        worker_environment: settings.worker_environment(),
        registry: worker::registry(),
        pipelines: private::pipelines(),
        tuning: Tuning::default(),
    };
    let engine = Engine::start(options).await.map_err(private::engine_error)?;
    let _stale = std::fs::remove_file(&args.socket);
    let listener = UnixListener::bind(&args.socket).map_err(|error| CliError::io(args.socket.display(), &error))?;
    let router = service::router(engine.clone(), service::ServiceOptions::private());
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { service::serve_unix(listener, router, stop.cancelled_owned()).await }
    });
    output::json(&serde_json::json!({"v": 1, "ready": true}))?;
    tokio::select! {
        () = told_to_stop() => {}
        () = parent_gone() => {}
    }
    engine.shutdown().await;
    stop.cancel();
    let _slow_clients = tokio::time::timeout(std::time::Duration::from_secs(1), serving).await;
    let _already_gone = std::fs::remove_file(&args.socket);
    Ok(())
}

/// The parent holds our standard input open; it closes when the parent ends, however it ends. Read on a thread of its own, which nobody
/// has to wait for.
async fn parent_gone() {
    let (closed, gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        while std::io::stdin().read(&mut nothing).is_ok_and(|count| count > 0) {}
        let _nobody_waits = closed.send(());
    });
    let _closed = gone.await;
}

//! `neardata up`: hub, API and engine in one process.

use std::ffi::OsString;
use std::net::SocketAddr;

use neardata_compute::{Engine, EngineOptions, Tuning, service};
use neardata_core::{ObjectUri, VERSION};
use neardata_formats::SideCars;
use neardata_hub::{Hub, HubError, HubOptions};
use neardata_store::{Credentials, StoreOptions, Stores};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::UpArgs;
use crate::commands::{private, told_to_stop, worker};
use crate::platform::{DataFolder, RootKey, Running};
use crate::settings::Settings;
use crate::{CliError, output};

const REGION: &str = "us-east-1";
/// Where side-cars and results of calls lie on the platform's own store.
const INDEX_BUCKET: &str = "neardata-index";
const RESULTS_BUCKET: &str = "neardata-results";

pub(crate) async fn run(args: &UpArgs, self_command: Vec<OsString>) -> Result<(), CliError> {
    let flag = |key, value: &Option<String>| value.clone().map(|value| (key, value));
    let flags: Vec<_> = [flag("data", &args.data), flag("s3", &args.s3), flag("api", &args.api), flag("workers", &args.workers)]
        .into_iter()
        .flatten()
        .collect();
    let flags: Vec<_> = flags.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let settings = Settings::load(&flags)?;
    let (s3_address, api_address) = (address(&settings, "s3")?, address(&settings, "api")?);
    let workers = settings.workers()?;

    let folder = DataFolder::create(settings.data_folder())?;
    let lock = folder.lock()?;
    let key = folder.root_key_or_fresh()?;

    // Both listeners first: what cannot listen must not start anything.
    let api_listener = TcpListener::bind(api_address).await.map_err(|error| cannot_listen("--api", api_address, &error))?;
    let api_address = api_listener.local_addr().map_err(|error| cannot_listen("--api", api_address, &error))?;
    let hub = Hub::open(HubOptions {
        folder: folder.hub(),
        listen: s3_address,
        access_key: key.access_key.clone(),
        secret_key: key.secret_key.as_str().into(),
        region: REGION.to_owned(),
    });
    let hub = hub.await.map_err(hub_error)?;
    for bucket in [INDEX_BUCKET, RESULTS_BUCKET] {
        hub.ensure_bucket(bucket).await.map_err(hub_error)?;
    }
    let hub = hub.bind().await.map_err(hub_error)?;
    let endpoint = format!("http://{}", hub.address());
    let stop = CancellationToken::new();
    let mut hub_task = tokio::spawn(hub.serve(stop.clone().cancelled_owned()));

    let engine = start_engine(&folder, &key, &endpoint, &settings, &self_command).await?;
    let resumed = engine.resume_unfinished().await.map_err(private::engine_error)?;
    let router = service::router(engine.clone(), service::ServiceOptions::tcp(api_address, key.api_token()));
    let stop_api = stop.clone();
    let mut api_task = tokio::spawn(async move { service::serve(api_listener, router, stop_api.cancelled_owned()).await });

    let api = format!("http://{api_address}");
    let running = Running {
        v: 1,
        pid: std::process::id(),
        version: VERSION.to_owned(),
        s3: endpoint.clone(),
        api: api.clone(),
        region: REGION.to_owned(),
        key: key.fingerprint(),
    };
    folder.set_running(&running)?;
    announce(&folder, args, &endpoint, &api, workers, resumed.len())?;

    let ended_by_itself = tokio::select! {
        () = told_to_stop() => None,
        _ = &mut hub_task => Some("the S3 endpoint"),
        _ = &mut api_task => Some("the API"),
    };
    folder.clear_running();
    engine.shutdown().await;
    stop.cancel();
    let drained = async {
        if !hub_task.is_finished() {
            let _ended = hub_task.await;
        }
        if !api_task.is_finished() {
            let _ended = api_task.await;
        }
    };
    let _slow_clients = tokio::time::timeout(std::time::Duration::from_secs(10), drained).await;
    drop(lock);
    match ended_by_itself {
        Some(part) => Err(CliError::Failed(format!("{part} ended by itself; see the log above"))),
        None => output::line("stopped; the same command finds everything again"),
    }
}

async fn start_engine(
    folder: &DataFolder,
    key: &RootKey,
    endpoint: &str,
    settings: &Settings,
    self_command: &[OsString],
) -> Result<Engine, CliError> {
    let workers = settings.workers()?;
    let stores = Stores::new(StoreOptions {
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.to_owned()),
        credentials: Some(Credentials {
            access_key: key.access_key.clone(),
            secret_key: key.secret_key.clone(),
            session_token: None,
        }),
        ..settings.store_options()
    })?;
    let bucket = |name: &str| format!("s3://{name}").parse::<ObjectUri>();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = EngineOptions {
        folder: folder.engine(),
        results: bucket(RESULTS_BUCKET)?,
        stores,
        side_cars: SideCars { root: bucket(INDEX_BUCKET)? },
        workers,
        worker_command: private::worker_command(self_command),
        worker_environment: settings
            .worker_environment()
            .into_iter()
            .chain([
                variable("AWS_ENDPOINT_URL", endpoint),
                variable("AWS_ENDPOINT_URL_S3", endpoint),
                variable("AWS_ACCESS_KEY_ID", &key.access_key),
                variable("AWS_SECRET_ACCESS_KEY", &key.secret_key),
                variable("AWS_SESSION_TOKEN", ""),
                variable("AWS_REGION", REGION),
            ])
            .collect(),
        registry: worker::registry(),
        pipelines: private::pipelines(),
        tuning: Tuning::default(),
    };
    Engine::start(options).await.map_err(private::engine_error)
}

fn address(settings: &Settings, key: &str) -> Result<SocketAddr, CliError> {
    let text = settings.config.get(key).unwrap_or_default();
    text.parse().map_err(|_| CliError::Usage(format!("--{key} must be an address such as 127.0.0.1:9000, not `{text}`")))
}

fn cannot_listen(flag: &str, address: SocketAddr, error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => CliError::Unavailable(format!(
            "{address} is in use by another program; choose another address with {flag} (port 0 takes a free one)"
        )),
        _ => CliError::Unavailable(format!("cannot listen on {address}: {error}; choose another address with {flag}")),
    }
}

fn hub_error(error: HubError) -> CliError {
    match error {
        HubError::AddressInUse { address } => cannot_listen("--s3", address, &std::io::ErrorKind::AddrInUse.into()),
        HubError::Listen { address, source } => cannot_listen("--s3", address, &source),
        other => CliError::Failed(other.to_string()),
    }
}

fn announce(folder: &DataFolder, args: &UpArgs, s3: &str, api: &str, workers: usize, resumed: usize) -> Result<(), CliError> {
    let data = args.data.as_deref().map_or_else(String::new, |data| format!(" --data {data}"));
    output::line(format!("NearData {VERSION} is up"))?;
    output::line(format!("  S3 endpoint  {s3}"))?;
    output::line(format!("  API          {api}"))?;
    output::line(format!("  data         {}", folder.path().display()))?;
    output::line(format!("  workers      {workers}"))?;
    if resumed > 0 {
        output::line(format!("  resumed      {resumed} unfinished job(s)"))?;
    }
    output::line(format!("  clients      eval \"$(neardata env{data})\""))?;
    output::line(format!("  stop         Ctrl-C, or kill {}", std::process::id()))
}

//! The engine's HTTP service, protocol version 1, on TCP or on a Unix socket.
//!
//! Routes and shapes are on the page `docs/design/spine.md`. The service trusts nothing it is sent: bodies are bounded, the token is
//! compared in constant time, and pages of other origins are refused (`Host`, `Origin`), so that a browser cannot be used against it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, StreamExt};
use neardata_core::{JobId, VERSION};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};

use crate::event::Event;
use crate::python::PythonRequest;
use crate::{Engine, EngineError, JobRequest};

/// The protocol's version, in the header `NearData-Protocol`.
pub const PROTOCOL: u32 = 1;
/// The header that carries the protocol's version.
pub const PROTOCOL_HEADER: &str = "neardata-protocol";
/// The largest body of a job request.
const MAX_REQUEST: usize = 16 << 20;
/// The largest body of a request that carries Python calls.
const MAX_CALLS: usize = 1 << 30;
/// How often a quiet event stream sends an empty line.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who may ask.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    token: Option<String>,
    names: Vec<String>,
}

impl ServiceOptions {
    /// A service on a TCP address: requests carry `token`.
    pub fn tcp(_address: SocketAddr, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), names: vec!["localhost".to_owned()] }
    }

    /// A service on a Unix socket in a folder of mode 0700: who can open it may ask.
    pub fn private() -> Self {
        Self { token: None, names: Vec::new() }
    }

    /// Also answers under this host name; IP addresses and `localhost` are always answered.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }
}

/// The routes of an engine.
pub fn router(engine: Engine, options: ServiceOptions) -> Router {
    let gate = Arc::new(options);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/jobs", post(submit).get(jobs))
        .route("/v1/jobs/{id}", get(job))
        .route("/v1/jobs/{id}/logs", get(logs))
        .route("/v1/jobs/{id}/cancel", post(cancel))
        .route("/v1/jobs/{id}/events", get(events))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .route("/v1/calls", post(calls).layer(DefaultBodyLimit::max(MAX_CALLS)))
        .layer(middleware::from_fn_with_state(gate.clone(), authorize))
        .route("/healthz", get(healthz))
        .fallback(no_such_page)
        .layer(middleware::from_fn_with_state(gate, refuse_foreign_pages))
        .with_state(engine)
}

/// Serves on TCP until `stop`.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// Serves on a Unix socket until `stop`.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// An error as the protocol tells it.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self { status, code, message: message.into(), remedy }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({"code": self.code, "message": self.message, "remedy": self.remedy});
        tracing::info!(code = self.code, message = self.message, "request refused");
        (self.status, Json(json!({"v": 1, "error": error}))).into_response()
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let (status, code, remedy) = match &error {
            EngineError::UnknownJob(_) => (StatusCode::NOT_FOUND, "no_such_job", "see `neardata jobs list`"),
            EngineError::UnknownPipeline { .. } => (StatusCode::NOT_FOUND, "no_such_pipeline", "see `neardata run --help`"),
            EngineError::NotResumable { .. } => (StatusCode::CONFLICT, "not_resumable", "submit it as a new job"),
            EngineError::Request(_) => (StatusCode::BAD_REQUEST, "bad_request", "correct the request"),
            EngineError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "try again when the service is back"),
            EngineError::Locked { .. } | EngineError::Database(_) | EngineError::Io(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "see the service's log")
            }
        };
        Self::new(status, code, error.to_string(), remedy)
    }
}

async fn no_such_page() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no_such_page", "there is nothing at this address", "see docs/design/spine.md")
}

/// A browser may be made to send requests here by a page of any site; it says so in `Origin`, and, if that site's name was made to point
/// here, in `Host`.
async fn refuse_foreign_pages(State(gate): State<Arc<ServiceOptions>>, request: Request, next: Next) -> Response {
    if gate.token.is_none() {
        return next.run(request).await; // browsers cannot speak to a Unix socket
    }
    let headers = request.headers();
    let Some(host) = text(headers, header::HOST).filter(|host| is_ours(host, &gate.names)) else {
        let message = "the Host header names neither an IP address nor this machine";
        return Refusal::new(StatusCode::FORBIDDEN, "foreign_host", message, "use the address that `neardata env` prints")
            .into_response();
    };
    if let Some(origin) = headers.get(header::ORIGIN)
        && origin.as_bytes() != format!("http://{host}").as_bytes()
    {
        let message = "pages of other origins may not use this service";
        return Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", message, "ask from the service's own pages")
            .into_response();
    }
    next.run(request).await
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = without_port.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || names.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

async fn authorize(State(gate): State<Arc<ServiceOptions>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(token) = &gate.token {
        let given = text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !equal_in_constant_time(given.as_bytes(), token.as_bytes()) {
            let remedy = "run eval \"$(neardata env)\"";
            return Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token is missing or wrong", remedy)
                .into_response();
        }
    }
    let protocol = headers.get(PROTOCOL_HEADER).and_then(|value| value.to_str().ok());
    if protocol.and_then(|protocol| protocol.parse().ok()) != Some(PROTOCOL) {
        let given = protocol.unwrap_or("none");
        let message = format!("this service is NearData {VERSION} and speaks protocol {PROTOCOL}, the client {given}");
        let remedy = "install the client of the service's version, or restart the service with the newer one";
        return Refusal::new(StatusCode::UPGRADE_REQUIRED, "protocol", message, remedy).into_response();
    }
    let limit = if request.uri().path() == "/v1/calls" { MAX_CALLS } else { MAX_REQUEST };
    let length = text(request.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        let message = format!("the body is larger than the {limit} bytes allowed here");
        let remedy = "put large things into objects and send their addresses";
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, remedy).into_response();
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Takes the same time wherever the texts differ; only a differing length shows.
fn equal_in_constant_time(given: &[u8], wanted: &[u8]) -> bool {
    let difference = given.iter().zip(wanted).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    given.len() == wanted.len() && difference == 0
}

async fn healthz() -> Json<Value> {
    Json(json!({"v": 1, "status": "ok", "version": VERSION, "protocol": PROTOCOL}))
}

async fn metrics(State(engine): State<Engine>) -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4");
    ([(header::CONTENT_TYPE, content_type)], engine.metrics()).into_response()
}

/// A body of version 1 as the type `T`.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    #[derive(Deserialize)]
    struct Versioned<T> {
        v: u32,
        #[serde(flatten)]
        body: T,
    }
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message, "correct the request's body");
    let body: Versioned<T> = serde_json::from_slice(body).map_err(|error| bad(format!("the body is malformed: {error}")))?;
    if body.v != 1 {
        return Err(bad(format!("the body is of version {}, this service understands 1", body.v)));
    }
    Ok(body.body)
}

async fn submit(State(engine): State<Engine>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let job = engine.submit(parse::<JobRequest>(&body)?).await?;
    Ok(Json(json!({"v": 1, "job": job})))
}

async fn calls(State(engine): State<Engine>, body: Bytes) -> Result<Json<Value>, Refusal> {
    // Not through `Versioned`: flattening would copy what may be many megabytes.
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message, "correct the request's body");
    let request: PythonRequest = serde_json::from_slice(&body).map_err(|error| bad(format!("the body is malformed: {error}")))?;
    drop(body);
    let job = engine.submit_python(request).await?;
    Ok(Json(json!({"v": 1, "job": job})))
}

async fn jobs(State(engine): State<Engine>) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({"v": 1, "jobs": engine.jobs().await?})))
}

async fn job(State(engine): State<Engine>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let view = engine.job(&JobId::from_text(id)).await?;
    Ok(Json(serde_json::to_value(view).unwrap_or_default()))
}

async fn logs(State(engine): State<Engine>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let text = engine.logs(&JobId::from_text(id)).await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], text).into_response())
}

#[derive(Deserialize)]
struct CancelBody {
    #[serde(default)]
    calls: Option<Vec<u64>>,
}

async fn cancel(State(engine): State<Engine>, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let body: CancelBody = parse(&body)?;
    let id = JobId::from_text(id);
    match body.calls {
        None => engine.cancel(&id).await?,
        Some(calls) => engine.cancel_calls(&id, &calls).await?,
    }
    Ok(Json(json!({"v": 1})))
}

#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    from: u64,
}

async fn events(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Refusal> {
    let batches = engine.event_batches(&JobId::from_text(id), query.from).await?;
    let body = Body::from_stream(lines(batches).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], body).into_response())
}

/// Events as lines, an empty one at first (the headers go out with it) and when it is quiet for long.
fn lines(batches: impl Stream<Item = Vec<Arc<Event>>> + Send + 'static) -> impl Stream<Item = Bytes> + Send {
    let first = futures::stream::once(async { Bytes::from_static(b"\n") });
    let rest = futures::stream::unfold(Box::pin(batches), |mut batches| async move {
        let text = match tokio::time::timeout(KEEP_ALIVE, batches.next()).await {
            Ok(Some(batch)) => batch_text(&batch),
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b"\n"),
        };
        Some((text, batches))
    });
    first.chain(rest)
}

fn batch_text(batch: &[Arc<Event>]) -> Bytes {
    let mut text = Vec::with_capacity(batch.len() * 160);
    for event in batch {
        if serde_json::to_writer(&mut text, &**event).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}

//! The HTTP server: connections, limits, the headers every answer carries, and a drained end.

use std::sync::Arc;
use std::time::Duration;

use crate::edge;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::HttpError;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

/// Connections served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// What is read from a connection at once; also the most a request's head may have.
const READ_BUFFER: usize = 256 << 10;
/// How long a client may take to send its headers, and may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests under way may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`; then takes no more requests and lets those under way finish for a while.
pub(crate) async fn serve(listener: TcpListener, service: S3Service, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accepting = accept(&listener, &service, &connections, &permits, &stopped);
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = stop.send(true);
    connections.close();
    // Every connection ends by itself within DRAIN of hearing it.
    let _cut = tokio::time::timeout(DRAIN * 2, connections.wait()).await;
}

async fn accept(
    listener: &TcpListener,
    service: &S3Service,
    connections: &TaskTracker,
    permits: &Arc<Semaphore>,
    stopped: &watch::Receiver<bool>,
) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the client is gone already: either passes.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (service, mut stopped) = (service.clone(), stopped.clone());
        connections.spawn(async move {
            let _permit = permit;
            serve_connection(stream, service, &mut stopped).await;
        });
    }
}

async fn serve_connection(stream: TcpStream, service: S3Service, stopped: &mut watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { answer(&service, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let stopping = async {
        // The sender may be gone: that is the end as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn answer(service: &S3Service, request: Request<Incoming>) -> Result<Response<s3s::Body>, HttpError> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match edge::refused(&request) {
        Some(error) => error.to_http_response().map_err(|error| HttpError::new(Box::new(error)))?,
        None => service.call(edge::bounded(request)).await?,
    };
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = s3s::Body::empty();
    }
    protect(&mut response);
    if status.is_client_error() || status.is_server_error() {
        tracing::debug!(%method, path, status = status.as_u16(), "a request was refused");
    }
    Ok(response)
}

/// Stored bytes must not become scripts of this origin: no sniffing, and a sandbox for what a browser renders.
fn protect(response: &mut Response<s3s::Body>) {
    let renders = response.headers().get(header::CONTENT_TYPE).is_some_and(rendered_by_browsers);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if renders {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
    if let Ok(id) = HeaderValue::try_from(uuid::Uuid::new_v4().simple().to_string()) {
        headers.insert("x-amz-request-id", id);
    }
    headers.insert(header::SERVER, HeaderValue::from_static("NearData"));
}

fn rendered_by_browsers(content_type: &HeaderValue) -> bool {
    // What cannot be read as text is no type we know to be harmless.
    let Ok(text) = content_type.to_str() else { return true };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(
        essence.as_str(),
        "text/html"
            | "text/xml"
            | "application/xml"
            | "application/pdf"
            | "text/xsl"
            | "multipart/x-mixed-replace"
            | "text/cache-manifest"
    ) || essence.ends_with("+xml")
}

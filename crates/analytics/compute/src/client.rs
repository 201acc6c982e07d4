//! A small client of the service, for the command line: submit, follow, cancel, list, show, logs.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use neardata_core::JobId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use crate::event::{Event, EventKind};
use crate::service::{PROTOCOL, PROTOCOL_HEADER};
use crate::view::{JobSummary, JobView};
use crate::{JobRequest, pipeline};

/// How long a broken event stream is taken up again before the client gives up.
const RECONNECT_FOR: Duration = Duration::from_secs(60);

/// A client of one service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    token: Option<String>,
}

#[derive(Clone, Debug)]
enum Address {
    Tcp(String),
    Unix(PathBuf),
}

/// Why the service did not do what was asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The text is no address.
    #[error("`{0}` is not the address of a job service; write http://HOST:PORT")]
    Address(String),
    /// Nobody answers there.
    #[error("no answer from {address}: {reason}; is `neardata up` running there?")]
    Unreachable {
        /// where
        address: String,
        /// the system's words
        reason: String,
    },
    /// The service refused.
    #[error("{message}; {remedy}")]
    Refused {
        /// HTTP status
        status: u16,
        /// the kind of refusal
        code: String,
        /// what is wrong
        message: String,
        /// what to do
        remedy: String,
    },
    /// What answers is not a job service.
    #[error("{address} does not answer as a NearData job service ({reason}); check NEARDATA_API")]
    NotNearData {
        /// where
        address: String,
        /// what was odd
        reason: String,
    },
}

impl Client {
    /// A client of the service at `http://HOST:PORT`.
    pub fn tcp(api: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(api.to_owned());
        let rest = api.trim().strip_prefix("http://").ok_or_else(wrong)?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains('/') {
            return Err(wrong());
        }
        let with_port =
            if authority.ends_with(']') || !authority.contains(':') { format!("{authority}:80") } else { authority.to_owned() };
        Ok(Self { address: Address::Tcp(with_port), token: token.map(str::to_owned) })
    }

    /// A client of the service on a Unix socket.
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self { address: Address::Unix(socket.into()), token: None }
    }

    /// Submits a job.
    pub async fn submit(&self, request: &JobRequest) -> Result<JobId, ClientError> {
        #[derive(Deserialize)]
        struct Submitted {
            job: JobId,
        }
        let body = pipeline::versioned(request);
        Ok(self.ask::<Submitted>(Method::POST, "/v1/jobs", Some(&body)).await?.job)
    }

    /// All jobs, the latest first.
    pub async fn jobs(&self) -> Result<Vec<JobSummary>, ClientError> {
        #[derive(Deserialize)]
        struct Jobs {
            jobs: Vec<JobSummary>,
        }
        Ok(self.ask::<Jobs>(Method::GET, "/v1/jobs", None).await?.jobs)
    }

    /// All there is to see of a job.
    pub async fn job(&self, id: &JobId) -> Result<JobView, ClientError> {
        self.ask(Method::GET, &format!("/v1/jobs/{id}"), None).await
    }

    /// What the calls of a job wrote.
    pub async fn logs(&self, id: &JobId) -> Result<String, ClientError> {
        let body = self.fetch(Method::GET, &format!("/v1/jobs/{id}/logs"), None).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Cancels a job.
    pub async fn cancel(&self, id: &JobId) -> Result<(), ClientError> {
        self.fetch(Method::POST, &format!("/v1/jobs/{id}/cancel"), Some(&json!({"v": 1}))).await.map(drop)
    }

    /// The events of a job from number `from` on, to its end; a broken connection is taken up again where it broke.
    pub fn events(&self, id: &JobId, from: u64) -> impl Stream<Item = Result<Event, ClientError>> + Send + use<> {
        let follower = Follower { client: self.clone(), job: id.clone(), next: from.max(1), open: None, ended: false };
        futures::stream::unfold(follower, |mut follower| async move {
            let batch = follower.next_batch().await?;
            Some((futures::stream::iter(batch), follower))
        })
        .flatten()
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T, ClientError> {
        let body = self.fetch(method, path, body).await?;
        serde_json::from_slice(&body).map_err(|error| self.odd(&error))
    }

    async fn fetch(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, ClientError> {
        let answer = self.send(method, path, body).await?;
        let collected = answer.into_body().collect().await;
        Ok(collected.map_err(|error| self.unreachable(&error))?.to_bytes())
    }

    /// Sends one request on a connection of its own; an answer that is a refusal is an error.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<http::Response<Incoming>, ClientError> {
        let host = match &self.address {
            Address::Tcp(authority) => authority.as_str(),
            Address::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        request = request.header(PROTOCOL_HEADER, PROTOCOL).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| self.odd(&error))?;
        let answer = match &self.address {
            Address::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(|error| self.unreachable(&error))?;
                let _slower_without = stream.set_nodelay(true);
                exchange(TokioIo::new(stream), request).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(&error))?;
                exchange(TokioIo::new(stream), request).await
            }
        };
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    async fn refusal(&self, answer: http::Response<Incoming>) -> ClientError {
        #[derive(Deserialize)]
        struct Refused {
            error: Told,
        }
        #[derive(Deserialize)]
        struct Told {
            code: String,
            message: String,
            remedy: String,
        }
        let status = answer.status();
        let body = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        match serde_json::from_slice(&body) {
            Ok(Refused { error: Told { code, message, remedy } }) => {
                ClientError::Refused { status: status.as_u16(), code, message, remedy }
            }
            Err(_) if status == StatusCode::PAYLOAD_TOO_LARGE => self.odd(&"the request is too large"),
            Err(_) => self.odd(&format!("status {status}")),
        }
    }

    fn name(&self) -> String {
        match &self.address {
            Address::Tcp(authority) => format!("http://{authority}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable { address: self.name(), reason: reason.to_string() }
    }

    fn odd(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::NotNearData { address: self.name(), reason: reason.to_string() }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    // Ends when the answer has been read to its end, or is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await
}

struct Follower {
    client: Client,
    job: JobId,
    next: u64,
    open: Option<(Incoming, Vec<u8>)>,
    ended: bool,
}

impl Follower {
    /// The events that came together; `None` after the last.
    async fn next_batch(&mut self) -> Option<Vec<Result<Event, ClientError>>> {
        let mut broken_since: Option<tokio::time::Instant> = None;
        while !self.ended {
            match self.read().await {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => return Some(batch.into_iter().map(Ok).collect()),
                Err(error @ ClientError::Unreachable { .. }) => {
                    self.open = None;
                    let since = *broken_since.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() > RECONNECT_FOR {
                        self.ended = true;
                        return Some(vec![Err(error)]);
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(vec![Err(error)]);
                }
            }
        }
        None
    }

    async fn read(&mut self) -> Result<Vec<Event>, ClientError> {
        let (body, rest) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = format!("/v1/jobs/{}/events?from={}", self.job, self.next);
                let answer = self.client.send(Method::GET, &path, None).await?;
                self.open.insert((answer.into_body(), Vec::new()))
            }
        };
        let frame = body.frame().await.ok_or_else(|| self.client.unreachable(&"the event stream ended early"))?;
        let frame = frame.map_err(|error| self.client.unreachable(&error))?;
        if let Some(data) = frame.data_ref() {
            rest.extend_from_slice(data);
        }
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let complete: Vec<u8> = rest.drain(..=end).collect();
        let mut batch = Vec::new();
        for line in complete.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Event = serde_json::from_slice(line).map_err(|error| self.client.odd(&error))?;
            let is_progress = matches!(event.kind, EventKind::Progress { .. });
            if !is_progress && event.seq < self.next {
                continue; // seen before the connection broke
            }
            self.next = if is_progress { self.next } else { event.seq + 1 };
            self.ended |= matches!(event.kind, EventKind::Job { state, .. } if state.is_final());
            batch.push(event);
        }
        Ok(batch)
    }
}

//! Objects on plain web servers: anything that answers GET with ranges, presigned URLs included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use neardata_core::{ByteRange, Chunks, ObjectRef, ObjectUri, Pin, RangedRead, ReadError};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use tokio::runtime::Handle;

use crate::meter::Meter;
use crate::{StoreError, StoreOptions, ahead};

pub(crate) fn client(options: &StoreOptions) -> Result<reqwest::Client, StoreError> {
    let wrong = |error: reqwest::Error| StoreError::Configuration(error.to_string());
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("neardata/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(std::time::Duration::from_secs(10))
        .read_timeout(std::time::Duration::from_secs(60));
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|error| StoreError::Configuration(format!("{}: {error}", path.display())))?;
        for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(wrong)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    let excluded = options.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
    if let Some(proxy) = &options.https_proxy {
        builder = builder.proxy(reqwest::Proxy::https(proxy).map_err(wrong)?.no_proxy(excluded.clone()));
    }
    if let Some(proxy) = &options.http_proxy {
        builder = builder.proxy(reqwest::Proxy::http(proxy).map_err(wrong)?.no_proxy(excluded));
    }
    builder.build().map_err(wrong)
}

/// Pins the current version with a one-byte ranged GET: presigned URLs are signed for GET alone, so HEAD would be refused.
pub(crate) async fn head(client: reqwest::Client, uri: ObjectUri) -> Result<ObjectRef, StoreError> {
    let name = uri.to_string();
    let response = client.get(&name).header(RANGE, "bytes=0-0").send().await.map_err(|error| failed(&name, &error))?;
    let size = match response.status() {
        StatusCode::PARTIAL_CONTENT => total_size(response.headers()),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        status if status.is_success() => {
            return match response.content_length() {
                Some(0) => Ok(reference(uri, response.headers(), 0)),
                _ => Err(StoreError::failed(
                    &name,
                    "the server does not answer ranged requests; copy the object to a store that does",
                )),
            };
        }
        status => return Err(refused(&name, status)),
    };
    let size = size.ok_or_else(|| StoreError::failed(&name, "the server does not say how large the object is"))?;
    Ok(reference(uri, response.headers(), size))
}

fn reference(uri: ObjectUri, headers: &HeaderMap, size: u64) -> ObjectRef {
    let text = |header| headers.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let pin = match text(ETAG) {
        Some(etag) if !etag.starts_with("W/") => Pin::Etag(etag),
        // Weak tags and dates guard only through the size; the date is kept as a tag that is compared, not sent.
        _ => match text(LAST_MODIFIED) {
            Some(date) => Pin::WeakMtime(date_stamp(&date)),
            None => Pin::WeakSize,
        },
    };
    ObjectRef { uri, store: None, pin, size }
}

/// A number that changes when the date's text changes; only equality matters.
fn date_stamp(date: &str) -> i64 {
    date.bytes().fold(0_i64, |stamp, byte| stamp.wrapping_mul(31).wrapping_add(i64::from(byte)))
}

/// Where the body of an answer begins in the object.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.trim_start_matches("bytes").trim_start().split('-').next()?.parse().ok()
}

fn total_size(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit('/').next()?.parse().ok()
}

fn failed(name: &str, error: &reqwest::Error) -> StoreError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    StoreError::failed(name, text)
}

fn refused(name: &str, status: StatusCode) -> StoreError {
    let (name, detail) = (name.to_owned(), format!("the server answered {status}"));
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => StoreError::NotFound { name },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => StoreError::Denied { name, detail },
        StatusCode::PRECONDITION_FAILED => StoreError::Changed { name, detail },
        _ => StoreError::Failed { name, detail },
    }
}

/// One pinned object on a web server.
pub(crate) struct HttpObject {
    client: reqwest::Client,
    object: ObjectRef,
    name: String,
    runtime: Handle,
    fetched: Arc<AtomicU64>,
    meter: Meter,
}

impl HttpObject {
    pub(crate) fn new(object: &ObjectRef, client: reqwest::Client, runtime: Handle, meter: Meter) -> Self {
        let name = object.uri.to_string();
        Self { client, object: object.clone(), name, runtime, fetched: Arc::default(), meter }
    }
}

async fn get(client: &reqwest::Client, object: &ObjectRef, range: ByteRange) -> Result<Response, StoreError> {
    let name = object.uri.to_string();
    let mut last = StoreError::failed(&name, "no attempt was made");
    for attempt in 0..5_u32 {
        let mut request = client.get(&name).header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        if let Pin::Etag(etag) = &object.pin {
            request = request.header(IF_MATCH, etag);
        }
        match request.send().await {
            Ok(response) if response.status() == StatusCode::PARTIAL_CONTENT => {
                if first_byte(response.headers()) != Some(range.start) {
                    return Err(StoreError::failed(&name, "the server answered another range than the one asked for"));
                }
                let now = total_size(response.headers())
                    .map_or(object.clone(), |size| reference(object.uri.clone(), response.headers(), size));
                if now != *object {
                    return Err(StoreError::Changed { name, detail: "its size, tag or date moved".to_owned() });
                }
                return Ok(response);
            }
            Ok(response) if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS => {
                last = refused(&name, response.status());
            }
            Ok(response) if response.status().is_success() => {
                return Err(StoreError::failed(&name, "the server ignored the range of a request"));
            }
            Ok(response) => return Err(refused(&name, response.status())),
            Err(error) => last = failed(&name, &error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await;
    }
    Err(last)
}

impl RangedRead for HttpObject {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.object.size
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let mut whole = Vec::new();
        for chunk in self.stream(range) {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.into())
    }

    fn stream(&self, range: ByteRange) -> Chunks<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let (sender, reader) = ahead::queue();
        let (client, object, name) = (self.client.clone(), self.object.clone(), self.name.clone());
        let (fetched, meter) = (Arc::clone(&self.fetched), self.meter.clone());
        self.runtime.spawn(async move {
            let mut at = range.start;
            while at < range.end {
                let mut response = match get(&client, &object, ByteRange::new(at, range.end)).await {
                    Ok(response) => response,
                    Err(error) => {
                        sender.send(Err(error.into())).await;
                        return;
                    }
                };
                let before = at;
                // A body that breaks off is asked for again from where it stopped.
                while let Ok(Some(mut chunk)) = response.chunk().await {
                    // A server that sends more than it was asked for must not push foreign bytes into the reader.
                    chunk.truncate((range.end - at).min(chunk.len() as u64) as usize);
                    if chunk.is_empty() {
                        break;
                    }
                    at += chunk.len() as u64;
                    fetched.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    meter.add_fetched(chunk.len());
                    if !sender.send(Ok(chunk)).await {
                        return;
                    }
                }
                if at == before {
                    let detail = format!("the answer ended at byte {at}");
                    sender.send(Err(ReadError::Failed { name, detail })).await;
                    return;
                }
            }
        });
        Box::new(reader)
    }

    fn bytes_fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }
}

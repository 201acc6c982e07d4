//! Objects behind `object_store`: pinned ranged reads that run ahead, and multipart writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use neardata_core::{ByteRange, Chunks, ObjectRef, Pin, RangedRead, ReadError, read_ranges};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};
use tokio::runtime::Handle;

use crate::StoreError;
use crate::ahead::{self, Reader, Sender};
use crate::meter::Meter;

/// A stream of a long range is a row of requests of this size, some of them under way at once.
const PIECE: u64 = 16 << 20;
/// Requests under way at once in one stream.
const IN_FLIGHT: usize = 3;
/// How often a body that broke off is asked for again from where it stopped.
const RESUMES: u32 = 5;

/// One pinned object in a remote store.
#[derive(Clone)]
pub(crate) struct RemoteObject(Arc<Inner>);

struct Inner {
    name: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    pin: Pin,
    size: u64,
    runtime: Handle,
    fetched: AtomicU64,
    meter: Meter,
}

impl RemoteObject {
    pub(crate) fn new(object: &ObjectRef, store: Arc<dyn ObjectStore>, path: Path, runtime: Handle, meter: Meter) -> Self {
        let (name, pin, size) = (object.uri.to_string(), object.pin.clone(), object.size);
        Self(Arc::new(Inner { name, store, path, pin, size, runtime, fetched: AtomicU64::new(0), meter }))
    }
}

impl Inner {
    /// Opens the body of one range; the request carries If-Match, and the answer's size is compared as well.
    async fn get(&self, range: ByteRange) -> Result<GetResult, ReadError> {
        let if_match = match &self.pin {
            Pin::Etag(etag) => Some(etag.clone()),
            Pin::WeakMtime(_) | Pin::WeakSize => None,
        };
        let options = GetOptions { if_match, range: Some(GetRange::Bounded(range.start..range.end)), ..GetOptions::default() };
        let result = self.store.get_opts(&self.path, options).await;
        let answer = result.map_err(|error| ReadError::from(StoreError::object_store(&self.name, error)))?;
        if answer.meta.size != self.size {
            let detail = format!("{} bytes then, {} now", self.size, answer.meta.size);
            return Err(ReadError::Changed { name: self.name.clone(), detail });
        }
        Ok(answer)
    }

    /// Sends the body of `range` in order; a body that breaks off is resumed where it stopped.
    async fn forward(&self, first: Result<GetResult, ReadError>, range: ByteRange, sender: &Sender) -> bool {
        let mut at = range.start;
        let mut answer = first;
        for attempt in 0..=RESUMES {
            let broken = match answer {
                Err(error) => error,
                Ok(result) => {
                    let mut body = result.into_stream();
                    loop {
                        match body.next().await {
                            Some(Ok(chunk)) => {
                                at += chunk.len() as u64;
                                self.fetched.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                                self.meter.add_fetched(chunk.len());
                                if !sender.send(Ok(chunk)).await {
                                    return false;
                                }
                            }
                            Some(Err(error)) => break StoreError::object_store(&self.name, error).into(),
                            None if at >= range.end => return true,
                            None => break self.short(at),
                        }
                    }
                }
            };
            if attempt == RESUMES || !matches!(broken, ReadError::Failed { .. }) {
                sender.send(Err(broken)).await;
                return false;
            }
            tracing::debug!(name = %self.name, at, "body broke off, resuming");
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            answer = self.get(ByteRange::new(at, range.end)).await;
        }
        false
    }

    fn short(&self, at: u64) -> ReadError {
        ReadError::Failed { name: self.name.clone(), detail: format!("the answer ended at byte {at}") }
    }

    async fn run_ahead(self: Arc<Self>, range: ByteRange, sender: Sender) {
        let mut starts = (range.start..range.end).step_by(PIECE as usize);
        let mut under_way = VecDeque::new();
        loop {
            while under_way.len() < IN_FLIGHT
                && let Some(start) = starts.next()
            {
                let piece = ByteRange::new(start, (start + PIECE).min(range.end));
                let inner = Arc::clone(&self);
                under_way.push_back((piece, tokio::spawn(async move { inner.get(piece).await })));
            }
            let Some((piece, request)) = under_way.pop_front() else { return };
            let answer = match request.await {
                Ok(answer) => answer,
                Err(error) => Err(ReadError::Failed { name: self.name.clone(), detail: error.to_string() }),
            };
            if !self.forward(answer, piece, &sender).await {
                under_way.iter().for_each(|(_, request)| request.abort());
                return;
            }
        }
    }

    fn start(self: &Arc<Self>, range: ByteRange) -> Reader {
        let (sender, reader) = ahead::queue();
        self.runtime.spawn(Arc::clone(self).run_ahead(range, sender));
        reader
    }
}

impl RangedRead for RemoteObject {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn size(&self) -> u64 {
        self.0.size
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        read_ranges(self, &[range], 0).map(|mut pieces| pieces.pop().unwrap_or_default())
    }

    fn stream(&self, range: ByteRange) -> Chunks<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        Box::new(self.0.start(range))
    }

    fn bytes_fetched(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }
}

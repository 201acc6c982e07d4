use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, stream};

use crate::checksum::ChecksumAlgorithm;

/// What a client says its bytes must hash to.
#[derive(Default)]
pub struct Expected {
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// The checksum to compute; the default of the store where none is named.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// Its expected value in base64, if it came with the headers.
    pub value: Option<String>,
    /// Where the value is found after the last byte, if it comes as a trailer.
    pub trailer: Option<Trailer>,
}

/// Gives the trailing checksum (base64) once the body was read to its end.
pub type Trailer = Box<dyn FnOnce() -> Option<String> + Send + Sync>;

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("algorithm", &self.algorithm).field("value", &self.value).finish_non_exhaustive()
    }
}

/// Bytes under way, in or out.
pub struct Body {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + Sync>>,
    /// How many bytes it holds, where that is known beforehand.
    pub length: Option<u64>,
}

impl Body {
    /// A body from a stream.
    pub fn new(stream: impl Stream<Item = Result<Bytes, BodyError>> + Send + Sync + 'static, length: Option<u64>) -> Self {
        Self { stream: Box::pin(stream), length }
    }

    /// A body from bytes at hand.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        Self::new(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))), length)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Why bytes stopped coming.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not the ones that were signed.
    #[error("the body is not the one that was signed: {0}")]
    Signature(String),
    /// The connection ended, or the framing is wrong.
    #[error("the body ended early or is malformed: {0}")]
    Incomplete(String),
    /// The disk below failed.
    #[error("{0}")]
    Disk(String),
}

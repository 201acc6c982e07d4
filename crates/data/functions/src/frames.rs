//! The frames of the worker protocol: `u32 BE header length, u32 BE payload length, header (JSON), payload`.
//!
//! The codec does no I/O of its own kind: [`Decoder`] is fed bytes as they come, whoever reads them; lengths are checked before
//! anything is allocated for them.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The largest header.
pub const MAX_HEADER: usize = 16 << 20;
/// The largest payload.
pub const MAX_PAYLOAD: usize = 256 << 20;
const PREFIX: usize = 8;

/// Why bytes are not a frame, or a value cannot be sent as one.
#[derive(Debug, Error)]
pub enum FrameError {
    /// A length is beyond what the protocol allows.
    #[error("a frame's {part} of {length} bytes is larger than the {limit} bytes allowed")]
    TooLarge {
        /// header or payload
        part: &'static str,
        /// its length
        length: usize,
        /// the most allowed
        limit: usize,
    },
    /// The header is not the JSON it should be.
    #[error("a frame's header is malformed: {0}")]
    Header(#[from] serde_json::Error),
    /// The stream ended inside a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The JSON text of the header.
    pub header: Bytes,
    /// The payload.
    pub payload: Bytes,
}

impl Frame {
    /// The header as the type `T`.
    pub fn header_as<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        Ok(serde_json::from_slice(&self.header)?)
    }
}

/// Appends a frame to `buffer`.
pub fn encode<H: Serialize>(buffer: &mut Vec<u8>, header: &H, payload: &[u8]) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    serde_json::to_writer(&mut *buffer, header)?;
    let header_length = buffer.len() - start - PREFIX;
    let lengths = check("header", header_length, MAX_HEADER)
        .and_then(|header| Ok((header, check("payload", payload.len(), MAX_PAYLOAD)?)))
        .inspect_err(|_| buffer.truncate(start))?;
    buffer[start..start + 4].copy_from_slice(&lengths.0.to_be_bytes());
    buffer[start + 4..start + PREFIX].copy_from_slice(&lengths.1.to_be_bytes());
    buffer.extend_from_slice(payload);
    Ok(())
}

fn check(part: &'static str, length: usize, limit: usize) -> Result<u32, FrameError> {
    let too_large = FrameError::TooLarge { part, length, limit };
    if length > limit { Err(too_large) } else { u32::try_from(length).map_err(|_| too_large) }
}

/// Turns bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where bytes that came in are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame, or `None` until more bytes have come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(prefix) = self.buffer.get(..PREFIX) else { return Ok(None) };
        let length = |at: usize| u32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]) as usize;
        let (header, payload) = (length(0), length(4));
        check("header", header, MAX_HEADER)?;
        check("payload", payload, MAX_PAYLOAD)?;
        if self.buffer.len() < PREFIX + header + payload {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let header = self.buffer.split_to(header).freeze();
        let payload = self.buffer.split_to(payload).freeze();
        Ok(Some(Frame { header, payload }))
    }

    /// Whether bytes of an unfinished frame are waiting.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Reads frames from a blocking stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    decoder: Decoder,
}

impl<R: Read> FrameReader<R> {
    /// Frames of `stream`.
    pub fn new(stream: R) -> Self {
        Self { stream, decoder: Decoder::new() }
    }

    /// The next frame; `None` when the stream ended between frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let mut piece = [0; 64 * 1024];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut piece) {
                Ok(0) if self.decoder.is_empty() => return Ok(None),
                Ok(0) => return Err(FrameError::Truncated),
                Ok(length) => self.decoder.buffer().extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Writes one frame to a blocking stream.
pub fn write<H: Serialize>(stream: &mut impl Write, header: &H, payload: &[u8]) -> Result<(), FrameError> {
    let mut buffer = Vec::with_capacity(256 + payload.len());
    encode(&mut buffer, header, payload)?;
    stream.write_all(&buffer)?;
    Ok(stream.flush()?)
}

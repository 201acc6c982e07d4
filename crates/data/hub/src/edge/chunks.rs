//! Bounds the memory of `aws-chunked` uploads.
//!
//! `s3s` gathers each chunk before it hands it on, and a chunk may claim 4 GiB. Chunks without signatures are cut into smaller ones
//! as they pass; a signed chunk must be whole to be verified, so a large one is refused.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A signed chunk has at most this size; SDKs send 64 KiB to 1 MiB.
const MAX_SIGNED_CHUNK: u64 = 16 << 20;
/// A chunk's size line at most.
const MAX_LINE: usize = 1024;

/// A request for `s3s`, with its chunks bounded.
pub(crate) fn bounded(request: Request<Incoming>) -> Request<s3s::Body> {
    let Some(signed) = chunked(request.headers()) else { return request.map(s3s::Body::from) };
    request.map(|inner| s3s::Body::http_body(BoundedChunks { inner, cutter: Cutter::new(signed), ready: VecDeque::new() }))
}

/// Whether a body is `aws-chunked`, and if so, whether its chunks are signed.
fn chunked(headers: &HeaderMap) -> Option<bool> {
    let payload = headers.get("x-amz-content-sha256")?.as_bytes();
    payload.starts_with(b"STREAMING-").then(|| payload != b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")
}

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    #[error("a chunk has no valid size line")]
    Malformed,
    #[error("a signed chunk has {0} bytes; {MAX_SIGNED_CHUNK} are allowed")]
    TooLarge(u64),
}

enum State {
    /// In the size line of a chunk.
    Line(Vec<u8>),
    /// In its bytes, this many left.
    Data(u64),
    /// In the line end after them, this many bytes left.
    LineEnd(u8),
    /// After the last chunk: trailers.
    Rest,
}

/// Follows the framing; knows nothing of bodies.
struct Cutter {
    signed: bool,
    state: State,
}

impl Cutter {
    fn new(signed: bool) -> Self {
        Self { signed, state: State::Line(Vec::new()) }
    }

    /// Takes what came in, puts what goes on into `out`.
    fn push(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Rest => {
                    out.push_back(std::mem::take(&mut input));
                }
                State::Line(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |end| end + 1);
                    line.extend_from_slice(&input.split_to(end));
                    if line.len() > MAX_LINE {
                        return Err(ChunkError::Malformed);
                    }
                    if line.ends_with(b"\n") {
                        let line = std::mem::take(line);
                        self.begin_chunk(line, out)?;
                    }
                }
                State::Data(left) => {
                    let piece = input.split_to((*left).min(input.len() as u64) as usize);
                    *left -= piece.len() as u64;
                    let done = *left == 0;
                    if self.signed {
                        out.push_back(piece);
                    } else {
                        out.push_back(format!("{:x}\r\n", piece.len()).into());
                        out.push_back(piece);
                        out.push_back(Bytes::from_static(b"\r\n"));
                    }
                    if done {
                        self.state = State::LineEnd(2);
                    }
                }
                State::LineEnd(left) => {
                    let byte = input.get_u8();
                    if self.signed {
                        out.push_back(Bytes::copy_from_slice(&[byte]));
                    }
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::Line(Vec::new());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_chunk(&mut self, line: Vec<u8>, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        let digits: &[u8] = line.split(|byte| !byte.is_ascii_hexdigit()).next().unwrap_or_default();
        let text = std::str::from_utf8(digits).map_err(|_| ChunkError::Malformed)?;
        let size = u64::from_str_radix(text, 16).map_err(|_| ChunkError::Malformed)?;
        if self.signed && size > MAX_SIGNED_CHUNK {
            return Err(ChunkError::TooLarge(size));
        }
        self.state = if size == 0 { State::Rest } else { State::Data(size) };
        if self.signed || size == 0 {
            out.push_back(line.into());
        }
        Ok(())
    }
}

struct BoundedChunks {
    inner: Incoming,
    cutter: Cutter,
    ready: VecDeque<Bytes>,
}

impl Body for BoundedChunks {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else { return Poll::Ready(None) };
            let Ok(bytes) = frame.into_data() else { continue };
            let Self { cutter, ready, .. } = &mut *self;
            if let Err(error) = cutter.push(bytes, ready) {
                return Poll::Ready(Some(Err(error.into())));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The framing changes on the way.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(signed: bool, input: &[u8], piece: usize) -> Result<Vec<u8>, ChunkError> {
        let mut cutter = Cutter::new(signed);
        let mut out = VecDeque::new();
        for bytes in input.chunks(piece) {
            cutter.push(Bytes::copy_from_slice(bytes), &mut out)?;
        }
        Ok(out.iter().flatten().copied().collect())
    }

    #[test]
    fn unsigned_chunks_are_cut_to_what_arrived() {
        let input = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(cut(false, input, 100).unwrap(), input);
        let cut = cut(false, input, 4).unwrap();
        assert_eq!(cut, b"1\r\nh\r\n4\r\nello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
    }

    #[test]
    fn signed_chunks_pass_unchanged_and_bounded() {
        let input = b"5;chunk-signature=abc\r\nhello\r\n0;chunk-signature=def\r\n\r\n";
        for piece in 1..input.len() {
            assert_eq!(cut(true, input, piece).unwrap(), input);
        }
        assert!(matches!(cut(true, b"ffffffff;chunk-signature=abc\r\n", 7), Err(ChunkError::TooLarge(0xffff_ffff))));
        assert!(matches!(cut(true, b"zz\r\n", 7), Err(ChunkError::Malformed)));
        assert!(matches!(cut(true, &[b'1'; 5000], 7), Err(ChunkError::Malformed)));
    }
}

use std::io;

use bytes::Bytes;
use thiserror::Error;

use crate::ByteRange;

/// Why bytes of an object could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The object is not the version the reference was made for.
    #[error("{name} changed since it was indexed ({detail}); run `neardata index` again, or restore the object")]
    Changed {
        /// the object
        name: String,
        /// what was expected and seen
        detail: String,
    },
    /// There is no such object.
    #[error("{name} does not exist")]
    NotFound {
        /// the object
        name: String,
    },
    /// Access was refused.
    #[error("{name}: access refused ({detail}); check the credentials in the environment")]
    Denied {
        /// the object
        name: String,
        /// the store's words
        detail: String,
    },
    /// Anything else that went wrong below.
    #[error("{name}: {detail}")]
    Failed {
        /// the object
        name: String,
        /// what happened
        detail: String,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::NotFound { .. } => io::ErrorKind::NotFound,
            ReadError::Denied { .. } => io::ErrorKind::PermissionDenied,
            ReadError::Changed { .. } | ReadError::Failed { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Consecutive pieces of one range, in order.
pub type Chunks<'a> = Box<dyn Iterator<Item = Result<Bytes, ReadError>> + Send + 'a>;

/// Read access, by range, to one pinned version of one object. Blocking: callers run on threads of their own.
pub trait RangedRead: Send + Sync {
    /// What to call the object in an error.
    fn name(&self) -> &str;

    /// Size of the object in bytes.
    fn size(&self) -> u64;

    /// Exactly the bytes of `range`; a range past the end is an error.
    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError>;

    /// The bytes of `range` as a sequence of pieces, fetched ahead where the backend can.
    fn stream(&self, range: ByteRange) -> Chunks<'_> {
        const PIECE: u64 = 1 << 20;
        let mut at = range.start;
        Box::new(std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let piece = ByteRange::new(at, (at + PIECE).min(range.end));
            at = piece.end;
            Some(self.read(piece))
        }))
    }

    /// Bytes fetched through this reader so far.
    fn bytes_fetched(&self) -> u64;
}

/// An object held in memory: for tests, and for small things.
#[derive(Debug, Default)]
pub struct MemoryObject {
    name: String,
    bytes: Bytes,
    fetched: std::sync::atomic::AtomicU64,
}

impl MemoryObject {
    /// An object with these bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), fetched: Default::default() }
    }
}

impl RangedRead for MemoryObject {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        if range.end > self.size() {
            let detail = format!("range {range} lies beyond its {} bytes", self.size());
            return Err(ReadError::Failed { name: self.name.clone(), detail });
        }
        self.fetched.fetch_add(range.len(), std::sync::atomic::Ordering::Relaxed);
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    fn bytes_fetched(&self) -> u64 {
        self.fetched.load(std::sync::atomic::Ordering::Relaxed)
    }
}

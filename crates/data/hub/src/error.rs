use std::net::SocketAddr;
use std::path::PathBuf;

use crate::operation::BodyError;

/// Why an operation was not performed. Everything but [`OperationError::Internal`] and [`OperationError::DiskFull`] is the caller's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperationError {
    /// The bucket is not there.
    #[error("bucket {0:?} does not exist")]
    NoSuchBucket(String),
    /// The object is not there.
    #[error("key {0:?} does not exist")]
    NoSuchKey(String),
    /// The upload is not there: never begun, completed or aborted.
    #[error("upload {0:?} does not exist; it was completed or aborted, or never begun")]
    NoSuchUpload(String),
    /// The bucket is there already.
    #[error("bucket {0:?} exists already")]
    BucketExists(String),
    /// The bucket holds objects.
    #[error("bucket {0:?} is not empty; delete its objects first")]
    BucketNotEmpty(String),
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// The reader has this version already.
    #[error("not modified")]
    NotModified {
        /// Its entity tag.
        etag: String,
        /// When it was stored, in milliseconds since 1970.
        modified_ms: i64,
    },
    /// The range lies outside the object.
    #[error("the range lies outside the object, which has {size} bytes")]
    RangeNotSatisfiable {
        /// Size of the object.
        size: u64,
    },
    /// The bytes do not hash to what the client said.
    #[error("the {algorithm} of the bytes received is {computed}, not {expected}")]
    BadDigest {
        /// Which hash.
        algorithm: &'static str,
        /// What the client said.
        expected: String,
        /// What it is.
        computed: String,
    },
    /// A part that the request names is not there, or another one is.
    #[error("part {0} is not there, or its entity tag or checksum differs")]
    InvalidPart(u32),
    /// Parts must be named in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// Every part but the last has a minimum size.
    #[error("part {number} has {size} bytes; every part but the last needs at least {minimum}")]
    PartTooSmall {
        /// Which part.
        number: u32,
        /// Its size.
        size: u64,
        /// The least allowed.
        minimum: u64,
    },
    /// More bytes than one request may carry.
    #[error("more than {limit} bytes in one request; use a multipart upload")]
    TooLarge {
        /// The most allowed.
        limit: u64,
    },
    /// A layer does not let the caller do this.
    #[error("{0}")]
    Denied(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The bytes stopped coming.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// No byte came for too long.
    #[error("no data arrived for {seconds} s")]
    Timeout {
        /// How long the store waited.
        seconds: u64,
    },
    /// The disk is full.
    #[error("the disk that holds {0} is full; free some space and try again")]
    DiskFull(PathBuf),
    /// A fault below: the message names the file.
    #[error("{0}")]
    Internal(String),
}

impl OperationError {
    /// An I/O error at `path`, sorted into a full disk and everything else.
    pub(crate) fn from_io(path: &std::path::Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull(path.to_owned()),
            _ => Self::Internal(format!("{}: {error}", path.display())),
        }
    }
}

/// Why a hub does not start or ends.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Another process holds the folder.
    #[error(transparent)]
    Locked(#[from] crate::lock::LockError),
    /// The folder was written by a later version.
    #[error(
        "{folder} has format version {found}, this build reads up to {known}; use a newer neardata, or another --data folder"
    )]
    NewerFormat {
        /// The folder.
        folder: PathBuf,
        /// What it says.
        found: u32,
        /// What this build reads.
        known: u32,
    },
    /// The folder is not a hub's.
    #[error("{file} is not a NearData format version ({found:?}); is this the right --data folder?")]
    BadFormat {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: String,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The metadata cannot be used.
    #[error("{path}: {message}")]
    Metadata {
        /// The database file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The address is taken.
    #[error("{address} is in use by another process; stop it, or choose another address with --s3 HOST:PORT")]
    AddressInUse {
        /// Which one.
        address: SocketAddr,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}; choose another address with --s3 HOST:PORT")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An operation of the hub's own failed.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

//! The hub's own vocabulary: every request is one [`Operation`], every answer one [`Outcome`].
//!
//! The HTTP edge translates S3 requests into operations; the volume answers them. Whatever should act between the two (access
//! policies, transforms, audit) is a [`Layer`] around a [`Service`] and never sees HTTP.

mod body;
mod condition;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use neardata_core::ByteRange;
use serde::{Deserialize, Serialize};

pub use body::{Body, BodyError, Expected, Trailer};
pub use condition::{ReadCondition, TagCondition, WriteCondition};

use crate::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::error::OperationError;

/// Answers operations. One method, so that a layer is as small as what it does.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Performs one operation. A write is durable when this returns.
    async fn call(&self, request: Request) -> Result<Outcome, OperationError>;
}

/// Wraps a service in another one.
pub trait Layer {
    /// The service that stands in front of `inner`.
    fn layer(&self, inner: Arc<dyn Service>) -> Arc<dyn Service>;
}

/// One operation and who asks for it.
#[derive(Debug)]
pub struct Request {
    /// The access key that signed the request; absent for calls from inside the process.
    pub caller: Option<String>,
    /// What is asked.
    pub operation: Operation,
}

impl Request {
    /// A request from inside the process.
    pub fn internal(operation: Operation) -> Self {
        Self { caller: None, operation }
    }
}

/// What can be asked of the store: the verbs of S3.
#[allow(missing_docs, reason = "the fields are bucket, address and the like")]
#[derive(Debug)]
pub enum Operation {
    /// Makes a bucket.
    CreateBucket { bucket: String },
    /// Tells whether a bucket is there.
    HeadBucket { bucket: String },
    /// Removes an empty bucket.
    DeleteBucket { bucket: String },
    /// Names every bucket.
    ListBuckets,
    /// Stores an object.
    PutObject(PutObject),
    /// Reads an object or a range of it.
    GetObject(GetObject),
    /// Reads what is known of an object.
    HeadObject(GetObject),
    /// Removes an object.
    DeleteObject { address: Address, condition: WriteCondition },
    /// Removes several objects of one bucket.
    DeleteObjects { bucket: String, keys: Vec<String> },
    /// Stores an object's bytes under another key as well.
    CopyObject(CopyObject),
    /// Lists keys in order.
    ListObjects(ListObjects),
    /// Begins a multipart upload.
    CreateUpload(CreateUpload),
    /// Stores one part.
    UploadPart(UploadPart),
    /// Stores a range of an object as one part.
    UploadPartCopy(UploadPartCopy),
    /// Makes the parts an object.
    CompleteUpload(CompleteUpload),
    /// Drops an upload and its parts.
    AbortUpload { address: Address, upload: String },
    /// Lists the parts of an upload.
    ListParts(ListParts),
    /// Lists uploads under way.
    ListUploads(ListUploads),
}

/// What the store answers.
#[derive(Debug)]
pub enum Outcome {
    /// Done; there is nothing to say.
    Done,
    /// The bucket that was asked for.
    Bucket(BucketInfo),
    /// Every bucket.
    Buckets(Vec<BucketInfo>),
    /// An object was stored.
    Stored(Stored),
    /// An object's bytes.
    Object(ObjectRead),
    /// What is known of an object.
    Head(ObjectHead),
    /// Which keys were removed.
    Deleted(Vec<String>),
    /// One page of keys.
    Objects(ObjectPage),
    /// An upload began.
    Upload(UploadInfo),
    /// A part was stored.
    Part(PartInfo),
    /// One page of parts.
    Parts(PartPage),
    /// One page of uploads.
    Uploads(UploadPage),
}

/// A bucket and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The bucket.
    pub bucket: String,
    /// The key within it.
    pub key: String,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Headers that are stored with an object and given back as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectHeaders {
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Content-Encoding`, without the transfer's own `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Expires`, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// `x-amz-meta-*`, without the prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// Everything known of an object but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag, without quotes.
    pub etag: String,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Headers stored with it.
    pub headers: ObjectHeaders,
    /// The checksum stored with it.
    pub checksum: Option<Checksum>,
    /// How many parts made it; 0 when it was stored in one piece.
    pub parts: u32,
}

/// `PutObject`.
#[derive(Debug)]
pub struct PutObject {
    /// Where to.
    pub address: Address,
    /// The bytes.
    pub body: Body,
    /// What to store with them.
    pub headers: ObjectHeaders,
    /// What they must hash to.
    pub expected: Expected,
    /// When to store them at all.
    pub condition: WriteCondition,
}

/// Which bytes of an object.
#[allow(missing_docs, reason = "the variants say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// `bytes=first-last`, the last one included.
    Between { first: u64, last: Option<u64> },
    /// `bytes=-length`
    Suffix { length: u64 },
    /// The bytes of one part, counted from 1.
    Part(u32),
}

/// `GetObject` and `HeadObject`.
#[derive(Debug)]
pub struct GetObject {
    /// Which object.
    pub address: Address,
    /// Which bytes; all of them if absent.
    pub range: Option<RangeRequest>,
    /// When to read at all.
    pub condition: ReadCondition,
}

/// An object's bytes, under way.
#[derive(Debug)]
pub struct ObjectRead {
    /// What is known of the object.
    pub head: ObjectHead,
    /// The bytes of `head.range`.
    pub body: Body,
}

/// What is known of an object, and which of its bytes are meant.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    /// The object.
    pub info: ObjectInfo,
    /// The bytes that were asked for.
    pub range: ByteRange,
    /// Whether a range was asked for (the answer is 206 then).
    pub partial: bool,
}

/// `CopyObject`.
#[derive(Debug)]
pub struct CopyObject {
    /// From where.
    pub source: Address,
    /// Conditions on the source.
    pub source_condition: ReadCondition,
    /// To where.
    pub target: Address,
    /// Headers of the copy; the source's where absent.
    pub headers: Option<ObjectHeaders>,
    /// Conditions on the target.
    pub condition: WriteCondition,
}

/// What a write left behind.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Entity tag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// When, in milliseconds since 1970.
    pub modified_ms: i64,
    /// The checksum stored with it.
    pub checksum: Option<Checksum>,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// After this key.
    #[serde(rename = "k")]
    AfterKey(String),
    /// After every key with this prefix.
    #[serde(rename = "p")]
    AfterPrefix(String),
}

/// `ListObjects`, both versions.
#[derive(Clone, Debug)]
pub struct ListObjects {
    /// The bucket.
    pub bucket: String,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Roll keys up to the first occurrence of this after the prefix.
    pub delimiter: Option<String>,
    /// Where to begin.
    pub after: Option<Cursor>,
    /// How many keys and prefixes at most.
    pub limit: usize,
}

/// One page of a listing, in the order of the keys' bytes.
#[derive(Clone, Debug, Default)]
pub struct ObjectPage {
    /// Objects.
    pub objects: Vec<ObjectInfo>,
    /// Keys rolled up.
    pub prefixes: Vec<String>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<Cursor>,
}

/// `CreateMultipartUpload`.
#[derive(Debug)]
pub struct CreateUpload {
    /// Where the object will be.
    pub address: Address,
    /// What to store with it.
    pub headers: ObjectHeaders,
    /// The checksum of its parts.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// How the parts' checksums make the object's.
    pub kind: Option<ChecksumKind>,
}

/// An upload under way.
#[derive(Clone, Debug)]
pub struct UploadInfo {
    /// Its identifier.
    pub upload: String,
    /// The object's key.
    pub key: String,
    /// When it began, in milliseconds since 1970.
    pub initiated_ms: i64,
    /// The checksum of its parts.
    pub algorithm: ChecksumAlgorithm,
    /// How the parts' checksums make the object's.
    pub kind: ChecksumKind,
}

/// `UploadPart`.
#[derive(Debug)]
pub struct UploadPart {
    /// The object.
    pub address: Address,
    /// The upload.
    pub upload: String,
    /// Which part, 1 to 10 000.
    pub number: u32,
    /// Its bytes.
    pub body: Body,
    /// What they must hash to.
    pub expected: Expected,
}

/// `UploadPartCopy`.
#[derive(Debug)]
pub struct UploadPartCopy {
    /// The object being made.
    pub address: Address,
    /// The upload.
    pub upload: String,
    /// Which part, 1 to 10 000.
    pub number: u32,
    /// Where its bytes come from.
    pub source: GetObject,
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub struct PartInfo {
    /// Its number.
    pub number: u32,
    /// Its MD5 in hex.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// `CompleteMultipartUpload`.
#[derive(Debug)]
pub struct CompleteUpload {
    /// The object.
    pub address: Address,
    /// The upload.
    pub upload: String,
    /// Which parts, in order.
    pub parts: Vec<NamedPart>,
    /// What the whole object's checksum must be (base64).
    pub expected: Option<String>,
    /// The size the object must have.
    pub size: Option<u64>,
    /// When to store it at all.
    pub condition: WriteCondition,
}

/// A part as a client names it.
#[derive(Clone, Debug)]
pub struct NamedPart {
    /// Its number.
    pub number: u32,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Its checksum in base64, if the client keeps one.
    pub checksum: Option<String>,
}

/// `ListParts`.
#[derive(Clone, Debug)]
pub struct ListParts {
    /// The object.
    pub address: Address,
    /// The upload.
    pub upload: String,
    /// Only parts after this number.
    pub after: u32,
    /// How many at most.
    pub limit: usize,
}

/// One page of parts.
#[derive(Clone, Debug)]
pub struct PartPage {
    /// The upload.
    pub upload: UploadInfo,
    /// Its parts in order.
    pub parts: Vec<PartInfo>,
    /// Whether there are more.
    pub truncated: bool,
}

/// `ListMultipartUploads`.
#[derive(Clone, Debug)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: String,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Only what comes after this key and upload.
    pub after: Option<(String, String)>,
    /// How many at most.
    pub limit: usize,
}

/// One page of uploads, by key and upload.
#[derive(Clone, Debug)]
pub struct UploadPage {
    /// Uploads under way.
    pub uploads: Vec<UploadInfo>,
    /// Whether there are more.
    pub truncated: bool,
}

//! What the hub knows of its objects: a trait of S3 verbs, each one atomic and durable when it returns.
//!
//! Conditions are evaluated inside the transaction that commits. Bytes are blobs: small ones lie in the metadata, larger ones in a
//! file of their own that was synced before it is named here. A blob may belong to several objects (a copy moves no bytes); when
//! the last one lets go, the verb's answer names it as released, and only then may its file be removed.

mod list;
mod objects;
mod sqlite;
mod uploads;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::OperationError;
use crate::operation::{
    Address, BucketInfo, CompleteUpload, CopyObject, CreateUpload, ListObjects, ListParts, ListUploads, ObjectHeaders,
    ObjectInfo, ObjectPage, PartInfo, PartPage, Stored, UploadInfo, UploadPage, WriteCondition,
};

pub(crate) use sqlite::{SqliteMeta, SqliteOptions};

/// A blob's number: names its row and its file.
pub(crate) type BlobId = i64;

/// A stretch of bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) id: BlobId,
    pub(crate) size: u64,
    /// The bytes, where they lie in the metadata; else they are in the blob's file.
    pub(crate) inline: Option<Bytes>,
}

/// An object and where its bytes are.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) info: ObjectInfo,
    /// In order; empty when only the head was asked for and for an empty object.
    pub(crate) blobs: Vec<Blob>,
}

/// A new object; its blob, if it has bytes, is durable already.
#[derive(Debug)]
pub(crate) struct PutCommit {
    pub(crate) address: Address,
    pub(crate) stored: Stored,
    pub(crate) headers: ObjectHeaders,
    pub(crate) blob: Option<Blob>,
    pub(crate) condition: WriteCondition,
}

/// A new part; its blob, if it has bytes, is durable already.
#[derive(Debug)]
pub(crate) struct PartCommit {
    pub(crate) address: Address,
    pub(crate) upload: String,
    pub(crate) part: PartInfo,
    pub(crate) blob: Option<Blob>,
}

/// A value, and the blobs whose files nothing refers to any more.
#[derive(Debug)]
pub(crate) struct Committed<T> {
    pub(crate) value: T,
    pub(crate) released: Vec<BlobId>,
}

/// Which blobs the metadata names.
#[derive(Debug, Default)]
pub(crate) struct BlobCensus {
    /// Those that lie in files of their own, ascending.
    pub(crate) files: Vec<BlobId>,
    /// The largest number in use, wherever it lies.
    pub(crate) last: BlobId,
}

/// The verbs. Another engine (PostgreSQL) implements the same ones.
#[async_trait]
pub(crate) trait MetaStore: Send + Sync + 'static {
    async fn create_bucket(&self, bucket: BucketInfo) -> Result<(), OperationError>;
    async fn head_bucket(&self, bucket: &str) -> Result<BucketInfo, OperationError>;
    async fn list_buckets(&self) -> Result<Vec<BucketInfo>, OperationError>;
    async fn delete_bucket(&self, bucket: &str) -> Result<Committed<()>, OperationError>;

    async fn head_object(&self, address: &Address) -> Result<StoredObject, OperationError>;
    async fn get_object(&self, address: &Address) -> Result<StoredObject, OperationError>;
    async fn list_objects(&self, query: ListObjects) -> Result<ObjectPage, OperationError>;
    async fn commit_put(&self, put: PutCommit) -> Result<Committed<Stored>, OperationError>;
    async fn commit_copy(&self, copy: CopyObject, now_ms: i64) -> Result<Committed<Stored>, OperationError>;
    async fn commit_delete(&self, address: Address, condition: WriteCondition) -> Result<Committed<()>, OperationError>;
    async fn commit_delete_many(&self, bucket: String, keys: Vec<String>) -> Result<Committed<Vec<String>>, OperationError>;

    async fn create_upload(&self, create: CreateUpload, now_ms: i64) -> Result<UploadInfo, OperationError>;
    async fn head_upload(&self, address: &Address, upload: &str) -> Result<UploadInfo, OperationError>;
    async fn commit_part(&self, part: PartCommit) -> Result<Committed<PartInfo>, OperationError>;
    async fn commit_complete(
        &self,
        complete: CompleteUpload,
        min_part: u64,
        now_ms: i64,
    ) -> Result<Committed<Stored>, OperationError>;
    async fn commit_abort(&self, address: Address, upload: String) -> Result<Committed<()>, OperationError>;
    async fn list_parts(&self, query: ListParts) -> Result<PartPage, OperationError>;
    async fn list_uploads(&self, query: ListUploads) -> Result<UploadPage, OperationError>;

    /// Every blob that is named, for the sweep when a volume opens.
    async fn census(&self) -> Result<BlobCensus, OperationError>;
    /// Ends the engine; what was committed is durable already.
    fn close(&self);
}

//! The volume answers operations.

use std::sync::Arc;

use async_trait::async_trait;
use neardata_core::ByteRange;

use super::receive::{PendingBlob, receive};
use super::{Shared, Volume, now_ms, read};
use crate::error::OperationError;
use crate::meta::{Blob, Committed, PartCommit, PutCommit, StoredObject};
use crate::operation::{
    BucketInfo, GetObject, ObjectHead, ObjectRead, Operation, Outcome, PartInfo, PutObject, RangeRequest, Request, Service,
    Stored, UploadPart, UploadPartCopy,
};

/// Parts of an upload at most, and the greatest part number.
const MAX_PARTS: u32 = 10_000;

#[async_trait]
impl Service for Volume {
    async fn call(&self, request: Request) -> Result<Outcome, OperationError> {
        let shared = &self.shared;
        let meta = &shared.meta;
        match request.operation {
            Operation::CreateBucket { bucket } => {
                meta.create_bucket(BucketInfo { name: bucket, created_ms: now_ms() }).await?;
                Ok(Outcome::Done)
            }
            Operation::HeadBucket { bucket } => meta.head_bucket(&bucket).await.map(Outcome::Bucket),
            Operation::DeleteBucket { bucket } => {
                self.commit(move |shared| async move { shared.meta.delete_bucket(&bucket).await }).await?;
                Ok(Outcome::Done)
            }
            Operation::ListBuckets => meta.list_buckets().await.map(Outcome::Buckets),
            Operation::PutObject(put) => self.put_object(put).await.map(Outcome::Stored),
            Operation::GetObject(get) => get_object(shared, get).await.map(Outcome::Object),
            Operation::HeadObject(get) => head_object(shared, &get).await.map(|(head, _)| Outcome::Head(head)),
            Operation::DeleteObject { address, condition } => {
                self.commit(move |shared| async move { shared.meta.commit_delete(address, condition).await }).await?;
                Ok(Outcome::Done)
            }
            Operation::DeleteObjects { bucket, keys } => self
                .commit(move |shared| async move { shared.meta.commit_delete_many(bucket, keys).await })
                .await
                .map(Outcome::Deleted),
            Operation::CopyObject(copy) => {
                self.commit(move |shared| async move { shared.meta.commit_copy(copy, now_ms()).await }).await.map(Outcome::Stored)
            }
            Operation::ListObjects(query) => meta.list_objects(query).await.map(Outcome::Objects),
            Operation::CreateUpload(create) => meta.create_upload(create, now_ms()).await.map(Outcome::Upload),
            Operation::UploadPart(part) => self.upload_part(part).await.map(Outcome::Part),
            Operation::UploadPartCopy(copy) => self.upload_part_copy(copy).await.map(Outcome::Part),
            Operation::CompleteUpload(complete) => {
                let min_part = shared.options.min_part;
                self.commit(move |shared| async move { shared.meta.commit_complete(complete, min_part, now_ms()).await })
                    .await
                    .map(Outcome::Stored)
            }
            Operation::AbortUpload { address, upload } => {
                self.commit(move |shared| async move { shared.meta.commit_abort(address, upload).await }).await?;
                Ok(Outcome::Done)
            }
            Operation::ListParts(query) => meta.list_parts(query).await.map(Outcome::Parts),
            Operation::ListUploads(query) => meta.list_uploads(query).await.map(Outcome::Uploads),
        }
    }
}

impl Volume {
    /// Runs a commit to its end, even if the caller goes away, and lets the reaper have what it released.
    async fn commit<T, F, W>(&self, work: W) -> Result<T, OperationError>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Shared>) -> F + Send + 'static,
        F: Future<Output = Result<Committed<T>, OperationError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = self.shared.commits.spawn(async move {
            let committed = work(Arc::clone(&shared)).await?;
            shared.reaper.release(committed.released);
            Ok(committed.value)
        });
        task.await.map_err(|error| OperationError::Internal(format!("a commit ended: {error}")))?
    }

    async fn put_object(&self, put: PutObject) -> Result<Stored, OperationError> {
        let shared = &self.shared;
        if put.body.length.is_none_or(|length| length > shared.options.inline_limit) {
            // Better to hear it before the bytes are sent; the commit checks again.
            shared.meta.head_bucket(&put.address.bucket).await?;
        }
        let received = receive(shared, put.body, put.expected).await?;
        let stored =
            Stored { etag: received.etag, size: received.size, modified_ms: now_ms(), checksum: Some(received.checksum) };
        let (address, headers, condition) = (put.address, put.headers, put.condition);
        self.commit_blob(received.blob, move |shared, blob| async move {
            shared.meta.commit_put(PutCommit { address, stored, headers, blob, condition }).await
        })
        .await
    }

    async fn upload_part(&self, request: UploadPart) -> Result<PartInfo, OperationError> {
        check_part_number(request.number)?;
        let upload = self.shared.meta.head_upload(&request.address, &request.upload).await?;
        let mut expected = request.expected;
        expected.algorithm = expected.algorithm.or(Some(upload.algorithm));
        let received = receive(&self.shared, request.body, expected).await?;
        let part = PartInfo {
            number: request.number,
            etag: received.etag,
            size: received.size,
            modified_ms: now_ms(),
            checksum: Some(received.checksum),
        };
        let (address, upload) = (request.address, request.upload);
        self.commit_blob(received.blob, move |shared, blob| async move {
            shared.meta.commit_part(PartCommit { address, upload, part, blob }).await
        })
        .await
    }

    async fn upload_part_copy(&self, copy: UploadPartCopy) -> Result<PartInfo, OperationError> {
        let source = match get_object(&self.shared, copy.source).await {
            Err(OperationError::NotModified { .. }) => return Err(OperationError::PreconditionFailed),
            other => other?,
        };
        let (address, upload, number) = (copy.address, copy.upload, copy.number);
        let expected = crate::operation::Expected::default();
        self.upload_part(UploadPart { address, upload, number, body: source.body, expected }).await
    }

    /// Commits metadata that names a fresh blob. If the commit is refused, the blob's file goes; if it is uncertain, the file stays
    /// for the sweep of the next start.
    async fn commit_blob<T, F, W>(&self, pending: Option<PendingBlob>, work: W) -> Result<T, OperationError>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Shared>, Option<Blob>) -> F + Send + 'static,
        F: Future<Output = Result<Committed<T>, OperationError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = self.shared.commits.spawn(async move {
            let blob = pending.map(PendingBlob::named);
            let file = blob.as_ref().filter(|blob| blob.inline.is_none()).map(|blob| blob.id);
            match work(Arc::clone(&shared), blob).await {
                Ok(committed) => {
                    shared.reaper.release(committed.released);
                    Ok(committed.value)
                }
                Err(error) => {
                    let uncertain = matches!(error, OperationError::Internal(_) | OperationError::DiskFull(_));
                    if !uncertain {
                        shared.reaper.release(file.into_iter().collect());
                    }
                    Err(error)
                }
            }
        });
        task.await.map_err(|error| OperationError::Internal(format!("a commit ended: {error}")))?
    }
}

fn check_part_number(number: u32) -> Result<(), OperationError> {
    if (1..=MAX_PARTS).contains(&number) {
        Ok(())
    } else {
        Err(OperationError::Invalid(format!("part number {number} is not between 1 and {MAX_PARTS}")))
    }
}

async fn head_object(shared: &Shared, get: &GetObject) -> Result<(ObjectHead, StoredObject), OperationError> {
    let object = shared.meta.head_object(&get.address).await?;
    let head = head_of(&object, get)?;
    Ok((head, object))
}

async fn get_object(shared: &Arc<Shared>, get: GetObject) -> Result<ObjectRead, OperationError> {
    let lookup = shared.reaper.lookup().await;
    let object = shared.meta.get_object(&get.address).await?;
    let head = head_of(&object, &get)?;
    let files = files_in(&object.blobs, head.range);
    let pinned = (!files.is_empty()).then(|| shared.reaper.pin(files));
    drop(lookup);
    let body = read::body(shared, &object.blobs, head.range, pinned).await?;
    Ok(ObjectRead { head, body })
}

/// Checks the conditions and resolves the range.
fn head_of(object: &StoredObject, get: &GetObject) -> Result<ObjectHead, OperationError> {
    get.condition.check(&object.info.etag, object.info.modified_ms)?;
    let size = object.info.size;
    let range = match get.range {
        None => return Ok(ObjectHead { info: object.info.clone(), range: ByteRange::new(0, size), partial: false }),
        Some(RangeRequest::Between { first, last }) if first < size => {
            ByteRange::new(first, last.map_or(size, |last| last.saturating_add(1)).min(size))
        }
        Some(RangeRequest::Suffix { length }) if length > 0 && size > 0 => ByteRange::new(size - length.min(size), size),
        Some(RangeRequest::Part(number)) => part_range(object, number)?,
        Some(_) => return Err(OperationError::RangeNotSatisfiable { size }),
    };
    Ok(ObjectHead { info: object.info.clone(), range, partial: true })
}

/// The bytes of one part: parts are blobs, in order.
fn part_range(object: &StoredObject, number: u32) -> Result<ByteRange, OperationError> {
    let size = object.info.size;
    if object.info.parts == 0 && number == 1 {
        return Ok(ByteRange::new(0, size));
    }
    let mut start = 0;
    for (index, blob) in object.blobs.iter().enumerate() {
        if index as u64 + 1 == u64::from(number) {
            return Ok(ByteRange::new(start, start + blob.size));
        }
        start += blob.size;
    }
    Err(OperationError::RangeNotSatisfiable { size })
}

/// The numbers of the blobs with files that `range` touches.
fn files_in(blobs: &[Blob], range: ByteRange) -> Vec<i64> {
    let mut start = 0;
    let mut files = Vec::new();
    for blob in blobs {
        let end = start + blob.size;
        if blob.inline.is_none() && start < range.end && range.start < end {
            files.push(blob.id);
        }
        start = end;
    }
    files
}

//! The HTTP edge: S3 requests as `s3s` parses them, translated to operations, and outcomes back. Nothing of `s3s` goes further in.

mod chunks;
mod listing;
mod objects;
mod translate;
mod uploads;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use crate::error::OperationError;
use crate::operation::{Operation, Outcome, Request, Service};

pub(crate) use chunks::bounded;

/// XML of a request at most: 10 000 parts with their checksums, or 1 000 keys of 1 KiB in escapes.
const MAX_XML: usize = 8 << 20;
/// A form upload is gathered in memory before it is stored.
const MAX_FORM: u64 = 16 << 20;

/// Answers S3 requests out of a [`Service`].
pub(crate) struct Edge {
    service: Arc<dyn Service>,
    region: String,
}

impl Edge {
    /// The S3 service over `service`, with one key.
    pub(crate) fn build(service: Arc<dyn Service>, region: String, access_key: String, secret_key: &str) -> S3Service {
        let mut builder = S3ServiceBuilder::new(Self { service, region });
        builder.set_auth(RootKey { access_key, secret_key: SecretKey::from(secret_key) });
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML;
        config.post_object_max_file_size = MAX_FORM;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.build()
    }

    /// Hands an operation on; errors become S3's.
    async fn call<T>(&self, request: &S3Request<T>, operation: Operation) -> S3Result<Outcome> {
        let caller = request.credentials.as_ref().map(|credentials| credentials.access_key.clone());
        self.service.call(Request { caller, operation }).await.map_err(|error| s3_error(&error))
    }
}

/// A request that is refused before its body is read: `s3s` would gather the body first, and answer 500.
pub(crate) fn refused<B>(request: &http::Request<B>) -> Option<S3Error> {
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = text(header::CONTENT_TYPE).starts_with("multipart/form-data");
    let length: u64 = text(header::CONTENT_LENGTH).parse().unwrap_or(0);
    let too_long = request.method() == http::Method::POST && !is_form && length > MAX_XML as u64;
    too_long.then(|| s3_error!(MaxMessageLengthExceeded, "the request has {length} bytes; {MAX_XML} are allowed"))
}

/// The one key of a hub.
struct RootKey {
    access_key: String,
    secret_key: SecretKey,
}

#[async_trait]
impl S3Auth for RootKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            Ok(self.secret_key.clone())
        } else {
            Err(s3_error!(InvalidAccessKeyId, "this access key is not known here"))
        }
    }
}

/// S3's error for ours. Faults below are logged with their detail; the client learns only that there was one.
fn s3_error(error: &OperationError) -> S3Error {
    use OperationError as E;
    let code = match error {
        E::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
        E::NoSuchKey(_) => S3ErrorCode::NoSuchKey,
        E::NoSuchUpload(_) => S3ErrorCode::NoSuchUpload,
        E::BucketExists(_) => S3ErrorCode::BucketAlreadyOwnedByYou,
        E::BucketNotEmpty(_) => S3ErrorCode::BucketNotEmpty,
        E::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        E::NotModified { .. } => S3ErrorCode::NotModified,
        E::RangeNotSatisfiable { .. } => S3ErrorCode::InvalidRange,
        E::BadDigest { .. } => S3ErrorCode::BadDigest,
        E::InvalidPart(_) => S3ErrorCode::InvalidPart,
        E::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
        E::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
        E::TooLarge { .. } => S3ErrorCode::EntityTooLarge,
        E::Denied(_) => S3ErrorCode::AccessDenied,
        E::Invalid(_) => S3ErrorCode::InvalidArgument,
        E::Body(crate::operation::BodyError::Signature(_)) => {
            return custom("XAmzContentSHA256Mismatch", http::StatusCode::BAD_REQUEST, error);
        }
        E::Body(crate::operation::BodyError::Incomplete(_)) => S3ErrorCode::IncompleteBody,
        E::Timeout { .. } => S3ErrorCode::RequestTimeout,
        E::DiskFull(_) => {
            tracing::error!(%error, "a write was refused");
            return custom("InsufficientStorage", http::StatusCode::INSUFFICIENT_STORAGE, error);
        }
        E::Internal(_) | E::Body(crate::operation::BodyError::Disk(_)) => {
            tracing::error!(%error, "an operation failed");
            return s3_error!(InternalError, "the store failed; its log says more");
        }
    };
    let mut answer = S3Error::with_message(code, error.to_string());
    if let Some(headers) = error_headers(error) {
        answer.set_headers(headers);
    }
    answer
}

/// Headers of an error's answer; they take the place of those `s3s` would send.
fn error_headers(error: &OperationError) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    match error {
        OperationError::RangeNotSatisfiable { size } => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{size}")).ok()?);
        }
        OperationError::NotModified { etag, modified_ms } => {
            let mut text = Vec::new();
            translate::timestamp(*modified_ms).format(dto::TimestampFormat::HttpDate, &mut text).ok()?;
            headers.insert(header::ETAG, HeaderValue::try_from(format!("\"{etag}\"")).ok()?);
            headers.insert(header::LAST_MODIFIED, HeaderValue::try_from(text).ok()?);
        }
        _ => return None,
    }
    Some(headers)
}

/// An error that `s3s` has no code for.
fn custom(code: &str, status: http::StatusCode, error: &OperationError) -> S3Error {
    let mut answer = S3Error::with_message(S3ErrorCode::Custom(code.into()), error.to_string());
    answer.set_status_code(status);
    answer
}

/// A service that answers with the wrong outcome is a defect of ours, not of the client.
fn unexpected(outcome: &Outcome) -> S3Error {
    tracing::error!(?outcome, "a layer answered with the wrong kind of outcome");
    s3_error!(InternalError, "the store failed; its log says more")
}

/// Takes the expected variant out of an outcome.
macro_rules! expect_outcome {
    ($outcome:expr, $variant:ident) => {
        match $outcome {
            crate::operation::Outcome::$variant(value) => value,
            other => return Err(crate::edge::unexpected(&other)),
        }
    };
}
use expect_outcome;

macro_rules! forward {
    ($($method:ident($input:ident) -> $output:ident = $function:path;)*) => {
        #[async_trait]
        impl S3 for Edge {
            $(async fn $method(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                $function(self, request).await
            })*
        }
    };
}

forward! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = listing::create_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = listing::head_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = listing::delete_bucket;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = listing::list_buckets;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = listing::get_bucket_location;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::list_objects_v2;
    put_object(PutObjectInput) -> PutObjectOutput = objects::put_object;
    get_object(GetObjectInput) -> GetObjectOutput = objects::get_object;
    head_object(HeadObjectInput) -> HeadObjectOutput = objects::head_object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = objects::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = objects::delete_objects;
    copy_object(CopyObjectInput) -> CopyObjectOutput = objects::copy_object;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = uploads::create;
    upload_part(UploadPartInput) -> UploadPartOutput = uploads::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = uploads::upload_part_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = uploads::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = uploads::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = uploads::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads::list_uploads;
}

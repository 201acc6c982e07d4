//! Buckets and listings.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CommonPrefix, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    EncodingType, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass,
    Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Edge, expect_outcome, translate};
use crate::operation::{Cursor, ListObjects, ObjectInfo, ObjectPage, Operation};

/// Entries of one page at most.
pub(super) const MAX_PAGE: usize = 1000;

pub(super) async fn create_bucket(
    edge: &Edge,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let bucket = request.input.bucket.clone();
    let location = Some(format!("/{bucket}"));
    edge.call(&request, Operation::CreateBucket { bucket }).await?;
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub(super) async fn head_bucket(edge: &Edge, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    let bucket = request.input.bucket.clone();
    edge.call(&request, Operation::HeadBucket { bucket }).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(edge.region.clone()), ..HeadBucketOutput::default() }))
}

pub(super) async fn delete_bucket(
    edge: &Edge,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = request.input.bucket.clone();
    edge.call(&request, Operation::DeleteBucket { bucket }).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) async fn list_buckets(edge: &Edge, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let prefix = request.input.prefix.clone().unwrap_or_default();
    let buckets = expect_outcome!(edge.call(&request, Operation::ListBuckets).await?, Buckets);
    let buckets = buckets
        .into_iter()
        .filter(|bucket| bucket.name.starts_with(&prefix))
        .map(|bucket| Bucket {
            name: Some(bucket.name),
            creation_date: Some(translate::timestamp(bucket.created_ms)),
            bucket_region: Some(edge.region.clone()),
        })
        .collect();
    Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), owner: Some(owner()), ..ListBucketsOutput::default() }))
}

pub(super) async fn get_bucket_location(
    edge: &Edge,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let bucket = request.input.bucket.clone();
    edge.call(&request, Operation::HeadBucket { bucket }).await?;
    // S3 gives its first region no name here.
    let location_constraint = (edge.region != "us-east-1").then(|| BucketLocationConstraint::from(edge.region.clone()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// Everything belongs to the one who holds the key.
pub(super) fn owner() -> Owner {
    Owner { id: Some("neardata".to_owned()), display_name: Some("neardata".to_owned()) }
}

/// The size of a page as the client asks for it, and as it is given.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_PAGE),
        Some(count) => {
            let count = usize::try_from(count).map_err(|_| translate::invalid("the size of a page cannot be negative"))?;
            Ok(count.min(MAX_PAGE))
        }
    }
}

/// Names as the client wants them: with `encoding-type=url`, everything outside the unreserved characters and `/` is escaped.
pub(super) struct Names {
    encoding: Option<EncodingType>,
}

impl Names {
    pub(super) fn new(encoding: Option<EncodingType>) -> S3Result<Self> {
        match &encoding {
            Some(encoding) if encoding.as_str() != EncodingType::URL => {
                Err(translate::invalid(format!("encoding type {:?} is not known; use url", encoding.as_str())))
            }
            _ => Ok(Self { encoding }),
        }
    }

    pub(super) fn encode(&self, name: String) -> String {
        if self.encoding.is_none() {
            return name;
        }
        let mut encoded = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => encoded.push(char::from(byte)),
                _ => {
                    encoded.push('%');
                    encoded.push_str(&hex::encode_upper([byte]));
                }
            }
        }
        encoded
    }

    fn object(&self, info: ObjectInfo, with_owner: bool) -> Object {
        Object {
            key: Some(self.encode(info.key)),
            e_tag: Some(translate::etag(&info.etag)),
            size: Some(info.size.cast_signed()),
            last_modified: Some(translate::timestamp(info.modified_ms)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: with_owner.then(owner),
            checksum_algorithm: info
                .checksum
                .as_ref()
                .map(|checksum| vec![s3s::dto::ChecksumAlgorithm::from_static(checksum.algorithm.name())]),
            checksum_type: translate::checksum_type(info.checksum.as_ref()),
            restore_status: None,
        }
    }

    fn prefixes(&self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.encode(prefix)) }).collect()
    }
}

async fn page<T>(edge: &Edge, request: &S3Request<T>, query: ListObjects) -> S3Result<ObjectPage> {
    Ok(expect_outcome!(edge.call(request, Operation::ListObjects(query)).await?, Objects))
}

pub(super) async fn list_objects(edge: &Edge, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = &request.input;
    let names = Names::new(input.encoding_type.clone())?;
    let limit = page_size(input.max_keys)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input
        .marker
        .clone()
        .filter(|marker| !marker.is_empty())
        .map(|marker| marker_cursor(marker, &prefix, input.delimiter.as_deref()));
    let query = ListObjects { bucket: input.bucket.clone(), prefix, delimiter: input.delimiter.clone(), after, limit };
    let page = page(edge, &request, query).await?;
    let is_truncated = page.next.is_some();
    let next_marker = page.next.map(|(Cursor::AfterKey(text) | Cursor::AfterPrefix(text))| names.encode(text));
    let input = request.input;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(names.encode(input.prefix.unwrap_or_default())),
        marker: Some(names.encode(input.marker.unwrap_or_default())),
        max_keys: Some(limit as i32),
        is_truncated: Some(is_truncated),
        contents: Some(page.objects.into_iter().map(|info| names.object(info, true)).collect()),
        common_prefixes: Some(names.prefixes(page.prefixes)),
        // S3 names the next marker only where the client could not tell it from the last key.
        next_marker: next_marker.filter(|_| input.delimiter.is_some()),
        delimiter: input.delimiter.map(|delimiter| names.encode(delimiter)),
        encoding_type: names.encoding,
        request_charged: None,
    }))
}

/// A marker that is a rolled-up prefix stands for all of it; every other one is a key.
fn marker_cursor(marker: String, prefix: &str, delimiter: Option<&str>) -> Cursor {
    let rolled_up = delimiter.filter(|delimiter| !delimiter.is_empty()).is_some_and(|delimiter| {
        let rest = marker.strip_prefix(prefix).unwrap_or_default();
        rest.find(delimiter).is_some_and(|found| found + delimiter.len() == rest.len())
    });
    if rolled_up { Cursor::AfterPrefix(marker) } else { Cursor::AfterKey(marker) }
}

pub(super) async fn list_objects_v2(
    edge: &Edge,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = &request.input;
    let names = Names::new(input.encoding_type.clone())?;
    let limit = page_size(input.max_keys)?;
    let after = match &input.continuation_token {
        Some(token) => Some(decode_token(token)?),
        None => input.start_after.clone().filter(|key| !key.is_empty()).map(Cursor::AfterKey),
    };
    let query = ListObjects {
        bucket: input.bucket.clone(),
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        after,
        limit,
    };
    let page = page(edge, &request, query).await?;
    let input = request.input;
    let with_owner = input.fetch_owner.unwrap_or(false);
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(names.encode(input.prefix.unwrap_or_default())),
        max_keys: Some(limit as i32),
        key_count: Some((page.objects.len() + page.prefixes.len()) as i32),
        is_truncated: Some(page.next.is_some()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next.as_ref().map(encode_token).transpose()?,
        contents: Some(page.objects.into_iter().map(|info| names.object(info, with_owner)).collect()),
        common_prefixes: Some(names.prefixes(page.prefixes)),
        delimiter: input.delimiter.map(|delimiter| names.encode(delimiter)),
        start_after: input.start_after.map(|key| names.encode(key)),
        encoding_type: names.encoding,
        request_charged: None,
    }))
}

fn encode_token(cursor: &Cursor) -> S3Result<String> {
    let json = serde_json::to_vec(cursor).map_err(s3s::S3Error::internal_error)?;
    Ok(BASE64.encode(json))
}

fn decode_token(token: &str) -> S3Result<Cursor> {
    let cursor = BASE64.decode(token).ok().and_then(|json| serde_json::from_slice(&json).ok());
    cursor.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))
}

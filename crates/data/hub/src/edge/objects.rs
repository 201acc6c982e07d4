//! Objects: put, get, head, delete, copy.

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    Metadata, MetadataDirective, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::translate::{self, ChecksumFields, HeaderFields};
use super::{Edge, expect_outcome};
use crate::operation::{
    Address, CopyObject, GetObject, ObjectHead, ObjectHeaders, Operation, PutObject, ReadCondition, WriteCondition,
};

/// Keys in one `DeleteObjects` at most.
const MAX_DELETE: usize = 1000;

pub(super) async fn put_object(edge: &Edge, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let input = &mut request.input;
    let checksums = ChecksumFields {
        crc32: input.checksum_crc32.take(),
        crc32c: input.checksum_crc32c.take(),
        crc64nvme: input.checksum_crc64nvme.take(),
        sha1: input.checksum_sha1.take(),
        sha256: input.checksum_sha256.take(),
    };
    let headers = HeaderFields {
        content_type: input.content_type.take(),
        content_encoding: input.content_encoding.take(),
        content_language: input.content_language.take(),
        content_disposition: input.content_disposition.take(),
        cache_control: input.cache_control.take(),
        expires: input.expires.take(),
        metadata: input.metadata.take(),
    };
    let condition = WriteCondition {
        if_match: translate::strong_condition(input.if_match.take()),
        if_none_match: translate::weak_condition(input.if_none_match.take()),
    };
    let expected =
        translate::expected(&request.headers, request.trailing_headers.take(), input.content_md5.as_deref(), checksums)?;
    let put = PutObject {
        address: translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key)),
        body: translate::body(input.body.take(), input.content_length)?,
        headers: headers.into_headers()?,
        expected,
        condition,
    };
    let stored = expect_outcome!(edge.call(&request, Operation::PutObject(put)).await?, Stored);
    let sums = translate::checksum_fields(stored.checksum.as_ref());
    Ok(S3Response::new(PutObjectOutput {
        e_tag: Some(translate::etag(&stored.etag)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: translate::checksum_type(stored.checksum.as_ref()),
        ..PutObjectOutput::default()
    }))
}

fn read_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> ReadCondition {
    ReadCondition {
        if_match: translate::strong_condition(if_match),
        if_none_match: translate::weak_condition(if_none_match),
        if_modified_since: if_modified_since.map(translate::seconds),
        if_unmodified_since: if_unmodified_since.map(translate::seconds),
    }
}

pub(super) async fn get_object(edge: &Edge, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &mut request.input;
    reject_version(input.version_id.as_deref())?;
    let by_part = input.part_number.is_some();
    let with_checksum = input.checksum_mode.is_some();
    let get = GetObject {
        address: translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key)),
        range: translate::range(input.range, input.part_number)?,
        condition: read_condition(
            input.if_match.take(),
            input.if_none_match.take(),
            input.if_modified_since.take(),
            input.if_unmodified_since.take(),
        ),
    };
    let object = expect_outcome!(edge.call(&request, Operation::GetObject(get)).await?, Object);
    let head = head_output(object.head, by_part, with_checksum);
    Ok(S3Response::new(GetObjectOutput {
        body: Some(StreamingBlob::wrap(object.body)),
        accept_ranges: head.accept_ranges,
        content_length: head.content_length,
        content_range: head.content_range,
        content_type: head.content_type,
        content_encoding: head.content_encoding,
        content_language: head.content_language,
        content_disposition: head.content_disposition,
        cache_control: head.cache_control,
        expires: head.expires,
        metadata: head.metadata,
        e_tag: head.e_tag,
        last_modified: head.last_modified,
        parts_count: head.parts_count,
        checksum_crc32: head.checksum_crc32,
        checksum_crc32c: head.checksum_crc32c,
        checksum_crc64nvme: head.checksum_crc64nvme,
        checksum_sha1: head.checksum_sha1,
        checksum_sha256: head.checksum_sha256,
        checksum_type: head.checksum_type,
        ..GetObjectOutput::default()
    }))
}

pub(super) async fn head_object(edge: &Edge, mut request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &mut request.input;
    reject_version(input.version_id.as_deref())?;
    let by_part = input.part_number.is_some();
    let with_checksum = input.checksum_mode.is_some();
    let get = GetObject {
        address: translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key)),
        range: translate::range(input.range, input.part_number)?,
        condition: read_condition(
            input.if_match.take(),
            input.if_none_match.take(),
            input.if_modified_since.take(),
            input.if_unmodified_since.take(),
        ),
    };
    let head = expect_outcome!(edge.call(&request, Operation::HeadObject(get)).await?, Head);
    Ok(S3Response::new(head_output(head, by_part, with_checksum)))
}

fn head_output(head: ObjectHead, by_part: bool, with_checksum: bool) -> HeadObjectOutput {
    let ObjectHead { info, range, partial } = head;
    let ObjectHeaders { content_type, content_encoding, content_language, content_disposition, cache_control, expires, user } =
        info.headers;
    let metadata: Metadata = user.into_iter().collect();
    // A range has no stored checksum of its own.
    let checksum = info.checksum.filter(|_| with_checksum && !partial);
    let sums = translate::checksum_fields(checksum.as_ref());
    HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(range.len().cast_signed()),
        content_range: (partial && !range.is_empty()).then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, info.size)),
        content_type: Some(content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires: expires.map(|seconds| translate::timestamp(seconds.saturating_mul(1000))),
        metadata: (!metadata.is_empty()).then_some(metadata),
        e_tag: Some(translate::etag(&info.etag)),
        last_modified: Some(translate::timestamp(info.modified_ms)),
        parts_count: (by_part && info.parts > 0).then(|| info.parts.cast_signed()),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: translate::checksum_type(checksum.as_ref()),
        ..HeadObjectOutput::default()
    }
}

/// There is one version of every object.
fn reject_version(version: Option<&str>) -> S3Result {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(version) => Err(s3_error!(NoSuchVersion, "version {version:?} does not exist: this store keeps one version")),
    }
}

pub(super) async fn delete_object(
    edge: &Edge,
    mut request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = &mut request.input;
    reject_version(input.version_id.as_deref())?;
    let condition = WriteCondition { if_match: translate::strong_condition(input.if_match.take()), if_none_match: None };
    let address = translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key));
    edge.call(&request, Operation::DeleteObject { address, condition }).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(super) async fn delete_objects(
    edge: &Edge,
    mut request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = &mut request.input;
    let objects = std::mem::take(&mut input.delete.objects);
    if objects.is_empty() || objects.len() > MAX_DELETE {
        return Err(s3_error!(MalformedXML, "name between 1 and {MAX_DELETE} keys"));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let bucket = std::mem::take(&mut input.bucket);
    let (mut keys, mut errors) = (Vec::new(), Vec::new());
    for object in objects {
        match reject_version(object.version_id.as_deref()) {
            Ok(()) => keys.push(object.key),
            Err(error) => errors.push(s3s::dto::Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(object.key),
                message: error.message().map(str::to_owned),
                version_id: object.version_id,
            }),
        }
    }
    let deleted = expect_outcome!(edge.call(&request, Operation::DeleteObjects { bucket, keys }).await?, Deleted);
    let deleted = deleted.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() }).collect();
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

/// Where a copy comes from.
pub(super) fn copy_source(source: &CopySource) -> S3Result<Address> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            reject_version(version_id.as_deref())?;
            Ok(Address { bucket: bucket.to_string(), key: key.to_string() })
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented, "copies from access points are not known here"))
        }
    }
}

pub(super) async fn copy_object(edge: &Edge, mut request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let if_none_match = header_condition(&request, &http::header::IF_NONE_MATCH)?;
    let if_match = header_condition(&request, &http::header::IF_MATCH)?;
    let input = &mut request.input;
    let source = copy_source(&input.copy_source)?;
    let target = translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key));
    let replace = input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    if source == target && !replace {
        return Err(s3_error!(InvalidRequest, "a copy onto itself changes nothing; replace its metadata or name another target"));
    }
    let fields = HeaderFields {
        content_type: input.content_type.take(),
        content_encoding: input.content_encoding.take(),
        content_language: input.content_language.take(),
        content_disposition: input.content_disposition.take(),
        cache_control: input.cache_control.take(),
        expires: input.expires.take(),
        metadata: input.metadata.take(),
    };
    let copy = CopyObject {
        source,
        source_condition: read_condition(
            input.copy_source_if_match.take(),
            input.copy_source_if_none_match.take(),
            input.copy_source_if_modified_since.take(),
            input.copy_source_if_unmodified_since.take(),
        ),
        target,
        headers: replace.then(|| fields.into_headers()).transpose()?,
        condition: WriteCondition {
            if_match: translate::strong_condition(if_match),
            if_none_match: translate::weak_condition(if_none_match),
        },
    };
    let stored = expect_outcome!(edge.call(&request, Operation::CopyObject(copy)).await?, Stored);
    let sums = translate::checksum_fields(stored.checksum.as_ref());
    let result = CopyObjectResult {
        e_tag: Some(translate::etag(&stored.etag)),
        last_modified: Some(translate::timestamp(stored.modified_ms)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: translate::checksum_type(stored.checksum.as_ref()),
    };
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
}

/// A condition on the target of a copy, which `s3s` does not parse.
fn header_condition<T>(request: &S3Request<T>, name: &http::HeaderName) -> S3Result<Option<ETagCondition>> {
    let Some(value) = request.headers.get(name) else { return Ok(None) };
    ETagCondition::parse_http_header(value.as_bytes())
        .map(Some)
        .map_err(|_| translate::invalid(format!("{name} is not an entity tag")))
}

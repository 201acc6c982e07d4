//! Multipart uploads.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm as AlgorithmName, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part, Range, StorageClass, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::listing::{Names, owner, page_size};
use super::translate::{self, ChecksumFields, HeaderFields};
use super::{Edge, expect_outcome, objects};
use crate::checksum::{ChecksumAlgorithm, ChecksumKind};
use crate::operation::{
    CompleteUpload, CreateUpload, GetObject, ListParts, ListUploads, NamedPart, Operation, PartInfo, ReadCondition, UploadInfo,
    UploadPart, UploadPartCopy, WriteCondition,
};

pub(super) async fn create(
    edge: &Edge,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = &mut request.input;
    let algorithm = input.checksum_algorithm.as_ref().map(|name| translate::algorithm(name.as_str())).transpose()?;
    let kind = input.checksum_type.as_ref().map(|name| checksum_kind(name, algorithm)).transpose()?;
    let headers = HeaderFields {
        content_type: input.content_type.take(),
        content_encoding: input.content_encoding.take(),
        content_language: input.content_language.take(),
        content_disposition: input.content_disposition.take(),
        cache_control: input.cache_control.take(),
        expires: input.expires.take(),
        metadata: input.metadata.take(),
    };
    let address = translate::address(input.bucket.clone(), input.key.clone());
    let create = CreateUpload { address, headers: headers.into_headers()?, algorithm, kind };
    let upload = expect_outcome!(edge.call(&request, Operation::CreateUpload(create)).await?, Upload);
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(request.input.bucket),
        key: Some(request.input.key),
        upload_id: Some(upload.upload),
        checksum_algorithm: Some(AlgorithmName::from_static(upload.algorithm.name())),
        checksum_type: Some(translate::kind_name(upload.kind)),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn checksum_kind(name: &ChecksumType, algorithm: Option<ChecksumAlgorithm>) -> S3Result<ChecksumKind> {
    let algorithm = algorithm.unwrap_or(ChecksumAlgorithm::DEFAULT);
    match name.as_str() {
        ChecksumType::COMPOSITE if algorithm != ChecksumAlgorithm::Crc64Nvme => Ok(ChecksumKind::Composite),
        ChecksumType::FULL_OBJECT if algorithm.can_combine() => Ok(ChecksumKind::FullObject),
        other => Err(s3_error!(InvalidRequest, "checksum type {other} does not go with {}", algorithm.name())),
    }
}

pub(super) async fn upload_part(edge: &Edge, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let input = &mut request.input;
    let checksums = ChecksumFields {
        crc32: input.checksum_crc32.take(),
        crc32c: input.checksum_crc32c.take(),
        crc64nvme: input.checksum_crc64nvme.take(),
        sha1: input.checksum_sha1.take(),
        sha256: input.checksum_sha256.take(),
    };
    let expected =
        translate::expected(&request.headers, request.trailing_headers.take(), input.content_md5.as_deref(), checksums)?;
    let part = UploadPart {
        address: translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key)),
        upload: std::mem::take(&mut input.upload_id),
        number: translate::part_number(input.part_number)?,
        body: translate::body(input.body.take(), input.content_length)?,
        expected,
    };
    let part = expect_outcome!(edge.call(&request, Operation::UploadPart(part)).await?, Part);
    let sums = translate::checksum_fields(part.checksum.as_ref());
    Ok(S3Response::new(UploadPartOutput {
        e_tag: Some(translate::etag(&part.etag)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        ..UploadPartOutput::default()
    }))
}

pub(super) async fn upload_part_copy(
    edge: &Edge,
    mut request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = &mut request.input;
    let range = input.copy_source_range.as_deref().map(parse_copy_range).transpose()?;
    let source = GetObject {
        address: objects::copy_source(&input.copy_source)?,
        range: translate::range(range, None)?,
        condition: ReadCondition {
            if_match: translate::strong_condition(input.copy_source_if_match.take()),
            if_none_match: translate::weak_condition(input.copy_source_if_none_match.take()),
            if_modified_since: input.copy_source_if_modified_since.take().map(translate::seconds),
            if_unmodified_since: input.copy_source_if_unmodified_since.take().map(translate::seconds),
        },
    };
    let copy = UploadPartCopy {
        address: translate::address(std::mem::take(&mut input.bucket), std::mem::take(&mut input.key)),
        upload: std::mem::take(&mut input.upload_id),
        number: translate::part_number(input.part_number)?,
        source,
    };
    let part = expect_outcome!(edge.call(&request, Operation::UploadPartCopy(copy)).await?, Part);
    let sums = translate::checksum_fields(part.checksum.as_ref());
    let result = CopyPartResult {
        e_tag: Some(translate::etag(&part.etag)),
        last_modified: Some(translate::timestamp(part.modified_ms)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
    };
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
}

fn parse_copy_range(text: &str) -> S3Result<Range> {
    match Range::parse(text) {
        Ok(range @ Range::Int { last: Some(_), .. }) => Ok(range),
        _ => Err(translate::invalid("x-amz-copy-source-range must be bytes=FIRST-LAST")),
    }
}

pub(super) async fn complete(
    edge: &Edge,
    mut request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = &mut request.input;
    let checksums = ChecksumFields {
        crc32: input.checksum_crc32.take(),
        crc32c: input.checksum_crc32c.take(),
        crc64nvme: input.checksum_crc64nvme.take(),
        sha1: input.checksum_sha1.take(),
        sha256: input.checksum_sha256.take(),
    };
    let parts = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
    let complete = CompleteUpload {
        address: translate::address(input.bucket.clone(), input.key.clone()),
        upload: std::mem::take(&mut input.upload_id),
        parts: parts.into_iter().map(named_part).collect::<S3Result<_>>()?,
        expected: checksums.single()?.map(|(_, value)| value),
        size: input.mpu_object_size.map(u64::try_from).transpose().map_err(|_| translate::invalid("negative object size"))?,
        condition: WriteCondition {
            if_match: translate::strong_condition(input.if_match.take()),
            if_none_match: translate::weak_condition(input.if_none_match.take()),
        },
    };
    let stored = expect_outcome!(edge.call(&request, Operation::CompleteUpload(complete)).await?, Stored);
    let sums = translate::checksum_fields(stored.checksum.as_ref());
    let input = request.input;
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(translate::etag(&stored.etag)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: translate::checksum_type(stored.checksum.as_ref()),
        ..CompleteMultipartUploadOutput::default()
    }))
}

fn named_part(part: CompletedPart) -> S3Result<NamedPart> {
    let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
    let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "a part has no entity tag"))?;
    let checksums = ChecksumFields {
        crc32: part.checksum_crc32,
        crc32c: part.checksum_crc32c,
        crc64nvme: part.checksum_crc64nvme,
        sha1: part.checksum_sha1,
        sha256: part.checksum_sha256,
    };
    let checksum = checksums.single()?.map(|(_, value)| value);
    Ok(NamedPart { number: translate::part_number(number)?, etag: etag.into_value(), checksum })
}

pub(super) async fn abort(
    edge: &Edge,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let address = translate::address(request.input.bucket.clone(), request.input.key.clone());
    let upload = request.input.upload_id.clone();
    edge.call(&request, Operation::AbortUpload { address, upload }).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list_parts(edge: &Edge, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = &request.input;
    let limit = page_size(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let query = ListParts {
        address: translate::address(input.bucket.clone(), input.key.clone()),
        upload: input.upload_id.clone(),
        after: u32::try_from(after).map_err(|_| translate::invalid("part-number-marker cannot be negative"))?,
        limit,
    };
    let page = expect_outcome!(edge.call(&request, Operation::ListParts(query)).await?, Parts);
    let next = page.parts.last().filter(|_| page.truncated).map(|part| part.number.cast_signed());
    let input = request.input;
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(after),
        next_part_number_marker: next,
        max_parts: Some(limit as i32),
        is_truncated: Some(page.truncated),
        parts: Some(page.parts.into_iter().map(part).collect()),
        checksum_algorithm: Some(AlgorithmName::from_static(page.upload.algorithm.name())),
        checksum_type: Some(translate::kind_name(page.upload.kind)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        owner: Some(owner()),
        initiator: Some(initiator()),
        ..ListPartsOutput::default()
    }))
}

fn initiator() -> Initiator {
    Initiator { id: owner().id, display_name: owner().display_name }
}

fn part(part: PartInfo) -> Part {
    let sums = translate::checksum_fields(part.checksum.as_ref());
    Part {
        part_number: Some(part.number.cast_signed()),
        e_tag: Some(translate::etag(&part.etag)),
        size: Some(part.size.cast_signed()),
        last_modified: Some(translate::timestamp(part.modified_ms)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
    }
}

pub(super) async fn list_uploads(
    edge: &Edge,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = &request.input;
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "uploads are listed without a delimiter"));
    }
    let names = Names::new(input.encoding_type.clone())?;
    let limit = page_size(input.max_uploads)?;
    // Without an upload, the marker stands for all uploads of its key; '\u{10ffff}' sorts after every upload's identifier.
    let after = input.key_marker.clone().map(|key| {
        (key, input.upload_id_marker.clone().filter(|upload| !upload.is_empty()).unwrap_or_else(|| char::MAX.to_string()))
    });
    let query = ListUploads { bucket: input.bucket.clone(), prefix: input.prefix.clone().unwrap_or_default(), after, limit };
    let page = expect_outcome!(edge.call(&request, Operation::ListUploads(query)).await?, Uploads);
    let last = page.uploads.last().filter(|_| page.truncated).map(|upload| (upload.key.clone(), upload.upload.clone()));
    let (next_key, next_upload) = last.unzip();
    let input = request.input;
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(names.encode(input.prefix.unwrap_or_default())),
        key_marker: Some(names.encode(input.key_marker.unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        next_key_marker: next_key.map(|key| names.encode(key)),
        next_upload_id_marker: next_upload,
        max_uploads: Some(limit as i32),
        is_truncated: Some(page.truncated),
        uploads: Some(page.uploads.into_iter().map(|upload| listed_upload(&names, upload)).collect()),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    }))
}

fn listed_upload(names: &Names, upload: UploadInfo) -> MultipartUpload {
    MultipartUpload {
        key: Some(names.encode(upload.key)),
        upload_id: Some(upload.upload),
        initiated: Some(translate::timestamp(upload.initiated_ms)),
        checksum_algorithm: Some(AlgorithmName::from_static(upload.algorithm.name())),
        checksum_type: Some(translate::kind_name(upload.kind)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        owner: Some(owner()),
        initiator: Some(initiator()),
    }
}

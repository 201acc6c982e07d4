//! Small translations that several requests share.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use http::HeaderMap;
use s3s::dto::{ETag, ETagCondition, StreamingBlob, Timestamp};
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};
use time::OffsetDateTime;

use crate::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::operation::{Address, Body, BodyError, Expected, ObjectHeaders, RangeRequest, TagCondition};

/// User metadata of one object at most, names and values together.
const MAX_USER_METADATA: usize = 2048;

pub(super) fn address(bucket: String, key: String) -> Address {
    Address { bucket, key }
}

pub(super) fn invalid(message: impl Into<String>) -> S3Error {
    s3_error!(InvalidArgument, "{}", message.into())
}

pub(super) fn timestamp(ms: i64) -> Timestamp {
    let nanoseconds = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

pub(super) fn seconds(timestamp: Timestamp) -> i64 {
    OffsetDateTime::from(timestamp).unix_timestamp()
}

pub(super) fn etag(text: &str) -> ETag {
    ETag::Strong(text.to_owned())
}

/// `If-Match`: weak tags never match.
pub(super) fn strong_condition(condition: Option<ETagCondition>) -> Option<TagCondition> {
    condition.map(|condition| match condition {
        ETagCondition::Any => TagCondition::Any,
        ETagCondition::ETag(ETag::Strong(text)) => TagCondition::Tags(split_tags(&text)),
        ETagCondition::ETag(ETag::Weak(_)) => TagCondition::Tags(Vec::new()),
    })
}

/// `If-None-Match`: weak tags match as well.
pub(super) fn weak_condition(condition: Option<ETagCondition>) -> Option<TagCondition> {
    condition.map(|condition| match condition {
        ETagCondition::Any => TagCondition::Any,
        ETagCondition::ETag(tag) => TagCondition::Tags(split_tags(tag.value())),
    })
}

/// `s3s` takes a list (`"a", "b"`) for one tag with quotes in it.
fn split_tags(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned()).collect()
}

pub(super) fn range(range: Option<s3s::dto::Range>, part: Option<i32>) -> S3Result<Option<RangeRequest>> {
    match (range, part) {
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "Range and partNumber exclude each other")),
        (Some(s3s::dto::Range::Int { first, last }), None) => Ok(Some(RangeRequest::Between { first, last })),
        (Some(s3s::dto::Range::Suffix { length }), None) => Ok(Some(RangeRequest::Suffix { length })),
        (None, Some(part)) => Ok(Some(RangeRequest::Part(part_number(part)?))),
        (None, None) => Ok(None),
    }
}

pub(super) fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=10_000).contains(number))
        .ok_or_else(|| invalid(format!("part number {number} is not between 1 and 10000")))
}

/// Stored headers out of a request's fields.
pub(super) struct HeaderFields {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<std::collections::HashMap<String, String>>,
}

impl HeaderFields {
    pub(super) fn into_headers(self) -> S3Result<ObjectHeaders> {
        let user: BTreeMap<String, String> = self.metadata.unwrap_or_default().into_iter().collect();
        let size: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_USER_METADATA {
            return Err(s3_error!(MetadataTooLarge, "user metadata has {size} bytes; {MAX_USER_METADATA} are allowed"));
        }
        Ok(ObjectHeaders {
            content_type: self.content_type,
            content_encoding: self.content_encoding.and_then(|value| without_aws_chunked(&value)),
            content_language: self.content_language,
            content_disposition: self.content_disposition,
            cache_control: self.cache_control,
            expires: self.expires.map(seconds),
            user,
        })
    }
}

/// `aws-chunked` describes the transfer, not the object.
fn without_aws_chunked(value: &str) -> Option<String> {
    let kept: Vec<&str> = value.split(',').map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked")).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// A request's body; without one, an empty one.
pub(super) fn body(blob: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Body> {
    let length = length.map(u64::try_from).transpose().map_err(|_| invalid("Content-Length is negative"))?;
    let Some(blob) = blob else { return Ok(Body::from_bytes(bytes::Bytes::new())) };
    Ok(Body::new(blob.map(|piece| piece.map_err(|error| body_error(&*error))), length))
}

/// The error types of `s3s`'s streams are private to it; their texts are not.
fn body_error(error: &(dyn std::error::Error + 'static)) -> BodyError {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") || text.contains("SignatureMismatch") {
        BodyError::Signature(text)
    } else {
        BodyError::Incomplete(text)
    }
}

/// The checksum fields of a request.
#[derive(Default)]
pub(super) struct ChecksumFields {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl ChecksumFields {
    /// The one that is there; several are refused, as S3 does.
    pub(super) fn single(self) -> S3Result<Option<(ChecksumAlgorithm, String)>> {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        let mut present =
            [(Crc32, self.crc32), (Crc32c, self.crc32c), (Crc64Nvme, self.crc64nvme), (Sha1, self.sha1), (Sha256, self.sha256)]
                .into_iter()
                .filter_map(|(algorithm, value)| value.map(|value| (algorithm, value)));
        let first = present.next();
        match present.next() {
            Some(_) => Err(s3_error!(InvalidRequest, "expecting a single x-amz-checksum- header")),
            None => Ok(first),
        }
    }
}

/// Fills the checksum fields of an answer.
pub(super) fn checksum_fields(checksum: Option<&Checksum>) -> ChecksumFields {
    let mut fields = ChecksumFields::default();
    if let Some(checksum) = checksum {
        let field = match checksum.algorithm {
            ChecksumAlgorithm::Crc32 => &mut fields.crc32,
            ChecksumAlgorithm::Crc32c => &mut fields.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &mut fields.crc64nvme,
            ChecksumAlgorithm::Sha1 => &mut fields.sha1,
            ChecksumAlgorithm::Sha256 => &mut fields.sha256,
        };
        *field = Some(checksum.value.clone());
    }
    fields
}

pub(super) fn checksum_type(checksum: Option<&Checksum>) -> Option<s3s::dto::ChecksumType> {
    checksum.map(|checksum| kind_name(checksum.kind))
}

pub(super) fn kind_name(kind: ChecksumKind) -> s3s::dto::ChecksumType {
    let name = match kind {
        ChecksumKind::FullObject => s3s::dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => s3s::dto::ChecksumType::COMPOSITE,
    };
    s3s::dto::ChecksumType::from_static(name)
}

pub(super) fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::from_name(name).ok_or_else(|| {
        s3_error!(InvalidRequest, "checksum algorithm {name:?} is not known here; use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256")
    })
}

/// What the client says its bytes hash to: `Content-MD5`, a checksum header, or a checksum trailer.
pub(super) fn expected(
    headers: &HeaderMap,
    trailing: Option<TrailingHeaders>,
    content_md5: Option<&str>,
    checksums: ChecksumFields,
) -> S3Result<Expected> {
    let md5 = content_md5
        .map(|text| {
            let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            bytes.ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not the base64 of 16 bytes"))
        })
        .transpose()?;
    if let Some((algorithm, value)) = checksums.single()? {
        return Ok(Expected { md5, algorithm: Some(algorithm), value: Some(value), trailer: None });
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(name) =
        text("x-amz-trailer").and_then(|names| names.split(',').map(str::trim).find(|name| name.starts_with("x-amz-checksum-")))
    {
        let algorithm = algorithm(name.trim_start_matches("x-amz-checksum-"))?;
        let name = name.to_owned();
        let trailer = Box::new(move || {
            trailing?.read(|headers| headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned))?
        });
        return Ok(Expected { md5, algorithm: Some(algorithm), value: None, trailer: Some(trailer) });
    }
    let algorithm = text("x-amz-sdk-checksum-algorithm").map(algorithm).transpose()?;
    Ok(Expected { md5, algorithm, value: None, trailer: None })
}

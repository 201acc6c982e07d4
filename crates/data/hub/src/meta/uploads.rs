//! Multipart uploads, inside a transaction. Completing one moves no bytes: the object takes over the parts' blobs.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::objects::{self, BlobRef, NewObject};
use super::sqlite::{Failure, bucket_id};
use super::{BlobId, Committed, PartCommit};
use crate::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, multipart_checksum, multipart_etag};
use crate::error::OperationError;
use crate::operation::{
    Address, CompleteUpload, CreateUpload, ListParts, NamedPart, ObjectHeaders, PartInfo, PartPage, Stored, UploadInfo,
};

/// More parts than an upload can have.
const ALL_PARTS: usize = 1 << 20;

/// An upload's row.
pub(super) struct Upload {
    bucket: i64,
    pub(super) info: UploadInfo,
    headers: ObjectHeaders,
}

/// The columns of [`info_from_row`], in order.
pub(super) const INFO_COLUMNS: &str = "id, key, initiated, algorithm, kind";

pub(super) fn info_from_row(row: &Row<'_>) -> rusqlite::Result<UploadInfo> {
    Ok(UploadInfo {
        upload: row.get(0)?,
        key: row.get(1)?,
        initiated_ms: row.get(2)?,
        algorithm: objects::from_json(row, 3)?.unwrap_or(ChecksumAlgorithm::DEFAULT),
        kind: objects::from_json(row, 4)?.unwrap_or(ChecksumKind::FullObject),
    })
}

pub(super) fn create(connection: &Connection, create: CreateUpload, now_ms: i64) -> Result<UploadInfo, Failure> {
    let bucket = bucket_id(connection, &create.address.bucket)?;
    let algorithm = create.algorithm.unwrap_or(ChecksumAlgorithm::DEFAULT);
    let info = UploadInfo {
        upload: uuid::Uuid::now_v7().simple().to_string(),
        key: create.address.key,
        initiated_ms: now_ms,
        algorithm,
        kind: create.kind.unwrap_or_else(|| algorithm.default_kind()),
    };
    connection
        .prepare_cached(
            "INSERT INTO uploads (bucket, key, id, initiated, headers, algorithm, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            bucket,
            info.key,
            info.upload,
            info.initiated_ms,
            objects::headers_column(&create.headers)?,
            objects::to_json(&info.algorithm)?,
            objects::to_json(&info.kind)?,
        ])?;
    Ok(info)
}

pub(super) fn find(connection: &Connection, address: &Address, upload: &str) -> Result<Upload, Failure> {
    let bucket = bucket_id(connection, &address.bucket)?;
    let sql = format!("SELECT {INFO_COLUMNS}, headers FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3");
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![bucket, address.key, upload], |row| {
            Ok(Upload { bucket, info: info_from_row(row)?, headers: objects::from_json(row, 5)?.unwrap_or_default() })
        })
        .optional()?;
    Ok(found.ok_or_else(|| OperationError::NoSuchUpload(upload.to_owned()))?)
}

pub(super) fn put_part(connection: &Connection, commit: PartCommit) -> Result<Committed<PartInfo>, Failure> {
    find(connection, &commit.address, &commit.upload)?;
    let mut released = Vec::new();
    let before: Option<Vec<BlobRef>> = connection
        .prepare_cached("SELECT blobs FROM parts WHERE upload = ?1 AND number = ?2")?
        .query_row(params![commit.upload, commit.part.number], |row| Ok(objects::unpack_blobs(row.get_ref(0)?.as_blob()?)))
        .optional()?;
    if let Some(blob) = &commit.blob {
        objects::insert_blob(connection, blob)?;
    }
    let blobs: Vec<BlobRef> = commit.blob.iter().map(BlobRef::from).collect();
    connection
        .prepare_cached(
            "INSERT INTO parts (upload, number, etag, size, modified, checksum, blobs) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (upload, number) DO UPDATE SET etag = ?3, size = ?4, modified = ?5, checksum = ?6, blobs = ?7",
        )?
        .execute(params![
            commit.upload,
            commit.part.number,
            commit.part.etag,
            commit.part.size.cast_signed(),
            commit.part.modified_ms,
            objects::checksum_column(commit.part.checksum.as_ref())?,
            objects::pack_blobs(&blobs),
        ])?;
    if let Some(blobs) = before {
        objects::release_blobs(connection, &blobs, &mut released)?;
    }
    Ok(Committed { value: commit.part, released })
}

fn part_from_row(row: &Row<'_>) -> rusqlite::Result<(PartInfo, Vec<BlobRef>)> {
    let part = PartInfo {
        number: row.get(0)?,
        etag: row.get(1)?,
        size: row.get::<_, i64>(2)?.unsigned_abs(),
        modified_ms: row.get(3)?,
        checksum: objects::from_json(row, 4)?,
    };
    Ok((part, objects::unpack_blobs(row.get_ref(5)?.as_blob()?)))
}

fn parts_after(
    connection: &Connection,
    upload: &str,
    after: u32,
    limit: usize,
) -> Result<Vec<(PartInfo, Vec<BlobRef>)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT number, etag, size, modified, checksum, blobs FROM parts WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map(params![upload, after, limit as i64], part_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn list_parts(connection: &Connection, query: &ListParts) -> Result<PartPage, Failure> {
    let upload = find(connection, &query.address, &query.upload)?.info;
    let mut parts: Vec<PartInfo> =
        parts_after(connection, &query.upload, query.after, query.limit + 1)?.into_iter().map(|(part, _)| part).collect();
    let truncated = parts.len() > query.limit;
    parts.truncate(query.limit);
    Ok(PartPage { upload, parts, truncated })
}

pub(super) fn complete(
    connection: &Connection,
    complete: CompleteUpload,
    min_part: u64,
    now_ms: i64,
) -> Result<Committed<Stored>, Failure> {
    let upload = match find(connection, &complete.address, &complete.upload) {
        Err(Failure::Operation(OperationError::NoSuchUpload(upload))) => {
            // A client that lost the answer asks again.
            return match completed_before(connection, &complete.address, &upload)? {
                Some(stored) => Ok(Committed { value: stored, released: Vec::new() }),
                None => Err(OperationError::NoSuchUpload(upload).into()),
            };
        }
        other => other?,
    };
    let present = parts_after(connection, &complete.upload, 0, ALL_PARTS)?;
    let chosen = choose_parts(&complete.parts, &present, min_part)?;
    let stored = assemble(&complete, &upload.info, &chosen, now_ms)?;
    let kept: Vec<BlobRef> = chosen.iter().flat_map(|(_, blobs)| blobs.iter().copied()).collect();
    let object = NewObject {
        key: &complete.address.key,
        stored: &stored,
        headers: &upload.headers,
        blobs: &kept,
        parts: chosen.len(),
        upload: Some(&complete.upload),
    };
    let mut released = Vec::new();
    objects::replace(connection, upload.bucket, &object, &complete.condition, &mut released)?;
    let unused: Vec<BlobRef> = present
        .iter()
        .filter(|(part, _)| complete.parts.binary_search_by_key(&part.number, |named| named.number).is_err())
        .flat_map(|(_, blobs)| blobs.iter().copied())
        .collect();
    objects::release_blobs(connection, &unused, &mut released)?;
    forget(connection, upload.bucket, &complete.address.key, &complete.upload)?;
    Ok(Committed { value: stored, released })
}

/// The named parts, checked against those that are there.
fn choose_parts<'a>(
    named: &[NamedPart],
    present: &'a [(PartInfo, Vec<BlobRef>)],
    min_part: u64,
) -> Result<Vec<&'a (PartInfo, Vec<BlobRef>)>, OperationError> {
    if named.is_empty() {
        return Err(OperationError::Invalid("the request names no part".to_owned()));
    }
    if named.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(OperationError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for part in named {
        let missing = || OperationError::InvalidPart(part.number);
        let index = present.binary_search_by_key(&part.number, |(there, _)| there.number).map_err(|_| missing())?;
        let there = &present[index];
        let same_checksum = match (&part.checksum, &there.0.checksum) {
            (Some(named), Some(stored)) => *named == stored.value,
            _ => true,
        };
        if there.0.etag != part.etag || !same_checksum {
            return Err(missing());
        }
        chosen.push(there);
    }
    let (_, all_but_last) = chosen.split_last().unwrap_or((&chosen[0], &[]));
    match all_but_last.iter().find(|(part, _)| part.size < min_part) {
        Some((part, _)) => Err(OperationError::PartTooSmall { number: part.number, size: part.size, minimum: min_part }),
        None => Ok(chosen),
    }
}

/// What the object made of these parts is.
fn assemble(
    complete: &CompleteUpload,
    upload: &UploadInfo,
    chosen: &[&(PartInfo, Vec<BlobRef>)],
    now_ms: i64,
) -> Result<Stored, OperationError> {
    let size: u64 = chosen.iter().map(|(part, _)| part.size).sum();
    if let Some(expected) = complete.size
        && expected != size
    {
        return Err(OperationError::Invalid(format!("the parts hold {size} bytes, the request says {expected}")));
    }
    let md5s: Vec<Vec<u8>> = chosen
        .iter()
        .map(|(part, _)| hex::decode(&part.etag).map_err(|_| OperationError::InvalidPart(part.number)))
        .collect::<Result<_, _>>()?;
    let sizes: Vec<(Option<&Checksum>, u64)> = chosen.iter().map(|(part, _)| (part.checksum.as_ref(), part.size)).collect();
    let checksum = multipart_checksum(upload.algorithm, upload.kind, &sizes);
    if let (Some(expected), Some(computed)) = (&complete.expected, &checksum) {
        // Clients send a composite checksum with or without the count of parts.
        let without_count = computed.value.split('-').next().unwrap_or_default();
        if *expected != computed.value && expected != without_count {
            return Err(OperationError::BadDigest {
                algorithm: computed.algorithm.name(),
                expected: expected.clone(),
                computed: computed.value.clone(),
            });
        }
    }
    Ok(Stored { etag: multipart_etag(md5s.iter().map(Vec::as_slice)), size, modified_ms: now_ms, checksum })
}

fn completed_before(connection: &Connection, address: &Address, upload: &str) -> Result<Option<Stored>, Failure> {
    let bucket = bucket_id(connection, &address.bucket)?;
    let sql = format!("SELECT {} FROM objects WHERE bucket = ?1 AND key = ?2 AND upload = ?3", objects::INFO_COLUMNS);
    let info =
        connection.prepare_cached(&sql)?.query_row(params![bucket, address.key, upload], objects::info_from_row).optional()?;
    Ok(info.map(|info| Stored { etag: info.etag, size: info.size, modified_ms: info.modified_ms, checksum: info.checksum }))
}

/// Forgets an upload and its parts, not their blobs.
fn forget(connection: &Connection, bucket: i64, key: &str, upload: &str) -> Result<(), Failure> {
    connection.prepare_cached("DELETE FROM parts WHERE upload = ?1")?.execute([upload])?;
    connection
        .prepare_cached("DELETE FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3")?
        .execute(params![bucket, key, upload])?;
    Ok(())
}

pub(super) fn abort(connection: &Connection, address: &Address, upload: &str) -> Result<Committed<()>, Failure> {
    let found = find(connection, address, upload)?;
    let mut released = Vec::new();
    drop_upload(connection, found.bucket, &address.key, upload, &mut released)?;
    Ok(Committed { value: (), released })
}

fn drop_upload(connection: &Connection, bucket: i64, key: &str, upload: &str, released: &mut Vec<BlobId>) -> Result<(), Failure> {
    for (_, blobs) in parts_after(connection, upload, 0, ALL_PARTS)? {
        objects::release_blobs(connection, &blobs, released)?;
    }
    forget(connection, bucket, key, upload)
}

/// Removes an empty bucket, and with it the uploads under way in it.
pub(super) fn delete_bucket(connection: &Connection, name: &str) -> Result<Committed<()>, Failure> {
    let bucket = bucket_id(connection, name)?;
    let holds_objects: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)")?
        .query_row([bucket], |row| row.get(0))?;
    if holds_objects {
        return Err(OperationError::BucketNotEmpty(name.to_owned()).into());
    }
    let uploads: Vec<(String, String)> = connection
        .prepare_cached("SELECT key, id FROM uploads WHERE bucket = ?1")?
        .query_map([bucket], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut released = Vec::new();
    for (key, upload) in uploads {
        drop_upload(connection, bucket, &key, &upload, &mut released)?;
    }
    connection.prepare_cached("DELETE FROM buckets WHERE id = ?1")?.execute([bucket])?;
    Ok(Committed { value: (), released })
}

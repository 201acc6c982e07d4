//! Objects and blobs, inside a transaction.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::sqlite::{Failure, bucket_id};
use super::{Blob, BlobId, Committed, PutCommit, StoredObject};
use crate::checksum::Checksum;
use crate::error::OperationError;
use crate::operation::{Address, CopyObject, ObjectHeaders, ObjectInfo, Stored, WriteCondition};

/// The columns of [`info_from_row`], in order.
pub(super) const INFO_COLUMNS: &str = "key, etag, size, modified, parts, headers, checksum";

/// A blob as an object's row names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlobRef {
    pub(super) id: BlobId,
    pub(super) size: u64,
    /// Whether its bytes lie in the metadata.
    pub(super) inline: bool,
}

/// In a packed reference, this bit of the size says that the blob lies in the metadata.
const INLINE_BIT: u64 = 1 << 63;

impl From<&Blob> for BlobRef {
    fn from(blob: &Blob) -> Self {
        Self { id: blob.id, size: blob.size, inline: blob.inline.is_some() }
    }
}

pub(super) fn info_from_row(row: &Row<'_>) -> rusqlite::Result<ObjectInfo> {
    Ok(ObjectInfo {
        key: row.get(0)?,
        etag: row.get(1)?,
        size: row.get::<_, i64>(2)?.unsigned_abs(),
        modified_ms: row.get(3)?,
        parts: row.get(4)?,
        headers: from_json(row, 5)?.unwrap_or_default(),
        checksum: from_json(row, 6)?,
    })
}

/// A column that holds JSON or nothing.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error)))
}

/// JSON for a column; nothing for the default value.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| OperationError::Internal(error.to_string()).into())
}

pub(super) fn headers_column(headers: &ObjectHeaders) -> Result<Option<String>, Failure> {
    if *headers == ObjectHeaders::default() { Ok(None) } else { to_json(headers).map(Some) }
}

pub(super) fn checksum_column(checksum: Option<&Checksum>) -> Result<Option<String>, Failure> {
    checksum.map(to_json).transpose()
}

/// Packs blob references: 16 bytes each, numbers in big-endian order.
pub(super) fn pack_blobs(blobs: &[BlobRef]) -> Vec<u8> {
    let packed_size = |blob: &BlobRef| if blob.inline { blob.size | INLINE_BIT } else { blob.size };
    blobs.iter().flat_map(|blob| blob.id.to_be_bytes().into_iter().chain(packed_size(blob).to_be_bytes())).collect()
}

pub(super) fn unpack_blobs(packed: &[u8]) -> Vec<BlobRef> {
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let unpack = |entry: &[u8]| {
        let size = number(&entry[8..]);
        BlobRef { id: number(&entry[..8]).cast_signed(), size: size & !INLINE_BIT, inline: size & INLINE_BIT != 0 }
    };
    packed.chunks_exact(16).map(unpack).collect()
}

/// Adds a blob with one reference.
pub(super) fn insert_blob(connection: &Connection, blob: &Blob) -> Result<(), Failure> {
    connection.prepare_cached("INSERT INTO blobs (id, size, refs, data) VALUES (?1, ?2, 1, ?3)")?.execute(params![
        blob.id,
        blob.size.cast_signed(),
        blob.inline.as_deref()
    ])?;
    Ok(())
}

/// Lets go of blobs once each; those nothing refers to any more are forgotten, and those with files are added to `released`.
pub(super) fn release_blobs(connection: &Connection, blobs: &[BlobRef], released: &mut Vec<BlobId>) -> Result<(), Failure> {
    for BlobRef { id, .. } in blobs {
        let mut decrement =
            connection.prepare_cached("UPDATE blobs SET refs = refs - 1 WHERE id = ?1 RETURNING refs, data IS NULL")?;
        let left: Option<(i64, bool)> = decrement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((0, in_file)) = left {
            connection.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([id])?;
            released.extend(in_file.then_some(*id));
        }
    }
    Ok(())
}

/// The object at a key: tag and blobs.
fn present(connection: &Connection, bucket: i64, key: &str) -> Result<Option<(String, Vec<BlobRef>)>, Failure> {
    let row = connection
        .prepare_cached("SELECT etag, blobs FROM objects WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![bucket, key], |row| Ok((row.get(0)?, unpack_blobs(row.get_ref(1)?.as_blob()?))))
        .optional()?;
    Ok(row)
}

fn check_condition(condition: &WriteCondition, key: &str, etag: Option<&str>) -> Result<(), OperationError> {
    match (&condition.if_match, etag) {
        (Some(_), None) => return Err(OperationError::NoSuchKey(key.to_owned())),
        (Some(tags), Some(etag)) if !tags.matches(etag) => return Err(OperationError::PreconditionFailed),
        _ => {}
    }
    match (&condition.if_none_match, etag) {
        (Some(tags), Some(etag)) if tags.matches(etag) => Err(OperationError::PreconditionFailed),
        _ => Ok(()),
    }
}

pub(super) fn get(connection: &Connection, address: &Address, with_blobs: bool) -> Result<StoredObject, Failure> {
    let (info, references) = find(connection, address)?;
    let load = |reference: BlobRef| {
        let wanted = with_blobs && reference.inline;
        let inline = if wanted { inline_bytes(connection, reference.id)? } else { None };
        Ok(Blob { id: reference.id, size: reference.size, inline })
    };
    let blobs = references.into_iter().map(load).collect::<Result<_, Failure>>()?;
    Ok(StoredObject { info, blobs })
}

fn find(connection: &Connection, address: &Address) -> Result<(ObjectInfo, Vec<BlobRef>), Failure> {
    let bucket = bucket_id(connection, &address.bucket)?;
    let sql = format!("SELECT {INFO_COLUMNS}, blobs FROM objects WHERE bucket = ?1 AND key = ?2");
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![bucket, address.key], |row| Ok((info_from_row(row)?, unpack_blobs(row.get_ref(7)?.as_blob()?))))
        .optional()?;
    Ok(found.ok_or_else(|| OperationError::NoSuchKey(address.key.clone()))?)
}

fn inline_bytes(connection: &Connection, id: BlobId) -> Result<Option<Bytes>, Failure> {
    let data = connection
        .prepare_cached("SELECT data FROM blobs WHERE id = ?1")?
        .query_row([id], |row| Ok(row.get_ref(0)?.as_blob_or_null()?.map(Bytes::copy_from_slice)))?;
    Ok(data)
}

/// An object's row, about to be written.
pub(super) struct NewObject<'a> {
    pub(super) key: &'a str,
    pub(super) stored: &'a Stored,
    pub(super) headers: &'a ObjectHeaders,
    pub(super) blobs: &'a [BlobRef],
    pub(super) parts: usize,
    pub(super) upload: Option<&'a str>,
}

/// Puts the row in place of what is there, if the condition holds; lets go of what was there.
pub(super) fn replace(
    connection: &Connection,
    bucket: i64,
    object: &NewObject<'_>,
    condition: &WriteCondition,
    released: &mut Vec<BlobId>,
) -> Result<(), Failure> {
    let before = present(connection, bucket, object.key)?;
    check_condition(condition, object.key, before.as_ref().map(|(etag, _)| etag.as_str()))?;
    connection
        .prepare_cached(
            "INSERT INTO objects (bucket, key, etag, size, modified, parts, upload, headers, checksum, blobs)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (bucket, key) DO UPDATE SET etag = ?3, size = ?4, modified = ?5, parts = ?6, upload = ?7, headers = ?8,
             checksum = ?9, blobs = ?10",
        )?
        .execute(params![
            bucket,
            object.key,
            object.stored.etag,
            object.stored.size.cast_signed(),
            object.stored.modified_ms,
            object.parts as i64,
            object.upload,
            headers_column(object.headers)?,
            checksum_column(object.stored.checksum.as_ref())?,
            pack_blobs(object.blobs),
        ])?;
    if let Some((_, blobs)) = before {
        release_blobs(connection, &blobs, released)?;
    }
    Ok(())
}

pub(super) fn put(connection: &Connection, put: PutCommit) -> Result<Committed<Stored>, Failure> {
    let bucket = bucket_id(connection, &put.address.bucket)?;
    let mut released = Vec::new();
    if let Some(blob) = &put.blob {
        insert_blob(connection, blob)?;
    }
    let blobs: Vec<BlobRef> = put.blob.iter().map(BlobRef::from).collect();
    let object =
        NewObject { key: &put.address.key, stored: &put.stored, headers: &put.headers, blobs: &blobs, parts: 0, upload: None };
    replace(connection, bucket, &object, &put.condition, &mut released)?;
    Ok(Committed { value: put.stored, released })
}

pub(super) fn copy(connection: &Connection, copy: CopyObject, now_ms: i64) -> Result<Committed<Stored>, Failure> {
    let target = bucket_id(connection, &copy.target.bucket)?;
    let (source, blobs) = find(connection, &copy.source)?;
    match copy.source_condition.check(&source.etag, source.modified_ms) {
        // A copy has no 304: S3 answers 412 for every condition that does not hold.
        Err(OperationError::NotModified { .. }) => return Err(OperationError::PreconditionFailed.into()),
        other => other?,
    }
    for blob in &blobs {
        connection.prepare_cached("UPDATE blobs SET refs = refs + 1 WHERE id = ?1")?.execute([blob.id])?;
    }
    let stored = Stored { etag: source.etag, size: source.size, modified_ms: now_ms, checksum: source.checksum };
    let headers = copy.headers.unwrap_or(source.headers);
    let parts = source.parts as usize;
    let object = NewObject { key: &copy.target.key, stored: &stored, headers: &headers, blobs: &blobs, parts, upload: None };
    let mut released = Vec::new();
    replace(connection, target, &object, &copy.condition, &mut released)?;
    Ok(Committed { value: stored, released })
}

pub(super) fn delete(connection: &Connection, address: &Address, condition: &WriteCondition) -> Result<Committed<()>, Failure> {
    let bucket = bucket_id(connection, &address.bucket)?;
    let mut released = Vec::new();
    let before = present(connection, bucket, &address.key)?;
    match check_condition(condition, &address.key, before.as_ref().map(|(etag, _)| etag.as_str())) {
        Err(OperationError::NoSuchKey(_)) => return Err(OperationError::PreconditionFailed.into()),
        other => other?,
    }
    remove(connection, bucket, &address.key, before, &mut released)?;
    Ok(Committed { value: (), released })
}

pub(super) fn delete_many(connection: &Connection, bucket: &str, keys: Vec<String>) -> Result<Committed<Vec<String>>, Failure> {
    let bucket = bucket_id(connection, bucket)?;
    let mut released = Vec::new();
    for key in &keys {
        let before = present(connection, bucket, key)?;
        remove(connection, bucket, key, before, &mut released)?;
    }
    Ok(Committed { value: keys, released })
}

fn remove(
    connection: &Connection,
    bucket: i64,
    key: &str,
    before: Option<(String, Vec<BlobRef>)>,
    released: &mut Vec<BlobId>,
) -> Result<(), Failure> {
    let Some((_, blobs)) = before else { return Ok(()) };
    connection.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?.execute(params![bucket, key])?;
    release_blobs(connection, &blobs, released)
}

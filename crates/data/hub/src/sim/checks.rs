//! What must hold of a volume after a power cut, compared with the model.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::disk::SimDisk;
use super::power_cuts::{BUCKET, FOLDER, KEYS, Known, World, address};
use crate::disk::Disk as _;
use crate::error::OperationError;
use crate::operation::{
    GetObject, ListObjects, ListUploads, Operation, Outcome, ReadCondition, Request, Service, WriteCondition,
};
use crate::volume::Volume;

/// The numbers of the blobs that have files.
fn files(disk: &SimDisk) -> Result<Vec<i64>, String> {
    let shards = (0..256).map(|shard| disk.list(&Path::new(FOLDER).join(format!("blobs/{shard:02x}"))));
    let names = shards.collect::<Result<Vec<_>, _>>().map_err(|error| format!("unreadable: {error}"))?.concat();
    let mut numbers: Vec<i64> = names.iter().map(|name| i64::from_str_radix(name, 16).unwrap()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// With every object and upload gone, nothing may be left of any blob: else a reference was counted wrongly.
pub(super) async fn delete_everything(volume: &Volume, disk: &SimDisk) -> Result<(), String> {
    let call = async |operation| volume.call(Request::internal(operation)).await.map_err(|error| error.to_string());
    for number in 0..KEYS {
        let address = address(&format!("key/{number}"));
        call(Operation::DeleteObject { address, condition: WriteCondition::default() }).await?;
    }
    let list = ListUploads { bucket: BUCKET.to_owned(), prefix: String::new(), after: None, limit: 1000 };
    if let Outcome::Uploads(page) = call(Operation::ListUploads(list)).await? {
        for upload in page.uploads {
            call(Operation::AbortUpload { address: address(&upload.key), upload: upload.upload }).await?;
        }
    }
    let census = volume.census().await.map_err(|error| error.to_string())?;
    if census.last != 0 {
        return Err(format!("blob {} is left after everything was deleted", census.last));
    }
    volume.close().await;
    match files(disk)? {
        left if left.is_empty() => Ok(()),
        left => Err(format!("files {left:?} are left after everything was deleted")),
    }
}

/// What a key holds.
pub(super) async fn read(volume: &Volume, key: &str) -> Result<Option<Known>, String> {
    let get = GetObject { address: address(key), range: None, condition: ReadCondition::default() };
    let object = match volume.call(Request::internal(Operation::GetObject(get))).await {
        Ok(Outcome::Object(object)) => object,
        Ok(other) => return Err(format!("{other:?}")),
        Err(OperationError::NoSuchKey(_)) => return Ok(None),
        Err(error) => return Err(format!("unreadable: {key}: {error}")),
    };
    let etag = object.head.info.etag;
    let size = object.head.info.size;
    let pieces: Vec<Bytes> = object.body.map_err(|error| format!("unreadable: {key}: {error}")).boxed().try_collect().await?;
    let bytes: Bytes = pieces.concat().into();
    if bytes.len() as u64 != size {
        return Err(format!("{key}: {} bytes of {size}", bytes.len()));
    }
    Ok(Some(Known { bytes, etag }))
}

pub(super) async fn check_key(volume: &Volume, world: &World, key: &str) -> Result<(), String> {
    let found = read(volume, key).await?;
    let expected = world.slots.get(key).and_then(|slot| slot.acknowledged.clone());
    if found == expected { Ok(()) } else { Err(format!("{key} does not hold what was acknowledged")) }
}

/// Compares everything with the model after a start, and lets the model learn what became of unacknowledged operations.
pub(super) async fn verify(volume: &Volume, disk: &SimDisk, world: &mut World) -> Result<(), String> {
    let head = volume.call(Request::internal(Operation::HeadBucket { bucket: BUCKET.to_owned() })).await;
    match head {
        Ok(_) => {}
        Err(OperationError::NoSuchBucket(_)) if !world.bucket_acknowledged => return Ok(()),
        Err(OperationError::NoSuchBucket(_)) => return Err("the acknowledged bucket is lost".to_owned()),
        Err(error) => return Err(format!("unreadable: {error}")),
    }
    let named = volume.census().await.map_err(|error| format!("unreadable: {error}"))?.files;
    let present = files(disk)?;
    if named != present {
        return Err(format!("the metadata names the files {named:?}, there are {present:?}"));
    }
    let mut found = BTreeSet::new();
    for (key, slot) in &mut world.slots {
        let state = read(volume, key).await?;
        if state != slot.acknowledged && !slot.possible.contains(&state) {
            return Err(format!(
                "{key} holds {}, acknowledged was {}; {} unacknowledged operations",
                describe(&state),
                describe(&slot.acknowledged),
                slot.possible.len()
            ));
        }
        if state.is_some() {
            found.insert(key.clone());
        }
        slot.acknowledged = state;
        slot.possible.clear();
    }
    let list = ListObjects { bucket: BUCKET.to_owned(), prefix: String::new(), delimiter: None, after: None, limit: 1000 };
    match volume.call(Request::internal(Operation::ListObjects(list))).await {
        Ok(Outcome::Objects(page)) => {
            let listed: BTreeSet<String> = page.objects.into_iter().map(|object| object.key).collect();
            if listed != found {
                return Err(format!("listed are {listed:?}, readable {found:?}"));
            }
        }
        Ok(other) => return Err(format!("{other:?}")),
        Err(error) => return Err(format!("unreadable: {error}")),
    }
    Ok(())
}

fn describe(known: &Option<Known>) -> String {
    known.as_ref().map_or_else(|| "nothing".to_owned(), |known| format!("{} bytes ({})", known.bytes.len(), known.etag))
}

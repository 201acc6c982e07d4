//! Seeded workloads on a volume whose power goes at a random disk operation: what was acknowledged must be there afterwards, byte
//! for byte and with its entity tag; what was not must be wholly old or wholly new.
//!
//! `NEARDATA_SIM_SEEDS` sets how many seeds run, `NEARDATA_SIM_FIRST` the first one (to run a failing seed again).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream;

use super::Rng;
use super::checks::{check_key, delete_everything, read, verify};
use super::disk::{Lie, SimDisk};
use super::vfs::SimVfs;
use crate::error::OperationError;
use crate::meta::SqliteOptions;
use crate::operation::{
    Address, Body, CompleteUpload, CopyObject, CreateUpload, Expected, NamedPart, ObjectHeaders, Operation, Outcome, PutObject,
    ReadCondition, Request, Service, TagCondition, UploadPart, WriteCondition,
};
use crate::volume::{Volume, VolumeOptions};

pub(super) const FOLDER: &str = "/data/hub";
pub(super) const BUCKET: &str = "bucket";
pub(super) const KEYS: u64 = 8;
/// Objects up to this size lie in the metadata; so 2 KiB is large here.
const INLINE: u64 = 300;

/// An object as the model knows it: bytes and entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
}

/// What a key may hold: what was acknowledged last, or what an unacknowledged operation would have made of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) acknowledged: Option<Known>,
    pub(super) possible: Vec<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Upload {
    id: String,
    key: String,
    parts: Vec<(NamedPart, Bytes)>,
}

pub(super) struct World {
    rng: Rng,
    pub(super) bucket_acknowledged: bool,
    pub(super) slots: BTreeMap<String, Slot>,
    uploads: Vec<Upload>,
    next_part: u32,
}

/// What one operation would do to a key, and how it ended.
struct Attempt {
    key: String,
    would_be: Option<Known>,
    result: Result<(), OperationError>,
}

fn options(rng: &mut Rng, vfs: &SimVfs) -> VolumeOptions {
    VolumeOptions {
        inline_limit: INLINE,
        min_part: 1,
        max_request: 1 << 20,
        gather: 700,
        piece: 500,
        stall: Duration::from_secs(60),
        sqlite: SqliteOptions {
            readers: 0,
            vfs: Some(vfs.name().to_owned()),
            checkpoint_pages: [4, 12, 40, 1000][rng.below(4) as usize],
        },
    }
}

pub(super) fn address(key: &str) -> Address {
    Address { bucket: BUCKET.to_owned(), key: key.to_owned() }
}

fn body(bytes: &Bytes) -> Body {
    let pieces: Vec<_> = bytes.chunks(190).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::new(stream::iter(pieces), Some(bytes.len() as u64))
}

fn md5_of(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

/// One seed: several lives of one volume. Gives the number of power cuts.
async fn run_seed(seed: u64, lie: Lie) -> Result<u64, String> {
    let mut rng = Rng(seed);
    let mut disk = SimDisk::new(rng.next(), lie);
    let mut world =
        World { rng: rng.clone(), bucket_acknowledged: false, slots: BTreeMap::new(), uploads: Vec::new(), next_part: 1 };
    let lives = 2 + rng.below(3);
    for life in 0..=lives {
        let vfs = SimVfs::register(disk.clone());
        let last = life == lives;
        if !last {
            disk.cut_after(cut_point(&mut rng, life));
        }
        let opened = Volume::open(Arc::new(disk.clone()), Path::new(FOLDER), options(&mut rng, &vfs)).await;
        match opened {
            Ok(volume) => {
                let mut lived = live(&volume, &disk, &mut world, last).await;
                if last && lived.is_ok() && world.bucket_acknowledged {
                    lived = delete_everything(&volume, &disk).await;
                }
                disk.cut();
                volume.close().await;
                drop(volume);
                lived.map_err(|problem| format!("life {life}: {problem}"))?;
            }
            Err(_) if disk.is_dark() => {}
            Err(error) => return Err(format!("life {life}: the volume does not open: {error}")),
        }
        drop(vfs);
        disk = disk.restart();
    }
    Ok(lives)
}

/// Opening takes some 270 operations the first time and few later; most cuts should hit the workload.
fn cut_point(rng: &mut Rng, life: u64) -> u64 {
    match (life, rng.below(10)) {
        (0, 0) => rng.below(300),
        (0, _) => 262 + rng.below(400),
        (_, 0) => rng.below(12),
        _ => rng.below(400),
    }
}

async fn live(volume: &Volume, disk: &SimDisk, world: &mut World, last: bool) -> Result<(), String> {
    if let Err(problem) = verify(volume, disk, world).await {
        // Reads may fail because the power went; what they gave before that counts.
        return if disk.is_dark() && problem.starts_with("unreadable") { Ok(()) } else { Err(problem) };
    }
    if last {
        return Ok(());
    }
    if !world.bucket_acknowledged {
        let create = Operation::CreateBucket { bucket: BUCKET.to_owned() };
        match volume.call(Request::internal(create)).await {
            Ok(_) | Err(OperationError::BucketExists(_)) => world.bucket_acknowledged = true,
            Err(_) if disk.is_dark() => return Ok(()),
            Err(error) => return Err(format!("the bucket is not made: {error}")),
        }
    }
    for _ in 0..60 {
        if disk.is_dark() {
            return Ok(());
        }
        step(volume, disk, world).await?;
    }
    Ok(())
}

/// One operation, or several at once on different keys.
async fn step(volume: &Volume, disk: &SimDisk, world: &mut World) -> Result<(), String> {
    if world.rng.chance(15) {
        return multipart_step(volume, disk, world).await;
    }
    let together = if world.rng.chance(25) { 2 + world.rng.below(3) } else { 1 };
    let first = world.rng.below(KEYS);
    let mut attempts = Vec::new();
    for offset in 0..together {
        let key = format!("key/{}", (first + offset) % KEYS);
        attempts.push(attempt(volume, world, key));
    }
    for attempt in join_all(attempts).await {
        let settled = settle(disk, world, attempt)?;
        if let Some(key) = settled
            && world.rng.chance(30)
        {
            check_key(volume, world, &key).await.or_else(|problem| if disk.is_dark() { Ok(()) } else { Err(problem) })?;
        }
    }
    Ok(())
}

/// Chooses an operation on `key`; the future performs it.
fn attempt(volume: &Volume, world: &mut World, key: String) -> impl Future<Output = Attempt> + use<> {
    let volume = volume.clone();
    let present = world.slots.get(&key).and_then(|slot| slot.acknowledged.clone());
    let rng = &mut world.rng;
    let size = match rng.below(4) {
        0 => rng.below(INLINE + 1),
        1 => INLINE + rng.below(3),
        _ => rng.below(5000),
    };
    let bytes = Bytes::from(rng.bytes(size as usize));
    let would_be = Known { etag: md5_of(&bytes), bytes };
    let copied = world.slots.iter().nth(rng.below(KEYS) as usize).filter(|(source, _)| **source != key);
    let copied = copied.and_then(|(source, slot)| slot.acknowledged.clone().map(|known| (source.clone(), known)));
    let condition = match rng.below(4) {
        0 => WriteCondition { if_match: None, if_none_match: Some(TagCondition::Any) },
        1 => WriteCondition {
            if_match: Some(TagCondition::Tags(vec![present.as_ref().map_or_else(String::new, |known| known.etag.clone())])),
            if_none_match: None,
        },
        _ => WriteCondition::default(),
    };
    let (operation, would_be) = match (rng.below(10), copied) {
        (0 | 1, _) => (Operation::DeleteObject { address: address(&key), condition: WriteCondition::default() }, None),
        (2, Some((source, known))) => {
            let copy = CopyObject {
                source: address(&source),
                // The source may change in the same breath; then the copy is refused.
                source_condition: ReadCondition {
                    if_match: Some(TagCondition::Tags(vec![known.etag.clone()])),
                    ..ReadCondition::default()
                },
                target: address(&key),
                headers: None,
                condition: WriteCondition::default(),
            };
            (Operation::CopyObject(copy), Some(known))
        }
        _ => {
            let put = PutObject {
                address: address(&key),
                body: body(&would_be.bytes),
                headers: ObjectHeaders::default(),
                expected: Expected::default(),
                condition,
            };
            (Operation::PutObject(put), Some(would_be))
        }
    };
    async move {
        let result = volume.call(Request::internal(operation)).await.map(|_| ());
        Attempt { key, would_be, result }
    }
}

/// Notes how an attempt ended; gives the key if it was acknowledged.
fn settle(disk: &SimDisk, world: &mut World, attempt: Attempt) -> Result<Option<String>, String> {
    let slot = world.slots.entry(attempt.key.clone()).or_default();
    match attempt.result {
        Ok(()) => {
            slot.acknowledged = attempt.would_be;
            Ok(Some(attempt.key))
        }
        Err(OperationError::PreconditionFailed | OperationError::NoSuchKey(_)) => Ok(None),
        Err(_) if disk.is_dark() => {
            slot.possible.push(attempt.would_be);
            Ok(None)
        }
        Err(error) => Err(format!("{}: {error}", attempt.key)),
    }
}

async fn multipart_step(volume: &Volume, disk: &SimDisk, world: &mut World) -> Result<(), String> {
    let failed = |error: OperationError| if disk.is_dark() { Ok(()) } else { Err(format!("an upload: {error}")) };
    if world.uploads.is_empty() || world.rng.chance(30) {
        let key = format!("key/{}", world.rng.below(KEYS));
        let create = CreateUpload { address: address(&key), headers: ObjectHeaders::default(), algorithm: None, kind: None };
        return match volume.call(Request::internal(Operation::CreateUpload(create))).await {
            Ok(Outcome::Upload(upload)) => {
                world.uploads.push(Upload { id: upload.upload, key, parts: Vec::new() });
                Ok(())
            }
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => failed(error),
        };
    }
    let index = world.rng.below(world.uploads.len() as u64) as usize;
    let upload = world.uploads[index].clone();
    match world.rng.below(4) {
        0 if !upload.parts.is_empty() => {
            world.uploads.remove(index);
            complete(volume, disk, world, upload).await
        }
        1 if world.rng.chance(30) => {
            world.uploads.remove(index);
            let abort = Operation::AbortUpload { address: address(&upload.key), upload: upload.id };
            volume.call(Request::internal(abort)).await.map(drop).or_else(failed)
        }
        _ => {
            let size = 1 + world.rng.below(2500) as usize;
            let bytes = Bytes::from(world.rng.bytes(size));
            let number = world.next_part;
            world.next_part += 1;
            let part = UploadPart {
                address: address(&upload.key),
                upload: upload.id,
                number,
                body: body(&bytes),
                expected: Expected::default(),
            };
            match volume.call(Request::internal(Operation::UploadPart(part))).await {
                Ok(_) => {
                    let named = NamedPart { number, etag: md5_of(&bytes), checksum: None };
                    world.uploads[index].parts.push((named, bytes));
                    Ok(())
                }
                Err(error) => failed(error),
            }
        }
    }
}

async fn complete(volume: &Volume, disk: &SimDisk, world: &mut World, upload: Upload) -> Result<(), String> {
    let bytes: Vec<u8> = upload.parts.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
    let md5s: Vec<Vec<u8>> = upload.parts.iter().map(|(part, _)| hex::decode(&part.etag).unwrap()).collect();
    let etag = format!("{}-{}", md5_of(&md5s.concat()), md5s.len());
    let complete = CompleteUpload {
        address: address(&upload.key),
        upload: upload.id,
        parts: upload.parts.into_iter().map(|(part, _)| part).collect(),
        expected: None,
        size: Some(bytes.len() as u64),
        condition: WriteCondition::default(),
    };
    let result = volume.call(Request::internal(Operation::CompleteUpload(complete))).await.map(drop);
    let would_be = Some(Known { bytes: bytes.into(), etag });
    settle(disk, world, Attempt { key: upload.key, would_be, result }).map(drop)
}

/// Runs seeds on two threads; gives the power cuts survived, or the first problem.
fn run_seeds(seeds: std::ops::Range<u64>, lie: Lie) -> Result<u64, String> {
    let next = AtomicU64::new(seeds.start);
    let cuts = AtomicU64::new(0);
    let work = || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            match runtime.block_on(run_seed(seed, lie)) {
                Ok(count) => cuts.fetch_add(count, Ordering::Relaxed),
                Err(problem) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    return Err(format!(
                        "seed {seed}: {problem} (run it again with NEARDATA_SIM_FIRST={seed} NEARDATA_SIM_SEEDS=1)"
                    ));
                }
            };
        }
    };
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(cuts.into_inner())
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_acknowledged_write_is_lost_and_none_is_half_visible() {
    let (first, count) = (number("NEARDATA_SIM_FIRST", 1), number("NEARDATA_SIM_SEEDS", 1000));
    let started = std::time::Instant::now();
    let cuts = run_seeds(first..first + count, Lie::None).unwrap();
    println!("{count} seeds, {cuts} power cuts, {:.1} s", started.elapsed().as_secs_f64());
    assert!(cuts >= count);
}

/// A full disk refuses writes with a clear error, shows nothing of them, keeps what was there, and is of use again once there is
/// room.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::new(1, Lie::None);
    let vfs = SimVfs::register(disk.clone());
    let volume = Volume::open(Arc::new(disk.clone()), Path::new(FOLDER), options(&mut Rng(1), &vfs)).await.unwrap();
    volume.call(Request::internal(Operation::CreateBucket { bucket: BUCKET.to_owned() })).await.unwrap();
    let put = async |key: &str, bytes: &Bytes| {
        let (headers, expected, condition) = Default::default();
        let put = PutObject { address: address(key), body: body(bytes), headers, expected, condition };
        volume.call(Request::internal(Operation::PutObject(put))).await
    };
    let (large, small) = (Bytes::from(vec![1; 50_000]), Bytes::from(vec![2; 200]));
    put("kept", &large).await.unwrap();

    disk.set_capacity(Some(disk.used() + 20_000));
    let refused = put("refused", &large).await.unwrap_err();
    assert!(matches!(refused, OperationError::DiskFull(_)), "{refused}");
    disk.set_capacity(Some(disk.used()));
    let mut refused = None;
    for number in 0..200 {
        if let Err(error) = put(&format!("small/{number}"), &small).await {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.expect("the metadata needs room as well");
    assert!(matches!(error, OperationError::DiskFull(_)), "{error}");

    disk.set_capacity(None);
    assert_eq!(read(&volume, "refused").await.unwrap(), None);
    assert_eq!(read(&volume, &format!("small/{number}")).await.unwrap(), None);
    assert_eq!(read(&volume, "kept").await.unwrap().unwrap().bytes, large);
    put("refused", &large).await.unwrap();
    assert_eq!(read(&volume, "refused").await.unwrap().unwrap().bytes, large);
    volume.close().await;
    drop(volume);
    drop(vfs);
}

/// The proof that the first test can fail: each way a disk may pretend to sync loses something that the test sees.
#[test]
fn every_sync_is_needed() {
    let lies = [
        Lie::FileSync("/blobs/"),
        Lie::FileSync("/meta.sqlite-wal$"),
        Lie::FileSync("/meta.sqlite$"),
        Lie::FolderSync("/blobs/"),
        Lie::FolderSync("/hub$"),
    ];
    for lie in lies {
        let problem = run_seeds(1..200, lie).expect_err("a disk that pretends to sync must lose something");
        println!("{lie:?}: {problem}");
    }
}

//! The `object_store` crate as the client, as the platform itself uses it.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use crate::harness::{ACCESS_KEY, BUCKET, Endpoint, REGION, SECRET_KEY};

fn client(endpoint: &Endpoint) -> AmazonS3 {
    client_of(&endpoint.url())
}

pub(crate) fn client_of(url: &str) -> AmazonS3 {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    AmazonS3Builder::new()
        .with_endpoint(url)
        .with_allow_http(true)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_region(REGION)
        .with_bucket_name(BUCKET)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .unwrap()
}

pub(crate) fn bytes(size: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[tokio::test]
async fn objects_come_back_as_they_were_put_also_after_a_restart() {
    let mut endpoint = Endpoint::start().await;
    let store = client(&endpoint);
    for size in [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20, (5 << 20) + 7] {
        let path = Path::from(format!("sizes/{size}"));
        store.put(&path, PutPayload::from(bytes(size, 7))).await.unwrap();
    }
    endpoint.restart().await;
    let store = client(&endpoint);
    for size in [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20, (5 << 20) + 7] {
        let path = Path::from(format!("sizes/{size}"));
        let got = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(got, bytes(size, 7), "{size} bytes");
    }
}

#[tokio::test]
async fn ranges() {
    let endpoint = Endpoint::start().await;
    let store = client(&endpoint);
    for size in [1000usize, 2 << 20] {
        let whole = bytes(size, 3);
        let path = Path::from("ranged");
        store.put(&path, whole.clone().into()).await.unwrap();
        let (a, b) = (size as u64 / 3, size as u64 / 2);
        assert_eq!(store.get_range(&path, a..b).await.unwrap(), whole.slice(a as usize..b as usize));
        let past_the_end = store.get_range(&path, a..size as u64 * 2).await.unwrap();
        assert_eq!(past_the_end, whole.slice(a as usize..));
        let suffix = GetOptions { range: Some(GetRange::Suffix(17)), ..Default::default() };
        assert_eq!(store.get_opts(&path, suffix).await.unwrap().bytes().await.unwrap(), whole.slice(size - 17..));
        let several = store.get_ranges(&path, &[0..10, 5..20, size as u64 - 1..size as u64]).await.unwrap();
        assert_eq!(several[2], whole.slice(size - 1..));
    }
}

#[tokio::test]
async fn conditional_puts_and_gets() {
    let endpoint = Endpoint::start().await;
    let store = client(&endpoint);
    let path = Path::from("record");
    let create = || PutOptions::from(PutMode::Create);
    let first = store.put_opts(&path, "one".into(), create()).await.unwrap();
    let refused = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
    assert!(matches!(refused, object_store::Error::AlreadyExists { .. }), "{refused}");

    let version = UpdateVersion { e_tag: first.e_tag.clone(), version: None };
    let second = store.put_opts(&path, "two".into(), PutMode::Update(version.clone()).into()).await.unwrap();
    let stale = store.put_opts(&path, "three".into(), PutMode::Update(version).into()).await.unwrap_err();
    assert!(matches!(stale, object_store::Error::Precondition { .. }), "{stale}");

    let matching = GetOptions { if_match: second.e_tag.clone(), ..Default::default() };
    assert_eq!(store.get_opts(&path, matching).await.unwrap().bytes().await.unwrap(), "two");
    let stale = GetOptions { if_match: first.e_tag, ..Default::default() };
    assert!(matches!(store.get_opts(&path, stale).await.unwrap_err(), object_store::Error::Precondition { .. }));
    let unchanged = GetOptions { if_none_match: second.e_tag, ..Default::default() };
    assert!(matches!(store.get_opts(&path, unchanged).await.unwrap_err(), object_store::Error::NotModified { .. }));
}

#[tokio::test]
async fn of_many_conditional_creations_one_wins() {
    let endpoint = Endpoint::start().await;
    let store = std::sync::Arc::new(client(&endpoint));
    let attempts = (0..16).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            store.put_opts(&Path::from("once"), format!("{i}").into(), PutMode::Create.into()).await.is_ok().then_some(i)
        })
    });
    let winners: Vec<i32> = futures::future::join_all(attempts).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(winners.len(), 1);
    let stored = store.get(&Path::from("once")).await.unwrap().bytes().await.unwrap();
    assert_eq!(stored, winners[0].to_string());
}

/// Readers see one version whole, while writers replace it; in the end one version's file is left.
#[tokio::test(flavor = "multi_thread")]
async fn overwrites_and_reads_do_not_mix() {
    let endpoint = Endpoint::start().await;
    let store = std::sync::Arc::new(client(&endpoint));
    let path = Path::from("contended");
    let version = |number: u64| bytes(1_500_000, number);
    store.put(&path, version(0).into()).await.unwrap();
    let writer = {
        let (store, path) = (store.clone(), path.clone());
        tokio::spawn(async move {
            for number in 1..40 {
                store.put(&path, version(number % 4).into()).await.unwrap();
            }
        })
    };
    let versions: Vec<Bytes> = (0..4).map(version).collect();
    let mut reads = 0;
    while !writer.is_finished() {
        let got = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert!(versions.contains(&got), "a read mixed versions");
        reads += 1;
    }
    writer.await.unwrap();
    assert!(reads > 3);
    let files = || {
        let shards = std::fs::read_dir(endpoint.folder.path().join("blobs")).unwrap();
        shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    for _ in 0..100 {
        if files() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(files(), 1, "replaced versions are removed");
}

#[tokio::test]
async fn multipart_upload_copy_list_delete() {
    let endpoint = Endpoint::start().await;
    let store = client(&endpoint);
    let path = Path::from("large/object");
    let mut upload = store.put_multipart(&path).await.unwrap();
    let parts: Vec<Bytes> = [5 << 20, 6 << 20, 1 << 10].iter().enumerate().map(|(i, size)| bytes(*size, i as u64)).collect();
    futures::future::try_join_all(parts.iter().map(|part| upload.put_part(part.clone().into()))).await.unwrap();
    assert!(store.head(&path).await.is_err(), "nothing is visible before the upload is complete");
    let result = upload.complete().await.unwrap();
    assert!(result.e_tag.unwrap().ends_with("-3\""));
    let whole: Bytes = parts.concat().into();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), whole);
    let across_parts = store.get_range(&path, (5 << 20) - 3..(11 << 20) + 5).await.unwrap();
    assert_eq!(across_parts, whole.slice((5 << 20) - 3..(11 << 20) + 5));

    let copy = Path::from("copies/of object+1");
    store.copy(&path, &copy).await.unwrap();
    store.delete(&path).await.unwrap();
    assert_eq!(store.get(&copy).await.unwrap().bytes().await.unwrap(), whole);
    assert!(matches!(store.get(&path).await.unwrap_err(), object_store::Error::NotFound { .. }));
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|object| object.location.as_ref()).collect::<Vec<_>>(), ["copies/of object+1"]);
    let folders = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(folders.common_prefixes, [Path::from("copies")]);
}

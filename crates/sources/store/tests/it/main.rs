//! One conformance suite, run against every backend that needs no outside service. The hub's own tests and `make test` run the
//! same verbs over HTTP against the S3 endpoint.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

use std::io::Write;

use neardata_core::{ByteRange, ObjectUri, Pin, ReadError};
use neardata_store::{PutOutcome, StoreError, Stores};

mod http;

/// What every backend must do, below `root`, an empty prefix.
fn conformance(stores: &Stores, root: &ObjectUri) {
    reads_are_exact(stores, root);
    conditional_writes_have_one_winner(stores, root);
    uploads_are_invisible_until_finished(stores, root);
    a_changed_object_is_noticed(stores, root);
    listings_and_deletes_agree(stores, root);
    absent_objects_are_named(stores, root);
}

fn reads_are_exact(stores: &Stores, root: &ObjectUri) {
    let uri = root.join("exact/bytes.bin");
    let bytes: Vec<u8> = (0..3_000_017_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let object = stores.put(&uri, bytes.clone().into()).unwrap();
    assert_eq!(object.size, bytes.len() as u64);
    assert_eq!(stores.head(&uri).unwrap(), object);
    assert_eq!(stores.get(&uri).unwrap(), bytes);
    let reader = stores.open(&object).unwrap();
    for (start, end) in [(0, 1), (0, 0), (5, 5), (17, 300_000), (2_999_999, 3_000_017), (0, 3_000_017)] {
        let range = ByteRange::new(start, end);
        assert_eq!(reader.read(range).unwrap(), &bytes[start as usize..end as usize], "read {range}");
        let streamed: Vec<u8> = reader.stream(range).flat_map(|chunk| chunk.unwrap().to_vec()).collect();
        assert_eq!(streamed, &bytes[start as usize..end as usize], "stream {range}");
    }
    assert!(reader.read(ByteRange::new(0, 3_000_018)).is_err());
    assert!(reader.bytes_fetched() >= 3_000_017);
}

fn conditional_writes_have_one_winner(stores: &Stores, root: &ObjectUri) {
    let uri = root.join("records/one.json");
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u8)
            .map(|writer| {
                let (stores, uri) = (stores.clone(), &uri);
                scope.spawn(move || stores.put_if_absent(uri, vec![writer].into()).unwrap())
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let winners: Vec<_> = (0..8).filter(|i| matches!(outcomes[*i], PutOutcome::Created(_))).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(stores.get(&uri).unwrap(), vec![winners[0] as u8]);
}

fn uploads_are_invisible_until_finished(stores: &Stores, root: &ObjectUri) {
    for size in [0_usize, 100, 20 << 20] {
        let uri = root.join(&format!("uploads/{size}"));
        let bytes: Vec<u8> = (0..size).map(|i| (i / 1000) as u8).collect();
        let mut abandoned = stores.upload(&uri).unwrap();
        abandoned.write_all(&bytes).unwrap();
        assert!(matches!(stores.head(&uri), Err(StoreError::NotFound { .. })));
        drop(abandoned);
        assert!(matches!(stores.head(&uri), Err(StoreError::NotFound { .. })));
        let mut upload = stores.upload(&uri).unwrap();
        for piece in bytes.chunks(777_777) {
            upload.write_all(piece).unwrap();
        }
        assert_eq!(upload.finish().unwrap().size, size as u64);
        assert_eq!(stores.get(&uri).unwrap(), bytes);
    }
}

fn a_changed_object_is_noticed(stores: &Stores, root: &ObjectUri) {
    let uri = root.join("changing");
    let old = stores.put(&uri, "old contents".into()).unwrap();
    let reader = stores.open(&old).unwrap();
    stores.put(&uri, "new contents, longer".into()).unwrap();
    let changed = stores.open(&old).map_err(ReadError::from).and_then(|reader| reader.read(ByteRange::new(0, 3)));
    assert!(matches!(changed, Err(ReadError::Changed { .. })), "{changed:?}");
    // A reader opened before sees the old version whole, or an error that says so; never a mixture.
    match reader.read(ByteRange::new(0, 12)) {
        Ok(bytes) => assert_eq!(bytes, "old contents"),
        Err(error) => assert!(matches!(error, ReadError::Changed { .. }), "{error}"),
    }
}

fn listings_and_deletes_agree(stores: &Stores, root: &ObjectUri) {
    let prefix = root.join("listed");
    for name in ["b", "a/1", "a/2", "c d"] {
        stores.put(&prefix.join(name), name.to_owned().into()).unwrap();
    }
    stores.put(&root.join("listed-not"), "x".into()).unwrap();
    let names: Vec<_> = stores.list(&prefix).unwrap().into_iter().map(|listed| listed.uri.to_string()).collect();
    let expected: Vec<_> = ["a/1", "a/2", "b", "c d"].iter().map(|name| prefix.join(name).to_string()).collect();
    assert_eq!(names, expected);
    stores.delete(&prefix.join("b")).unwrap();
    stores.delete(&prefix.join("b")).unwrap();
    assert_eq!(stores.delete_prefix(&prefix).unwrap(), 3);
    assert_eq!(stores.list(&prefix).unwrap(), []);
    assert_eq!(stores.delete_prefix(&prefix).unwrap(), 0);
}

fn absent_objects_are_named(stores: &Stores, root: &ObjectUri) {
    let error = stores.head(&root.join("nothing-here")).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }));
    assert!(error.to_string().contains("nothing-here"), "{error}");
}

#[test]
fn memory() {
    conformance(&Stores::from_env().unwrap(), &"memory://conformance/root".parse().unwrap());
}

#[test]
fn local_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = ObjectUri::from_path(folder.path().join("new/folder"));
    conformance(&Stores::from_env().unwrap(), &root);
    let leftovers = walk(folder.path()).into_iter().filter(|path| path.contains(".part")).count();
    assert_eq!(leftovers, 0, "abandoned writes left files behind");
}

/// The same against a running S3 endpoint: `make test` starts one and names an empty bucket in `NEARDATA_TEST_BUCKET`.
#[test]
fn s3_endpoint_if_one_is_given() {
    if let Ok(bucket) = std::env::var("NEARDATA_TEST_BUCKET") {
        let root = bucket.parse::<ObjectUri>().unwrap().join(&format!("run-{}", std::process::id()));
        conformance(&Stores::from_env().unwrap(), &root);
    }
}

#[test]
fn a_file_pin_is_weak_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let uri = ObjectUri::from_path(folder.path().join("x"));
    assert!(Stores::from_env().unwrap().put(&uri, "x".into()).unwrap().pin.is_weak());
    assert!(!Pin::Etag("\"e\"".into()).is_weak());
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path.display().to_string()) }
    }
    found
}

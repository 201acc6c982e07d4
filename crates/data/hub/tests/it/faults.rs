//! What a user gets wrong when starting a hub: a clear error each, naming the thing and the remedy.

use neardata_hub::{Hub, HubError};

use crate::harness::{Endpoint, options};

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let endpoint = Endpoint::start().await;
    let error = Hub::open(options(endpoint.folder.path(), 0)).await.err().unwrap().to_string();
    assert!(error.contains(endpoint.folder.path().to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("--data"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let endpoint = Endpoint::start().await;
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(options(folder.path(), endpoint.address.port())).await.unwrap();
    let error = hub.bind().await.err().unwrap();
    assert!(matches!(error, HubError::AddressInUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&endpoint.address.to_string()) && text.contains("--s3"), "{text}");
}

#[tokio::test]
async fn a_folder_of_a_later_version_or_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("format_version"), "2\n").unwrap();
    let error = Hub::open(options(folder.path(), 0)).await.err().unwrap().to_string();
    assert!(error.contains("format version 2") && error.contains("newer neardata"), "{error}");
    std::fs::write(folder.path().join("format_version"), "something else").unwrap();
    let error = Hub::open(options(folder.path(), 0)).await.err().unwrap().to_string();
    assert!(error.contains("format_version") && error.contains("something else"), "{error}");
}

#[tokio::test]
async fn blobs_of_writes_that_never_finished_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(options(folder.path(), 0)).await.unwrap();
    drop(hub);
    let orphan = folder.path().join("blobs/07/0000000000000007");
    std::fs::write(&orphan, "left over").unwrap();
    let _hub = Hub::open(options(folder.path(), 0)).await.unwrap();
    assert!(!orphan.exists());
}

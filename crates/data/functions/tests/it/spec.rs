use std::io;
use std::time::Duration;

use neardata_functions::{CallError, CallSpec, Cause, FunctionSpec, Limits};
use serde_json::json;

#[test]
fn the_address_is_of_the_work_and_not_of_how_it_is_run() {
    let spec = CallSpec::new(FunctionSpec::native("f", 1)).arguments(json!({"b": 1, "a": 2}));
    let same = CallSpec::new(FunctionSpec::native("f", 1))
        .arguments(json!({"a": 2, "b": 1}))
        .limits(Limits { memory: Some(1), time: Some(Duration::from_secs(1)) })
        .retries(3);
    assert_eq!(spec.key(), same.key());
    // Pinned: an address that changes would make every finished call run again after an update.
    assert_eq!(spec.key().as_str().len(), 64);
    for other in [
        CallSpec::new(FunctionSpec::native("f", 2)).arguments(json!({"a": 2, "b": 1})),
        CallSpec::new(FunctionSpec::native("g", 1)).arguments(json!({"a": 2, "b": 1})),
        spec.clone().arguments(json!({"a": 2})),
    ] {
        assert_ne!(spec.key(), other.key());
    }
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<CallSpec>(&text).unwrap(), spec);
}

#[test]
fn errors_keep_their_meaning_through_io() {
    let through = |error: CallError| CallError::from(io::Error::other(error));
    let input = CallError::input("line 3 is broken");
    assert_eq!(through(input.clone()), input);
    let full = CallError::from(io::Error::from(io::ErrorKind::StorageFull));
    assert!(full.cause == Cause::DiskFull && !full.permanent && full.message.contains("free some space"), "{full}");
    let read = neardata_core::ReadError::NotFound { name: "s3://b/k".into() };
    assert_eq!(CallError::from(io::Error::from(read)).cause, Cause::Input);
}

//! Canonical JSON: keys sorted, no blanks, numbers as serde_json prints them; and its digest. Content addresses are made of it.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical JSON text of a value.
///
/// A value that JSON cannot hold (a map whose keys are not text) gives `null`: such types never enter an address.
///
/// ```
/// assert_eq!(neardata_core::canonical::to_string(&serde_json::json!({"b": 1, "a": [true]})), r#"{"a":[true],"b":1}"#);
/// ```
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    // serde_json's own map is ordered by key as long as `preserve_order` is off; sort anyway, as any crate may turn it on.
    let value = serde_json::to_value(value).map_or(Value::Null, sorted);
    value.to_string()
}

/// SHA-256 of the canonical JSON text, in lower-case hex.
pub fn digest<T: Serialize + ?Sized>(value: &T) -> String {
    hex::encode(Sha256::digest(to_string(value).as_bytes()))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

use std::collections::BTreeMap;

use neardata_core::{AttemptId, CallKey, ObjectRef, ObjectUri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::FunctionSpec;

/// What one attempt used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// When it started, seconds since 1970.
    pub started: f64,
    /// Wall seconds.
    pub wall_s: f64,
    /// User and system CPU seconds of the call's own work and of its children.
    pub cpu_s: f64,
    /// Of `cpu_s`, what children used.
    pub child_cpu_s: f64,
    /// Peak resident memory in bytes: the larger of the worker process and the largest child.
    pub peak_rss: u64,
    /// Bytes fetched from object stores.
    pub bytes_fetched: u64,
    /// Bytes written to object stores.
    pub bytes_written: u64,
    /// Records processed, where the function counts them.
    pub records: u64,
    /// Host name.
    pub host: String,
    /// Process id of the worker.
    pub pid: u32,
    /// Anything else the function measured.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
}

/// The record of a finished call: committed once, at the call's content address; readers follow it to the outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Version of this shape; 1.
    pub v: u32,
    /// The content address.
    pub key: CallKey,
    /// The function that ran.
    pub function: FunctionSpec,
    /// The attempt whose outputs these are.
    pub attempt: AttemptId,
    /// What the function returned, at most 64 KiB as JSON.
    pub result: Value,
    /// The objects it published, by name.
    #[serde(default)]
    pub outputs: BTreeMap<String, ObjectRef>,
    /// What the attempt used.
    #[serde(default)]
    pub figures: Figures,
}

impl CallRecord {
    /// The version written by this program.
    pub const VERSION: u32 = 1;

    /// Where the record of `key` lies below the results prefix `results`.
    ///
    /// ```
    /// use neardata_core::CallKey;
    /// let address = neardata_functions::CallRecord::address(&"s3://b/r".parse()?, &CallKey::from_text("abcd"));
    /// assert_eq!(address.to_string(), "s3://b/r/calls/ab/abcd.json");
    /// # Ok::<(), neardata_core::UriError>(())
    /// ```
    pub fn address(results: &ObjectUri, key: &CallKey) -> ObjectUri {
        let key = key.as_str();
        let shard = key.get(..2).unwrap_or(key);
        results.join(&format!("calls/{shard}/{key}.json"))
    }

    /// The prefix below which all attempts at `key` put their outputs.
    pub fn attempts_prefix(results: &ObjectUri, key: &CallKey) -> ObjectUri {
        results.join(&format!("data/{key}"))
    }

    /// The prefix below which one attempt puts its outputs.
    pub fn outputs_prefix(results: &ObjectUri, key: &CallKey, attempt: &AttemptId) -> ObjectUri {
        Self::attempts_prefix(results, key).join(attempt.as_str())
    }

    /// The output published under `name`.
    pub fn output(&self, name: &str) -> Option<&ObjectRef> {
        self.outputs.get(name)
    }

    /// The result as the type `T`.
    pub fn result_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.result)
    }
}

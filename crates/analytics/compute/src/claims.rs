//! Which running job writes where: two jobs that publish below one prefix would mix their results.
//!
//! By convention a pipeline that publishes below a prefix takes it as its argument `output`. That prefix is the job's own as long as the
//! job runs, whichever pipeline it is. Pipelines without that argument are not concerned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neardata_core::{JobId, ObjectUri};
use serde_json::Value;

use crate::EngineError;

type Held = Mutex<HashMap<String, JobId>>;

/// The outputs of an engine's running jobs.
#[derive(Default)]
pub(crate) struct Claims {
    held: Arc<Held>,
}

/// A running job's hold on its output; dropping it lets go.
pub(crate) struct Claim {
    held: Arc<Held>,
    output: Option<String>,
}

impl Claims {
    /// Takes the output that `arguments` name for `job`, or says who has it.
    pub(crate) fn claim(&self, job: &JobId, arguments: &Value) -> Result<Claim, EngineError> {
        let output = arguments.get("output").and_then(Value::as_str).map(same_for_same);
        if let Some(output) = &output {
            let mut held = lock(&self.held);
            if let Some(other) = held.get(output) {
                return Err(EngineError::Request(format!(
                    "job {other} is running and writes to {output} too; wait for it (`neardata jobs show {other}`), cancel it \
                     (`neardata jobs cancel {other}`), or name another output"
                )));
            }
            held.insert(output.clone(), job.clone());
        }
        Ok(Claim { held: self.held.clone(), output })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(output) = &self.output {
            lock(&self.held).remove(output);
        }
    }
}

/// One text for the ways to write one prefix.
fn same_for_same(output: &str) -> String {
    let text = output.parse::<ObjectUri>().map_or_else(|_| output.to_owned(), |uri| uri.to_string());
    text.trim_end_matches('/').to_owned()
}

fn lock(held: &Held) -> MutexGuard<'_, HashMap<String, JobId>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

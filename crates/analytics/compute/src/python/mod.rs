//! Python calls: many small calls of one function, pushed to warm worker processes. No row, no file and no task a call.

mod job;
mod pool;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use neardata_core::canonical;
use serde::Deserialize;

use crate::EngineError;

pub(crate) use job::{PythonJob, run};
pub(crate) use pool::Pool;

/// All calls of one Python job, as the protocol has them.
#[derive(Clone, Debug, Deserialize)]
pub struct PythonRequest {
    /// Version of this shape; 1.
    pub v: u32,
    /// What the job is called.
    #[serde(default = "default_name")]
    pub name: String,
    /// The function and where it runs.
    pub python: PythonFunction,
    /// The pickled `(args, kwargs)` of each call, in base64.
    pub calls: Vec<String>,
    /// Limits and such.
    #[serde(default)]
    pub options: PythonOptions,
}

/// A Python function and where it runs.
#[derive(Clone, Debug, Deserialize)]
pub struct PythonFunction {
    /// The interpreter.
    pub interpreter: PathBuf,
    /// Its `sys.path`.
    #[serde(default)]
    pub path: Vec<String>,
    /// The pickled callable, in base64.
    pub function: String,
}

/// Options of a Python job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PythonOptions {
    /// Wall seconds one attempt at a call may take.
    pub time_s: Option<f64>,
    /// Resident bytes the process of a call may use.
    pub memory: Option<u64>,
    /// How often a failed call is tried again.
    pub retries: u32,
    /// One digest a call: a call whose digest is committed is not run.
    pub cached: Option<Vec<String>>,
    /// How many calls may run at once.
    pub workers: Option<usize>,
}

fn default_name() -> String {
    "map".to_owned()
}

/// A request whose texts are decoded and checked.
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) environment: Environment,
    pub(crate) function_id: String,
    pub(crate) function: Bytes,
    pub(crate) calls: Vec<Bytes>,
    pub(crate) time: Option<Duration>,
    pub(crate) options: PythonOptions,
}

/// What a Python worker is started with: those of one environment can take each other's calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Environment {
    pub(crate) interpreter: PathBuf,
    pub(crate) path: Vec<String>,
}

impl PythonRequest {
    pub(crate) fn decode(self) -> Result<Decoded, EngineError> {
        if self.v != 1 {
            return Err(EngineError::Request(format!("the request is of version {}, this service understands 1", self.v)));
        }
        let bytes = |text: &str, what: &dyn Fn() -> String| {
            let decoded = BASE64_STANDARD.decode(text);
            decoded.map(Bytes::from).map_err(|error| EngineError::Request(format!("{} is not base64: {error}", what())))
        };
        let function = bytes(&self.python.function, &|| "the function".to_owned())?;
        let decoded = self.calls.iter().enumerate().map(|(call, text)| bytes(text, &|| format!("call {call}")));
        let calls = decoded.collect::<Result<Vec<_>, _>>()?;
        if self.options.cached.as_ref().is_some_and(|digests| digests.len() != calls.len()) {
            return Err(EngineError::Request("`cached` must hold one digest a call".to_owned()));
        }
        let not_a_time = |_| EngineError::Request("`time_s` must be a positive number of seconds".to_owned());
        let time = self.options.time_s.map(Duration::try_from_secs_f64).transpose().map_err(not_a_time)?;
        let interpreter = self.python.interpreter;
        if !interpreter.is_file() {
            let text = format!("there is no Python interpreter {} on this machine", interpreter.display());
            return Err(EngineError::Request(text));
        }
        Ok(Decoded {
            name: self.name,
            environment: Environment { interpreter, path: self.python.path },
            function_id: canonical::digest(&self.python.function),
            function,
            calls,
            time,
            options: self.options,
        })
    }
}

//! What every executor must do: [`run_all`] holds an engine to it.
//!
//! The engine must have at least two workers, [`registry`] and [`pipelines`]; its workers the same registry. Crashes, limits and
//! cancellation are provoked by a function that does what its arguments say, a [probe](ProbeArguments).

mod suite;

pub use suite::run_all;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use neardata_functions::{CallContext, CallError, CallSpec, FunctionSpec, Limits, NativeFunction, Registry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Job, Pipeline, PipelineError};

/// The functions of the suite.
pub fn registry() -> Registry {
    Registry::new().with(Probe { name: "probe", shared: false }).with(Probe { name: "probe.shared", shared: true })
}

/// The pipelines of the suite.
pub fn pipelines() -> Vec<Arc<dyn Pipeline>> {
    vec![Arc::new(Probes)]
}

/// What a probe does, in this order. Everything is off by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeArguments {
    /// Makes calls different.
    pub n: u64,
    /// A file to which every attempt appends a line: `n`, its process id.
    pub count: Option<PathBuf>,
    /// Publishes an output of this name that holds `n`.
    pub publish: Option<String>,
    /// Sleeps; with `deaf`, without looking whether it was cancelled.
    pub sleep_ms: u64,
    /// See `sleep_ms`.
    pub deaf: bool,
    /// Starts a child that sleeps for so long, and waits for it.
    pub child_ms: u64,
    /// Touches so much memory.
    pub allocate: u64,
    /// Fails as long as `count` holds no more lines of this `n` than this.
    pub fail_times: usize,
    /// Failures are permanent.
    pub permanent: bool,
    /// Ends its own process by this signal as long as `count` holds no more lines of this `n` than `fail_times`.
    pub signal: Option<i32>,
    /// Panics.
    pub panic: bool,
}

struct Probe {
    name: &'static str,
    shared: bool,
}

impl NativeFunction for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn shared_group(&self, _arguments: &Value) -> Option<String> {
        self.shared.then(|| "probe".to_owned())
    }

    fn run(&self, call: &CallContext, arguments: &Value) -> Result<Value, CallError> {
        let probe = ProbeArguments::deserialize(arguments).map_err(CallError::input)?;
        let attempts = probe.count()?;
        if let Some(name) = &probe.publish {
            call.publish(name, probe.n.to_string().into())?;
        }
        call.progress(1, 2);
        probe.sleep(call)?;
        if probe.child_ms > 0 {
            let mut sleeper = Command::new("sleep");
            sleeper.arg(format!("{}", probe.child_ms as f64 / 1000.0));
            call.child(sleeper, "sleeper").run()?;
        }
        if probe.allocate > 0 {
            let memory = vec![1u8; probe.allocate as usize];
            std::hint::black_box(&memory);
            std::thread::sleep(Duration::from_millis(300));
        }
        if attempts <= probe.fail_times {
            if let Some(signal) = probe.signal {
                let kill = format!("kill -{signal} {}", std::process::id());
                let _killed = Command::new("sh").args(["-c", &kill]).status();
                std::thread::sleep(Duration::from_secs(5));
            }
            let error = CallError::failed(format!("probe {} failed as told", probe.n));
            return Err(if probe.permanent { error.permanent() } else { error });
        }
        assert!(!probe.panic, "probe {} panicked as told", probe.n);
        let once = call.shared("probe", || Ok(std::process::id()))?;
        Ok(json!({"n": probe.n, "pid": *once, "attempts": attempts}))
    }
}

impl ProbeArguments {
    fn count(&self) -> Result<usize, CallError> {
        let Some(path) = &self.count else { return Ok(1) };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // In one write, so that lines of several processes do not mix.
        file.write_all(format!("{} {}\n", self.n, std::process::id()).as_bytes())?;
        let text = fs::read_to_string(path)?;
        let mine = format!("{} ", self.n);
        Ok(text.lines().filter(|line| line.starts_with(&mine)).count())
    }

    fn sleep(&self, call: &CallContext) -> Result<(), CallError> {
        let mut left = Duration::from_millis(self.sleep_ms);
        while !left.is_zero() {
            let nap = if self.deaf { left } else { left.min(Duration::from_millis(5)) };
            std::thread::sleep(nap);
            left -= nap;
            if !self.deaf {
                call.check_cancelled()?;
            }
        }
        Ok(())
    }
}

/// A pipeline that makes the calls its arguments list, all at once, and returns their results in order.
struct Probes;

/// The arguments of the suite's pipeline, `probes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbesArguments {
    /// One call each.
    pub probes: Vec<ProbeArguments>,
    /// Calls run in one shared process.
    pub shared: bool,
    /// Retries of each call.
    pub retries: u32,
    /// Memory limit of each call.
    pub memory: Option<u64>,
    /// Time limit of each call in milliseconds.
    pub time_ms: Option<u64>,
    /// Failed calls do not fail the job: their errors are returned.
    pub tolerate: bool,
}

impl Pipeline for Probes {
    fn name(&self) -> &'static str {
        "probes"
    }

    fn run(&self, job: Job, arguments: Value) -> BoxFuture<'static, Result<Value, PipelineError>> {
        async move {
            let wanted = ProbesArguments::deserialize(&arguments).map_err(PipelineError::input)?;
            job.stage("probe", Some(wanted.probes.len() as u64));
            let name = if wanted.shared { "probe.shared" } else { "probe" };
            let limits = Limits { memory: wanted.memory, time: wanted.time_ms.map(Duration::from_millis) };
            let calls = wanted.probes.iter().map(|probe| {
                let arguments = serde_json::to_value(probe).unwrap_or_default();
                let spec = CallSpec::new(FunctionSpec::native(name, 1)).arguments(arguments);
                job.call("probe", spec.limits(limits).retries(wanted.retries))
            });
            let mut results = Vec::new();
            for outcome in join_all(calls).await {
                match outcome {
                    Ok(record) => results.push(record.result),
                    Err(failed) if wanted.tolerate => {
                        results.push(json!({"cause": failed.error.cause, "message": failed.error.message}));
                    }
                    Err(failed) => return Err(failed.into()),
                }
            }
            Ok(json!(results))
        }
        .boxed()
    }
}

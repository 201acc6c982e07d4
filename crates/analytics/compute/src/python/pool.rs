//! Warm Python workers, kept between the jobs of one engine.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use neardata_functions::CallError;
use neardata_functions::python::ENV_PATH;

use super::Environment;
use crate::executor::process::{Connection, LineSink, Process, Workers};
use crate::log::OutputLog;

/// How long an idle worker is kept.
const KEEP_IDLE: Duration = Duration::from_secs(600);

/// The idle workers of an engine.
pub(crate) struct Pool {
    workers: Arc<Workers>,
    script: PathBuf,
    variables: Vec<(String, String)>,
    idle: Arc<Mutex<Idle>>,
    limit: usize,
}

type Idle = HashMap<Environment, Vec<(PythonWorker, Instant)>>;

/// A worker process that runs Python calls.
pub(crate) struct PythonWorker {
    pub(crate) process: Process,
    pub(crate) connection: Connection,
    pub(crate) next_lease: u64,
    /// The functions it has, the oldest first.
    pub(crate) functions: VecDeque<String>,
    /// Where its lines go.
    output: Arc<Mutex<Option<Arc<OutputLog>>>>,
}

impl Pool {
    pub(crate) fn new(workers: Arc<Workers>, script: PathBuf, variables: Vec<(String, String)>, limit: usize) -> Self {
        let idle = Arc::new(Mutex::new(Idle::new()));
        tokio::spawn(retire_idle(Arc::downgrade(&idle)));
        Self { workers, script, variables, idle, limit }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A warm worker of this environment, or a new one.
    pub(crate) async fn take(&self, environment: &Environment, output: Arc<OutputLog>) -> Result<PythonWorker, CallError> {
        loop {
            let warm = self.idle().get_mut(environment).and_then(Vec::pop);
            let Some((mut worker, _)) = warm else { break };
            // One that died while it was idle must not be blamed on a call.
            if worker.process.ended().now_or_never().is_none() {
                worker.write_to(Some(output));
                return Ok(worker);
            }
        }
        self.start(environment, output).await
    }

    /// Takes a worker that has nothing to do back.
    pub(crate) fn put(&self, environment: &Environment, mut worker: PythonWorker) {
        worker.write_to(None);
        let mut idle = self.idle();
        let count: usize = idle.values().map(Vec::len).sum();
        if count >= self.limit {
            // Another environment's oldest makes room.
            let oldest = idle.iter().filter(|(_, workers)| !workers.is_empty());
            let oldest = oldest.min_by_key(|(_, workers)| workers[0].1).map(|(environment, _)| environment.clone());
            if let Some(workers) = oldest.and_then(|environment| idle.get_mut(&environment)) {
                workers.remove(0);
            }
        }
        idle.entry(environment.clone()).or_default().push((worker, Instant::now()));
    }

    /// How many wait for work.
    pub(crate) fn count(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }

    /// Lets all go.
    pub(crate) fn clear(&self) {
        self.idle().clear();
    }

    async fn start(&self, environment: &Environment, output: Arc<OutputLog>) -> Result<PythonWorker, CallError> {
        let output = Arc::new(Mutex::new(Some(output)));
        let heard = output.clone();
        let lines: LineSink = Arc::new(move |line| {
            if let Some(output) = &*heard.lock().unwrap_or_else(PoisonError::into_inner) {
                output.line("python", line);
            }
        });
        let command = [environment.interpreter.clone().into_os_string(), "-u".into(), self.script.clone().into_os_string()];
        let path = serde_json::to_string(&environment.path).unwrap_or_default();
        let mut variables: Vec<(&str, OsString)> = vec![(ENV_PATH, path.into())];
        variables.extend(self.variables.iter().map(|(name, value)| (name.as_str(), OsString::from(value))));
        let worker = self.workers.start(&command, &variables, lines).await?;
        let (process, connection) = (worker.process, worker.connection);
        Ok(PythonWorker { process, connection, next_lease: 1, functions: VecDeque::new(), output })
    }
}

impl PythonWorker {
    fn write_to(&mut self, output: Option<Arc<OutputLog>>) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = output;
    }
}

async fn retire_idle(idle: Weak<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(KEEP_IDLE / 10).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.values_mut().for_each(|workers| workers.retain(|(_, since)| since.elapsed() < KEEP_IDLE));
        idle.retain(|_, workers| !workers.is_empty());
    }
}

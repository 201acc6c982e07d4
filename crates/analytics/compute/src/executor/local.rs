//! Worker processes of this machine: one a slot, but one for all calls of a shared group.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use neardata_core::ObjectUri;
use neardata_functions::CallError;
use neardata_functions::protocol::{ENV_SCRATCH, ENV_SLOTS};

use super::process::{LineSink, Workers};
use super::worker::{Scratch, WorkerHandle, drive};
use super::{AttemptDone, AttemptLost, AttemptOrder, Executor, Observer};

/// How long an idle process is kept: long enough for the next call of a stage, short enough to give its memory back.
const KEEP_IDLE: Duration = Duration::from_secs(5);

/// The executor of one machine's own processes.
pub(crate) struct LocalExecutor {
    shared: Arc<Shared>,
}

pub(crate) struct LocalOptions {
    pub(crate) workers: Arc<Workers>,
    pub(crate) command: Vec<OsString>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) slots: usize,
    pub(crate) scratch: PathBuf,
    pub(crate) side_cars: ObjectUri,
    pub(crate) heartbeat_timeout: Duration,
}

struct Shared {
    options: LocalOptions,
    leases: AtomicU64,
    pool: Mutex<Pool>,
    starting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pool {
    /// Processes that run one call at a time and have none now, with the time since.
    idle: Vec<(Held, Instant)>,
    /// The process of each shared group.
    hosts: HashMap<String, (Held, Instant)>,
    processes: Arc<AtomicUsize>,
}

/// A worker, and whose calls it runs, for the lines it writes.
#[derive(Clone)]
struct Held {
    handle: WorkerHandle,
    listeners: Listeners,
}

type Listeners = Arc<Mutex<HashMap<u64, Arc<dyn Observer>>>>;

impl LocalExecutor {
    pub(crate) fn new(options: LocalOptions) -> Self {
        let shared = Shared { options, leases: AtomicU64::new(1), pool: Mutex::default(), starting: tokio::sync::Mutex::new(()) };
        let shared = Arc::new(shared);
        tokio::spawn(retire_idle(Arc::downgrade(&shared)));
        Self { shared }
    }
}

impl Executor for LocalExecutor {
    fn slots(&self) -> usize {
        self.shared.options.slots
    }

    fn workers(&self) -> usize {
        self.shared.pool().processes.load(Ordering::SeqCst)
    }

    fn attempt(&self, order: AttemptOrder, observer: Arc<dyn Observer>) -> BoxFuture<'static, Result<AttemptDone, AttemptLost>> {
        self.shared.clone().attempt(order, observer).boxed()
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(self: Arc<Self>, order: AttemptOrder, observer: Arc<dyn Observer>) -> Result<AttemptDone, AttemptLost> {
        let group = order.shared_group.clone();
        let lease = self.leases.fetch_add(1, Ordering::Relaxed);
        let held = match &group {
            Some(group) => self.host_of(group).await?,
            None => self.exclusive().await?,
        };
        let scratch = Scratch(self.options.scratch.join(order.attempt.as_str()));
        listeners(&held).insert(lease, observer.clone());
        let listening = Listening { held: &held, lease };
        let outcome = held.handle.clone().run(lease, order, observer, scratch).await;
        drop(listening);
        if group.is_none() && held.handle.is_alive() && held.handle.busy() == 0 {
            self.pool().idle.push((held, Instant::now()));
        }
        outcome
    }

    /// An idle process for one call, or a new one.
    async fn exclusive(&self) -> Result<Held, CallError> {
        loop {
            let idle = self.pool().idle.pop();
            match idle {
                Some((held, _)) if held.handle.is_alive() => return Ok(held),
                Some(_) => {}
                None => return self.start(1).await,
            }
        }
    }

    /// The process of a shared group, started by whoever comes first.
    async fn host_of(&self, group: &str) -> Result<Held, CallError> {
        let _one_at_a_time = self.starting.lock().await;
        if let Some((held, used)) = self.pool().hosts.get_mut(group)
            && held.handle.is_alive()
        {
            *used = Instant::now();
            return Ok(held.clone());
        }
        let held = self.start(self.options.slots).await?;
        self.pool().hosts.insert(group.to_owned(), (held.clone(), Instant::now()));
        Ok(held)
    }

    async fn start(&self, slots: usize) -> Result<Held, CallError> {
        let listeners = Listeners::default();
        let heard = listeners.clone();
        let lines: LineSink = Arc::new(move |line| {
            let listeners = heard.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.values().for_each(|observer| observer.line(line));
        });
        let mut variables =
            vec![(ENV_SLOTS, slots.to_string().into()), (ENV_SCRATCH, self.options.scratch.clone().into_os_string())];
        variables.extend(self.options.environment.iter().map(|(name, value)| (name.as_str(), value.into())));
        let worker = self.options.workers.start(&self.options.command, &variables, lines).await?;
        let processes = self.pool().processes.clone();
        let handle = drive(worker, self.options.side_cars.clone(), self.options.heartbeat_timeout, processes);
        Ok(Held { handle, listeners })
    }
}

fn listeners(held: &Held) -> MutexGuard<'_, HashMap<u64, Arc<dyn Observer>>> {
    held.listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Listening<'h> {
    held: &'h Held,
    lease: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        listeners(self.held).remove(&self.lease);
    }
}

/// Lets go of processes that had nothing to do for a while.
async fn retire_idle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(KEEP_IDLE / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut pool = shared.pool();
        pool.idle.retain(|(held, since)| held.handle.is_alive() && since.elapsed() < KEEP_IDLE);
        for (held, used) in pool.hosts.values_mut() {
            if held.handle.busy() > 0 {
                *used = Instant::now();
            }
        }
        pool.hosts.retain(|_, (held, used)| held.handle.is_alive() && used.elapsed() < KEEP_IDLE);
    }
}

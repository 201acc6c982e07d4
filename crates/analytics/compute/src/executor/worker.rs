//! One native worker process, driven by one task: leases, heartbeats, deadlines, memory, cancellation, death.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use neardata_core::{ObjectUri, VERSION};
use neardata_functions::frames::{self, Frame};
use neardata_functions::protocol::{CallOrder, FromWorker, PROTOCOL, ToWorker};
use neardata_functions::{CallError, Cause, system};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::memory;
use super::process::{Connection, Ended, Process, Worker};
use super::{AttemptDone, AttemptLost, AttemptOrder, Observer};

/// How long a call of a shared process may take to notice that it was cancelled, before the process is killed.
const GRACE: Duration = Duration::from_millis(500);
/// A far away time, for timers that are not set.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

type Reply = oneshot::Sender<Result<AttemptDone, AttemptLost>>;

/// A handle to a worker's task. Cheap to clone; the worker stops when all are gone.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    orders: mpsc::UnboundedSender<Command>,
    busy: Arc<AtomicUsize>,
    alive: Arc<AtomicBool>,
}

enum Command {
    Run { lease: u64, order: Box<AttemptOrder>, observer: Arc<dyn Observer>, scratch: Scratch, reply: Reply },
    Cancel { lease: u64 },
}

/// The scratch folder of an attempt; removed when the attempt is over, if its worker could not.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _nothing_there = std::fs::remove_dir_all(&self.0);
    }
}

/// What is known of a call that runs.
struct Lease {
    observer: Arc<dyn Observer>,
    _scratch: Scratch,
    reply: Option<Reply>,
    deadline: Option<Instant>,
    memory: Option<u64>,
    /// It was given up: the process is killed if it does not end by then.
    dying: Option<Instant>,
}

/// Drives `worker` until nobody holds its handle.
pub(crate) fn drive(
    worker: Worker,
    side_cars: ObjectUri,
    heartbeat_timeout: Duration,
    processes: Arc<AtomicUsize>,
) -> WorkerHandle {
    processes.fetch_add(1, Ordering::SeqCst);
    let (orders, commands) = mpsc::unbounded_channel();
    let handle = WorkerHandle { orders, busy: Arc::default(), alive: Arc::new(AtomicBool::new(true)) };
    let task = Task {
        process: worker.process,
        connection: worker.connection,
        leases: HashMap::new(),
        busy: handle.busy.clone(),
        alive: handle.alive.clone(),
        host: system::host_name(),
        last_sign: Instant::now(),
        heartbeat_timeout,
        killed_for: None,
    };
    tokio::spawn(async move {
        task.run(commands, side_cars).await;
        processes.fetch_sub(1, Ordering::SeqCst);
    });
    handle
}

impl WorkerHandle {
    /// Calls it has.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// Whether its process lives, as far as known.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Runs one attempt. Dropped, it kills it.
    pub(crate) async fn run(
        self,
        lease: u64,
        order: AttemptOrder,
        observer: Arc<dyn Observer>,
        scratch: Scratch,
    ) -> Result<AttemptDone, AttemptLost> {
        let (reply, answer) = oneshot::channel();
        let run = Command::Run { lease, order: Box::new(order), observer, scratch, reply };
        let lost =
            || AttemptLost { blameless: true, ..CallError::new(Cause::Lost, "the worker ended before the call began").into() };
        self.orders.send(run).map_err(|_| lost())?;
        let guard = CancelOnDrop { handle: &self, lease, armed: true };
        let outcome = answer.await.unwrap_or_else(|_| Err(lost()));
        guard.disarm();
        outcome
    }
}

struct CancelOnDrop<'h> {
    handle: &'h WorkerHandle,
    lease: u64,
    armed: bool,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _gone = self.handle.orders.send(Command::Cancel { lease: self.lease });
        }
    }
}

struct Task {
    process: Process,
    connection: Connection,
    leases: HashMap<u64, Lease>,
    busy: Arc<AtomicUsize>,
    alive: Arc<AtomicBool>,
    host: String,
    last_sign: Instant,
    heartbeat_timeout: Duration,
    /// Why we killed the process, and the lease to blame.
    killed_for: Option<(Option<u64>, CallError)>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>, side_cars: ObjectUri) {
        let welcome = ToWorker::Welcome { protocol: PROTOCOL, version: VERSION.to_owned(), side_cars };
        self.send(&welcome).await;
        let mut connected = true;
        let ended = loop {
            let timer = self.next_timer();
            tokio::select! {
                biased;
                frame = self.connection.receive(), if connected => match frame {
                    Ok(Some(frame)) => self.receive(&frame),
                    Ok(None) => {
                        connected = false;
                        self.hung_up("the worker closed its connection but did not end").await;
                    }
                    Err(text) => {
                        connected = false;
                        self.hung_up(&format!("the worker's connection broke: {text}")).await;
                    }
                },
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => {
                        self.process.kill();
                        break self.process.ended().await;
                    }
                },
                ended = self.process.ended() => break ended,
                () = sleep_until(timer) => self.look_at_limits().await,
            }
        };
        self.drain(connected).await;
        self.alive.store(false, Ordering::SeqCst);
        self.bury(ended);
        // Commands that came too late get their answer by the drop of their reply.
    }

    /// The connection is gone, so the worker should be ending: how it ends says more than a broken connection.
    async fn hung_up(&mut self, how: &str) {
        if tokio::time::timeout(GRACE, self.process.ended()).await.is_err() {
            self.kill(None, CallError::new(Cause::Lost, how));
        }
    }

    /// What the worker managed to say before it died.
    async fn drain(&mut self, connected: bool) {
        if !connected {
            return;
        }
        loop {
            match tokio::time::timeout(Duration::from_millis(100), self.connection.receive()).await {
                Ok(Ok(Some(frame))) => self.receive(&frame),
                _ => return,
            }
        }
    }

    async fn send(&mut self, message: &ToWorker) {
        let mut buffer = Vec::new();
        if let Err(error) = frames::encode(&mut buffer, message, &[]) {
            self.kill(None, CallError::failed(error).permanent());
        } else if let Err(error) = self.connection.stream.write_all(&buffer).await {
            // The process is ending; how it ended says more.
            tracing::debug!(%error, "cannot write to a worker");
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Run { lease, order, observer, scratch, reply } => {
                if reply.is_closed() {
                    return;
                }
                let limits = order.spec.limits;
                let begun = Instant::now();
                self.last_sign = if self.leases.is_empty() { begun } else { self.last_sign };
                let entry = Lease {
                    observer,
                    _scratch: scratch,
                    reply: Some(reply),
                    deadline: limits.time.map(|time| begun + time),
                    memory: limits.memory,
                    dying: None,
                };
                self.leases.insert(lease, entry);
                self.busy.store(self.leases.len(), Ordering::SeqCst);
                self.send(&ToWorker::Call(Box::new(wire_order(lease, *order)))).await;
            }
            Command::Cancel { lease } => self.give_up(lease, CallError::cancelled()).await,
        }
    }

    fn receive(&mut self, frame: &Frame) {
        self.last_sign = Instant::now();
        let message = match frame.header_as::<FromWorker>() {
            Ok(message) => message,
            Err(error) => return self.kill(None, CallError::new(Cause::Lost, format!("the worker spoke nonsense: {error}"))),
        };
        match message {
            FromWorker::Started { lease } => {
                if let Some(lease) = self.leases.get(&lease) {
                    lease.observer.started(self.process.pid, &self.host);
                }
            }
            FromWorker::Heartbeat { calls } => {
                for (lease, done, total) in calls {
                    if let Some(lease) = self.leases.get(&lease).filter(|_| total > 0) {
                        lease.observer.progress(done, total);
                    }
                }
            }
            FromWorker::Done { lease, result, outputs, figures } => {
                self.answer(lease, Ok(AttemptDone { result, outputs, figures }));
            }
            FromWorker::Failed { lease, error, figures } => {
                self.answer(lease, Err(AttemptLost { error, figures: Some(Box::new(figures)), blameless: false }));
            }
            other => tracing::warn!(?other, "a message of another kind of worker"),
        }
    }

    fn answer(&mut self, lease: u64, outcome: Result<AttemptDone, AttemptLost>) {
        if let Some(lease) = self.leases.remove(&lease)
            && let Some(reply) = lease.reply
        {
            let _nobody_waits = reply.send(outcome);
        }
        self.busy.store(self.leases.len(), Ordering::SeqCst);
    }

    /// Ends one call: with its process if it is alone there, else by asking first.
    async fn give_up(&mut self, id: u64, error: CallError) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.dying.get_or_insert(Instant::now() + GRACE);
        if let Some(reply) = lease.reply.take() {
            let _nobody_waits = reply.send(Err(error.clone().into()));
        }
        if self.leases.values().all(|lease| lease.dying.is_some()) {
            self.kill(Some(id), error);
        } else {
            self.send(&ToWorker::Cancel { lease: id }).await;
        }
    }

    fn kill(&mut self, blame: Option<u64>, error: CallError) {
        self.killed_for.get_or_insert((blame, error));
        self.process.kill();
    }

    fn next_timer(&self) -> Instant {
        if self.leases.is_empty() || self.killed_for.is_some() {
            return Instant::now() + NEVER;
        }
        let sample = self.leases.values().any(|lease| lease.memory.is_some()).then(|| Instant::now() + memory::SAMPLE_EVERY);
        let heartbeat = self.last_sign + self.heartbeat_timeout;
        let of_leases = self.leases.values().flat_map(|lease| match lease.dying {
            Some(dying) => [Some(dying), None],
            None => [lease.deadline, None],
        });
        of_leases.flatten().chain(sample).fold(heartbeat, Instant::min)
    }

    async fn look_at_limits(&mut self) {
        let now = Instant::now();
        if now >= self.last_sign + self.heartbeat_timeout {
            let silence = self.heartbeat_timeout.as_secs_f64();
            return self
                .kill(None, CallError::new(Cause::Lost, format!("the worker lost its heartbeat: silent for {silence} s")));
        }
        if let Some((id, _)) = self.leases.iter().find(|(_, lease)| lease.dying.is_some_and(|dying| now >= dying)) {
            let error = CallError::new(Cause::Cancelled, "the call did not notice that it was cancelled");
            return self.kill(Some(*id), error);
        }
        let late = self.leases.iter().filter(|(_, lease)| lease.dying.is_none() && lease.deadline.is_some_and(|at| now >= at));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.give_up(id, CallError::new(Cause::Timeout, "it ran past its time limit; raise the limit or cut smaller slices"))
                .await;
        }
        // One process has one memory: the largest limit of its calls holds, and all are lost when it is broken.
        let limit = self.leases.values().filter_map(|lease| lease.memory).max();
        let unlimited = self.leases.values().any(|lease| lease.memory.is_none());
        if let Some(limit) = limit.filter(|_| !unlimited)
            && let Some(resident) = memory::above(self.process.pid, limit)
        {
            self.kill(None, CallError::new(Cause::Memory, memory::message(resident, limit)));
        }
    }

    /// Answers every call the dead process had.
    fn bury(&mut self, ended: Ended) {
        let (blamed, error) = match self.killed_for.take() {
            Some((blamed, error)) => (blamed, error),
            None => (None, death(self.process.pid, &self.host, &ended)),
        };
        for (id, lease) in self.leases.drain() {
            let Some(reply) = lease.reply else { continue };
            let blameless = blamed.is_some_and(|blamed| blamed != id);
            let error =
                if blameless { CallError::new(Cause::Lost, "its process was killed for another call") } else { error.clone() };
            let _nobody_waits = reply.send(Err(AttemptLost { error, figures: None, blameless }));
        }
        self.busy.store(0, Ordering::SeqCst);
    }
}

/// What to say of a worker that died by itself.
pub(crate) fn death(pid: u32, host: &str, ended: &Ended) -> CallError {
    use std::os::unix::process::ExitStatusExt;
    let how = system::describe_exit(ended.status);
    if ended.status.signal() == Some(9) && ended.oom {
        let text =
            format!("worker {pid} on {host}: {how} while the kernel ran out of memory; set a memory limit or use fewer workers");
        return CallError::new(Cause::Memory, text);
    }
    let cause = Cause::Killed;
    CallError::new(
        cause,
        format!("worker {pid} on {host}: {how}, peak memory {}", neardata_core::format_bytes(ended.usage.peak_rss)),
    )
}

fn wire_order(lease: u64, order: AttemptOrder) -> CallOrder {
    CallOrder {
        lease,
        job: order.job,
        stage: order.stage,
        call: order.call,
        key: order.key,
        attempt: order.attempt,
        function: order.spec.function,
        arguments: order.spec.arguments,
        slices: order.spec.slices,
        outputs: order.outputs,
    }
}

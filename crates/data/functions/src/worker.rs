//! The main loop of a native worker process: dial the engine, run what it sends, end when it is gone.

use std::any::Any;
use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use neardata_core::{ObjectUri, VERSION};
use neardata_formats::SideCars;
use neardata_store::Stores;
use serde_json::Value;
use thiserror::Error;

use crate::frames::{self, FrameError, FrameReader};
use crate::protocol::{CallOrder, ENV_ID, ENV_SCRATCH, ENV_SLOTS, ENV_SOCKET, FromWorker, PROTOCOL, ToWorker, WorkerKind};
use crate::{CallContext, CallError, Cause, ContextOptions, Figures, FunctionSpec, Registry, command, system};

/// The largest result of a call, as JSON; larger things are outputs.
pub const MAX_RESULT: usize = 64 * 1024;
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a worker process needs.
#[derive(Clone)]
pub struct WorkerOptions {
    /// The engine's socket.
    pub socket: PathBuf,
    /// What the engine told this worker to call itself.
    pub id: String,
    /// How many calls it runs at once.
    pub slots: usize,
    /// The folder below which attempts get their scratch folders.
    pub scratch: PathBuf,
    /// The functions it has.
    pub registry: Registry,
    /// Object access.
    pub stores: Stores,
}

/// Why a worker could not start, or had to end.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// A variable that the engine sets is missing or malformed.
    #[error(
        "{variable} is not set as it should be; workers are started by the engine (`neardata up`, `neardata run`), not by hand"
    )]
    Environment {
        /// which
        variable: &'static str,
    },
    /// The engine's socket does not answer.
    #[error("cannot reach the engine at {socket}: {source}; is it still running?")]
    Dial {
        /// the socket
        socket: String,
        /// the system's words
        source: io::Error,
    },
    /// The engine speaks another protocol, or said something else first.
    #[error("the engine did not say welcome ({0}); engine and worker must be the same `neardata`: restart `neardata up`")]
    Handshake(String),
    /// The connection broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl WorkerOptions {
    /// What the engine that started this process told it through the environment.
    pub fn from_env(registry: Registry, stores: Stores) -> Result<Self, WorkerError> {
        let text = |variable: &'static str| env::var(variable).map_err(|_| WorkerError::Environment { variable });
        let slots = text(ENV_SLOTS)?.parse().ok().filter(|slots| *slots > 0);
        Ok(Self {
            socket: text(ENV_SOCKET)?.into(),
            id: text(ENV_ID)?,
            slots: slots.ok_or(WorkerError::Environment { variable: ENV_SLOTS })?,
            scratch: text(ENV_SCRATCH)?.into(),
            registry,
            stores,
        })
    }
}

/// Serves one engine. Returns when the engine says stop or its connection is gone; then the process should end at once, as calls may
/// still be running on its threads.
pub fn serve(options: WorkerOptions) -> Result<(), WorkerError> {
    let dialled = UnixStream::connect(&options.socket);
    let stream = dialled.map_err(|source| WorkerError::Dial { socket: options.socket.display().to_string(), source })?;
    let mut reader = FrameReader::new(stream.try_clone().map_err(FrameError::Io)?);
    let worker = Arc::new(Worker { stream: Mutex::new(stream), running: Mutex::default(), options });
    let side_cars = worker.handshake(&mut reader)?;

    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for slot in 0..worker.options.slots {
        let (worker, receiver) = (worker.clone(), receiver.clone());
        spawn(&format!("slot-{slot}"), move || worker.slot_loop(&receiver))?;
    }
    let heart = worker.clone();
    spawn("heartbeat", move || heart.heartbeat_loop())?;

    let ended = worker.read_loop(&mut reader, &side_cars, &sender);
    worker.running().values().for_each(CallContext::cancel);
    ended
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), WorkerError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(FrameError::Io)?;
    Ok(())
}

struct Worker {
    options: WorkerOptions,
    stream: Mutex<UnixStream>,
    running: Mutex<HashMap<u64, CallContext>>,
}

type Task = (CallOrder, CallContext);

impl Worker {
    fn running(&self) -> MutexGuard<'_, HashMap<u64, CallContext>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &FromWorker) -> Result<(), FrameError> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        frames::write(&mut *stream, message, &[])
    }

    fn handshake(&self, reader: &mut FrameReader<UnixStream>) -> Result<ObjectUri, WorkerError> {
        self.send(&FromWorker::Hello {
            protocol: PROTOCOL,
            version: VERSION.to_owned(),
            kind: WorkerKind::Native,
            pid: std::process::id(),
            slots: self.options.slots,
            id: self.options.id.clone(),
        })?;
        let first = reader.next_frame()?.ok_or_else(|| WorkerError::Handshake("it hung up".to_owned()))?;
        match first.header_as() {
            Ok(ToWorker::Welcome { protocol: PROTOCOL, side_cars, .. }) => Ok(side_cars),
            Ok(ToWorker::Welcome { protocol, version, .. }) => {
                Err(WorkerError::Handshake(format!("it is version {version} and speaks protocol {protocol}, not {PROTOCOL}")))
            }
            _ => Err(WorkerError::Handshake("it said something else".to_owned())),
        }
    }

    fn read_loop(
        &self,
        reader: &mut FrameReader<UnixStream>,
        side_cars: &ObjectUri,
        slots: &mpsc::Sender<Task>,
    ) -> Result<(), WorkerError> {
        while let Some(frame) = reader.next_frame()? {
            match frame.header_as()? {
                ToWorker::Call(order) => {
                    let call = CallContext::new(ContextOptions {
                        stores: self.options.stores.clone(),
                        side_cars: SideCars { root: side_cars.clone() },
                        slices: order.slices.clone(),
                        outputs: order.outputs.clone(),
                        scratch: self.options.scratch.join(order.attempt.as_str()),
                    });
                    self.running().insert(order.lease, call.clone());
                    // Cannot fail: the slots hold the receiver as long as the process lives.
                    let _sent = slots.send((*order, call));
                }
                ToWorker::Cancel { lease } => {
                    let call = self.running().get(&lease).cloned();
                    call.iter().for_each(CallContext::cancel);
                }
                ToWorker::Stop => return Ok(()),
                other => tracing::warn!(?other, "a message for another kind of worker"),
            }
        }
        Ok(())
    }

    fn heartbeat_loop(&self) {
        loop {
            thread::sleep(HEARTBEAT);
            let progress = |(lease, call): (&u64, &CallContext)| {
                let (done, total) = call.progress_made();
                (*lease, done, total)
            };
            let calls = self.running().iter().map(progress).collect();
            if self.send(&FromWorker::Heartbeat { calls }).is_err() {
                return;
            }
        }
    }

    fn slot_loop(&self, tasks: &Mutex<Receiver<Task>>) {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((order, call)) = task else { return };
            let lease = order.lease;
            let answer = self.send(&FromWorker::Started { lease }).map(|()| self.attempt(&order, &call));
            self.running().remove(&lease);
            if answer.and_then(|answer| self.send(&answer)).is_err() {
                return; // the engine is gone, and with it the process in a moment
            }
        }
    }

    /// One attempt, from its scratch folder to its answer.
    fn attempt(&self, order: &CallOrder, call: &CallContext) -> FromWorker {
        let alone = self.options.slots == 1;
        if alone {
            system::reset_peak_rss();
        }
        let cpu = || if alone { system::process_cpu() } else { system::thread_cpu() };
        let (start, cpu_before, started) = (Instant::now(), cpu(), seconds_since_epoch());
        let outcome = fs::create_dir_all(call.scratch())
            .map_err(|error| CallError::from(error).context(format!("creating {}", call.scratch().display())))
            .and_then(|()| self.run(order, call));
        let known = call.figures();
        // Alone, the process's time has the helper threads in it already.
        let own_cpu = cpu() - cpu_before + if alone { known.child_cpu_s } else { known.cpu_s };
        let figures = Figures {
            started,
            wall_s: start.elapsed().as_secs_f64(),
            cpu_s: own_cpu,
            peak_rss: known.peak_rss.max(system::peak_rss()),
            host: system::host_name(),
            pid: std::process::id(),
            ..known
        };
        let _nothing_there = fs::remove_dir_all(call.scratch());
        match outcome {
            Ok(result) => FromWorker::Done { lease: order.lease, result, outputs: call.published(), figures },
            Err(error) => FromWorker::Failed { lease: order.lease, error, figures },
        }
    }

    fn run(&self, order: &CallOrder, call: &CallContext) -> Result<Value, CallError> {
        call.check_cancelled()?;
        let body = || match &order.function {
            FunctionSpec::Native { name, version } => {
                let Some(function) = self.options.registry.get(name) else {
                    let text = format!("this worker has no function `{name}`; engine and worker must be the same `neardata`");
                    return Err(CallError::new(Cause::Version, text));
                };
                if function.version() != *version {
                    let text = format!("`{name}` is wanted in version {version}, this worker has {}", function.version());
                    return Err(CallError::new(Cause::Version, text));
                }
                function.run(call, &order.arguments)
            }
            FunctionSpec::Command(command) => command::run(call, command, &order.arguments),
            FunctionSpec::Python { .. } => Err(CallError::new(Cause::Version, "a native worker runs no Python")),
        };
        let result = panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panicked| {
            Err(CallError::new(Cause::Exception, format!("{} panicked: {}", order.function.label(), panic_text(&*panicked))))
        })?;
        call.check_cancelled()?;
        let size = result.to_string().len();
        if size > MAX_RESULT {
            let text = format!("{} returned {size} bytes; publish results above {MAX_RESULT} bytes", order.function.label());
            return Err(CallError::failed(text).permanent());
        }
        Ok(result)
    }
}

fn panic_text(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panicked.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

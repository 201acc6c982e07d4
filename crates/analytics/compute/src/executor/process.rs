//! Worker processes: spawning, waiting, killing, and what they write.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use neardata_functions::frames::Decoder;
use neardata_functions::protocol::{ENV_ID, ENV_SOCKET, FromWorker, PROTOCOL};
use neardata_functions::system::{self, Placement, Usage};
use neardata_functions::{CallError, Cause};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::exit::ExitWatch;
use crate::EngineError;

/// How long a started worker may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(60);

/// Starts workers of one engine and hands each its connection.
pub(crate) struct Workers {
    spawner: mpsc::Sender<SpawnRequest>,
    expected: Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>>,
    socket: PathBuf,
    _socket_folder: Option<tempfile::TempDir>,
    accepting: tokio::task::JoinHandle<()>,
}

type SpawnRequest = (Command, oneshot::Sender<io::Result<Child>>);

/// A worker's connection, after its hello.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) decoder: Decoder,
}

/// A worker process that has said hello.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) connection: Connection,
}

/// A running worker process. Killed with everything below it when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    exit: ExitWatch,
    oom_kills_before: u64,
    ended: Option<Ended>,
}

/// How a worker process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) usage: Usage,
    /// The kernel's out-of-memory killer struck while it lived.
    pub(crate) oom: bool,
}

/// Where the lines go that a worker writes.
pub(crate) type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

impl Workers {
    /// Listens below `folder` for workers.
    pub(crate) fn listen(folder: &Path) -> Result<Self, EngineError> {
        let (socket, socket_folder) = socket_place(folder)?;
        let _stale = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let expected: Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>> = Arc::default();
        let accepting = tokio::spawn(accept_loop(listener, expected.clone()));
        let (spawner, requests) = mpsc::channel();
        // A child dies with the thread that spawned it: this one lives as long as the engine.
        thread::Builder::new().name("spawner".to_owned()).spawn(move || spawn_loop(&requests))?;
        Ok(Self { spawner, expected, socket, _socket_folder: socket_folder, accepting })
    }

    /// Starts a worker by `command` with these variables beside the scrubbed environment, and waits for its hello.
    pub(crate) async fn start(
        &self,
        command: &[OsString],
        variables: &[(&str, OsString)],
        lines: LineSink,
    ) -> Result<Worker, CallError> {
        let Some((program, words)) = command.split_first() else {
            return Err(CallError::new(Cause::Version, "the engine was given no command that starts a worker"));
        };
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut spawn = Command::new(program);
        spawn.args(words).env_clear().envs(scrubbed_environment()).envs(variables.iter().map(|(name, value)| (name, value)));
        spawn.env(ENV_SOCKET, &self.socket).env(ENV_ID, &id);
        spawn.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

        let (connected, connection) = oneshot::channel();
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), connected);
        let _forget = Forget { id, expected: self.expected.clone() };
        let name = program.to_string_lossy();
        let cannot = |error: &dyn std::fmt::Display| CallError::failed(format!("cannot start the worker `{name}`: {error}"));
        let (reply, spawned) = oneshot::channel();
        self.spawner.send((spawn, reply)).map_err(|_| cannot(&"the engine is stopping"))?;
        let child = match spawned.await {
            Ok(Ok(child)) => child,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err(cannot(&error).permanent()),
            Ok(Err(error)) => return Err(cannot(&error)),
            Err(_) => return Err(cannot(&"the engine is stopping")),
        };
        let mut process = Process::new(child).map_err(|error| cannot(&error))?;
        let last_lines = Arc::new(Mutex::new(String::new()));
        process.forward_lines(&lines, &last_lines);

        let connection = tokio::select! {
            connection = connection => connection.map_err(|_| cannot(&"the engine is stopping"))?,
            ended = process.ended() => {
                tokio::time::sleep(Duration::from_millis(20)).await; // for its last words
                let last = last_lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(cannot(&format!("{} before it said hello; {last}", system::describe_exit(ended.status))));
            }
            () = tokio::time::sleep(HELLO_WITHIN) => return Err(cannot(&"it did not say hello within a minute")),
        };
        Ok(Worker { process, connection })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.accepting.abort();
        let _gone = std::fs::remove_file(&self.socket);
    }
}

struct Forget {
    id: String,
    expected: Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>>,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The socket's path: in the engine's folder, or, as a socket's path holds some 100 bytes only, in a private temporary folder.
fn socket_place(folder: &Path) -> io::Result<(PathBuf, Option<tempfile::TempDir>)> {
    let inside = folder.join("worker.sock");
    if inside.as_os_str().len() < 100 {
        return Ok((inside, None));
    }
    let short = tempfile::Builder::new().prefix("neardata-").tempdir()?; // mode 0700
    Ok((short.path().join("worker.sock"), Some(short)))
}

fn spawn_loop(requests: &mpsc::Receiver<SpawnRequest>) {
    while let Ok((mut command, reply)) = requests.recv() {
        system::supervise(&mut command, Placement::Session);
        let spawned = command.spawn();
        if let Err(Ok(mut orphan)) = reply.send(spawned) {
            let _gone = orphan.kill();
            let _gone = orphan.wait();
        }
    }
}

async fn accept_loop(listener: UnixListener, expected: Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(greet(stream, expected.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a worker");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads a worker's hello and hands its connection to whoever started it.
async fn greet(stream: UnixStream, expected: Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>>) {
    let mut connection = Connection { stream, decoder: Decoder::new() };
    let hello = tokio::time::timeout(HELLO_WITHIN, connection.receive()).await;
    let Ok(Ok(Some(frame))) = hello else { return };
    match frame.header_as() {
        Ok(FromWorker::Hello { protocol: PROTOCOL, id, .. }) => {
            let waiting = expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(waiting) = waiting {
                let _gone = waiting.send(connection);
            }
        }
        Ok(FromWorker::Hello { protocol, version, .. }) => {
            tracing::error!(
                protocol,
                version,
                "a worker of another version dialled; engine and worker must be the same `neardata`"
            );
        }
        _ => tracing::warn!("a stranger dialled the worker socket"),
    }
}

impl Connection {
    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn receive(&mut self) -> Result<Option<neardata_functions::frames::Frame>, String> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|error| error.to_string())? {
                return Ok(Some(frame));
            }
            // Cancel-safe: bytes that were read are in the decoder's buffer.
            match self.stream.read_buf(self.decoder.buffer()).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

impl Process {
    fn new(child: Child) -> io::Result<Self> {
        let pid = child.id();
        let exit = ExitWatch::new(pid)?;
        Ok(Self { child, pid, exit, oom_kills_before: system::oom_kills(), ended: None })
    }

    /// Waits until the process has ended, sweeps what it left running, and reaps it.
    pub(crate) async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        if let Err(error) = self.exit.ended().await {
            tracing::error!(%error, "cannot wait for a worker");
        }
        self.reap_now()
    }

    fn reap_now(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        system::kill_session(self.pid);
        let (status, usage) = system::reap(&mut self.child).unwrap_or_default();
        let ended = Ended { status, usage, oom: system::oom_kills() > self.oom_kills_before };
        self.ended = Some(ended);
        ended
    }

    /// Kills the process and everything it started.
    pub(crate) fn kill(&self) {
        if self.ended.is_none() {
            system::kill(self.pid);
            system::kill_session(self.pid);
        }
    }

    fn forward_lines(&mut self, lines: &LineSink, last: &Arc<Mutex<String>>) {
        let streams = [self.child.stdout.take().map(OwnedFd::from), self.child.stderr.take().map(OwnedFd::from)];
        for stream in streams.into_iter().flatten() {
            match pipe::Receiver::from_owned_fd(stream) {
                Ok(stream) => drop(tokio::spawn(forward(stream, lines.clone(), last.clone()))),
                Err(error) => tracing::warn!(%error, "cannot read what a worker writes"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            self.reap_now();
        }
    }
}

async fn forward(stream: pipe::Receiver, lines: LineSink, last: Arc<Mutex<String>>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A "line" without an end must not fill the memory.
        match (&mut reader).take(64 * 1024).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        lines(text.trim_end());
        text.trim_end().clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The variables a worker gets of ours: what finds programs and stores, nothing else.
fn scrubbed_environment() -> impl Iterator<Item = (OsString, OsString)> {
    const NAMES: [&str; 18] = [
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "USER",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "RUST_BACKTRACE",
        "VIRTUAL_ENV",
    ];
    const PREFIXES: [&str; 6] = ["AWS_", "AZURE_", "GOOGLE_", "GCS_", "NEARDATA_", "XDG_"];
    // What signs people in to the platform's API is no business of a worker.
    const NEVER: [&str; 2] = ["NEARDATA_TOKEN", "NEARDATA_API"];
    std::env::vars_os().filter(|(name, _)| {
        let Some(name) = name.to_str() else { return false };
        !NEVER.contains(&name) && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    })
}

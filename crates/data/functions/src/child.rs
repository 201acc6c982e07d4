use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use crate::system::{self, Placement, Usage};
use crate::{CallContext, CallError, Cause};

/// How many bytes of standard error an error message may carry.
const TAIL_BYTES: usize = 4 * 1024;

type Feed<'a> = Box<dyn FnOnce(&mut dyn Write) -> Result<(), CallError> + Send + 'a>;

/// A supervised child process of a call, made by [`CallContext::child`].
///
/// It runs in a process group of its own, dies with its worker, and is killed when the call is cancelled. Standard error goes to the
/// job's log; its last lines, the command line and the exit code or signal are in the error when it fails.
pub struct ChildCall<'a> {
    call: &'a CallContext,
    command: Command,
    stage: String,
    feed: Option<Feed<'a>>,
    stdout_set: bool,
}

/// How a child that succeeded ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChildReport {
    /// What it used.
    pub usage: Usage,
}

impl<'a> ChildCall<'a> {
    pub(crate) fn new(call: &'a CallContext, command: Command, stage: &str) -> Self {
        Self { call, command, stage: stage.to_owned(), feed: None, stdout_set: false }
    }

    /// What the child reads on standard input, written by `feed` on a thread of its own. A child that stops reading early is no
    /// error; any other failure of `feed` kills the child.
    #[must_use]
    pub fn stdin_from(mut self, feed: impl FnOnce(&mut dyn Write) -> Result<(), CallError> + Send + 'a) -> Self {
        self.feed = Some(Box::new(feed));
        self
    }

    /// Standard output goes to `file`.
    #[must_use]
    pub fn stdout_to(mut self, file: std::fs::File) -> Self {
        self.command.stdout(file);
        self.stdout_set = true;
        self
    }

    /// Runs the child to its end. Standard output goes to the job's log unless [`stdout_to`](Self::stdout_to) was called.
    pub fn run(mut self) -> Result<ChildReport, CallError> {
        if self.stdout_set {
            return self.supervise(|_| Ok(())).map(|(report, ())| report);
        }
        self.command.stdout(Stdio::piped());
        let stage = self.stage.clone();
        let (report, ()) = self.supervise(move |stdout| {
            forward(stdout, &stage);
            Ok(())
        })?;
        Ok(report)
    }

    /// Runs the child and returns its standard output, which must not be larger than `limit` bytes.
    pub fn capture(self, limit: usize) -> Result<Vec<u8>, CallError> {
        let stage = self.stage.clone();
        let (_, bytes) = self.read_stdout(move |stdout| {
            let mut bytes = Vec::new();
            stdout.take(limit as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() > limit {
                return Err(CallError::failed(format!("{stage}: more than {limit} bytes on standard output")).permanent());
            }
            Ok(bytes)
        })?;
        Ok(bytes)
    }

    /// Runs the child while `take` reads its standard output on this thread. What `take` leaves unread is thrown away. When both
    /// fail, the child's own failure is reported, as it is the reason why the output ended early.
    pub fn read_stdout<T>(
        mut self,
        take: impl FnOnce(&mut dyn Read) -> Result<T, CallError>,
    ) -> Result<(ChildReport, T), CallError> {
        self.command.stdout(Stdio::piped());
        self.supervise(take)
    }

    fn supervise<T>(mut self, take: impl FnOnce(&mut dyn Read) -> Result<T, CallError>) -> Result<(ChildReport, T), CallError> {
        self.call.check_cancelled()?;
        let line = command_line(&self.command);
        self.command.stdin(if self.feed.is_some() { Stdio::piped() } else { Stdio::null() }).stderr(Stdio::piped());
        system::supervise(&mut self.command, Placement::Group);
        let mut child = self.command.spawn().map_err(|error| spawn_error(&self.command, &line, &error))?;
        let pid = child.id();
        self.call.add_child(pid);
        let group = Group { pid };

        let (taken, fed, ended, tail) = thread::scope(|scope| {
            // When `take` panics, the scope waits for the helper threads, and they wait for the child.
            let unwinding = KillOnDrop { group: &group };
            let stderr = child.stderr.take();
            let stage = self.stage.as_str();
            let tail = scope.spawn(move || stderr.map(|stderr| forward(stderr, stage)).unwrap_or_default());
            let stdin = child.stdin.take();
            let feed = self.feed.take();
            let group = &group;
            let call = self.call;
            let fed = scope.spawn(move || call.on_helper_thread(|| feed_child(feed, stdin, group)));
            let mut stdout = child.stdout.take();
            let taken = match &mut stdout {
                Some(stdout) => take_output(stdout, take, group),
                None => take(&mut io::empty()),
            };
            let ended = system::wait_ended(&child);
            // What the child left behind in its group would hold our pipes open.
            drop(unwinding);
            (taken, joined(fed), ended, joined(tail).unwrap_or_default())
        });
        self.call.remove_child(pid);
        ended.map_err(|error| CallError::failed(format!("{}: waiting for `{line}`: {error}", self.stage)))?;
        let (status, usage) = system::reap(&mut child)
            .map_err(|error| CallError::failed(format!("{}: waiting for `{line}`: {error}", self.stage)))?;
        self.call.add_child_usage(usage);
        self.call.check_cancelled()?;

        // A failed feed or reader killed the child: then its signal says nothing.
        match fed {
            Some(Err(error)) => return Err(error.context(format!("{}: feeding `{line}`", self.stage))),
            None => return Err(CallError::failed(format!("{}: feeding `{line}` panicked", self.stage))),
            Some(Ok(())) => {}
        }
        match taken {
            Err(error) if status.success() || killed(status) => Err(error),
            _ if !status.success() => Err(exit_error(&self.stage, &line, status, &tail)),
            taken => Ok((ChildReport { usage }, taken?)),
        }
    }
}

/// The child's process group.
struct Group {
    pid: u32,
}

impl Group {
    fn kill(&self) {
        system::kill_group(self.pid);
    }
}

struct KillOnDrop<'g> {
    group: &'g Group,
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.group.kill();
    }
}

fn killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Option<T> {
    thread.join().ok()
}

fn take_output<T>(
    stdout: &mut dyn Read,
    take: impl FnOnce(&mut dyn Read) -> Result<T, CallError>,
    group: &Group,
) -> Result<T, CallError> {
    let taken = take(stdout);
    match &taken {
        Ok(_) => drop(io::copy(stdout, &mut io::sink())),
        Err(_) => group.kill(),
    }
    taken
}

/// Remembers that the child stopped reading, which is its right.
struct FeedWriter<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> Write for FeedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).inspect_err(|error| self.closed |= error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn feed_child(feed: Option<Feed<'_>>, stdin: Option<std::process::ChildStdin>, group: &Group) -> Result<(), CallError> {
    let (Some(feed), Some(stdin)) = (feed, stdin) else { return Ok(()) };
    let mut writer = FeedWriter { inner: stdin, closed: false };
    match feed(&mut writer) {
        Err(error) if !writer.closed => {
            group.kill();
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Copies a child's lines to our standard error, which is the job's log, and keeps the last ones.
fn forward(stream: impl Read, stage: &str) -> String {
    let mut reader = BufReader::new(stream);
    let mut tail: VecDeque<String> = VecDeque::new();
    let mut tail_bytes = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A "line" without an end must not fill the memory.
        match reader.by_ref().take(TAIL_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let _log_gone = writeln!(io::stderr(), "{stage}: {text}");
        tail_bytes += text.len();
        tail.push_back(text);
        while tail_bytes > TAIL_BYTES && tail.len() > 1 {
            tail_bytes -= tail.pop_front().map_or(0, |line| line.len());
        }
    }
    tail.make_contiguous().join("\n")
}

/// The command line as a person would type it, shortened.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = words.map(quoted).collect::<Vec<_>>().join(" ");
    if line.len() > 600 {
        let cut = (0..=600).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn spawn_error(command: &Command, line: &str, error: &io::Error) -> CallError {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => missing_tool(&program),
        io::ErrorKind::PermissionDenied => CallError::input(format!("{program} may not be executed: {error}")),
        _ => CallError::failed(format!("cannot start `{line}`: {error}")),
    }
}

/// The error for a program that is not there, with the command that installs it.
pub(crate) fn missing_tool(program: &str) -> CallError {
    let package = match program {
        "bwa" | "samtools" | "bcftools" | "freebayes" | "minimap2" | "dwgsim" | "tabix" => Some(program),
        "bgzip" | "htsfile" => Some("tabix"),
        "wgsim" => Some("samtools"),
        _ => None,
    };
    let remedy = match package {
        Some(package) => format!("install it with `apt-get install {package}`"),
        None => "install it, or put its folder on PATH".to_owned(),
    };
    CallError::new(Cause::MissingTool, format!("missing tool: {program}; {remedy}"))
}

fn exit_error(stage: &str, line: &str, status: ExitStatus, tail: &str) -> CallError {
    let how = system::describe_exit(status);
    let tail = if tail.is_empty() { "it wrote nothing on standard error".to_owned() } else { format!("its last lines:\n{tail}") };
    let message = format!("{stage}: `{line}`: {how}; {tail}");
    if tail.contains("No space left on device") {
        return CallError::new(Cause::DiskFull, format!("disk full: {message}"));
    }
    CallError::new(if status.code().is_some() { Cause::Failed } else { Cause::Killed }, message)
}

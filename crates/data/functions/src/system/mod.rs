//! What the operating system knows of processes: spawning supervised children, ending groups, and what they used.

mod raw;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

pub use raw::{process_cpu, supervise, thread_cpu};

/// What a process and the children it waited for used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system CPU seconds.
    pub cpu_s: f64,
    /// Peak resident memory in bytes.
    pub peak_rss: u64,
}

/// How a child is placed among processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A process group of its own: a signal to the group reaches what it started.
    Group,
    /// A session of its own: everything below it can be found by its session, also after it died.
    Session,
}

/// Waits until `child` has ended, without reaping it: its id stays valid until [`reap`].
pub fn wait_ended(child: &Child) -> io::Result<()> {
    let Some(pid) = pid_of(child.id()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reaps a child that has ended, and says how it ended and what it used.
pub fn reap(child: &mut Child) -> io::Result<(ExitStatus, Usage)> {
    raw::wait4(child.id())
}

/// Kills the process group of `pid` with SIGKILL; one that is gone already is fine.
pub fn kill_group(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        let _gone = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

/// Kills one process with SIGKILL; one that is gone already is fine.
pub fn kill(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        let _gone = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Kills every process of a session whose leader was `session`, found in `/proc`.
pub fn kill_session(session: u32) {
    // A process may fork while the list is read: look again until nothing is left.
    for _round in 0..8 {
        let members = session_members(session);
        if members.is_empty() {
            return;
        }
        members.into_iter().for_each(kill);
    }
}

fn session_members(session: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let Some(stat) = Stat::of(*pid) else { return false };
        stat.session == session && stat.state != 'Z'
    })
    .collect()
}

/// The fields of `/proc/PID/stat` we look at.
struct Stat {
    state: char,
    session: u32,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command name stands in parentheses and may hold anything, blanks and parentheses too.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let session = fields.nth(2)?.parse().ok()?;
        Some(Self { state, session })
    }
}

/// Resident memory in bytes of `pid` and everything below it, now.
pub fn tree_rss(pid: u32) -> u64 {
    let mut total = 0;
    let mut waiting = vec![pid];
    let page = rustix::param::page_size() as u64;
    while let Some(pid) = waiting.pop() {
        total += resident_pages(pid).unwrap_or(0) * page;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            if let Ok(children) = fs::read_to_string(task.path().join("children")) {
                waiting.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
    }
    total
}

fn resident_pages(pid: u32) -> Option<u64> {
    fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Peak resident memory of this process in bytes since it started or since [`reset_peak_rss`].
pub fn peak_rss() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Starts the peak of this process anew, where the kernel allows it.
pub fn reset_peak_rss() {
    let _not_allowed = fs::write("/proc/self/clear_refs", "5");
}

/// How often the kernel's out-of-memory killer has struck on this machine.
pub fn oom_kills() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/vmstat") else { return 0 };
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The file that `program` means: itself if it has a slash, else the first executable of that name on `PATH`.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let executable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let path = PathBuf::from(program);
        return executable(&path).then_some(path);
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|folder| folder.join(program)).find(|path| executable(path))
}

/// The signal's usual name: `SIGKILL`.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

/// How a process ended, in words: `exit code 1`, `killed by signal 9 (SIGKILL)`.
pub fn describe_exit(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// A command that dies with the thread that spawned it, placed as told. See [`supervise`].
pub fn supervised(mut command: Command, placement: Placement) -> Command {
    supervise(&mut command, placement);
    command
}

//! Hearing of the end of a process without a thread and without SIGCHLD.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Becomes readable when its process has ended.
pub(crate) struct ExitWatch {
    pidfd: AsyncFd<OwnedFd>,
}

impl ExitWatch {
    /// Watches the child `pid`, which must not have been reaped.
    #[allow(unsafe_code)]
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` always gives the same descriptor, which stays open until the `AsyncFd` that owns it is dropped; it is
        // private to this struct, which never takes it out, replaces or forgets it.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::other)?;
        Ok(Self { pidfd })
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(drop)
    }
}

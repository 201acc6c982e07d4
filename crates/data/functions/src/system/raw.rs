//! The few calls that need `unsafe`: everything else in this crate is safe code.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};

use super::{Placement, Usage};

/// Makes `command` start in a group or session of its own and die with SIGKILL when the *thread* that spawns it ends: spawn it from
/// a thread that outlives it.
#[allow(unsafe_code)]
pub fn supervise(command: &mut Command, placement: Placement) {
    if placement == Placement::Group {
        command.process_group(0);
    }
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe work is allowed. It makes three raw system
    // calls, allocates nothing and takes no lock; `io::Error::from_raw_os_error` and the conversions do not allocate either.
    unsafe {
        command.pre_exec(move || {
            if placement == Placement::Session {
                setsid()?;
            }
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above: then nobody would send the signal.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        });
    }
}

/// Reaps process `pid`.
#[allow(unsafe_code)]
pub(super) fn wait4(pid: u32) -> io::Result<(ExitStatus, Usage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable memory of the right type; `rusage` is plain data, so zeroed is valid.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: zero-initialised above and filled by the kernel; every bit pattern is valid.
            let usage = unsafe { usage.assume_init() };
            return Ok((ExitStatus::from_raw(status), from_rusage(&usage)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// CPU seconds of the calling thread so far.
pub fn thread_cpu() -> f64 {
    rusage(libc::RUSAGE_THREAD).cpu_s
}

/// CPU seconds of this process so far, all threads, without children.
pub fn process_cpu() -> f64 {
    rusage(libc::RUSAGE_SELF).cpu_s
}

#[allow(unsafe_code)]
fn rusage(who: libc::c_int) -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to live, writable memory of the right type; on failure it stays zeroed, which is a valid value.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    from_rusage(&usage)
}

fn from_rusage(usage: &libc::rusage) -> Usage {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

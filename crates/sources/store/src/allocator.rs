//! The one setting of the C library's allocator that streams need.
//!
//! Every socket read of a stream fills a buffer of some 400 KiB that another thread frees. By default glibc hands such memory back to
//! the system at once and gets it again page by page: 5 % of the processor time of a client that decompresses what it reads.
#![allow(unsafe_code, reason = "mallopt is a C function; the invariant is beside its one call")]

/// Lets the process keep up to 16 MiB of freed memory an arena for its next buffers; blocks of more than 4 MiB still go back at once.
/// For programs of our own, once, at their start: how a process that hosts us as a library allocates is not ours to say. Without
/// effect where the C library is not glibc.
pub fn keep_freed_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt has no precondition but valid parameters, and takes the allocator's own lock. A value it refuses changes nothing.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
    }
}

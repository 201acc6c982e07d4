//! Memory limits without privileges: the resident memory of a worker's process tree, sampled.

use std::time::Duration;

use neardata_functions::system;

/// How often a tree with a limit is looked at.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(40);

/// The resident memory of the tree below `pid`, if it is above `limit`.
pub(crate) fn above(pid: u32, limit: u64) -> Option<u64> {
    let resident = system::tree_rss(pid);
    (resident > limit).then_some(resident)
}

/// What to say of an attempt that was ended for its memory.
pub(crate) fn message(resident: u64, limit: u64) -> String {
    let (resident, limit) = (neardata_core::format_bytes(resident), neardata_core::format_bytes(limit));
    format!("it used {resident} of memory, more than its limit of {limit}; raise the limit or cut the work into smaller slices")
}

//! Scanning the parts of one object on several threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use neardata_core::{ByteRange, ObjectRef, RangedRead};

use super::builder::Builder;
use super::join::Joiner;
use super::part::{scan_part, serves};
use super::partial::Partial;
use super::parts::ranges;
use super::{Built, Progress, build_index, finish};
use crate::FormatError;
use crate::detect::Detected;
use crate::index::IndexOptions;

/// How an index pass uses the processor. It changes nothing about the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallel {
    /// How many threads scan parts of an object at once; one: a single pass.
    pub threads: usize,
    /// Bytes of a part, about. A thread needs about as much memory as its part's share of the index.
    pub part: u64,
    /// Smaller objects are passed over by one thread.
    pub above: u64,
}

/// More threads than this only wait for the store.
const MOST_THREADS: usize = 16;

impl Default for Parallel {
    /// A thread a core, at most 16; parts of 32 MiB; for objects of 64 MiB and more.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS));
        Self { threads, part: 32 << 20, above: 64 << 20 }
    }
}

/// [`build_index`] on several threads, where the format allows it and the object is large enough. The outcome is the same, byte for byte.
pub fn build_index_parallel(
    reader: &dyn RangedRead,
    source: &ObjectRef,
    detected: Detected,
    options: IndexOptions,
    parallel: Parallel,
    progress: &dyn Fn(Progress),
) -> Result<Built, FormatError> {
    let size = reader.size();
    let parts = ranges(detected, options, size, size.div_ceil(parallel.part.max(1)));
    if parallel.threads < 2 || size < parallel.above || parts.len() < 2 || !serves(detected) {
        return build_index(reader, source, detected, options, progress);
    }
    let board = Board::new(&parts, parallel.threads);
    let mut joiner = Joiner::new(Builder::new(reader, detected, options, progress));
    std::thread::scope(|scope| {
        // However this ends, nobody goes on working.
        let _stop = Stop(&board);
        for _ in 0..parallel.threads.min(parts.len()) {
            scope.spawn(|| {
                while let Some((number, range)) = board.take() {
                    let _stop_if_it_panics = Panicking(&board);
                    let scanned = scan_part(reader, detected, options, range);
                    board.give(number, scanned);
                }
            });
        }
        for (number, range) in parts.iter().enumerate() {
            let Some(partial) = board.wait_for(number) else { break };
            if !joiner.add(*range, partial?)? {
                break;
            }
        }
        Ok::<(), FormatError>(())
    })?;
    finish(joiner, reader, source, detected, options, progress)
}

/// What the threads share.
struct Board<'a> {
    parts: &'a [ByteRange],
    /// How many parts may be scanned before they are joined.
    ahead: usize,
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Default)]
struct BoardState {
    next: usize,
    joined: usize,
    stopped: bool,
    scanned: BTreeMap<usize, Result<Option<Partial>, FormatError>>,
}

impl<'a> Board<'a> {
    fn new(parts: &'a [ByteRange], threads: usize) -> Self {
        Self { parts, ahead: 2 * threads, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part to scan; waits while too many are scanned but not joined.
    fn take(&self) -> Option<(usize, ByteRange)> {
        let full =
            |state: &mut BoardState| !state.stopped && state.next < self.parts.len() && state.next >= state.joined + self.ahead;
        let mut state = self.changed.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        let range = self.parts.get(number).filter(|_| !state.stopped)?;
        state.next += 1;
        Some((number, *range))
    }

    fn give(&self, number: usize, scanned: Result<Option<Partial>, FormatError>) {
        self.state().scanned.insert(number, scanned);
        self.changed.notify_all();
    }

    /// What scanning part `number` gave, once it is done; the parts before it are joined. Nothing when work was stopped.
    fn wait_for(&self, number: usize) -> Option<Result<Option<Partial>, FormatError>> {
        let mut state = self.state();
        state.joined = number;
        self.changed.notify_all();
        let missing = |state: &mut BoardState| !state.stopped && !state.scanned.contains_key(&number);
        self.changed.wait_while(state, missing).unwrap_or_else(PoisonError::into_inner).scanned.remove(&number)
    }

    fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

/// Stops all work when it goes.
struct Stop<'a, 'b>(&'a Board<'b>);

impl Drop for Stop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Stops all work when it goes because its thread panics: nobody must wait for its part.
struct Panicking<'a, 'b>(&'a Board<'b>);

impl Drop for Panicking<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

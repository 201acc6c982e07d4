//! Places to run a call, shared fairly: a free place goes to the job that has the fewest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neardata_core::JobId;
use tokio::sync::oneshot;

/// All places of an executor. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots {
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    asked: u64,
    jobs: BTreeMap<JobId, Queue>,
}

#[derive(Default)]
struct Queue {
    running: usize,
    cap: usize,
    /// By the order that was asked for, then by time.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Slot>>,
}

/// One place, given back when dropped.
pub(crate) struct Slot {
    slots: Slots,
    job: JobId,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self { state: Arc::new(Mutex::new(State { free: count, asked: 0, jobs: BTreeMap::new() })) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a call of `job`, which may hold `cap` at most; of the calls of one job that wait, the lowest `order` comes first.
    pub(crate) async fn acquire(&self, job: &JobId, cap: usize, order: u64) -> Slot {
        loop {
            let (sender, receiver) = oneshot::channel();
            {
                let mut state = self.state();
                state.asked += 1;
                let asked = state.asked;
                let queue = state.jobs.entry(job.clone()).or_default();
                queue.cap = cap.max(1);
                queue.waiting.insert((order, asked), sender);
            }
            self.dispatch();
            if let Ok(slot) = receiver.await {
                return slot;
            }
        }
    }

    /// Whether a job other than `job` waits for a place it may have.
    pub(crate) fn wanted_by_others(&self, job: &JobId) -> bool {
        let state = self.state();
        let wants = |queue: &Queue| queue.running < queue.cap && queue.waiting.values().any(|waiting| !waiting.is_closed());
        state.jobs.iter().any(|(id, queue)| id != job && wants(queue))
    }

    fn dispatch(&self) {
        while let Some((sender, slot)) = self.next() {
            // Who asked may have gone in the meantime: then the slot comes back in its drop, outside the lock.
            drop(sender.send(slot));
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Slot>, Slot)> {
        let mut state = self.state();
        for queue in state.jobs.values_mut() {
            queue.waiting.retain(|_, waiting| !waiting.is_closed());
        }
        state.jobs.retain(|_, queue| queue.running > 0 || !queue.waiting.is_empty());
        if state.free == 0 {
            return None;
        }
        // Job ids sort by age, and `min_by_key` takes the first of equals: the oldest job.
        let eligible = state.jobs.iter_mut().filter(|(_, queue)| !queue.waiting.is_empty() && queue.running < queue.cap);
        let (job, queue) = eligible.min_by_key(|(_, queue)| queue.running)?;
        let job = job.clone();
        let (_, sender) = queue.waiting.pop_first()?;
        queue.running += 1;
        state.free -= 1;
        Some((sender, Slot { slots: self.clone(), job }))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state();
            state.free += 1;
            if let Some(queue) = state.jobs.get_mut(&self.job) {
                queue.running -= 1;
            }
        }
        self.slots.dispatch();
    }
}

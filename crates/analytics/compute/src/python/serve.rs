//! One worker serving one job: a window of calls in flight, results as they come, and everything that can go wrong with a process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use neardata_functions::frames::{self, Frame};
use neardata_functions::protocol::{FromWorker, ToWorker};
use neardata_functions::python::FUNCTIONS_KEPT;
use neardata_functions::{CallError, Cause, system};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};

use super::job::{Ending, PythonJob};
use super::pool::PythonWorker;
use crate::event::{CallEvent, CallState, Failure};
use crate::executor::memory;
use crate::executor::worker::death;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The most calls in flight to one worker.
const WINDOW: usize = 64;
/// A call that runs for longer gives the calls queued behind it back, so that other workers can have them.
const SLOW: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves until there is no work, or another job wants the place. Returns whether the worker can be used again.
pub(crate) async fn serve(job: &Arc<PythonJob>, worker: &mut PythonWorker) -> bool {
    let mut server = Server {
        job,
        worker,
        flight: VecDeque::new(),
        head_since: Instant::now(),
        head_known: false,
        asked_back: false,
        killed_for: None,
        served: false,
    };
    server.run().await
}

struct Server<'s> {
    job: &'s Arc<PythonJob>,
    worker: &'s mut PythonWorker,
    /// Leases and calls in the order in which the worker runs them: the first is the one that runs.
    flight: VecDeque<(u64, u32)>,
    head_since: Instant,
    /// The head was announced as started.
    head_known: bool,
    /// The worker was asked to give back what it has not started.
    asked_back: bool,
    killed_for: Option<CallError>,
    /// It had calls: then it may give way to another job.
    served: bool,
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Dropped in the middle, as when the engine stops: nobody must take this worker for an idle one.
        if !self.flight.is_empty() {
            self.worker.process.kill();
        }
    }
}

impl Server<'_> {
    async fn run(&mut self) -> bool {
        let mut changes = self.job.changes();
        loop {
            self.refill().await;
            if self.flight.is_empty() {
                return self.killed_for.is_none();
            }
            let timer = self.next_timer();
            tokio::select! {
                biased;
                frame = self.worker.connection.receive() => match frame {
                    Ok(Some(frame)) => self.receive_all(frame),
                    Ok(None) => return self.hung_up("the worker closed its connection").await,
                    Err(text) => return self.hung_up(&format!("the worker's connection broke: {text}")).await,
                },
                _ = changes.changed() => self.look_at_cancelled().await,
                () = sleep_until(timer) => self.look_at_limits().await,
            }
            if self.killed_for.is_some() {
                self.bury().await;
                return false;
            }
        }
    }

    /// The connection is gone, so the worker should be ending: how it ends says more than a broken connection.
    async fn hung_up(&mut self, how: &str) -> bool {
        if tokio::time::timeout(Duration::from_millis(500), self.worker.process.ended()).await.is_err() {
            self.kill(CallError::new(Cause::Lost, how));
        }
        self.bury().await;
        false
    }

    /// Sends more calls while the worker keeps up, unless another job wants the place.
    async fn refill(&mut self) {
        let slow = self.asked_back || (!self.flight.is_empty() && self.head_since.elapsed() >= SLOW);
        if slow || self.flight.len() > WINDOW / 2 || self.job.queue_is_empty() {
            return;
        }
        if self.served && self.job.engine.slots.wanted_by_others(&self.job.id) {
            return;
        }
        self.served = true;
        let calls = self.job.take(WINDOW - self.flight.len());
        if calls.is_empty() {
            return;
        }
        let mut buffer = Vec::new();
        let mut payload = Vec::new();
        let mut listed = Vec::with_capacity(calls.len());
        let was_empty = self.flight.is_empty();
        for call in calls {
            let arguments = &self.job.request.calls[call as usize];
            let lease = self.worker.next_lease;
            self.worker.next_lease += 1;
            payload.extend_from_slice(arguments);
            listed.push((lease, arguments.len() as u64));
            self.flight.push_back((lease, call));
        }
        let id = &self.job.request.function_id;
        let mut encoded = Ok(());
        if !self.worker.functions.contains(id) {
            encoded = frames::encode(&mut buffer, &ToWorker::Function { id: id.clone() }, &self.job.request.function);
            self.worker.functions.push_back(id.clone());
            if self.worker.functions.len() > FUNCTIONS_KEPT {
                self.worker.functions.pop_front();
            }
        }
        let header = ToWorker::Calls { function: id.clone(), calls: listed };
        if let Err(error) = encoded.and_then(|()| frames::encode(&mut buffer, &header, &payload)) {
            return self.kill(CallError::input(format!("the call cannot be sent: {error}")));
        }
        if was_empty {
            self.new_head();
        }
        self.send(&buffer).await;
    }

    fn new_head(&mut self) {
        self.head_since = Instant::now();
        self.head_known = false;
        self.asked_back = false;
    }

    async fn send(&mut self, bytes: &[u8]) {
        // An error here means that the process is ending; how it ended says more.
        if let Err(error) = self.worker.connection.stream.write_all(bytes).await {
            tracing::debug!(%error, "cannot write to a worker");
        }
    }

    /// Takes the frame and all others that have come with it.
    fn receive_all(&mut self, first: Frame) {
        let mut endings = Vec::new();
        let mut next = Some(first);
        while let Some(frame) = next {
            if let Err(error) = self.receive(&frame, &mut endings) {
                self.kill(CallError::new(Cause::Lost, format!("the worker spoke nonsense: {error}")));
                break;
            }
            next = self.worker.connection.decoder.next_frame().unwrap_or_default();
        }
        if !endings.is_empty() {
            self.job.end(endings);
            self.new_head();
            if self.flight.front().is_some_and(|(_, call)| self.job.is_cancelled(*call)) {
                self.kill(CallError::cancelled());
            }
        }
    }

    fn receive(&mut self, frame: &Frame, endings: &mut Vec<(u32, Ending)>) -> Result<(), String> {
        match frame.header_as::<FromWorker>().map_err(|error| error.to_string())? {
            FromWorker::Value { lease } => endings.push((self.ended(lease)?, Ending::Value(frame.payload.clone()))),
            FromWorker::Raised { lease, message, traceback } => {
                let pickle = (!frame.payload.is_empty()).then(|| BASE64_STANDARD.encode(&frame.payload));
                let failure = Failure { cause: Cause::Exception, message, traceback: Some(traceback), pickle };
                endings.push((self.ended(lease)?, Ending::Failed(failure)));
            }
            FromWorker::Returned { leases } => {
                let (back, kept) = self.flight.iter().partition(|(lease, _)| leases.contains(lease));
                let back: VecDeque<(u64, u32)> = back;
                self.flight = kept;
                self.asked_back = false;
                self.job.give_back(back.into_iter().map(|(_, call)| call));
            }
            FromWorker::Log { lease } => {
                let call = self.flight.iter().find(|(number, _)| *number == lease);
                let origin = call.map_or_else(|| "python".to_owned(), |(_, call)| format!("{} {call}", self.job.request.name));
                let text = String::from_utf8_lossy(&frame.payload);
                text.lines().for_each(|line| self.job.output.line(&origin, line));
            }
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    /// The call of this lease ended: it must be the one that runs.
    fn ended(&mut self, lease: u64) -> Result<u32, String> {
        match self.flight.pop_front() {
            Some((head, call)) if head == lease => Ok(call),
            Some(head) => {
                self.flight.push_front(head);
                Err(format!("call {lease} ended before its turn"))
            }
            None => Err(format!("call {lease} ended but was not running")),
        }
    }

    async fn ask_back(&mut self) {
        self.asked_back = true;
        let mut buffer = Vec::new();
        if frames::encode(&mut buffer, &ToWorker::Return, &[]).is_ok() {
            self.send(&buffer).await;
        }
    }

    async fn look_at_cancelled(&mut self) {
        let Some((_, head)) = self.flight.front() else { return };
        if self.job.is_cancelled(*head) {
            return self.kill(CallError::cancelled());
        }
        if !self.asked_back && self.flight.iter().skip(1).any(|(_, call)| self.job.is_cancelled(*call)) {
            self.ask_back().await;
        }
    }

    fn next_timer(&self) -> Instant {
        let announce = (!self.head_known).then(|| self.head_since + SLOW);
        let deadline = self.job.request.time.map(|time| self.head_since + time);
        let sample = self.job.request.options.memory.map(|_| Instant::now() + memory::SAMPLE_EVERY);
        [announce, deadline, sample].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + NEVER)
    }

    async fn look_at_limits(&mut self) {
        let runs_for = self.head_since.elapsed();
        if self.job.request.time.is_some_and(|time| runs_for >= time) {
            return self.kill(CallError::new(Cause::Timeout, "it ran past its time limit"));
        }
        if let Some(limit) = self.job.request.options.memory
            && let Some(resident) = memory::above(self.worker.process.pid, limit)
        {
            return self.kill(CallError::new(Cause::Memory, memory::message(resident, limit)));
        }
        if runs_for >= SLOW && !self.head_known {
            self.head_known = true;
            self.announce_head();
            if self.flight.len() > 1 {
                self.ask_back().await;
            }
        }
    }

    fn announce_head(&self) {
        let Some((_, call)) = self.flight.front() else { return };
        self.job.publish(vec![CallEvent {
            stage: self.job.request.name.clone(),
            call: u64::from(*call),
            state: CallState::Started,
            attempt: self.job.attempt(*call),
            pid: Some(self.worker.process.pid),
            host: Some(system::host_name()),
            ..CallEvent::default()
        }]);
    }

    fn kill(&mut self, error: CallError) {
        self.killed_for.get_or_insert(error);
        self.worker.process.kill();
    }

    /// The process is dead or dying: the call that ran is to blame, those behind it never started.
    async fn bury(&mut self) {
        let ended = self.worker.process.ended().await;
        // Results that were sent before the end count.
        while let Ok(Ok(Some(frame))) = tokio::time::timeout(Duration::from_millis(100), self.worker.connection.receive()).await {
            let mut endings = Vec::new();
            if self.receive(&frame, &mut endings).is_err() {
                break;
            }
            self.job.end(endings);
        }
        let error = self.killed_for.take().unwrap_or_else(|| death(self.worker.process.pid, &system::host_name(), &ended));
        self.killed_for = Some(error.clone());
        let mut flight = std::mem::take(&mut self.flight).into_iter().map(|(_, call)| call);
        if let Some(head) = flight.next() {
            let ending = if error.cause == Cause::Cancelled { Ending::Cancelled } else { Ending::Failed(error.into()) };
            self.job.end(vec![(head, ending)]);
        }
        self.job.give_back(flight);
    }
}

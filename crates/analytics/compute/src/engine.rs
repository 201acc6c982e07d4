use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use neardata_core::{JobId, ObjectUri};
use neardata_formats::SideCars;
use neardata_functions::{Cause, Registry};
use neardata_store::Stores;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claims::{Claim, Claims};
use crate::event::{Event, EventKind, JobError, JobState};
use crate::executor::Executor;
use crate::executor::local::{LocalExecutor, LocalOptions};
use crate::executor::process::Workers;
use crate::journal::{JobRow, Journal};
use crate::log::{JobLog, OutputLog, now};
use crate::metrics::{Counter, Metrics};
use crate::python::{self, Pool, PythonJob, PythonRequest};
use crate::running::{Calls, RunningJob};
use crate::slots::Slots;
use crate::view::{JobKind, JobSummary, JobView};
use crate::{EngineError, JobRequest, Pipeline, drive, folder};

/// What an engine is made of.
#[derive(Clone)]
pub struct EngineOptions {
    /// The engine's own folder: database, logs, scratch space, sockets. One engine a folder.
    pub folder: PathBuf,
    /// The prefix for records and outputs of jobs that name none.
    pub results: ObjectUri,
    /// Object access.
    pub stores: Stores,
    /// Where side-car indexes lie.
    pub side_cars: SideCars,
    /// How many calls run at once.
    pub workers: usize,
    /// The command that starts a worker, such as `neardata worker`.
    pub worker_command: Vec<OsString>,
    /// Variables of the workers beside the scrubbed environment of the engine's own process: how they reach the stores.
    pub worker_environment: Vec<(String, String)>,
    /// The native functions, the same as the workers have.
    pub registry: Registry,
    /// The pipelines.
    pub pipelines: Vec<Arc<dyn Pipeline>>,
    /// What seldom needs a change.
    pub tuning: Tuning,
}

/// How much of ended Python jobs is kept.
const ENDED_JOBS: usize = 64;
const ENDED_BYTES: usize = 256 << 20;

/// Times that seldom need a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Wait before the second attempt; doubled for each one after it.
    pub back_off: Duration,
    /// A worker that is silent for so long is lost.
    pub heartbeat_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { back_off: Duration::from_millis(200), heartbeat_timeout: Duration::from_secs(30) }
    }
}

/// Runs jobs. Cheap to clone; see [`Engine::shutdown`] for how it ends.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What the parts of an engine share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) results: ObjectUri,
    pub(crate) stores: Stores,
    pub(crate) side_cars: SideCars,
    pub(crate) registry: Registry,
    pub(crate) tuning: Tuning,
    pub(crate) slots: Slots,
    pub(crate) slot_count: usize,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) python: Pool,
    pub(crate) metrics: Metrics,
    pub(crate) journal: Journal,
    pipelines: Vec<Arc<dyn Pipeline>>,
    claims: Claims,
    live: Mutex<Live>,
    lock: Mutex<Option<File>>,
}

#[derive(Default)]
struct Live {
    jobs: HashMap<JobId, LiveJob>,
    /// Python jobs that have ended, with their values, which are nowhere else.
    ended: VecDeque<LiveJob>,
    stopping: bool,
}

struct LiveJob {
    row: JobRow,
    log: Arc<JobLog>,
    work: Work,
    task: AbortHandle,
}

#[derive(Clone)]
enum Work {
    Pipeline(Arc<RunningJob>),
    Python(Arc<PythonJob>),
}

impl Engine {
    /// Starts an engine in its folder, which is made if need be and locked as long as the engine lives.
    pub async fn start(options: EngineOptions) -> Result<Self, EngineError> {
        let folder = folder::prepare(&options.folder)?;
        let lock = folder::lock(&folder).await?;
        let scratch = folder.join("scratch");
        // What an engine that was killed left behind.
        let _nothing_there = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        fs::create_dir_all(folder.join("logs"))?;
        let journal = Journal::open(&folder)?;
        let workers = Arc::new(Workers::listen(&folder)?);
        let slots = options.workers.max(1);
        let script = neardata_functions::python::install(&folder.join("python"))?;
        let python = Pool::new(workers.clone(), script, options.worker_environment.clone(), 2 * slots);
        let executor = LocalExecutor::new(LocalOptions {
            workers,
            command: options.worker_command,
            environment: options.worker_environment,
            slots,
            scratch,
            side_cars: options.side_cars.root.clone(),
            heartbeat_timeout: options.tuning.heartbeat_timeout,
        });
        let shared = Shared {
            folder,
            results: options.results,
            stores: options.stores,
            side_cars: options.side_cars,
            registry: options.registry,
            tuning: options.tuning,
            slots: Slots::new(slots),
            slot_count: slots,
            executor: Arc::new(executor),
            python,
            metrics: Metrics::default(),
            journal,
            pipelines: options.pipelines,
            claims: Claims::default(),
            live: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Submits a job; it is stored when this returns, and runs. Refused while another job runs whose argument `output`, if it has one,
    /// is the same: see [`Pipeline`].
    pub async fn submit(&self, request: JobRequest) -> Result<JobId, EngineError> {
        if let Some(job) = request.resume {
            return self.resume(&job).await;
        }
        let pipeline = self.shared.pipeline(&request.pipeline)?;
        let summary = JobSummary {
            id: JobId::fresh(),
            name: request.pipeline.clone(),
            kind: JobKind::Pipeline,
            state: JobState::Running,
            created: now(),
            finished: None,
            results: request.results.clone().unwrap_or_else(|| self.shared.results.clone()),
        };
        let claim = self.shared.claims.claim(&summary.id, &request.arguments)?;
        let as_stored = serde_json::to_value(&request).map_err(|error| EngineError::Request(error.to_string()))?;
        let row = JobRow { summary, request: as_stored };
        self.shared.journal.insert(row.clone()).await?;
        self.shared.metrics.add(Counter::JobsSubmitted, 1);
        self.launch(row, request, pipeline, claim, Vec::new())
    }

    /// Goes on with all jobs that an earlier engine in this folder did not finish.
    pub async fn resume_unfinished(&self) -> Result<Vec<JobId>, EngineError> {
        let mut resumed = Vec::new();
        for row in self.shared.journal.jobs(true).await?.into_iter().rev() {
            let id = row.summary.id;
            if self.live_log(&id).is_some() {
                continue;
            }
            if row.summary.kind == JobKind::Python {
                let log = JobLog::new(id.clone(), Some(self.shared.journal.clone()), self.stored_events(&id).await?);
                let message = "the engine ended while the job ran; Python calls are not stored: submit them again".to_owned();
                log.finish(JobState::Failed, None, Some(JobError { cause: Cause::Lost, message })).await;
                continue;
            }
            match self.resume(&id).await {
                // Another one with the same output goes first; this one can be resumed after it.
                Err(EngineError::Request(reason)) => tracing::warn!(job = %id, reason, "the job is not resumed"),
                id => resumed.push(id?),
            }
        }
        Ok(resumed)
    }

    async fn resume(&self, id: &JobId) -> Result<JobId, EngineError> {
        let refuse = |reason: &str| EngineError::NotResumable { job: id.clone(), reason: reason.to_owned() };
        let row = self.shared.journal.job(id).await?.ok_or_else(|| EngineError::UnknownJob(id.clone()))?;
        if self.live_log(id).is_some() {
            return Err(refuse("it is running"));
        }
        if row.summary.kind != JobKind::Pipeline {
            return Err(refuse("Python calls are not stored"));
        }
        let request: JobRequest =
            serde_json::from_value(row.request.clone()).map_err(|error| refuse(&format!("its request is damaged: {error}")))?;
        let pipeline = self.shared.pipeline(&request.pipeline)?;
        let claim = self.shared.claims.claim(id, &request.arguments)?;
        let mut events = self.stored_events(id).await?;
        events.retain(|event| !matches!(event.kind, EventKind::Job { .. }));
        self.shared.journal.reopen(id);
        self.launch(row, request, pipeline, claim, events)
    }

    fn launch(
        &self,
        mut row: JobRow,
        request: JobRequest,
        pipeline: Arc<dyn Pipeline>,
        claim: Claim,
        earlier: Vec<Event>,
    ) -> Result<JobId, EngineError> {
        row.summary.state = JobState::Running;
        row.summary.finished = None;
        let id = row.summary.id.clone();
        let slots = self.shared.slot_count;
        let calls = Calls::from_events(&earlier);
        let log = JobLog::new(id.clone(), Some(self.shared.journal.clone()), earlier);
        let running = Arc::new(RunningJob {
            id: id.clone(),
            engine: self.shared.clone(),
            results: row.summary.results.clone(),
            cap: request.workers.unwrap_or(slots).clamp(1, slots),
            log: log.clone(),
            output: OutputLog::new(&self.shared.folder, &id),
            cancel: CancellationToken::new(),
            attempts: TaskTracker::new(),
            calls: Mutex::new(calls),
        });
        let mut live = self.shared.live();
        if live.stopping {
            return Err(EngineError::Stopped);
        }
        let driving = drive::drive(running.clone(), pipeline, request.arguments, request.deadline, claim);
        let task = tokio::spawn(driving).abort_handle();
        live.jobs.insert(id.clone(), LiveJob { row, log, work: Work::Pipeline(running), task });
        Ok(id)
    }

    /// The events of a job from number `from` on, until the last one; past ones come at once.
    pub async fn events(&self, id: &JobId, from: u64) -> Result<impl Stream<Item = Event> + Send + use<>, EngineError> {
        let batches = self.event_batches(id, from).await?;
        Ok(batches.flat_map(|batch| futures::stream::iter(batch).map(Arc::unwrap_or_clone)))
    }

    /// The same, those events together that are there together.
    pub async fn event_batches(
        &self,
        id: &JobId,
        from: u64,
    ) -> Result<impl Stream<Item = Vec<Arc<Event>>> + Send + use<>, EngineError> {
        let log = match self.live_log(id) {
            Some(log) => log,
            None => {
                let row = self.shared.journal.job(id).await?.ok_or_else(|| EngineError::UnknownJob(id.clone()))?;
                let mut events = self.stored_events(id).await?;
                if !events.last().is_some_and(|event| matches!(event.kind, EventKind::Job { .. })) {
                    let seq = events.last().map_or(1, |event| event.seq + 1);
                    let state = if row.summary.state.is_final() { row.summary.state } else { JobState::Interrupted };
                    events.push(Event { seq, t: now(), kind: EventKind::Job { state, result: None, error: None } });
                }
                JobLog::new(id.clone(), None, events)
            }
        };
        Ok(log.follow(from))
    }

    /// Waits for the end of a job and says how it went.
    pub async fn wait(&self, id: &JobId) -> Result<JobView, EngineError> {
        let batches = self.event_batches(id, 0).await?;
        batches.for_each(|_| futures::future::ready(())).await;
        self.job(id).await
    }

    /// Submits Python calls; they run on warm workers, and their values come with the job's events.
    pub async fn submit_python(&self, request: PythonRequest) -> Result<JobId, EngineError> {
        let request = request.decode()?;
        let id = JobId::fresh();
        let summary = JobSummary {
            id: id.clone(),
            name: request.name.clone(),
            kind: JobKind::Python,
            state: JobState::Running,
            created: now(),
            finished: None,
            results: self.shared.results.clone(),
        };
        let row = JobRow { summary, request: serde_json::json!({"arguments": {"calls": request.calls.len()}}) };
        self.shared.metrics.add(Counter::JobsSubmitted, 1);
        let log = JobLog::brief(id.clone(), self.shared.journal.clone());
        let output = OutputLog::new(&self.shared.folder, &id);
        let job = PythonJob::new(id.clone(), self.shared.clone(), log.clone(), output, request);
        let mut live = self.shared.live();
        if live.stopping {
            return Err(EngineError::Stopped);
        }
        self.shared.journal.insert_soon(row.clone());
        let (running, shared) = (job.clone(), self.shared.clone());
        let task = tokio::spawn(async move {
            let id = running.id.clone();
            python::run(running).await;
            shared.retire_python(&id);
        });
        live.jobs.insert(id.clone(), LiveJob { row, log, work: Work::Python(job), task: task.abort_handle() });
        Ok(id)
    }

    /// Cancels a job: its running calls are killed at once. A job that has ended is left as it is.
    pub async fn cancel(&self, id: &JobId) -> Result<(), EngineError> {
        let live = self.shared.live().jobs.get(id).map(|job| job.work.clone());
        match live {
            Some(Work::Pipeline(job)) => job.cancel.cancel(),
            Some(Work::Python(job)) => job.cancel(None),
            None => self.must_exist(id).await?,
        }
        Ok(())
    }

    /// Cancels some calls of a Python job.
    pub async fn cancel_calls(&self, id: &JobId, calls: &[u64]) -> Result<(), EngineError> {
        let live = self.shared.live().jobs.get(id).map(|job| job.work.clone());
        match live {
            Some(Work::Pipeline(_)) => {
                return Err(EngineError::Request("single calls of a pipeline cannot be cancelled; cancel the job".to_owned()));
            }
            Some(Work::Python(job)) => job.cancel(Some(calls)),
            None => self.must_exist(id).await?,
        }
        Ok(())
    }

    async fn must_exist(&self, id: &JobId) -> Result<(), EngineError> {
        if self.live_log(id).is_some() {
            return Ok(());
        }
        self.shared.journal.job(id).await?.map(drop).ok_or_else(|| EngineError::UnknownJob(id.clone()))
    }

    /// All jobs, the latest first.
    pub async fn jobs(&self) -> Result<Vec<JobSummary>, EngineError> {
        let rows = self.shared.journal.jobs(false).await?;
        Ok(rows.into_iter().map(|row| self.as_it_is(row.summary)).collect())
    }

    /// All there is to see of a job.
    pub async fn job(&self, id: &JobId) -> Result<JobView, EngineError> {
        let live = self.shared.live().find(id).map(|job| (job.row.clone(), job.log.events()));
        if let Some((row, events)) = live {
            let arguments = row.request.get("arguments").cloned().unwrap_or_default();
            return Ok(JobView::fold(row.summary, arguments, events.iter().map(AsRef::as_ref)));
        }
        let row = self.shared.journal.job(id).await?.ok_or_else(|| EngineError::UnknownJob(id.clone()))?;
        let events = self.stored_events(id).await?;
        let arguments = row.request.get("arguments").cloned().unwrap_or_default();
        let view = JobView::fold(row.summary, arguments, &events);
        Ok(JobView { summary: self.as_it_is(view.summary.clone()), ..view })
    }

    /// What the calls of a job wrote on standard output and error.
    pub async fn logs(&self, id: &JobId) -> Result<String, EngineError> {
        self.must_exist(id).await?;
        let path = OutputLog::path(&self.shared.folder, id);
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await.map_err(io::Error::other)?;
        match read {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Counters and gauges in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let running = self.shared.live().jobs.len() as u64;
        let workers = (self.shared.executor.workers() + self.shared.python.count()) as u64;
        self.shared.metrics.render(&[
            ("neardata_jobs_running", "Jobs that run now.", running),
            ("neardata_workers", "Worker processes that exist now.", workers),
            ("neardata_slots", "Calls that can run at once.", self.shared.slot_count as u64),
        ])
    }

    /// Stops: workers are killed, unfinished jobs stay resumable, the folder is free for the next engine.
    pub async fn shutdown(&self) {
        let jobs: Vec<_> = {
            let mut live = self.shared.live();
            live.stopping = true;
            live.jobs.drain().map(|(_, job)| job).collect()
        };
        for job in &jobs {
            job.task.abort();
            job.log.close();
        }
        for job in &jobs {
            if let Work::Pipeline(running) = &job.work {
                running.attempts.close();
                let _still_dying = tokio::time::timeout(Duration::from_secs(5), running.attempts.wait()).await;
            }
        }
        self.shared.python.clear();
        // Whatever was written before this read is stored.
        let _unreadable = self.shared.journal.jobs(true).await;
        self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn live_log(&self, id: &JobId) -> Option<Arc<JobLog>> {
        self.shared.live().find(id).map(|job| job.log.clone())
    }

    async fn stored_events(&self, id: &JobId) -> Result<Vec<Event>, EngineError> {
        self.shared.journal.events_of(id).await
    }

    /// A job that the database calls running but that does not run here was interrupted.
    fn as_it_is(&self, summary: JobSummary) -> JobSummary {
        let lost = summary.state == JobState::Running && self.live_log(&summary.id).is_none();
        JobSummary { state: if lost { JobState::Interrupted } else { summary.state }, ..summary }
    }
}

impl Live {
    fn find(&self, id: &JobId) -> Option<&LiveJob> {
        self.jobs.get(id).or_else(|| self.ended.iter().find(|job| job.row.summary.id == *id))
    }
}

impl Shared {
    /// A pipeline's job has ended: what there is to know of it is stored.
    pub(crate) fn forget(&self, id: &JobId) {
        self.live().jobs.remove(id);
    }

    /// Keeps what a Python job left for those who follow it late, as long as there is room.
    fn retire_python(&self, id: &JobId) {
        let mut live = self.live();
        let Some(job) = live.jobs.remove(id) else { return };
        live.ended.push_back(job);
        let mut weight: usize = live.ended.iter().map(|job| job.log.weight()).sum();
        while live.ended.len() > 1 && (weight > ENDED_BYTES || live.ended.len() > ENDED_JOBS) {
            weight -= live.ended.pop_front().map_or(0, |job| job.log.weight());
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipeline(&self, name: &str) -> Result<Arc<dyn Pipeline>, EngineError> {
        let found = self.pipelines.iter().find(|pipeline| pipeline.name() == name).cloned();
        found.ok_or_else(|| EngineError::UnknownPipeline {
            name: name.to_owned(),
            known: self.pipelines.iter().map(|pipeline| pipeline.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

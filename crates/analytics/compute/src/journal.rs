//! The engine's database: jobs and their events, in SQLite, written by one thread in batches.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use neardata_core::{JobId, ObjectUri};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::EngineError;
use crate::event::{Event, JobState};
use crate::view::{JobKind, JobSummary};

/// How long an event may wait for others to share its transaction.
const GATHER: Duration = Duration::from_millis(20);
const FORMAT: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS jobs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, request TEXT NOT NULL,
        results TEXT NOT NULL, created REAL NOT NULL, finished REAL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        job TEXT NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY (job, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS unfinished ON jobs (state) WHERE state = 'running';
";

type Work = Box<dyn FnOnce(&Connection) + Send>;
type Ack = oneshot::Sender<Result<(), String>>;

enum Op {
    Insert { row: JobRow, ack: Ack },
    Reopen { job: JobId },
    Events { job: JobId, events: Vec<Arc<Event>> },
    Finish { job: JobId, state: JobState, at: f64, ack: Ack },
    Read(Work),
}

/// A job as the database keeps it.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    pub(crate) summary: JobSummary,
    /// The [`JobRequest`](crate::JobRequest) it was submitted with.
    pub(crate) request: Value,
}

/// A handle to the database's thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    ops: Sender<Op>,
}

impl Journal {
    /// Opens or makes the database in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join("jobs.sqlite");
        let failed = |error: rusqlite::Error| EngineError::Database(format!("{}: {error}", path.display()));
        let connection = Connection::open(&path).map_err(failed)?;
        prepare(&connection).map_err(failed)?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if format > FORMAT {
            let text = format!("{} has format {format}, this program knows {FORMAT}; use the newer `neardata`", path.display());
            return Err(EngineError::Database(text));
        }
        connection.execute_batch(&format!("PRAGMA user_version = {FORMAT};")).map_err(failed)?;
        let (ops, receiver) = mpsc::channel();
        let body = move || write_loop(connection, &receiver);
        thread::Builder::new().name("journal".to_owned()).spawn(body).map_err(EngineError::Io)?;
        Ok(Self { ops })
    }

    /// Stores a job; it is durable when this returns.
    pub(crate) async fn insert(&self, row: JobRow) -> Result<(), EngineError> {
        let (ack, acked) = oneshot::channel();
        let _thread_gone = self.ops.send(Op::Insert { row, ack });
        match acked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::Database(error)),
            Err(_) => Err(EngineError::Stopped),
        }
    }

    /// Stores a job some time soon.
    pub(crate) fn insert_soon(&self, row: JobRow) {
        let _thread_gone = self.ops.send(Op::Insert { row, ack: oneshot::channel().0 });
    }

    /// The job runs again.
    pub(crate) fn reopen(&self, job: &JobId) {
        let _thread_gone = self.ops.send(Op::Reopen { job: job.clone() });
    }

    /// Stores events some time soon, in order.
    pub(crate) fn events(&self, job: &JobId, events: Vec<Arc<Event>>) {
        let _thread_gone = self.ops.send(Op::Events { job: job.clone(), events });
    }

    /// Stores that a job has ended; durable, with all its events before, when this returns.
    pub(crate) async fn finish(&self, job: &JobId, state: JobState, at: f64) {
        let (ack, acked) = oneshot::channel();
        let _thread_gone = self.ops.send(Op::Finish { job: job.clone(), state, at, ack });
        let _thread_gone = acked.await;
    }

    /// The jobs, the latest first.
    pub(crate) async fn jobs(&self, unfinished_only: bool) -> Result<Vec<JobRow>, EngineError> {
        let filter = if unfinished_only { "WHERE state = 'running'" } else { "" };
        let query =
            format!("SELECT id, name, kind, state, request, results, created, finished FROM jobs {filter} ORDER BY id DESC");
        self.read(move |connection| connection.prepare(&query)?.query_map([], job_row)?.collect()).await
    }

    /// One job.
    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<JobRow>, EngineError> {
        let id = id.as_str().to_owned();
        let query = "SELECT id, name, kind, state, request, results, created, finished FROM jobs WHERE id = ?1";
        self.read(move |connection| connection.query_row(query, [id], job_row).optional()).await
    }

    /// The stored events of a job.
    pub(crate) async fn events_of(&self, id: &JobId) -> Result<Vec<Event>, EngineError> {
        let id = id.as_str().to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare("SELECT event FROM events WHERE job = ?1 ORDER BY seq")?;
            let texts = statement.query_map([id], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let work = move |connection: &Connection| drop(answer.send(query(connection)));
        let _thread_gone = self.ops.send(Op::Read(Box::new(work)));
        let answer = answered.await.map_err(|_| EngineError::Stopped)?;
        answer.map_err(|error| EngineError::Database(error.to_string()))
    }
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    connection.execute_batch(SCHEMA)
}

fn job_row(row: &Row<'_>) -> Result<JobRow, rusqlite::Error> {
    let wrong = |column: usize| rusqlite::Error::InvalidColumnType(column, "jobs".to_owned(), rusqlite::types::Type::Text);
    let word = |column: usize| -> Result<Value, rusqlite::Error> { Ok(Value::String(row.get(column)?)) };
    let results: String = row.get(5)?;
    Ok(JobRow {
        summary: JobSummary {
            id: JobId::from_text(row.get::<_, String>(0)?),
            name: row.get(1)?,
            kind: serde_json::from_value(word(2)?).map_err(|_| wrong(2))?,
            state: serde_json::from_value(word(3)?).map_err(|_| wrong(3))?,
            created: row.get(6)?,
            finished: row.get(7)?,
            results: results.parse::<ObjectUri>().map_err(|_| wrong(5))?,
        },
        request: serde_json::from_str(&row.get::<_, String>(4)?).unwrap_or(Value::Null),
    })
}

fn write_loop(mut connection: Connection, ops: &Receiver<Op>) {
    while let Ok(first) = ops.recv() {
        let batch = gather(first, ops);
        let mut acks: Vec<Ack> = Vec::new();
        let mut reads: Vec<Work> = Vec::new();
        let written = connection.transaction().and_then(|transaction| {
            for op in batch {
                apply(&transaction, op, &mut acks, &mut reads)?;
            }
            transaction.commit()
        });
        let written = written.map_err(|error| error.to_string());
        if let Err(error) = &written {
            // The truth about finished calls is in their records; a full disk here must not stop the work.
            tracing::error!(%error, "the job database could not be written");
        }
        acks.into_iter().for_each(|ack| drop(ack.send(written.clone())));
        reads.into_iter().for_each(|read| read(&connection));
    }
}

/// What shares a transaction with `first`: events wait a moment for others, everything else does not.
fn gather(first: Op, ops: &Receiver<Op>) -> Vec<Op> {
    let until = Instant::now() + GATHER;
    let mut batch = vec![first];
    while matches!(batch.last(), Some(Op::Events { .. })) && batch.len() < 1024 {
        match ops.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(op) => batch.push(op),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    batch
}

fn apply(transaction: &Transaction<'_>, op: Op, acks: &mut Vec<Ack>, reads: &mut Vec<Work>) -> Result<(), rusqlite::Error> {
    match op {
        Op::Insert { row, ack } => {
            let JobSummary { id, name, kind, state, created, finished, results } = row.summary;
            let kind = match kind {
                JobKind::Pipeline => "pipeline",
                JobKind::Python => "python",
            };
            acks.push(ack);
            transaction.execute(
                "INSERT INTO jobs (id, name, kind, state, request, results, created, finished) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
                params![id.as_str(), name, kind, state.as_str(), row.request.to_string(), results.to_string(), created, finished],
            )?;
        }
        Op::Reopen { job } => {
            transaction.execute("UPDATE jobs SET state = 'running', finished = NULL WHERE id = ?1", [job.as_str()])?;
        }
        Op::Events { job, events } => {
            let mut statement = transaction.prepare("INSERT OR REPLACE INTO events (job, seq, event) VALUES (?1, ?2, ?3)")?;
            for event in events {
                let text = serde_json::to_string(&*event).unwrap_or_default();
                statement.execute(params![job.as_str(), i64::try_from(event.seq).unwrap_or(i64::MAX), text])?;
            }
        }
        Op::Finish { job, state, at, ack } => {
            acks.push(ack);
            let update = "UPDATE jobs SET state = ?2, finished = ?3 WHERE id = ?1";
            transaction.execute(update, params![job.as_str(), state.as_str(), at])?;
        }
        Op::Read(work) => reads.push(work),
    }
    Ok(())
}

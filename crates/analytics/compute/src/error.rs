use std::io;
use std::path::PathBuf;

use neardata_core::JobId;
use thiserror::Error;

/// Why the engine did not do what was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Another engine uses the folder.
    #[error("{folder} is in use by process {pid}; stop that one first, or give another folder")]
    Locked {
        /// the folder
        folder: PathBuf,
        /// who uses it, as far as known
        pid: String,
    },
    /// The job database.
    #[error("the job database failed: {0}")]
    Database(String),
    /// A file or socket.
    #[error("the engine's folder or sockets failed: {0}")]
    Io(#[from] io::Error),
    /// No such pipeline.
    #[error("there is no pipeline `{name}`; there are: {known}")]
    UnknownPipeline {
        /// asked for
        name: String,
        /// those there are
        known: String,
    },
    /// No such job.
    #[error("there is no job {0}; `neardata jobs list` shows those there are")]
    UnknownJob(JobId),
    /// The job cannot be resumed.
    #[error("job {job} cannot be resumed: {reason}")]
    NotResumable {
        /// which
        job: JobId,
        /// why
        reason: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Request(String),
    /// The engine is stopping.
    #[error("the engine is stopping; submit again when it is back")]
    Stopped,
}

use std::fmt;
use std::io;

use neardata_core::ReadError;
use neardata_formats::FormatError;
use neardata_store::StoreError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What made an attempt fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The input or the arguments are bad.
    Input,
    /// A program the call needs is not installed.
    MissingTool,
    /// The function said that it failed.
    Failed,
    /// The function raised an exception (Python) or panicked (native).
    Exception,
    /// The worker process was killed by a signal or ended by itself.
    Killed,
    /// The attempt ran past its time limit, or the job past its deadline.
    Timeout,
    /// The attempt used more memory than it may, or than the machine has.
    Memory,
    /// The worker was lost: it stopped sending heartbeats, or its connection broke.
    Lost,
    /// The disk is full.
    DiskFull,
    /// An object store did not answer as it should.
    Store,
    /// The call was cancelled.
    Cancelled,
    /// Engine and worker do not fit together.
    Version,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Input => "input",
            Cause::MissingTool => "missing_tool",
            Cause::Failed => "failed",
            Cause::Exception => "exception",
            Cause::Killed => "killed",
            Cause::Timeout => "timeout",
            Cause::Memory => "memory",
            Cause::Lost => "lost",
            Cause::DiskFull => "disk_full",
            Cause::Store => "store",
            Cause::Cancelled => "cancelled",
            Cause::Version => "version",
        })
    }
}

/// Why an attempt at a call failed, and whether another attempt makes sense.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CallError {
    /// Another attempt would fail the same way.
    pub permanent: bool,
    /// The kind of failure.
    pub cause: Cause,
    /// What happened, where, and what to do about it.
    pub message: String,
}

impl CallError {
    /// An error of this kind; input, missing-tool, cancelled and version errors are permanent.
    pub fn new(cause: Cause, message: impl fmt::Display) -> Self {
        let permanent = matches!(cause, Cause::Input | Cause::MissingTool | Cause::Cancelled | Cause::Version);
        Self { permanent, cause, message: message.to_string() }
    }

    /// Bad input or arguments: permanent.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::new(Cause::Input, message)
    }

    /// Something failed that may succeed another time.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Cause::Failed, message)
    }

    /// The call was cancelled.
    pub fn cancelled() -> Self {
        Self::new(Cause::Cancelled, "the call was cancelled")
    }

    /// The same error with `place` before its text.
    pub fn context(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// The same error, not tried again.
    pub fn permanent(self) -> Self {
        Self { permanent: true, ..self }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        let cause = match &error {
            StoreError::DiskFull { .. } => Cause::DiskFull,
            StoreError::NotFound { .. } | StoreError::Denied { .. } | StoreError::Changed { .. } => Cause::Input,
            StoreError::Configuration(_) => Cause::Input,
            StoreError::Failed { .. } => Cause::Store,
        };
        Self::new(cause, error)
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        let cause = if matches!(error, ReadError::Failed { .. }) { Cause::Store } else { Cause::Input };
        Self::new(cause, error)
    }
}

impl From<FormatError> for CallError {
    fn from(error: FormatError) -> Self {
        Self::new(Cause::Input, error)
    }
}

impl From<io::Error> for CallError {
    /// Errors of ours that travelled inside an `io::Error` come out as they were.
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        let text = error.to_string();
        match error.downcast::<CallError>() {
            Ok(call_error) => return call_error,
            Err(error) => match error.downcast::<ReadError>() {
                Ok(read_error) => return read_error.into(),
                Err(error) => match error.downcast::<StoreError>() {
                    Ok(store_error) => return store_error.into(),
                    Err(error) => {
                        if let Ok(format_error) = error.downcast::<FormatError>() {
                            return format_error.into();
                        }
                    }
                },
            },
        }
        match kind {
            io::ErrorKind::StorageFull => {
                Self::new(Cause::DiskFull, format!("disk full: {text}; free some space and run again, finished calls are kept"))
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::new(Cause::Input, text),
            _ => Self::new(Cause::Failed, text),
        }
    }
}

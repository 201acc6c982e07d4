use neardata_core::config::ConfigError;
use neardata_core::{ParseQuantityError, ReadError, SliceError, UriError};
use neardata_formats::FormatError;
use neardata_store::StoreError;
use thiserror::Error;

/// Why a command did not do what was asked. The text is for a person: what, where, and what to do.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The work failed.
    #[error("{0}")]
    Failed(String),
    /// The platform is not there, or not ours to use.
    #[error("{0}")]
    Unavailable(String),
    /// The person pressed Ctrl-C, or the process was told to end.
    #[error("interrupted; finished work is kept, the same command goes on from there")]
    Interrupted,
    /// Who reads our output has gone away (`neardata slice … | head`): not an error.
    #[error("the reader of the output has gone away")]
    ClosedPipe,
}

impl CliError {
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 4,
            Self::Interrupted => 130,
        }
    }

    /// A failure of input or output on `what`.
    pub(crate) fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            std::io::ErrorKind::StorageFull => {
                Self::Failed(format!("{what}: no space left on the device; free some space and run the command again"))
            }
            _ => Self::Failed(format!("{what}: {error}")),
        }
    }
}

macro_rules! failures {
    ($variant:ident: $($error:ty),*) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::$variant(error.to_string())
            }
        })*
    };
}

failures!(Failed: StoreError, FormatError, ReadError, serde_json::Error);
failures!(Usage: UriError, SliceError, ConfigError, ParseQuantityError);

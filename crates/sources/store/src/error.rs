use neardata_core::ReadError;
use thiserror::Error;

/// Why a store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{name} does not exist")]
    NotFound {
        /// the object
        name: String,
    },
    /// Credentials are missing, wrong or not enough.
    #[error(
        "{name}: access refused ({detail}); check the credentials in the environment (for a local platform: eval \"$(neardata env)\")"
    )]
    Denied {
        /// the object
        name: String,
        /// the store's words
        detail: String,
    },
    /// The object is not the version that was pinned.
    #[error("{name} changed since it was looked at ({detail}); run the command again, and cut it again if this is a slice of it")]
    Changed {
        /// the object
        name: String,
        /// what was expected and seen
        detail: String,
    },
    /// The disk is full.
    #[error("{name}: no space left on the device; free some space and run the command again, finished work is kept")]
    DiskFull {
        /// what was being written
        name: String,
    },
    /// Anything else.
    #[error("{name}: {detail}")]
    Failed {
        /// the object
        name: String,
        /// what happened
        detail: String,
    },
    /// The options do not make a client.
    #[error("the store's configuration is wrong: {0}")]
    Configuration(String),
}

impl StoreError {
    pub(crate) fn failed(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::Failed { name: name.to_owned(), detail: detail.to_string() }
    }

    pub(crate) fn io(name: &str, error: &std::io::Error) -> Self {
        let name = name.to_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound { name },
            std::io::ErrorKind::StorageFull => Self::DiskFull { name },
            std::io::ErrorKind::PermissionDenied => Self::Denied { name, detail: error.to_string() },
            _ => Self::Failed { name, detail: error.to_string() },
        }
    }

    pub(crate) fn object_store(name: &str, error: object_store::Error) -> Self {
        use object_store::Error;
        let name = name.to_owned();
        match error {
            Error::NotFound { .. } => Self::NotFound { name },
            Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. } => {
                Self::Denied { name, detail: innermost(source.as_ref()) }
            }
            Error::Precondition { .. } | Error::NotModified { .. } => {
                Self::Changed { name, detail: "its entity tag is not the pinned one".to_owned() }
            }
            Error::Generic { source, .. } => match innermost(source.as_ref()) {
                // The last resort of the credential search is a cloud machine's own metadata service.
                detail if detail.contains("169.254.169.254") || detail.contains("metadata.google.internal") => {
                    Self::Denied { name, detail: "no credentials were found".to_owned() }
                }
                detail => Self::Failed { name, detail },
            },
            other => Self::Failed { name, detail: other.to_string() },
        }
    }

    /// Whether trying the same again could help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// The chain of causes in one line, without the repetitions that wrappers add.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { name } => Self::NotFound { name },
            StoreError::Denied { name, detail } => Self::Denied { name, detail },
            StoreError::Changed { name, detail } => Self::Changed { name, detail },
            StoreError::Failed { name, detail } => Self::Failed { name, detail },
            StoreError::DiskFull { name } => Self::Failed { name, detail: "no space left on the device".to_owned() },
            StoreError::Configuration(detail) => Self::Failed { name: "store".to_owned(), detail },
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound { name } => Self::NotFound { name },
            ReadError::Denied { name, detail } => Self::Denied { name, detail },
            ReadError::Changed { name, detail } => Self::Changed { name, detail },
            ReadError::Failed { name, detail } => Self::Failed { name, detail },
        }
    }
}

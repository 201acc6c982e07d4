use crate::error::OperationError;

/// `If-Match` and `If-None-Match`: any version, or one of these tags (without quotes; weak ones never match strongly).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagCondition {
    /// `*`
    Any,
    /// One of these.
    Tags(Vec<String>),
}

impl TagCondition {
    /// Whether an object with this tag is meant.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// Conditions of a write; evaluated in the transaction that commits it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// The present object must be one of these.
    pub if_match: Option<TagCondition>,
    /// The present object must not be one of these.
    pub if_none_match: Option<TagCondition>,
}

/// Conditions of a read, and of the source of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadCondition {
    /// Only one of these versions.
    pub if_match: Option<TagCondition>,
    /// None of these versions.
    pub if_none_match: Option<TagCondition>,
    /// Only if changed since, in seconds since 1970.
    pub if_modified_since: Option<i64>,
    /// Only if unchanged since, in seconds since 1970.
    pub if_unmodified_since: Option<i64>,
}

impl ReadCondition {
    /// Evaluates the conditions in the order RFC 9110 gives.
    pub fn check(&self, etag: &str, modified_ms: i64) -> Result<(), OperationError> {
        let modified = modified_ms.div_euclid(1000);
        let unmodified_holds = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.matches(etag),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        if !unmodified_holds {
            return Err(OperationError::PreconditionFailed);
        }
        let is_new = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => !tags.matches(etag),
            (None, Some(since)) => modified > since,
            (None, None) => true,
        };
        if is_new { Ok(()) } else { Err(OperationError::NotModified { etag: etag.to_owned(), modified_ms }) }
    }
}

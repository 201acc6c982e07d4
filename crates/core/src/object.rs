use serde::{Deserialize, Serialize};

use crate::ObjectUri;

/// Which server an `s3://` (or `az://`) address means: the same text names different objects on different servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreRef {
    /// Endpoint URL; absent for the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What holds a reference to one version of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// A strong entity tag, as the store gives it, quotes included.
    Etag(String),
    /// The store gives no strong tag: a stamp made of modification time and, for local files, inode and time of the last status change.
    /// Only equality means anything; a change inside one clock tick escapes it.
    WeakMtime(i64),
    /// The store gives neither: only the size guards the reference.
    WeakSize,
}

impl Pin {
    /// Whether a changed object could go unnoticed.
    pub fn is_weak(&self) -> bool {
        !matches!(self, Pin::Etag(_))
    }
}

/// One version of one object: where it is, what pins it, how large it is. Never a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its address.
    pub uri: ObjectUri,
    /// The server the address is meant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreRef>,
    /// What holds the version.
    pub pin: Pin,
    /// Size in bytes.
    pub size: u64,
}

/// Where the side-car index of an object lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IndexRef {
    /// Its address.
    pub uri: ObjectUri,
    /// The server the address is meant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreRef>,
    /// What holds its version.
    pub pin: Pin,
    /// Size in bytes.
    pub size: u64,
}

impl From<ObjectRef> for IndexRef {
    fn from(object: ObjectRef) -> Self {
        Self { uri: object.uri, store: object.store, pin: object.pin, size: object.size }
    }
}

impl From<IndexRef> for ObjectRef {
    fn from(index: IndexRef) -> Self {
        Self { uri: index.uri, store: index.store, pin: index.pin, size: index.size }
    }
}

//! The hub: an S3 endpoint over a local volume.
//!
//! ```text
//! HTTP ── edge (s3s: signatures, XML) ── Operation ── layers ── volume ── MetaStore (SQLite)
//!                                                                 └────── Disk (blobs by number)
//! ```
//!
//! Acknowledged means durable: an answer to a write leaves only after the bytes, their name and the transaction that commits them
//! were synced.

mod checksum;
mod disk;
mod edge;
mod error;
mod hub;
mod lock;
mod meta;
pub mod operation;
mod server;
#[cfg(test)]
mod sim;
mod volume;

pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use error::{HubError, OperationError};
pub use hub::{BoundHub, Hub, HubOptions, Secret};
pub use lock::{FolderLock, LockError};

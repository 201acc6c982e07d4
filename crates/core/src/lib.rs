//! The words every floor of NearData shares: [`ByteRange`], [`ObjectUri`], [`ObjectRef`], [`Slice`], identifiers, errors,
//! configuration and telemetry set-up.
//!
//! Nothing here does I/O. [`RangedRead`] is the one seam through which upper floors see the bytes of an object; the store
//! floor implements it for every backend.

pub mod canonical;
pub mod config;
mod ids;
mod object;
mod quantity;
mod range;
mod ranges;
mod reader;
mod slice;
pub mod telemetry;
mod uri;

pub use ids::{AttemptId, CallKey, JobId};
pub use object::{IndexRef, ObjectRef, Pin, StoreRef};
pub use quantity::{ParseQuantityError, format_bytes, parse_bytes, parse_duration};
pub use range::ByteRange;
pub use ranges::{coalesce, read_ranges};
pub use reader::{Chunks, MemoryObject, RangedRead, ReadError};
pub use slice::{Slice, SliceError};
pub use uri::{ObjectUri, Scheme, UriError};

/// The version of the `neardata` binary and of every crate in it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

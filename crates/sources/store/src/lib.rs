//! Access to objects wherever they lie: `s3://`, `gs://`, `az://`, `http(s)://`, `file://` and `memory://`, behind one blocking face.
//!
//! [`Stores`] finds the right backend from a URI and the environment. Reads are pinned: a reader opened on an
//! [`ObjectRef`](neardata_core::ObjectRef) fails clearly when the object changed. Writes are durable when they return.
//!
//! ```
//! use neardata_core::{ByteRange, ObjectUri};
//! use neardata_store::Stores;
//!
//! let stores = Stores::from_env()?;
//! let uri: ObjectUri = "memory://example/greeting".parse()?;
//! let object = stores.put(&uri, "hello, slice".into())?;
//! assert_eq!(stores.open(&object)?.read(ByteRange::new(7, 12))?, "slice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod allocator;
mod backend;
mod error;
mod file;
mod http;
mod meter;
mod options;
mod profile;
mod remote;
mod stores;
mod upload;

pub use allocator::keep_freed_buffers;
pub use error::StoreError;
pub use options::{Credentials, StoreOptions};
pub use stores::{Listed, PutOutcome, Stores};
pub use upload::Upload;

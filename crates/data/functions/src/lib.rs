//! What a function is, and how one call of it runs; nothing about where or when.
//!
//! A [`CallSpec`] names a function, its arguments and the slices it works on; its [key](CallSpec::key) is the content address of
//! the result. A worker process ([`worker::serve`]) runs calls of a [`Registry`] of [`NativeFunction`]s and of commands; each call
//! sees the world through its [`CallContext`]. Python calls run in `neardata_worker.py`, embedded here as [`python`].

mod child;
mod command;
mod context;
mod error;
pub mod frames;
mod native;
mod output;
pub mod protocol;
pub mod python;
mod record;
mod shared;
mod spec;
pub mod system;
pub mod worker;

pub use child::{ChildCall, ChildReport};
pub use context::{CallContext, ContextOptions};
pub use error::{CallError, Cause};
pub use native::{NativeFunction, Registry};
pub use output::OutputWriter;
pub use record::{CallRecord, Figures};
pub use spec::{CallSpec, CommandInput, CommandSpec, FunctionSpec, Limits};

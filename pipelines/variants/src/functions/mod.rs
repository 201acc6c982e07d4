//! The functions of the stages, each a native function of the registry.

mod align;
mod cache;
mod call;
mod index;
mod insert;
mod merge;
mod node;
mod parts;
mod tools;

use neardata_functions::{CallContext, CallError, NativeFunction, Registry};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use align::{Align, AlignArguments, AlignResult};
pub use cache::{Removed, remove_unused};
pub use call::{Call, CallArguments, CallResult};
pub use index::{
    IndexReads, IndexReadsArguments, IndexReadsResult, PrepareReference, ReferenceArguments, ReferenceFiles, ReferenceResult,
};
pub use insert::{InsertSize, InsertSizeArguments, InsertSizeResult};
pub use merge::{MergeAlignments, MergeAlignmentsArguments, MergeResult, MergeVariants, MergeVariantsArguments};
pub(crate) use parts::ObjectReader;
pub use parts::{object_slice, run_slice};
pub use tools::{Tool, tools_needed};

/// Adds every function of this pipeline to a registry.
pub fn register(registry: &mut Registry) {
    registry.register(std::sync::Arc::new(Adapter(IndexReads)));
    registry.register(std::sync::Arc::new(Adapter(PrepareReference)));
    registry.register(std::sync::Arc::new(Adapter(InsertSize)));
    registry.register(std::sync::Arc::new(Adapter(Align)));
    registry.register(std::sync::Arc::new(Adapter(Call)));
    registry.register(std::sync::Arc::new(Adapter(MergeVariants)));
    registry.register(std::sync::Arc::new(Adapter(MergeAlignments)));
}

/// A native function with typed arguments and result.
pub trait Stage: Send + Sync {
    /// Its arguments.
    type Arguments: DeserializeOwned + Serialize;
    /// Its result.
    type Result: Serialize + DeserializeOwned;
    /// Its name in the registry.
    const NAME: &'static str;
    /// Raised when the same input would give another output.
    const VERSION: u32;

    /// The group of calls that share state in one host process.
    fn shared_group(&self, _arguments: &Self::Arguments) -> Option<String> {
        None
    }

    /// Runs one attempt.
    fn run(&self, call: &CallContext, arguments: &Self::Arguments) -> Result<Self::Result, CallError>;
}

struct Adapter<S>(S);

impl<S: Stage> NativeFunction for Adapter<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> u32 {
        S::VERSION
    }

    fn shared_group(&self, arguments: &Value) -> Option<String> {
        self.0.shared_group(&S::Arguments::deserialize(arguments).ok()?)
    }

    fn run(&self, call: &CallContext, arguments: &Value) -> Result<Value, CallError> {
        let malformed = |error| CallError::input(format!("the arguments of {} are malformed: {error}", S::NAME));
        let arguments = S::Arguments::deserialize(arguments).map_err(malformed)?;
        let result = self.0.run(call, &arguments)?;
        serde_json::to_value(result).map_err(CallError::failed)
    }
}

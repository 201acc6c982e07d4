use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::{CallContext, CallError};

/// A function that lies in the `neardata` binary, so that any machine with the binary can run it.
pub trait NativeFunction: Send + Sync {
    /// Its name: `variants.align`.
    fn name(&self) -> &'static str;

    /// Raised when the same input would give another output.
    fn version(&self) -> u32;

    /// `Some(group)`: all calls of that group run as threads of one host process per node and may share what
    /// [`CallContext::shared`] builds. Such calls must look at [`CallContext::check_cancelled`] every so often.
    fn shared_group(&self, _arguments: &Value) -> Option<String> {
        None
    }

    /// Runs one attempt. The result is at most 64 KiB as JSON; larger things are published as outputs.
    fn run(&self, call: &CallContext, arguments: &Value) -> Result<Value, CallError>;
}

/// The native functions a binary has, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    functions: BTreeMap<&'static str, Arc<dyn NativeFunction>>,
}

impl Registry {
    /// A registry without functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same registry with one more function; a later one of the same name replaces the earlier.
    #[must_use]
    pub fn with(mut self, function: impl NativeFunction + 'static) -> Self {
        self.register(Arc::new(function));
        self
    }

    /// Adds a function.
    pub fn register(&mut self, function: Arc<dyn NativeFunction>) {
        self.functions.insert(function.name(), function);
    }

    /// The function of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn NativeFunction>> {
        self.functions.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.functions.keys().copied()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}

//! `neardata worker`: runs calls for the engine that started it.

use std::sync::Arc;
use std::time::Duration;

use neardata_functions::worker::{WorkerOptions, serve};
use neardata_functions::{CallContext, CallError, NativeFunction, Registry};
use neardata_store::Stores;
use serde_json::Value;

use crate::CliError;

/// Every native function of this binary.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    neardata_variants::register(&mut registry);
    registry
}

pub(crate) fn run() -> Result<(), CliError> {
    let registry = match std::env::var("NEARDATA_TEST_LINGER_MS").ok().and_then(|text| text.parse().ok()) {
        Some(milliseconds) => lingering(&registry(), Duration::from_millis(milliseconds)),
        None => registry(),
    };
    let options = WorkerOptions::from_env(registry, Stores::from_env()?).map_err(|error| CliError::Usage(error.to_string()))?;
    serve(options).map_err(|error| CliError::Failed(error.to_string()))?;
    // Calls may still be running on other threads; nobody waits for them any more.
    std::process::exit(0);
}

/// Fault injection for tests: every call waits before it begins, so that it can be killed or cancelled while it runs.
struct Lingering(Arc<dyn NativeFunction>, Duration);

impl NativeFunction for Lingering {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> u32 {
        self.0.version()
    }

    fn shared_group(&self, arguments: &Value) -> Option<String> {
        self.0.shared_group(arguments)
    }

    fn run(&self, call: &CallContext, arguments: &Value) -> Result<Value, CallError> {
        std::thread::sleep(self.1);
        self.0.run(call, arguments)
    }
}

fn lingering(registry: &Registry, time: Duration) -> Registry {
    let functions = registry.names().filter_map(|name| registry.get(name));
    functions.fold(Registry::new(), |slowed, function| slowed.with(Lingering(function.clone(), time)))
}

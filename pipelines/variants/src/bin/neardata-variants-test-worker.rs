//! A worker process with the functions of this crate, for its integration tests; users have `neardata worker`.

use neardata_functions::Registry;
use neardata_functions::worker::{WorkerOptions, serve};
use neardata_store::Stores;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = Registry::new();
    neardata_variants::register(&mut registry);
    serve(WorkerOptions::from_env(registry, Stores::from_env()?)?)?;
    std::process::exit(0)
}

//! Runs the pipeline in an engine of its own, without the command line: `run_variants FOLDER WORKERS JSON`, the arguments as JSON.
//!
//! Needs the test worker beside it: `cargo build --release -p neardata-variants --bins --examples`.

use std::sync::Arc;

use neardata_compute::{Engine, EngineOptions, JobRequest};
use neardata_core::ObjectUri;
use neardata_formats::SideCars;
use neardata_functions::Registry;
use neardata_store::Stores;
use neardata_variants::VariantsPipeline;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, folder, workers, arguments] = words.as_slice() else { return Err("run_variants FOLDER WORKERS JSON".into()) };
    let folder = std::path::absolute(folder)?;
    let worker = std::env::current_exe()?.with_file_name("../neardata-variants-test-worker");
    let mut registry = Registry::new();
    neardata_variants::register(&mut registry);
    let engine = Engine::start(EngineOptions {
        folder: folder.join("engine"),
        results: ObjectUri::from_path(folder.join("results")),
        stores: Stores::from_env()?,
        side_cars: SideCars { root: ObjectUri::from_path(folder.join("side-cars")) },
        workers: workers.parse()?,
        worker_command: vec![worker.into()],
        worker_environment: Vec::new(),
        registry,
        pipelines: vec![Arc::new(VariantsPipeline)],
        tuning: Default::default(),
    })
    .await?;
    let job = engine.submit(JobRequest::new("variants", serde_json::from_str(arguments)?)).await?;
    let view = engine.wait(&job).await?;
    if let Some(error) = view.error {
        eprintln!("{}", engine.logs(&job).await?);
        return Err(error.message.into());
    }
    println!("{}", serde_json::to_string_pretty(&view.result)?);
    engine.shutdown().await;
    Ok(())
}

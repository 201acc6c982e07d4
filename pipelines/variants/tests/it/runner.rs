//! An engine with this crate's functions, and the tools' own words.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use neardata_compute::{Engine, EngineOptions, JobRequest, JobView};
use neardata_core::ObjectUri;
use neardata_formats::SideCars;
use neardata_functions::Registry;
use neardata_store::{StoreOptions, Stores};
use neardata_variants::{VariantsArguments, VariantsPipeline};

/// Runs one job to its end in an engine whose folder is below `folder`.
pub(crate) fn run(folder: &Path, arguments: &VariantsArguments) -> JobView {
    run_with_path(folder, arguments, None)
}

/// The same with another PATH for the workers.
pub(crate) fn run_with_path(folder: &Path, arguments: &VariantsArguments, path: Option<&str>) -> JobView {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut registry = Registry::new();
        neardata_variants::register(&mut registry);
        let mut environment = vec![("NEARDATA_CACHE".to_owned(), folder.join("cache").display().to_string())];
        environment.extend(path.map(|path| ("PATH".to_owned(), path.to_owned())));
        let engine = Engine::start(EngineOptions {
            folder: folder.join("engine"),
            results: ObjectUri::from_path(folder.join("results")),
            stores: Stores::new(StoreOptions::default()).unwrap(),
            side_cars: SideCars { root: ObjectUri::from_path(folder.join("side-cars")) },
            workers: 2,
            worker_command: vec![env!("CARGO_BIN_EXE_neardata-variants-test-worker").into()],
            worker_environment: environment,
            registry,
            pipelines: vec![Arc::new(VariantsPipeline)],
            tuning: Default::default(),
        })
        .await
        .unwrap();
        let job = engine.submit(JobRequest::new("variants", serde_json::to_value(arguments).unwrap())).await.unwrap();
        let view = engine.wait(&job).await.unwrap();
        if view.error.is_some() {
            eprintln!("{}", engine.logs(&job).await.unwrap());
        }
        engine.shutdown().await;
        view
    })
}

/// What a program prints; it must succeed.
pub(crate) fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).stderr(Stdio::piped()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install it with `apt-get install {program}`"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The text a program prints.
pub(crate) fn text<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    String::from_utf8(output(program, arguments)).unwrap()
}

//! Logs through `tracing`: quiet by default, to standard error, steered by `NEARDATA_LOG` (`warn`, `info`, `neardata_hub=debug`, …).

use tracing_subscriber::EnvFilter;

/// Installs the process-wide log writer. `default_level` holds unless `filter` (the text of `NEARDATA_LOG`) says otherwise.
/// A second call in one process changes nothing.
pub fn install(default_level: &str, filter: Option<&str>, colours: bool) {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(default_level));
    let _already_installed =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).try_init();
}

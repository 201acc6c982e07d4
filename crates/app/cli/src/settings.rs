//! The configuration as the command line sees it: file, environment, flags; and what follows from it.

use std::path::{Path, PathBuf};

use neardata_core::ObjectUri;
use neardata_core::config::Config;
use neardata_formats::SideCars;
use neardata_store::{StoreOptions, Stores};

use crate::CliError;

/// The resolved configuration of one command.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) file: PathBuf,
}

impl Settings {
    /// Reads the file (`NEARDATA_CONFIG`, else `~/.config/neardata/config.toml`; absent is fine), the environment and `flags`.
    pub(crate) fn load(flags: &[(&str, &str)]) -> Result<Self, CliError> {
        let named = std::env::var_os("NEARDATA_CONFIG").map(PathBuf::from);
        let file = named.clone().unwrap_or_else(|| folder("XDG_CONFIG_HOME", ".config").join("neardata/config.toml"));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => None,
            Err(error) => return Err(CliError::Usage(format!("configuration file {}: {error}", file.display()))),
        };
        let path_text = file.display().to_string();
        let config =
            Config::resolve(text.as_deref().map(|text| (path_text.as_str(), text)), |name| std::env::var(name).ok(), flags)?;
        Ok(Self { config, file })
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.config.get("data").map_or_else(|| folder("XDG_DATA_HOME", ".local/share").join("neardata"), PathBuf::from)
    }

    pub(crate) fn cache_folder(&self) -> PathBuf {
        self.config.get("cache").map_or_else(|| folder("XDG_CACHE_HOME", ".cache").join("neardata"), PathBuf::from)
    }

    pub(crate) fn workers(&self) -> Result<usize, CliError> {
        match self.config.get("workers") {
            Some(text) => match text.parse() {
                Ok(workers) if workers > 0 => Ok(workers),
                _ => Err(CliError::Usage(format!("workers must be a number from 1, not `{text}`"))),
            },
            None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// Where side-car indexes go: the running platform's bucket, else what the configuration says, else the user's cache.
    pub(crate) fn side_cars(&self) -> Result<SideCars, CliError> {
        let root = match self.config.get("index_store") {
            Some(text) => text.parse()?,
            None if platform_in_environment() => "s3://neardata-index".parse()?,
            None => ObjectUri::from_path(self.cache_folder().join("index")),
        };
        Ok(SideCars { root })
    }

    pub(crate) fn stores(&self) -> Result<Stores, CliError> {
        Ok(Stores::new(self.store_options())?)
    }

    /// How stores are reached: their own usual variables, and what the configuration adds.
    pub(crate) fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions::from_env();
        if let Some(path) = self.config.get("http.ca_file") {
            options.ca_file = Some(path.into());
        }
        if let Some(proxy) = self.config.get("http.proxy") {
            options.https_proxy = Some(proxy.to_owned());
        }
        options
    }

    /// What workers must be told, as they read no configuration file.
    pub(crate) fn worker_environment(&self) -> Vec<(String, String)> {
        let mut variables = vec![("NEARDATA_CACHE".to_owned(), self.cache_folder().display().to_string())];
        let set = [("http.ca_file", "NEARDATA_CA_FILE"), ("http.proxy", "HTTPS_PROXY")];
        let set = set.into_iter().filter_map(|(key, name)| Some((name.to_owned(), self.config.get(key)?.to_owned())));
        variables.extend(set);
        variables
    }
}

/// Whether `eval "$(neardata env)"` (or the like) pointed this process at a running platform.
pub(crate) fn platform_in_environment() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("NEARDATA_API") && (set("AWS_ENDPOINT_URL") || set("AWS_ENDPOINT_URL_S3"))
}

/// The address in the working folder's terms: relative paths become absolute, as jobs run elsewhere.
pub(crate) fn object_uri(text: &str) -> Result<ObjectUri, CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::io("working folder", &error))?;
    Ok(text.parse::<ObjectUri>()?.absolute(&here))
}

/// The same for a prefix of results: without slashes at its end, so that `out` and `out/` are one place.
pub(crate) fn output_uri(text: &str) -> Result<ObjectUri, CliError> {
    let trimmed = text.trim_end_matches('/');
    object_uri(if trimmed.is_empty() || trimmed.ends_with(':') { text } else { trimmed })
}

fn folder(variable: &str, below_home: &str) -> PathBuf {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let from_variable = std::env::var_os(variable).map(PathBuf::from).and_then(absolute);
    from_variable.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(below_home))
}

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use neardata_core::ObjectUri;
use neardata_core::config::Config;
use pyo3::prelude::*;

use crate::errors::Failure;

/// Where side-cars go, as for the command line: the configured prefix, the running platform's bucket, or the user's cache.
pub(crate) fn side_cars() -> Result<ObjectUri, Failure> {
    let config = load()?;
    let on_platform = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].into_iter().any(|name| variable(name).is_some());
    match config.get("index_store") {
        Some(prefix) => Ok(prefix.parse()?),
        None if on_platform && variable("NEARDATA_API").is_some() => Ok("s3://neardata-index".parse()?),
        None => Ok(ObjectUri::from_path(cache(&config).join("index"))),
    }
}

/// The folder of the user's caches.
#[pyfunction]
pub(crate) fn cache_folder() -> Result<PathBuf, Failure> {
    Ok(cache(&load()?))
}

/// Prefixes and names of the variables that say how to reach a store.
const OF_STORES: [&str; 7] = ["AWS_", "AZURE_", "GOOGLE_", "NEARDATA_", "SSL_CERT_FILE", "HOME", "XDG_"];

/// What stands for all variables that say how to reach a store.
pub(crate) fn environment() -> u64 {
    let mut variables: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            OF_STORES.iter().any(|start| name.starts_with(start)) || name.to_ascii_uppercase().ends_with("_PROXY")
        })
        .collect();
    variables.sort();
    let mut hasher = DefaultHasher::new();
    variables.hash(&mut hasher);
    hasher.finish()
}

fn load() -> Result<Config, Failure> {
    let named = variable("NEARDATA_CONFIG").map(PathBuf::from);
    let file = named.unwrap_or_else(|| user_folder("XDG_CONFIG_HOME", ".config").join("neardata/config.toml"));
    let file_name = file.display().to_string();
    let text = std::fs::read_to_string(&file).ok();
    Ok(Config::resolve(text.as_deref().map(|text| (file_name.as_str(), text)), variable, &[])?)
}

fn cache(config: &Config) -> PathBuf {
    config.get("cache").map_or_else(|| user_folder("XDG_CACHE_HOME", ".cache").join("neardata"), PathBuf::from)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder that `name` gives, if it is absolute, else `folder` below the user's home.
fn user_folder(name: &str, folder: &str) -> PathBuf {
    let absolute = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute.unwrap_or_else(|| Path::new(&variable("HOME").unwrap_or_else(|| "/".to_owned())).join(folder))
}

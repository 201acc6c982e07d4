//! Configuration: one TOML file, overridden by the environment, overridden by flags; every value remembers where it came from.

use std::collections::BTreeMap;

use thiserror::Error;

/// Where a value was found, weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file at this path.
    File(String),
    /// This environment variable.
    Environment(String),
    /// This command-line flag.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Why a configuration could not be read.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("{path}: {reason}")]
    Malformed {
        /// the file
        path: String,
        /// the parser's words, with line and column
        reason: String,
    },
    /// The file holds a key that means nothing.
    #[error("{path}: unknown key `{key}`; known keys: {known}")]
    UnknownKey {
        /// the file
        path: String,
        /// the key
        key: String,
        /// what there is
        known: String,
    },
}

/// One setting there is: its key in the file, its environment variable, its default and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Key in the TOML file; dots stand for tables.
    pub key: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// Built-in value; empty for "not set".
    pub default: &'static str,
    /// One line for a person.
    pub help: &'static str,
}

/// Every setting of the platform.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        env: "NEARDATA_DATA",
        default: "",
        help: "data folder of `neardata up` (default: ~/.local/share/neardata)",
    },
    Setting { key: "s3", env: "NEARDATA_S3", default: "127.0.0.1:9000", help: "listening address of the S3 endpoint" },
    Setting { key: "api", env: "NEARDATA_API_LISTEN", default: "127.0.0.1:9001", help: "listening address of the platform API" },
    Setting { key: "workers", env: "NEARDATA_WORKERS", default: "", help: "local workers (default: one a core)" },
    Setting { key: "index_store", env: "NEARDATA_INDEX_STORE", default: "", help: "URI prefix where side-car indexes go" },
    Setting { key: "cache", env: "NEARDATA_CACHE", default: "", help: "folder for caches (default: ~/.cache/neardata)" },
    Setting { key: "call_memory", env: "NEARDATA_CALL_MEMORY", default: "10G", help: "memory a call may use" },
    Setting { key: "call_time", env: "NEARDATA_CALL_TIME", default: "15m", help: "time a call may take" },
    Setting { key: "http.ca_file", env: "NEARDATA_CA_FILE", default: "", help: "PEM file of a private certificate authority" },
    Setting { key: "http.proxy", env: "HTTPS_PROXY", default: "", help: "proxy for outgoing requests" },
    Setting { key: "log", env: "NEARDATA_LOG", default: "warn", help: "log level or filter" },
];

/// A resolved configuration.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Config {
    /// Merges defaults, the text of a TOML file (with its path), the environment and flags (`key`, `value`), in that order.
    ///
    /// ```
    /// use neardata_core::config::Config;
    /// let config = Config::resolve(Some(("c.toml", "workers = 3\n[http]\nproxy = 'p'")), |_| None, &[("workers", "5")])?;
    /// assert_eq!(config.get("workers"), Some("5"));
    /// assert_eq!(config.get("http.proxy"), Some("p"));
    /// # Ok::<(), neardata_core::config::ConfigError>(())
    /// ```
    pub fn resolve(
        file: Option<(&str, &str)>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&str, &str)],
    ) -> Result<Self, ConfigError> {
        let mut values: BTreeMap<_, _> =
            SETTINGS.iter().map(|setting| (setting.key, (setting.default.to_owned(), Origin::Default))).collect();
        if let Some((path, text)) = file {
            for (key, value) in flatten(path, text)? {
                let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                    let known = SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ");
                    return Err(ConfigError::UnknownKey { path: path.to_owned(), key, known });
                };
                values.insert(setting.key, (value, Origin::File(path.to_owned())));
            }
        }
        for setting in SETTINGS {
            if let Some(value) = environment(setting.env).filter(|value| !value.is_empty()) {
                values.insert(setting.key, (value, Origin::Environment(setting.env.to_owned())));
            }
            if let Some((flag, value)) = flags.iter().find(|(key, _)| *key == setting.key) {
                values.insert(setting.key, ((*value).to_owned(), Origin::Flag((*flag).to_owned())));
            }
        }
        Ok(Self { values })
    }

    /// The value of a setting; `None` when it is not set anywhere and has no default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every setting with its value and origin, in order of key.
    pub fn explain(&self) -> impl Iterator<Item = (&'static Setting, &str, &Origin)> {
        SETTINGS.iter().filter_map(|setting| {
            let (value, origin) = self.values.get(setting.key)?;
            Some((setting, value.as_str(), origin))
        })
    }
}

fn flatten(path: &str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| malformed(error.to_string()))?;
    let mut pairs = Vec::new();
    let mut open: Vec<(String, toml::Value)> = table.into_iter().collect();
    while let Some((key, value)) = open.pop() {
        match value {
            toml::Value::Table(inner) => open.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value))),
            toml::Value::String(text) => pairs.push((key, text)),
            toml::Value::Array(_) => return Err(malformed(format!("`{key}` must be one value, not a list"))),
            toml::Value::Integer(number) => pairs.push((key, number.to_string())),
            toml::Value::Float(number) => pairs.push((key, number.to_string())),
            toml::Value::Boolean(truth) => pairs.push((key, truth.to_string())),
            toml::Value::Datetime(time) => pairs.push((key, time.to_string())),
        }
    }
    Ok(pairs)
}

use std::path::PathBuf;

use crate::profile;

/// A key pair, perhaps of a session.
#[derive(Clone)]
pub struct Credentials {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Token of a temporary session.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// How to reach stores. Google Cloud and Azure are configured by their own usual environment variables.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// S3 endpoint URL; absent for AWS itself.
    pub endpoint: Option<String>,
    /// S3 region; `us-east-1` if absent.
    pub region: Option<String>,
    /// S3 credentials; absent means instance or container credentials, or anonymous access with `anonymous`.
    pub credentials: Option<Credentials>,
    /// Send unsigned S3 requests.
    pub anonymous: bool,
    /// PEM bundle of a private certificate authority.
    pub ca_file: Option<PathBuf>,
    /// Proxy for `https` endpoints.
    pub https_proxy: Option<String>,
    /// Proxy for `http` endpoints.
    pub http_proxy: Option<String>,
    /// Hosts that no proxy serves, comma separated.
    pub no_proxy: Option<String>,
}

impl StoreOptions {
    /// From `AWS_*` variables, then the profile `AWS_PROFILE` (or `default`) of the AWS credentials and config files; proxies from
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`; the authority from `NEARDATA_CA_FILE`, `AWS_CA_BUNDLE` or `SSL_CERT_FILE`.
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| text(name));
        let profile = profile::load(&text);
        let from_variables = text("AWS_ACCESS_KEY_ID")
            .zip(text("AWS_SECRET_ACCESS_KEY"))
            .map(|(access_key, secret_key)| Credentials { access_key, secret_key, session_token: text("AWS_SESSION_TOKEN") });
        Self {
            endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]).or(profile.endpoint),
            region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or(profile.region),
            credentials: from_variables.or(profile.credentials),
            anonymous: text("AWS_SKIP_SIGNATURE").is_some_and(|value| value == "true" || value == "1"),
            ca_file: first(&["NEARDATA_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"]).map(PathBuf::from),
            https_proxy: first(&["HTTPS_PROXY", "https_proxy"]),
            http_proxy: first(&["http_proxy"]),
            no_proxy: first(&["NO_PROXY", "no_proxy"]),
        }
    }
}

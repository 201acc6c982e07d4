use std::sync::Arc;

use neardata_core::{ObjectUri, Scheme, StoreRef};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::{Certificate, ClientOptions, ObjectStore};

use crate::{StoreError, StoreOptions};

/// Which server an address means, given the options: what is written into slices.
pub(crate) fn store_ref(options: &StoreOptions, scheme: Scheme) -> Option<StoreRef> {
    (scheme == Scheme::S3).then(|| StoreRef { endpoint: options.endpoint.clone(), region: options.region.clone() })
}

/// A client for the bucket of `uri` on the server `server` (or the options' own).
pub(crate) fn connect(
    options: &StoreOptions,
    uri: &ObjectUri,
    server: Option<&StoreRef>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let configuration = |error: object_store::Error| StoreError::Configuration(format!("{uri}: {error}"));
    match uri.scheme() {
        Scheme::S3 => {
            let endpoint = server.and_then(|server| server.endpoint.clone()).or_else(|| options.endpoint.clone());
            let region = server.and_then(|server| server.region.clone()).or_else(|| options.region.clone());
            let plain_http = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(uri.bucket())
                .with_region(region.unwrap_or_else(|| "us-east-1".to_owned()))
                .with_client_options(client_options(options, plain_http)?)
                .with_skip_signature(options.anonymous);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(credentials) = &options.credentials {
                builder = builder.with_access_key_id(&credentials.access_key).with_secret_access_key(&credentials.secret_key);
                if let Some(token) = &credentials.session_token {
                    builder = builder.with_token(token);
                }
            }
            Ok(Arc::new(builder.build().map_err(configuration)?))
        }
        Scheme::Gcs => Ok(Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(uri.bucket())
                .with_client_options(client_options(options, false)?)
                .build()
                .map_err(configuration)?,
        )),
        Scheme::Azure => Ok(Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_container_name(uri.bucket())
                .with_client_options(client_options(options, false)?)
                .build()
                .map_err(configuration)?,
        )),
        Scheme::Memory => Ok(Arc::new(InMemory::new())),
        Scheme::File | Scheme::Http | Scheme::Https => Err(StoreError::Configuration(format!("{uri} is not in an object store"))),
    }
}

fn client_options(options: &StoreOptions, plain_http: bool) -> Result<ClientOptions, StoreError> {
    let proxy = if plain_http { &options.http_proxy } else { &options.https_proxy };
    // Reading certificates takes longer than a small request: only where there is TLS, which a proxy may speak too.
    let tls = !plain_http || proxy.as_ref().is_some_and(|url| url.starts_with("https:"));
    // A read of a large range legitimately takes minutes: bound the silence between bytes, not the whole request.
    let mut client = ClientOptions::new()
        .with_allow_http(plain_http)
        .with_timeout_disabled()
        .with_read_timeout(std::time::Duration::from_secs(60))
        .with_no_system_certificates(!tls);
    if let Some(path) = options.ca_file.as_ref().filter(|_| tls) {
        let certificates = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string()))
            .map_err(|reason| StoreError::Configuration(format!("certificate file {}: {reason}", path.display())))?;
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    if let Some(proxy) = proxy {
        client = client.with_proxy_url(proxy);
        if let Some(excludes) = &options.no_proxy {
            client = client.with_proxy_excludes(excludes);
        }
    }
    Ok(client)
}

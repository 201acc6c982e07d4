use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpSocket};

use crate::disk::RealDisk;
use crate::edge::Edge;
use crate::error::{HubError, OperationError};
use crate::lock::FolderLock;
use crate::operation::{Layer, Operation, Outcome, Request, Service};
use crate::server;
use crate::volume::{Volume, VolumeOptions};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for those who must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How a hub is opened.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The hub's own folder; made if absent.
    pub folder: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key clients sign with.
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret,
    /// The region clients are told.
    pub region: String,
}

/// An open volume and the S3 endpoint over it.
///
/// ```
/// # use neardata_hub::{Hub, HubOptions};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let folder = tempfile::tempdir()?;
/// let hub = Hub::open(HubOptions {
///     folder: folder.path().join("hub"),
///     listen: ([127, 0, 0, 1], 0).into(),
///     access_key: "key".into(),
///     secret_key: "secret".into(),
///     region: "us-east-1".into(),
/// })
/// .await?;
/// hub.ensure_bucket("neardata-index").await?;
/// let bound = hub.bind().await?;
/// println!("http://{}", bound.address());
/// bound.serve(async { /* until told to stop */ }).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hub {
    options: HubOptions,
    volume: Volume,
    service: Arc<dyn Service>,
    lock: FolderLock,
}

/// A hub that listens but does not serve yet.
pub struct BoundHub {
    listener: TcpListener,
    address: SocketAddr,
    endpoint: S3Service,
    volume: Volume,
    _lock: FolderLock,
}

impl Hub {
    /// Opens or makes the volume, recovers what a crash left, sweeps what was never committed. The folder is held by this process.
    pub async fn open(options: HubOptions) -> Result<Self, HubError> {
        let lock = FolderLock::acquire(&options.folder)?;
        let volume = Volume::open(Arc::new(RealDisk), &options.folder, VolumeOptions::default()).await?;
        let service: Arc<dyn Service> = Arc::new(volume.clone());
        Ok(Self { options, volume, service, lock })
    }

    /// Puts a layer between the endpoint and the volume, outside those that are there.
    #[must_use]
    pub fn with_layer(mut self, layer: &dyn Layer) -> Self {
        self.service = layer.layer(self.service);
        self
    }

    /// What answers operations: the volume and its layers.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::clone(&self.service)
    }

    /// Makes a bucket if it is not there.
    pub async fn ensure_bucket(&self, name: &str) -> Result<(), HubError> {
        let create = Operation::CreateBucket { bucket: name.to_owned() };
        match self.service.call(Request::internal(create)).await {
            Ok(Outcome::Done) | Err(OperationError::BucketExists(_)) => Ok(()),
            Ok(other) => Err(OperationError::Internal(format!("unexpected outcome of a bucket's creation: {other:?}")).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Listens on the address, without serving yet.
    pub async fn bind(self) -> Result<BoundHub, HubError> {
        let address = self.options.listen;
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => HubError::AddressInUse { address },
            _ => HubError::Listen { address, source },
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        // Connections of a service that just ended must not keep the next one from its port.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let listener = socket.listen(1024).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let Self { options, volume, service, lock } = self;
        let endpoint = Edge::build(service, options.region, options.access_key, options.secret_key.expose());
        Ok(BoundHub { listener, address: bound, endpoint, volume, _lock: lock })
    }

    /// [`Hub::bind`] and [`BoundHub::serve`] in one.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        self.bind().await?.serve(shutdown).await
    }
}

impl BoundHub {
    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, lets requests under way finish, closes the volume.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        server::serve(self.listener, self.endpoint, shutdown).await;
        self.volume.close().await;
        Ok(())
    }
}

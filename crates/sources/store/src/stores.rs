use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use neardata_core::{ObjectRef, ObjectUri, Pin, RangedRead, Scheme, StoreRef};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};
use tokio::runtime::Runtime;

use crate::file::{self, FileObject, PendingFile};
use crate::http::{self, HttpObject};
use crate::meter::Meter;
use crate::remote::RemoteObject;
use crate::upload::{PART, RemoteState, Target, Upload, wait};
use crate::{StoreError, StoreOptions, backend};

/// Every store the process can reach. Cheap to clone; clones share connections and counters.
///
/// All methods block the calling thread and may be called from any thread; inside an asynchronous task, call them from
/// `spawn_blocking`.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
    meter: Meter,
}

/// What makes two addresses share a client: scheme, bucket and server.
type Connection = (Scheme, String, Option<StoreRef>);

struct Shared {
    options: StoreOptions,
    runtime: Option<Runtime>,
    /// Made when first needed: it reads the system's certificates, which takes longer than a small read.
    http: Mutex<Option<reqwest::Client>>,
    connected: Mutex<HashMap<Connection, Arc<dyn ObjectStore>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last clone may be dropped inside another runtime, where a blocking shutdown would panic.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub uri: ObjectUri,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was not there and is now.
    Created(ObjectRef),
    /// Somebody was first; nothing was written.
    AlreadyThere,
}

impl Stores {
    /// Configured by the environment, as [`StoreOptions::from_env`] reads it.
    pub fn from_env() -> Result<Self, StoreError> {
        Self::new(StoreOptions::from_env())
    }

    /// With these options.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        // Harmless if the program has chosen a provider before.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("neardata-store")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Configuration(error.to_string()))?;
        let shared = Shared { options, runtime: Some(runtime), http: Mutex::default(), connected: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), meter: Meter::default() })
    }

    /// The same connections with counters of their own, starting at zero.
    pub fn metered(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), meter: Meter::default() }
    }

    /// Bytes read through this value and its clones.
    pub fn bytes_fetched(&self) -> u64 {
        self.meter.fetched()
    }

    /// Bytes written through this value and its clones.
    pub fn bytes_written(&self) -> u64 {
        self.meter.written()
    }

    /// Pins the current version of an object.
    pub fn head(&self, uri: &ObjectUri) -> Result<ObjectRef, StoreError> {
        match uri.scheme() {
            Scheme::File => file::head(uri, &local(uri)?),
            Scheme::Http | Scheme::Https => self.wait(http::head(self.http()?, uri.clone()))?,
            _ => {
                let (store, path) = self.remote(uri, None)?;
                let meta = self.run(uri, async move { store.head(&path).await })?;
                Ok(self.reference(uri, meta.e_tag, meta.last_modified.timestamp_micros(), meta.size))
            }
        }
    }

    /// Opens a pinned object; it, or a later read, fails with "changed" when the object is another version by then.
    pub fn open(&self, object: &ObjectRef) -> Result<Arc<dyn RangedRead>, StoreError> {
        let meter = self.meter.clone();
        match object.uri.scheme() {
            Scheme::File => Ok(Arc::new(FileObject::open(object, &local(&object.uri)?, meter)?)),
            Scheme::Http | Scheme::Https => Ok(Arc::new(HttpObject::new(object, self.http()?, self.runtime()?.clone(), meter))),
            _ => {
                let (store, path) = self.remote(&object.uri, object.store.as_ref())?;
                Ok(Arc::new(RemoteObject::new(object, store, path, self.runtime()?.clone(), meter)))
            }
        }
    }

    /// The whole of an object.
    pub fn get(&self, uri: &ObjectUri) -> Result<Bytes, StoreError> {
        match uri.scheme() {
            Scheme::File => {
                let bytes = std::fs::read(local(uri)?).map_err(|error| StoreError::io(&uri.to_string(), &error))?;
                self.meter.add_fetched(bytes.len());
                Ok(bytes.into())
            }
            Scheme::Http | Scheme::Https => {
                let object = self.head(uri)?;
                let whole = neardata_core::ByteRange::new(0, object.size);
                self.open(&object)?.read(whole).map_err(|error| StoreError::failed(&uri.to_string(), error))
            }
            _ => {
                let (store, path) = self.remote(uri, None)?;
                let bytes = self.run(uri, async move { store.get(&path).await?.bytes().await })?;
                self.meter.add_fetched(bytes.len());
                Ok(bytes)
            }
        }
    }

    /// Writes an object whole, replacing what was there.
    pub fn put(&self, uri: &ObjectUri, bytes: Bytes) -> Result<ObjectRef, StoreError> {
        match self.put_mode(uri, bytes, PutMode::Overwrite)? {
            PutOutcome::Created(object) => Ok(object),
            PutOutcome::AlreadyThere => Err(StoreError::failed(&uri.to_string(), "the store refused to replace it")),
        }
    }

    /// Writes an object only if there is none of that name: of several writers exactly one succeeds.
    pub fn put_if_absent(&self, uri: &ObjectUri, bytes: Bytes) -> Result<PutOutcome, StoreError> {
        self.put_mode(uri, bytes, PutMode::Create)
    }

    fn put_mode(&self, uri: &ObjectUri, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, StoreError> {
        let only_if_absent = mode == PutMode::Create;
        let size = bytes.len() as u64;
        let outcome = match uri.scheme() {
            Scheme::File => match file::put(uri, &local(uri)?, &bytes, only_if_absent)? {
                Some(object) => PutOutcome::Created(object),
                None => PutOutcome::AlreadyThere,
            },
            Scheme::Http | Scheme::Https => return Err(read_only(uri)),
            _ => {
                let (store, path) = self.remote(uri, None)?;
                let options = PutOptions { mode, ..PutOptions::default() };
                let name = uri.to_string();
                let result = self.wait(async move { store.put_opts(&path, PutPayload::from_bytes(bytes), options).await })?;
                match result {
                    // Some in-memory stores give no modification time with a write: ask for it where no tag came.
                    Ok(put) if put.e_tag.is_some() => PutOutcome::Created(self.reference(uri, put.e_tag, 0, size)),
                    Ok(_) => PutOutcome::Created(self.head(uri)?),
                    Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
                        if only_if_absent =>
                    {
                        PutOutcome::AlreadyThere
                    }
                    Err(error) => return Err(StoreError::object_store(&name, error)),
                }
            }
        };
        self.meter.add_written(if outcome == PutOutcome::AlreadyThere { 0 } else { size });
        Ok(outcome)
    }

    /// Starts writing an object of unknown size; small ones go in one request, larger ones in parts.
    pub fn upload(&self, uri: &ObjectUri) -> Result<Upload, StoreError> {
        let target = match uri.scheme() {
            Scheme::File => Target::File(PendingFile::create(uri, &local(uri)?)?),
            Scheme::Http | Scheme::Https => return Err(read_only(uri)),
            _ => {
                let (store, path) = self.remote(uri, None)?;
                let silent = self.metered();
                let (put_uri, finish_uri, begin_uri) = (uri.clone(), uri.clone(), uri.clone());
                let (put_stores, finish_stores, begin_stores) = (silent.clone(), silent.clone(), silent);
                let state = RemoteState::Small(
                    Vec::new(),
                    Box::new(move |bytes| put_stores.put(&put_uri, bytes.into()).map(drop)),
                    Box::new(move || {
                        let upload = begin_stores.run(&begin_uri, async move { store.put_multipart(&path).await })?;
                        Ok(WriteMultipart::new_with_chunk_size(upload, PART))
                    }),
                );
                let finish = Box::new(move || finish_stores.head(&finish_uri));
                Target::Remote { uri: uri.clone(), runtime: self.runtime()?.clone(), state: Some(state), finish }
            }
        };
        Ok(Upload::new(target, self.meter.clone()))
    }

    /// Writes an object with the contents of a local file.
    pub fn upload_file(&self, uri: &ObjectUri, path: &std::path::Path) -> Result<ObjectRef, StoreError> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(|error| StoreError::io(&name, &error))?;
        let mut upload = self.upload(uri)?;
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            let count = file.read(&mut buffer).map_err(|error| StoreError::io(&name, &error))?;
            if count == 0 {
                return upload.finish();
            }
            upload.write_all(&buffer[..count]).map_err(|error| StoreError::io(&uri.to_string(), &error))?;
        }
    }

    /// Every object below a prefix, in order of key. A prefix ends at a `/`: `s3://b/run` lists `run/…`, not `runner`.
    pub fn list(&self, prefix: &ObjectUri) -> Result<Vec<Listed>, StoreError> {
        match prefix.scheme() {
            Scheme::File => file::list(&local(prefix)?),
            Scheme::Http | Scheme::Https => Err(StoreError::failed(&prefix.to_string(), "web servers cannot be listed")),
            _ => {
                let (store, path) = self.remote(prefix, None)?;
                let metas: Vec<_> = self.run(prefix, async move { store.list(Some(&path)).try_collect().await })?;
                let bucket = prefix.scheme();
                let mut found = Vec::with_capacity(metas.len());
                for meta in metas {
                    let text = format!("{}/{}", root_of(prefix, bucket), meta.location.as_ref());
                    let uri = text.parse().map_err(|error| StoreError::failed(&text, error))?;
                    found.push(Listed { uri, size: meta.size, modified: meta.last_modified.into() });
                }
                found.sort_by(|a, b| a.uri.cmp(&b.uri));
                Ok(found)
            }
        }
    }

    /// Removes an object; one that is not there is fine.
    pub fn delete(&self, uri: &ObjectUri) -> Result<(), StoreError> {
        match uri.scheme() {
            Scheme::File => file::delete(uri, &local(uri)?),
            Scheme::Http | Scheme::Https => Err(read_only(uri)),
            _ => {
                let (store, path) = self.remote(uri, None)?;
                match self.run(uri, async move { store.delete(&path).await }) {
                    Err(StoreError::NotFound { .. }) => Ok(()),
                    other => other,
                }
            }
        }
    }

    /// Removes everything below a prefix; gives the number of objects removed.
    pub fn delete_prefix(&self, prefix: &ObjectUri) -> Result<u64, StoreError> {
        let found = self.list(prefix)?;
        let count = found.len() as u64;
        if prefix.scheme() == Scheme::File {
            for object in found {
                self.delete(&object.uri)?;
            }
            return Ok(count);
        }
        if found.is_empty() {
            return Ok(0);
        }
        let (store, _) = self.remote(prefix, None)?;
        let mut paths = Vec::with_capacity(found.len());
        for object in &found {
            paths.push(Ok(store_path(&object.uri)?));
        }
        self.run(prefix, async move { store.delete_stream(futures::stream::iter(paths).boxed()).try_collect::<Vec<_>>().await })?;
        Ok(count)
    }

    fn reference(&self, uri: &ObjectUri, etag: Option<String>, mtime: i64, size: u64) -> ObjectRef {
        let pin = match etag {
            Some(etag) if !etag.starts_with("W/") => Pin::Etag(etag),
            _ => Pin::WeakMtime(mtime),
        };
        ObjectRef { uri: uri.clone(), store: backend::store_ref(&self.shared.options, uri.scheme()), pin, size }
    }

    fn remote(&self, uri: &ObjectUri, server: Option<&StoreRef>) -> Result<(Arc<dyn ObjectStore>, StorePath), StoreError> {
        let key = (
            uri.scheme(),
            uri.bucket().to_owned(),
            server.cloned().or_else(|| backend::store_ref(&self.shared.options, uri.scheme())),
        );
        let path = store_path(uri)?;
        if uri.scheme() == Scheme::Memory {
            return Ok((memory_store(uri.bucket()), path));
        }
        let mut connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = connected.get(&key) {
            return Ok((Arc::clone(store), path));
        }
        let store = backend::connect(&self.shared.options, uri, server)?;
        connected.insert(key, Arc::clone(&store));
        Ok((store, path))
    }

    fn http(&self) -> Result<reqwest::Client, StoreError> {
        let mut client = self.shared.http.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(http::client(&self.shared.options)?).clone()),
        }
    }

    fn runtime(&self) -> Result<&tokio::runtime::Handle, StoreError> {
        let runtime = self.shared.runtime.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| StoreError::failed("store", "is being closed"))
    }

    fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T, StoreError> {
        wait(self.runtime()?, future)
    }

    fn run<T: Send + 'static>(
        &self,
        uri: &ObjectUri,
        future: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.wait(future)?.map_err(|error| StoreError::object_store(&uri.to_string(), error))
    }
}

fn root_of(uri: &ObjectUri, scheme: Scheme) -> String {
    let prefix = match scheme {
        Scheme::Gcs => "gs",
        Scheme::Azure => "az",
        Scheme::Memory => "memory",
        _ => "s3",
    };
    format!("{prefix}://{}", uri.bucket())
}

fn local(uri: &ObjectUri) -> Result<std::path::PathBuf, StoreError> {
    uri.path().ok_or_else(|| StoreError::failed(&uri.to_string(), "is not a local file"))
}

fn store_path(uri: &ObjectUri) -> Result<StorePath, StoreError> {
    StorePath::parse(uri.key()).map_err(|error| StoreError::failed(&uri.to_string(), error))
}

fn read_only(uri: &ObjectUri) -> StoreError {
    StoreError::failed(&uri.to_string(), "web servers are read-only here; write to s3://, gs://, az:// or a path")
}

/// Memory stores are one a name in the whole process, so that every `Stores` sees the same objects.
fn memory_store(name: &str) -> Arc<dyn ObjectStore> {
    static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    Arc::clone(stores.entry(name.to_owned()).or_insert_with(|| Arc::new(object_store::memory::InMemory::new())))
}

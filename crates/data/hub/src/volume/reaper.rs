//! Removes the files of blobs that no object needs any more, once nobody reads them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc};
use tokio::task::JoinHandle;

use super::blob_path;
use crate::disk::Disk;
use crate::meta::BlobId;

/// See the module.
///
/// A reader looks an object up and pins its blobs under the shared side of `lookups`. The reaper takes the other side once after
/// the commit that released a blob: from then on every reader either pinned the blob or sees the metadata without it.
pub(super) struct Reaper {
    pins: Arc<Mutex<Pins>>,
    lookups: Arc<RwLock<()>>,
    queue: Mutex<Option<mpsc::UnboundedSender<BlobId>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Pins {
    readers: HashMap<BlobId, u32>,
    /// Released, but still read.
    doomed: HashSet<BlobId>,
}

/// Keeps the files of some blobs until it is dropped.
pub(super) struct Pinned {
    ids: Vec<BlobId>,
    pins: Arc<Mutex<Pins>>,
    queue: Option<mpsc::UnboundedSender<BlobId>>,
}

impl Reaper {
    pub(super) fn start(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let pins = Arc::new(Mutex::new(Pins::default()));
        let lookups = Arc::new(RwLock::new(()));
        let task = tokio::spawn(reap(disk, folder, Arc::clone(&pins), Arc::clone(&lookups), receiver));
        Self { pins, lookups, queue: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// To be held while an object is looked up and its blobs are pinned.
    pub(super) async fn lookup(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.lookups).read_owned().await
    }

    /// Keeps the blobs' files while the value lives.
    pub(super) fn pin(&self, ids: Vec<BlobId>) -> Pinned {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &ids {
            *pins.readers.entry(*id).or_insert(0) += 1;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Pinned { ids, pins: Arc::clone(&self.pins), queue }
    }

    /// Removes the files of blobs that a commit released, soon.
    pub(super) fn release(&self, ids: Vec<BlobId>) {
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            for id in ids {
                // After the end the sweep of the next start does it.
                let _ = queue.send(id);
            }
        }
    }

    /// Takes no more work and ends once no reader is left to wait for.
    pub(super) async fn finish(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ended = task.await;
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            let Some(count) = pins.readers.get_mut(id) else { continue };
            *count -= 1;
            if *count == 0 {
                pins.readers.remove(id);
                if pins.doomed.remove(id)
                    && let Some(queue) = &self.queue
                {
                    let _ = queue.send(*id);
                }
            }
        }
    }
}

async fn reap(
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    pins: Arc<Mutex<Pins>>,
    lookups: Arc<RwLock<()>>,
    mut queue: mpsc::UnboundedReceiver<BlobId>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 1024).await > 0 {
        drop(lookups.write().await);
        {
            let mut pins = pins.lock().unwrap_or_else(PoisonError::into_inner);
            let Pins { readers, doomed } = &mut *pins;
            batch.retain(|id| {
                let read = readers.contains_key(id);
                if read {
                    doomed.insert(*id);
                }
                !read
            });
        }
        let (disk, folder, ids) = (Arc::clone(&disk), folder.clone(), std::mem::take(&mut batch));
        let removed = tokio::task::spawn_blocking(move || {
            for id in ids {
                let path = blob_path(&folder, id);
                if let Err(error) = disk.remove(&path) {
                    tracing::warn!(path = %path.display(), %error, "could not remove a blob that is not needed any more");
                }
            }
        });
        let _ended = removed.await;
    }
}

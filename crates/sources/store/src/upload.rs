use std::io::{self, Write};
use std::sync::mpsc;

use neardata_core::{ObjectRef, ObjectUri};
use object_store::WriteMultipart;
use tokio::runtime::Handle;

use crate::StoreError;
use crate::file::PendingFile;
use crate::meter::Meter;

/// Parts of a multipart upload: above S3's minimum of 5 MiB, and 10 000 of them hold 80 GB.
pub(crate) const PART: usize = 8 << 20;
const PARTS_UNDER_WAY: usize = 3;

/// An object being written: `io::Write`, then [`Upload::finish`]. Dropped unfinished, nothing of it is visible.
pub struct Upload {
    target: Option<Target>,
    written: u64,
    meter: Meter,
}

pub(crate) enum Target {
    File(PendingFile),
    Remote { uri: ObjectUri, runtime: Handle, state: Option<RemoteState>, finish: Finish },
}

/// Makes the reference of the finished object; a closure so that this module needs not know how objects are pinned.
pub(crate) type Finish = Box<dyn FnOnce() -> Result<ObjectRef, StoreError> + Send>;

pub(crate) enum RemoteState {
    /// Less than one part so far: written in a single request at the end.
    Small(
        Vec<u8>,
        Box<dyn FnOnce(Vec<u8>) -> Result<(), StoreError> + Send>,
        Box<dyn FnOnce() -> Result<WriteMultipart, StoreError> + Send>,
    ),
    Parts(Box<WriteMultipart>),
}

impl Upload {
    pub(crate) fn new(target: Target, meter: Meter) -> Self {
        Self { target: Some(target), written: 0, meter }
    }

    /// Makes the object visible, whole and durable.
    pub fn finish(mut self) -> Result<ObjectRef, StoreError> {
        self.meter.add_written(self.written);
        match self.target.take() {
            None => Err(StoreError::failed("upload", "was finished before")),
            Some(Target::File(file)) => file.commit(false)?.ok_or_else(|| StoreError::failed("file", "was not written")),
            Some(Target::Remote { uri, runtime, mut state, finish }) => {
                match state.take() {
                    Some(RemoteState::Small(bytes, put, _)) => put(bytes)?,
                    Some(RemoteState::Parts(parts)) => {
                        let name = uri.to_string();
                        wait(
                            &runtime,
                            async move { parts.finish().await.map_err(|error| StoreError::object_store(&name, error)) },
                        )??;
                    }
                    None => return Err(StoreError::failed(&uri.to_string(), "an earlier write failed")),
                }
                finish()
            }
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.target {
            None => return Err(io::Error::other("the upload is finished")),
            Some(Target::File(file)) => file.write_all(bytes)?,
            Some(Target::Remote { uri, runtime, state, .. }) => {
                let next = match state.take() {
                    None => return Err(io::Error::other("an earlier write failed")),
                    Some(RemoteState::Small(mut held, put, begin)) => {
                        held.extend_from_slice(bytes);
                        if held.len() < PART {
                            RemoteState::Small(held, put, begin)
                        } else {
                            let mut parts = begin().map_err(io::Error::other)?;
                            let parts = wait(runtime, async move {
                                parts.put(held.into());
                                parts
                            });
                            RemoteState::Parts(Box::new(parts.map_err(io::Error::other)?))
                        }
                    }
                    Some(RemoteState::Parts(mut parts)) => {
                        let (piece, name) = (bytes::Bytes::copy_from_slice(bytes), uri.to_string());
                        let parts = wait(runtime, async move {
                            let room = parts.wait_for_capacity(PARTS_UNDER_WAY).await;
                            room.map_err(|error| StoreError::object_store(&name, error))?;
                            parts.put(piece);
                            Ok::<_, StoreError>(parts)
                        });
                        RemoteState::Parts(parts.and_then(|parts| parts).map_err(io::Error::other)?)
                    }
                };
                *state = Some(next);
            }
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(Target::Remote { runtime, state, .. }) = &mut self.target
            && let Some(RemoteState::Parts(parts)) = state.take()
        {
            // Parts of an unfinished upload cost storage until somebody sweeps them.
            runtime.spawn(async move { parts.abort().await });
        }
    }
}

/// Runs a future on the store's own runtime and waits for it: from any thread, also one inside another runtime.
pub(crate) fn wait<T: Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        let _caller_gone = sender.send(future.await);
    });
    receiver.recv().map_err(|_| StoreError::failed("store", "its task ended without an answer"))
}

//! The queue between the network, which runs ahead, and the one blocking reader of a stream.

use bytes::Bytes;
use neardata_core::ReadError;
use tokio::sync::mpsc;

type Item = Result<Bytes, ReadError>;

/// Chunks on either side of the queue; a chunk is what one socket read gave, at most some 400 KiB.
const BATCH: usize = 16;

/// Both ends of an empty queue.
pub(crate) fn queue() -> (Sender, Reader) {
    let (sender, receiver) = mpsc::channel(BATCH);
    (Sender(sender), Reader { receiver, taken: Vec::new().into_iter() })
}

pub(crate) struct Sender(mpsc::Sender<Item>);

impl Sender {
    /// Waits for a place; false if the reader went away.
    pub(crate) async fn send(&self, item: Item) -> bool {
        self.0.send(item).await.is_ok()
    }
}

/// Takes all that is there at once: a wake-up on either side costs more than a chunk, and a reader that took one by one would wake
/// the network for each.
pub(crate) struct Reader {
    receiver: mpsc::Receiver<Item>,
    taken: std::vec::IntoIter<Item>,
}

impl Iterator for Reader {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.taken.len() == 0 {
            let mut batch = Vec::with_capacity(BATCH);
            // Not tokio's own blocking receive, which panics in a thread of a runtime; this only parks the thread.
            futures::executor::block_on(self.receiver.recv_many(&mut batch, BATCH));
            self.taken = batch.into_iter();
        }
        self.taken.next()
    }
}

use std::io::{self, Write};

use neardata_core::ObjectRef;
use neardata_store::Upload;

use crate::{CallContext, CallError};

/// An output being written below the attempt's own prefix; dropped without [`finish`](OutputWriter::finish), it never appears.
pub struct OutputWriter<'c> {
    call: &'c CallContext,
    name: String,
    upload: Upload,
}

impl<'c> OutputWriter<'c> {
    pub(crate) fn new(call: &'c CallContext, name: String, upload: Upload) -> Self {
        Self { call, name, upload }
    }

    /// Makes the output durable and adds it to what the call publishes.
    pub fn finish(self) -> Result<ObjectRef, CallError> {
        self.call.check_cancelled()?;
        let object = self.upload.finish()?;
        self.call.add_output(self.name, object.clone());
        Ok(object)
    }
}

impl Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.call.is_cancelled() {
            return Err(io::Error::other(CallError::cancelled()));
        }
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

//! Rows as a file of their own.

use std::sync::Arc;

use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::ArrowError;
use bytes::Bytes;

use super::footer::Footer;
use super::rows::Rows;
use super::{FORMAT, damaged};
use crate::FormatError;
use crate::table::Pieces;
use crate::table::contain::contain;

/// An Arrow IPC file of these rows, compressed as they were; made batch by batch.
pub(super) fn pieces(rows: Rows, footer: Arc<Footer>) -> Pieces {
    let mut file = Writing { rows, footer, writer: None, finished: false };
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        let next = if failed { None } else { file.next().transpose() };
        failed = matches!(next, Some(Err(_)));
        next
    }))
}

struct Writing {
    rows: Rows,
    footer: Arc<Footer>,
    writer: Option<FileWriter<Vec<u8>>>,
    finished: bool,
}

impl Writing {
    fn next(&mut self) -> Result<Option<Bytes>, FormatError> {
        if self.finished {
            return Ok(None);
        }
        let decoded = self.rows.next().transpose()?;
        let name = self.rows.name();
        contain(name, FORMAT, 0, || {
            let wrong = |error: ArrowError| damaged(name, 0, &error.to_string());
            let mut writer = match self.writer.take() {
                Some(writer) => writer,
                None => {
                    let compression = decoded.as_ref().and_then(|decoded| decoded.compression);
                    begin(&self.rows, &self.footer, compression).map_err(wrong)?
                }
            };
            match &decoded {
                Some(decoded) => writer.write(&decoded.batch),
                None => writer.finish(),
            }
            .map_err(wrong)?;
            self.finished = decoded.is_none();
            let bytes = std::mem::take(writer.get_mut());
            self.writer = Some(writer);
            Ok(Some(bytes.into()))
        })
    }
}

fn begin(rows: &Rows, footer: &Footer, compression: Option<CompressionType>) -> Result<FileWriter<Vec<u8>>, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &rows.schema(), options)?;
    for (key, value) in &footer.metadata {
        writer.write_metadata(key, value);
    }
    Ok(writer)
}

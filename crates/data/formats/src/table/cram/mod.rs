//! CRAM 3.0 and 3.1 (hts-specs CRAMv3): cut between containers, which are copied as they are. Nothing is decoded, so no reference is
//! needed; the header and the checksum of every container and block is verified on the way.

mod container;
mod copy;
mod cut;
mod header;
mod index;

use std::io::Write;
use std::sync::Arc;

use neardata_core::RangedRead;
use serde_json::Value;

use self::cut::Part;
use self::header::Head;
use super::{Batches, Cut, Description, Pieces, Table, TableFormat};
use crate::{FormatError, Progress};

/// What users are told they can ask for.
const OFFERED: [&str; 3] = ["n", "bytes", "records"];
/// First bytes of every CRAM file.
const MAGIC: &[u8] = b"CRAM";

/// CRAM as a [`TableFormat`].
pub(crate) struct Cram;

impl TableFormat for Cram {
    fn name(&self) -> &'static str {
        "cram"
    }

    fn sniff(&self, _name: &str, start: &[u8]) -> bool {
        start.starts_with(MAGIC) && start.get(4).is_some_and(|major| (1..=9).contains(major))
    }

    fn index_version(&self) -> u32 {
        1
    }

    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError> {
        let held = objects.len();
        let object = objects.into_iter().next().ok_or(FormatError::NoSuchObject { asked: 0, held })?;
        let head = header::read(object.as_ref())?;
        Ok(Box::new(CramTable { object, head }))
    }
}

/// An opened CRAM file.
struct CramTable {
    object: Arc<dyn RangedRead>,
    head: Head,
}

impl Table for CramTable {
    fn describe(&self) -> Result<Description, FormatError> {
        Ok(self.head.describe())
    }

    fn needs_index(&self, _cut: &Cut) -> bool {
        true
    }

    fn reads_need_index(&self, _cut: &Cut) -> bool {
        false
    }

    fn build_index(&self, out: &mut dyn Write, progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        let found = index::build(self.object.as_ref(), self.head.end(), out, progress)?;
        let mut description = self.head.describe();
        description.records = Some(found.records);
        let more = [("containers", found.containers), ("slices in them", found.slices)];
        description.facts.extend(more.map(|(name, count)| (name.to_owned(), count.to_string())));
        Ok(description)
    }

    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError> {
        cut.only("CRAM", &OFFERED)?;
        let index = index.ok_or_else(|| FormatError::IndexGone {
            object: self.object.name().to_owned(),
            side_car: "its table of containers".to_owned(),
        })?;
        let containers = index::read(index, self.head.end(), self.object.size())?;
        let parts = cut::cut(self.object.name(), &containers, cut.partition)?;
        let value = |part: Part| Ok(serde_json::to_value(part).map_err(neardata_core::SliceError::Malformed)?);
        parts.into_iter().map(value).collect()
    }

    fn bytes(&self, selection: &Value, _index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError> {
        if object > 0 {
            return Err(FormatError::NoSuchObject { asked: object, held: 1 });
        }
        let part = Part::parse(selection, self.head.end(), self.object.size())?;
        Ok(Box::new(copy::Copy::new(Arc::clone(&self.object), self.head.bytes(), part)))
    }

    fn arrow(&self, _selection: &Value, _index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError> {
        Err(FormatError::Unsupported {
            name: self.object.name().to_owned(),
            format: "CRAM",
            what: "its records as Arrow columns".to_owned(),
            remedy:
                "read the slice as bytes, which are a CRAM file, and decode it with `samtools view -T REFERENCE`, or make BAM \
                     of the object"
                    .to_owned(),
        })
    }
}

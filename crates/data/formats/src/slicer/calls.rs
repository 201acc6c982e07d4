//! Indexing as calls: parts of an object are indexed by any workers, and what they give is joined to one side-car.

use std::io::Write;

use neardata_core::{MemoryObject, ObjectUri};

use super::{IndexSummary, Indexed, Look, Rows, Slicer};
use crate::build::{IndexPart, Progress, index_part, join_parts, parts_of};

use crate::{FormatError, sidecar};

/// Bytes of a part, where nobody says how many there should be.
const PART: u64 = 64 << 20;
const MOST_CALLS: u64 = 256;

impl Slicer {
    /// About `count` parts of an object (none: one for every 64 MiB, at most 256) that can be indexed by
    /// [`index_part`](Self::index_part) anywhere, at once. One part, where only
    /// a pass from the start can index the object (gzip that is no BGZF, Zstandard); none, where there is nothing to do: its
    /// index is fresh, or its format has a table of its own.
    pub fn index_parts(&self, uri: &ObjectUri, count: Option<u64>) -> Result<Vec<IndexPart>, FormatError> {
        let Look::Rows(Rows { source, detected, .. }) = self.look(uri)? else { return Ok(Vec::new()) };
        if self.fresh(&source)?.is_some() {
            return Ok(Vec::new());
        }
        let count = count.unwrap_or_else(|| source.size.div_ceil(PART).min(MOST_CALLS));
        Ok(parts_of(&source, detected, self.options, count))
    }

    /// Indexes one part; gives its partial index, bytes for [`join_index`](Self::join_index). Needs the object and nothing else.
    pub fn index_part(&self, part: &IndexPart, progress: &dyn Fn(Progress)) -> Result<Vec<u8>, FormatError> {
        index_part(self.stores.open(&part.object)?.as_ref(), part, progress)
    }

    /// Joins the partial indexes of all parts of an object, in any order, and writes its side-car: the same, byte for byte, that
    /// [`index`](Self::index) writes.
    pub fn join_index(
        &self,
        uri: &ObjectUri,
        partials: &[impl AsRef<[u8]>],
        progress: &dyn Fn(Progress),
    ) -> Result<IndexSummary, FormatError> {
        let rows = self.rows(self.stores.head(uri)?)?;
        let source = &rows.source;
        if let [whole] = partials
            && whole.as_ref().starts_with(&sidecar::MAGIC)
        {
            let bytes = whole.as_ref();
            let index = sidecar::read_index(&MemoryObject::new(uri.to_string(), bytes.to_vec()))?;
            if index.source != *source || index.options != self.options {
                let reason = "it is of another object, another version of it, or other options".to_owned();
                return Err(FormatError::PartialIndex { name: uri.to_string(), reason });
            }
            let scratch = |source| FormatError::Scratch { name: format!("the side-car of {uri}"), source };
            let mut upload = self.stores.upload(&self.side_cars.address(source))?;
            upload.write_all(bytes).map_err(scratch)?;
            return Ok(Indexed::new(index, upload.finish()?, true).summary());
        }
        let built = join_parts(rows.reader.as_ref(), source, rows.detected, self.options, partials, progress)?;
        Ok(self.keep(source, built)?.summary())
    }
}

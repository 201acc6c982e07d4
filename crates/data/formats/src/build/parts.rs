//! Parts of an object that are indexed by calls, anywhere, and joined to one index.

use neardata_core::{ByteRange, ObjectRef, RangedRead};
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::join::Joiner;
use super::part::{scan_part, serves};
use super::{Built, Progress, build_index, finish, partial};
use crate::detect::Detected;
use crate::index::IndexOptions;
use crate::{Compression, Format, FormatError};

/// More parts than this only cost time.
const MOST_PARTS: u64 = 1 << 16;

/// One part of an object that is to be indexed: JSON below 1 KB beside its URI, for any worker that can reach the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// Version of this layout.
    pub v: u32,
    /// The object, pinned.
    pub object: ObjectRef,
    /// Format of its records.
    pub format: Format,
    /// Compression around them.
    pub compression: Compression,
    /// How densely its index is laid.
    pub options: IndexOptions,
    /// The part: bytes of the object.
    pub range: ByteRange,
}

impl IndexPart {
    pub(super) fn detected(&self) -> Detected {
        Detected { format: self.format, compression: self.compression }
    }

    fn is_whole(&self) -> bool {
        self.range == ByteRange::new(0, self.object.size)
    }
}

/// About `count` ranges of an object of `size` bytes, all of it; points of a plain object lie at the same places as in a single pass.
pub(super) fn ranges(detected: Detected, options: IndexOptions, size: u64, count: u64) -> Vec<ByteRange> {
    let step = size.div_ceil(count.clamp(1, MOST_PARTS)).max(1);
    let step = match detected.compression {
        Compression::Plain => step.checked_next_multiple_of(options.point_span.max(1)).unwrap_or(size.max(1)),
        _ => step,
    };
    let starts = (0..size.div_ceil(step)).map(|number| number * step);
    starts.map(|start| ByteRange::new(start, start.saturating_add(step).min(size))).collect()
}

/// About `count` parts of an object; one where only a pass from the start can index it.
pub(crate) fn parts_of(object: &ObjectRef, detected: Detected, options: IndexOptions, count: u64) -> Vec<IndexPart> {
    let Detected { format, compression } = detected;
    let part = |range| IndexPart { v: 1, object: object.clone(), format, compression, options, range };
    let ranges = if serves(detected) { ranges(detected, options, object.size, count) } else { Vec::new() };
    match ranges.is_empty() {
        true => vec![part(ByteRange::new(0, object.size))],
        false => ranges.into_iter().map(part).collect(),
    }
}

/// Indexes one part: gives its partial index, or the whole side-car where the part is all of an object that has no parts.
pub(crate) fn index_part(reader: &dyn RangedRead, part: &IndexPart, progress: &dyn Fn(Progress)) -> Result<Vec<u8>, FormatError> {
    let detected = part.detected();
    if part.v != 1 || part.range.start > part.range.end || part.range.end > reader.size() {
        return Err(unusable(reader, "this is no part of the object".into()));
    }
    if part.is_whole() && !serves(detected) {
        let mut built = build_index(reader, &part.object, detected, part.options, progress)?;
        return built.to_vec().map_err(|source| FormatError::Scratch { name: reader.name().to_owned(), source });
    }
    let scanned = scan_part(reader, detected, part.options, part.range)?;
    progress(Progress { done: part.range.len(), total: part.range.len() });
    Ok(partial::encode(part, scanned.as_ref()))
}

/// Joins the partial indexes of all parts of an object, in any order.
pub(crate) fn join_parts(
    reader: &dyn RangedRead,
    source: &ObjectRef,
    detected: Detected,
    options: IndexOptions,
    partials: &[impl AsRef<[u8]>],
    progress: &dyn Fn(Progress),
) -> Result<Built, FormatError> {
    let decode = |bytes: &[u8]| partial::decode(bytes).map_err(|reason| unusable(reader, reason));
    let mut parts = partials.iter().map(|bytes| decode(bytes.as_ref())).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|(part, _)| part.range);
    let mut end = 0;
    for (part, _) in &parts {
        if part.object != *source || part.options != options || part.detected() != detected {
            return Err(unusable(reader, "it is of another object, another version of it, or other options".into()));
        }
        if part.range.start != end {
            return Err(unusable(reader, format!("there are no parts, or too many, at byte {end}")));
        }
        end = part.range.end;
    }
    if end != source.size {
        return Err(unusable(reader, format!("there are no parts from byte {end} on")));
    }
    let mut joiner = Joiner::new(Builder::new(reader, detected, options, progress));
    for (part, partial) in parts {
        if !joiner.add(part.range, partial)? {
            break;
        }
    }
    let built = finish(joiner, reader, source, detected, options, progress)?;
    crate::sidecar::check(&built.index).map_err(|reason| unusable(reader, reason.to_owned()))?;
    Ok(built)
}

fn unusable(reader: &dyn RangedRead, reason: String) -> FormatError {
    FormatError::PartialIndex { name: reader.name().to_owned(), reason }
}

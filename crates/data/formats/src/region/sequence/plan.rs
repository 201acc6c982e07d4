//! From a region of a sequence to a slice: where its bases lie.

use std::sync::Arc;

use neardata_core::{ObjectRef, ObjectUri, RangedRead, Slice};
use neardata_store::Stores;
use serde::{Deserialize, Serialize};

use super::fai::{Layout, Sequence};
use super::index::FastaIndex;
use crate::region::{Region, some_of};
use crate::selection::Stretch;
use crate::{Compression, Detected, Format, FormatError, Partition, Progress};

/// Longer regions would not fit into a slice.
const REGION_LIMIT: usize = 400;

/// The selection of a slice of bases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceSelection {
    /// Which bases, and how they lie.
    pub sequence: SequencePart,
    /// Compression of the object.
    pub compression: Compression,
    /// Where decoding starts: byte of the object, uncompressed offset.
    pub begin: [u64; 2],
    /// Byte of the object before which decoding is over.
    pub stop: u64,
}

/// A run of bases of one sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePart {
    /// The region as it was asked for: what follows `>`.
    pub region: String,
    /// Bases `[a, b)`, counted from 0.
    pub bases: [u64; 2],
    /// Where the first base of the sequence lies in the uncompressed object.
    pub offset: u64,
    /// Bases of a line, and its bytes with its end.
    pub line: [u64; 2],
}

impl SequencePart {
    pub(super) fn layout(&self) -> Layout {
        Layout { offset: self.offset, line_bases: self.line[0], line_width: self.line[1] }
    }
}

impl SequenceSelection {
    /// The uncompressed bytes that hold the bases, as if they were a record; none if the selection makes no sense.
    pub(super) fn stretch(&self) -> Option<Stretch> {
        let [first, end] = self.sequence.bases;
        let layout = self.sequence.layout();
        let (from, to) = match end.checked_sub(first)? {
            0 => (self.begin[1], self.begin[1]),
            _ => (layout.place(first)?, layout.place(end - 1)? + 1),
        };
        Some(Stretch {
            compression: self.compression,
            records: [0, u64::from(to > from)],
            bit: self.begin[0].checked_mul(8)?,
            out: self.begin[1],
            stop: self.stop,
            from: [0, from],
            to: [u64::from(to > from), to],
            window: None,
            preamble: None,
        })
    }
}

/// A FASTA object whose regions can be asked for.
pub(crate) struct SequencePlanner {
    object: Arc<dyn RangedRead>,
    source: ObjectRef,
    compression: Compression,
    index: FastaIndex,
    names: Vec<String>,
}

impl SequencePlanner {
    pub(crate) fn new(
        stores: &Stores,
        address: &ObjectUri,
        source: ObjectRef,
        detected: Detected,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, FormatError> {
        let compression = detected.compression;
        if !matches!(compression, Compression::Plain | Compression::Bgzf) {
            let (name, found) = (source.uri.to_string(), format!("{}, {compression}", detected.format));
            return Err(FormatError::NoRegions { name, found });
        }
        let object = stores.open(&source)?;
        let found = match FastaIndex::beside(stores, &source.uri, compression)? {
            Some(index) => Some(index),
            None => FastaIndex::stored(stores, address, &source)?,
        };
        let index = match found {
            Some(index) => index,
            None => {
                let index = FastaIndex::build(object.as_ref(), compression, progress)?;
                stores.put(address, index.to_bytes(&source).into())?;
                index
            }
        };
        let names = index.sequences.iter().map(|sequence| sequence.name.clone()).collect();
        Ok(Self { object, source, compression, index, names })
    }

    /// Bases `[a, b)` of a sequence, counted from 0, as far as it has them; none if there is no such sequence.
    pub(crate) fn run(&self, name: &str, [start, end]: [u64; 2]) -> Result<Option<SequenceSelection>, FormatError> {
        let found = self.index.sequences.iter().find(|sequence| sequence.name == name);
        let bases = |sequence: &Sequence| [start.min(sequence.length), end.min(sequence.length)];
        found.map(|sequence| self.selection(sequence, name.to_owned(), bases(sequence))).transpose()
    }

    /// Names of some of its sequences, for an error message.
    pub(crate) fn known(&self) -> String {
        some_of(&self.names)
    }

    /// The slices of a region: one, or with a partition as many runs of bases of equal length.
    pub(crate) fn slices(&self, text: &str, partition: Option<Partition>) -> Result<Vec<Slice>, FormatError> {
        let region = Region::parse(self.object.name(), Format::Fasta, text, &self.names)?;
        let Some(sequence) = self.index.sequences.get(region.id) else { return Ok(Vec::new()) };
        let (start, end) = (region.start.min(sequence.length), region.end.min(sequence.length));
        let bases = end - start;
        let count = match partition {
            None => return Ok(vec![self.slice(sequence, text.to_owned(), [start, end])?]),
            Some(Partition::Count(0)) => return Err(FormatError::Partition("0 slices")),
            Some(Partition::Bytes(0)) => return Err(FormatError::Partition("slices of 0 bytes")),
            Some(Partition::Count(count)) => count,
            Some(Partition::Bytes(bytes)) => bases.div_ceil(bytes),
            Some(Partition::Records(_)) => return Err(not_offered("records")),
            Some(Partition::Tiles(_)) => return Err(not_offered("tiles")),
        };
        let count = count.min(bases);
        let cut = |slice: u64| start + (u128::from(bases) * u128::from(slice) / u128::from(count.max(1))) as u64;
        let part = |slice: u64| {
            let bases = [cut(slice), cut(slice + 1)];
            self.slice(sequence, format!("{}:{}-{}", sequence.name, bases[0] + 1, bases[1]), bases)
        };
        (0..count).map(part).collect()
    }

    fn slice(&self, sequence: &Sequence, region: String, bases: [u64; 2]) -> Result<Slice, FormatError> {
        let selection = self.selection(sequence, region, bases)?;
        Ok(Slice {
            v: Slice::VERSION,
            format: Format::Fasta.name().to_owned(),
            objects: vec![self.source.clone()],
            selection: serde_json::to_value(selection).map_err(neardata_core::SliceError::Malformed)?,
            index: Vec::new(),
        })
    }

    fn selection(&self, sequence: &Sequence, region: String, bases: [u64; 2]) -> Result<SequenceSelection, FormatError> {
        if region.len() > REGION_LIMIT {
            return Err(FormatError::Query(format!("a region of more than {REGION_LIMIT} bytes does not fit into a slice")));
        }
        let Layout { offset, line_bases, line_width } = sequence.layout;
        let sequence = SequencePart { region, bases, offset, line: [line_bases, line_width] };
        let mut selection =
            SequenceSelection { sequence, compression: self.compression, begin: [0, 0], stop: self.object.size() };
        let outside = || FormatError::RegionIndex {
            name: self.object.name().to_owned(),
            reason: "it names bytes behind the object's end; was the object written after its index?".into(),
        };
        let stretch = selection.stretch().ok_or_else(outside)?;
        let (from, to) = (stretch.from[1], stretch.to[1]);
        (selection.begin, selection.stop) = match self.compression {
            _ if from == to => ([0, 0], 0),
            Compression::Plain => ([from, from], to),
            _ => (self.index.blocks.before(from), self.index.blocks.behind(to).unwrap_or(self.object.size())),
        };
        if selection.stop > self.object.size() || selection.begin[0] > selection.stop {
            return Err(outside());
        }
        Ok(selection)
    }
}

fn not_offered(option: &'static str) -> FormatError {
    FormatError::NotOffered { format: "a region of FASTA", option, offered: "`n`, `bytes`".into() }
}

//! Bases of the reference that records are stored as differences from: those of a FASTA object.

use md5::{Digest, Md5};
use neardata_core::{ObjectRef, ObjectUri};
use neardata_store::Stores;

use super::records::SliceHeader;
use crate::region::{SequencePlanner, SequenceReader, own_address};
use crate::{FormatError, SideCars, detect};

/// More bases are not held at once.
const BASES_LIMIT: i64 = 1 << 30;

/// A FASTA object with its index.
pub(super) struct Reference {
    stores: Stores,
    source: ObjectRef,
    planner: SequencePlanner,
}

impl Reference {
    /// Pins the object at this address, and makes sure that it has an index.
    pub(super) fn find(stores: &Stores, side_cars: &SideCars, uri: &ObjectUri) -> Result<ObjectRef, FormatError> {
        let source = stores.head(uri)?;
        Self::open(stores, side_cars, source).map(|reference| reference.source)
    }

    pub(super) fn open(stores: &Stores, side_cars: &SideCars, source: ObjectRef) -> Result<Self, FormatError> {
        let detected = detect(stores.open(&source)?.as_ref())?;
        if detected.format != crate::Format::Fasta {
            let found = detected.format.title();
            return Err(FormatError::Query(format!(
                "the reference {} is {found}; it must be FASTA, plain or in BGZF",
                source.uri
            )));
        }
        let address = own_address(&side_cars.root, &source, "ndfasta");
        let planner = SequencePlanner::new(stores, &address, source.clone(), detected, &|_| {})?;
        Ok(Self { stores: stores.clone(), source, planner })
    }

    /// The bases from position `start` to `end` (from 1, both in) of a sequence, in capitals; fewer where it ends before.
    pub(super) fn bases(&self, sequence: &str, start: i64, end: i64) -> Result<Vec<u8>, FormatError> {
        let (start, length) = (start.max(1), end - start.max(1) + 1);
        if length <= 0 {
            return Ok(Vec::new());
        }
        if length > BASES_LIMIT {
            return Err(FormatError::Query(format!("records that cover {length} bases of `{sequence}` at once are not read")));
        }
        let Some(selection) = self.planner.run(sequence, [start as u64 - 1, end as u64])? else {
            return Err(FormatError::NoReference {
                name: self.source.uri.to_string(),
                reference: sequence.to_owned(),
                known: self.planner.known(),
            });
        };
        let mut reader = SequenceReader::new(self.stores.open(&self.source)?, selection)?;
        let mut bases = Vec::new();
        let mut in_title = true;
        loop {
            let text = reader.fill()?;
            let passed = text.len();
            if passed == 0 {
                return Ok(bases);
            }
            let mut text = text;
            if in_title && let Some(end) = memchr::memchr(b'\n', text) {
                text = text.get(end + 1..).unwrap_or_default();
                in_title = false;
            } else if in_title {
                text = &[];
            }
            bases.extend(text.iter().filter(|byte| **byte != b'\n').map(u8::to_ascii_uppercase));
            reader.pass(passed);
        }
    }

    /// The bases that a slice covers, verified against its checksum.
    pub(super) fn of_slice(&self, sequence: &str, header: &SliceHeader) -> Result<Vec<u8>, FormatError> {
        let end = i64::from(header.start) + i64::from(header.span) - 1;
        let bases = self.bases(sequence, header.start.into(), end)?;
        if header.md5 == [0; 16] || Md5::digest(&bases)[..] == header.md5 {
            return Ok(bases);
        }
        Err(FormatError::WrongReference {
            reference: self.source.uri.to_string(),
            sequence: sequence.to_owned(),
            first: header.start.max(1) as u64,
            last: end.max(0) as u64,
        })
    }
}

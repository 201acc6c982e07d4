//! Indexes of records in a row: found beside, built, kept.

use std::sync::Arc;

use neardata_core::{IndexRef, ObjectRef, ObjectUri, Pin, RangedRead, ReadError, canonical};
use neardata_store::StoreError;

use super::{Look, Rows, Slicer};
use crate::build::{Built, Progress, build_index_parallel};
use crate::index::Index;
use crate::table::Prepared;
use crate::{Compression, Format, FormatError, sidecar};

/// Where side-cars lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideCars {
    /// The prefix below which every side-car has its address.
    pub root: ObjectUri,
}

impl SideCars {
    /// The address of the side-car of an object: it follows from the object's address and server, so that a changed object finds its
    /// stale side-car and replaces it.
    pub fn address(&self, object: &ObjectRef) -> ObjectUri {
        self.address_ending(object, "ndindex")
    }

    pub(crate) fn address_ending(&self, object: &ObjectRef, ending: &str) -> ObjectUri {
        let key = canonical::digest(&(&object.uri, &object.store));
        self.root.join(&format!("v1/{}/{}.{ending}", &key[..2], &key[2..]))
    }
}

/// What indexing found.
#[derive(Clone, Debug)]
pub struct IndexSummary {
    /// The object, pinned.
    pub object: ObjectRef,
    /// Its side-car.
    pub side_car: IndexRef,
    /// Format of its records.
    pub format: Format,
    /// Compression around them.
    pub compression: Compression,
    /// Number of records.
    pub records: u64,
    /// Size when uncompressed.
    pub uncompressed: u64,
    /// Number of places where decoding can start.
    pub checkpoints: u64,
    /// How many slices it can be cut into at most, where that is not the number of records.
    pub most_slices: Option<u64>,
    /// What its user should know of it: why it cannot be cut, and what to do.
    pub note: Option<String>,
    /// Whether this call built the side-car; false when it was there and fresh.
    pub built: bool,
}

pub(super) struct Indexed {
    pub(super) index: Index,
    pub(super) side_car: IndexRef,
    built: bool,
}

impl Indexed {
    pub(super) fn new(index: Index, side_car: ObjectRef, built: bool) -> Self {
        Self { index, side_car: reference(side_car), built }
    }

    /// The same as if the first row, `length` bytes, were a header.
    pub(super) fn with_header_row(self, length: u64) -> Self {
        Self { index: self.index.with_header_row(length), ..self }
    }

    pub(super) fn summary(self) -> IndexSummary {
        let Indexed { index, side_car, built } = self;
        IndexSummary {
            most_slices: index.most_slices(),
            note: index.note(),
            checkpoints: index.points.iter().filter(|point| point.restart != crate::Restart::No).count() as u64,
            object: index.source,
            side_car,
            format: index.format,
            compression: index.compression,
            records: index.records,
            uncompressed: index.uncompressed,
            built,
        }
    }
}

impl Slicer {
    /// Makes sure that a fresh and whole index exists, of whatever kind the object's format has.
    pub fn prepare(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<Prepared, FormatError> {
        match self.look(uri)? {
            Look::Table(format, source) => Ok(Prepared::Table(self.index_table(&format, source, progress)?)),
            Look::Rows(rows) => Ok(Prepared::Rows(self.verified(rows, progress)?)),
        }
    }

    /// Makes sure that a fresh and whole side-car of records in a row exists: builds it if it is absent, stale or damaged.
    pub fn index(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<IndexSummary, FormatError> {
        self.verified(self.rows(self.stores.head(uri)?)?, progress)
    }

    /// The index of an object, every byte of it checked where it is not new.
    fn verified(&self, rows: Rows, progress: &dyn Fn(Progress)) -> Result<IndexSummary, FormatError> {
        let found = self.find_or_build(&rows.source, Some(&rows), progress).and_then(|indexed| {
            if indexed.built {
                return Ok(indexed);
            }
            let side_car = self.open_side_car(&rows.source, &indexed.side_car)?;
            match sidecar::verify_windows(side_car.as_ref(), &indexed.index) {
                Err(FormatError::SideCar { name, reason }) => {
                    tracing::warn!(object = %rows.source.uri, side_car = name, reason, "the side-car is damaged; building it again");
                    self.build(&rows, progress)
                }
                verified => verified.map(|()| indexed),
            }
        });
        found.map(Indexed::summary).map_err(|error| self.explain(error))
    }

    pub(crate) fn open_side_car(&self, source: &ObjectRef, index: &IndexRef) -> Result<Arc<dyn RangedRead>, FormatError> {
        // The checksum of the window guards what is read, so one built again, with the same bytes and maybe another tag, serves as well.
        let side_car = ObjectRef { pin: Pin::WeakSize, ..index.clone().into() };
        self.stores.open(&side_car).map_err(|error| match error {
            StoreError::NotFound { name } => FormatError::IndexGone { object: source.uri.to_string(), side_car: name },
            other => other.into(),
        })
    }

    /// Says that it is the indexes' store which failed, if it is.
    pub(crate) fn explain(&self, error: FormatError) -> FormatError {
        let root = self.side_cars.root.to_string();
        let failed = match &error {
            FormatError::Store(
                StoreError::Denied { name, .. } | StoreError::Failed { name, .. } | StoreError::DiskFull { name },
            )
            | FormatError::Read(ReadError::Denied { name, .. } | ReadError::Failed { name, .. }) => name.starts_with(&root),
            FormatError::Store(StoreError::NotFound { name }) => name.starts_with(&root),
            _ => false,
        };
        if failed { FormatError::IndexStore { root, reason: error.to_string() } } else { error }
    }

    /// The fresh index of an object of records in a row; `rows` is the object where it was looked at already.
    pub(super) fn indexed(
        &self,
        source: &ObjectRef,
        rows: Option<&Rows>,
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        self.find_or_build(source, rows, progress).map_err(|error| self.explain(error))
    }

    fn find_or_build(
        &self,
        source: &ObjectRef,
        rows: Option<&Rows>,
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        // One that was made for another format is no use where the caller says which it is.
        let serves = |indexed: &Indexed| rows.is_none_or(|rows| indexed.index.format == rows.detected.format);
        match (self.fresh(source)?.filter(serves), rows) {
            (Some(indexed), _) => Ok(indexed),
            (None, Some(rows)) => self.build(rows, progress),
            (None, None) => self.build(&self.rows(source.clone())?, progress),
        }
    }

    fn build(&self, rows: &Rows, progress: &dyn Fn(Progress)) -> Result<Indexed, FormatError> {
        let Rows { source, reader, detected, .. } = rows;
        let built = build_index_parallel(reader.as_ref(), source, *detected, self.options, self.parallel, progress)?;
        self.keep(source, built)
    }

    /// The index of an object that is there already, if it is of this version of it.
    pub(super) fn fresh(&self, source: &ObjectRef) -> Result<Option<Indexed>, FormatError> {
        match self.stored(&self.side_cars.address(source)) {
            Ok(Some((index, side_car))) if index.source == *source && index.options == self.options => {
                return Ok(Some(Indexed { index, side_car, built: false }));
            }
            Ok(Some(_)) => {
                tracing::warn!(object = %source.uri, "the object changed since it was indexed; building its index again")
            }
            Ok(None) => {}
            Err(FormatError::SideCar { name, reason }) => {
                tracing::warn!(object = %source.uri, side_car = name, reason, "the side-car is damaged; building it again");
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// What the index of this version of an object says, if there is a good one.
    pub(super) fn summary_of(&self, source: &ObjectRef) -> Option<IndexSummary> {
        let (index, side_car) = self.stored(&self.side_cars.address(source)).ok().flatten()?;
        let fresh = index.source == *source && index.options == self.options;
        fresh.then(|| Indexed { index, side_car, built: false }.summary())
    }

    /// Writes a side-car.
    pub(super) fn keep(&self, source: &ObjectRef, mut built: Built) -> Result<Indexed, FormatError> {
        let scratch = |error| FormatError::Scratch { name: format!("the side-car of {}", source.uri), source: error };
        let mut upload = self.stores.upload(&self.side_cars.address(source))?;
        built.write_to(&mut upload).map_err(scratch)?;
        Ok(Indexed::new(built.index, upload.finish()?, true))
    }

    /// The side-car that lies at an address, fresh or not.
    fn stored(&self, address: &ObjectUri) -> Result<Option<(Index, IndexRef)>, FormatError> {
        let object = match self.stores.head(address) {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let index = sidecar::read_index(self.stores.open(&object)?.as_ref())?;
        Ok(Some((index, reference(object))))
    }
}

/// How slices refer to a side-car. Where the store gives no strong tag the size is enough: a window is checked against the checksum
/// the slice carries, and a rebuilt side-car of the same object has the same bytes but another modification time.
pub(crate) fn reference(mut object: ObjectRef) -> IndexRef {
    if object.pin.is_weak() {
        object.pin = Pin::WeakSize;
    }
    object.into()
}

//! What [`Slicer`] does for formats with a table of their own.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Arc;

use flate2::CrcWriter;
use neardata_core::{IndexRef, ObjectRef, ObjectUri, RangedRead, ReadError, Slice};
use neardata_store::StoreError;

use super::sidecar::{self, Stored};
use super::{Batches, Cut, Description, Pieces, Surroundings, Table, TableFormat, Tiff};
use crate::inspect::Inspection;
use crate::slicer::{object_of, reference};
use crate::{FormatError, IndexSummary, Progress, Slicer, glance};

/// What [`Slicer::prepare`] found.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Records in a row.
    Rows(IndexSummary),
    /// A format with a table of its own.
    Table(TableSummary),
}

/// An indexed object of a format with a table of its own.
#[derive(Clone, Debug)]
pub struct TableSummary {
    /// The objects, pinned.
    pub objects: Vec<ObjectRef>,
    /// Its side-car; formats whose headers say enough have none.
    pub side_car: Option<IndexRef>,
    /// Name of the format.
    pub format: &'static str,
    /// What is known of it.
    pub description: Description,
    /// Whether this call built the side-car; false when it was there and fresh, or is not needed.
    pub built: bool,
}

/// An index as it is read.
struct Indexed {
    stored: Stored,
    body: Arc<dyn RangedRead>,
    side_car: IndexRef,
    built: bool,
}

/// Objects of a table format, pinned and opened.
struct Opened {
    sources: Vec<ObjectRef>,
    table: Box<dyn Table>,
}

impl Slicer {
    pub(crate) fn cut_table(
        &self,
        format: &Arc<dyn TableFormat>,
        source: ObjectRef,
        cut: &Cut,
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<Slice>, FormatError> {
        let Opened { sources, table } = self.open_table(format, source)?;
        let reads_need_index = table.reads_need_index(cut);
        let mut side_car = None;
        let selections = if table.needs_index(cut) {
            let mut indexed = self.indexed_table(format, &sources, &*table, progress)?;
            let selections = match table.cut(cut, Some(&*indexed.body)) {
                // What the header cannot tell: it was damaged behind it.
                Err(FormatError::SideCar { name, reason }) if !indexed.built => {
                    indexed = self.rebuilt_table(format, &sources, &*table, (&name, &reason), progress)?;
                    table.cut(cut, Some(&*indexed.body))
                }
                selections => selections,
            };
            side_car = Some(indexed.side_car).filter(|_| reads_need_index);
            selections?
        } else {
            table.cut(cut, None)?
        };
        let slice = |selection| Slice {
            v: Slice::VERSION,
            format: format.name().to_owned(),
            objects: sources.clone(),
            selection,
            index: side_car.iter().cloned().collect(),
        };
        Ok(selections.into_iter().map(slice).collect())
    }

    /// The index of an object: the one that is there and is whole, or else a new one.
    pub(crate) fn index_table(
        &self,
        format: &Arc<dyn TableFormat>,
        source: ObjectRef,
        progress: &dyn Fn(Progress),
    ) -> Result<TableSummary, FormatError> {
        let Opened { sources, table } = self.open_table(format, source)?;
        if format.index_version() == 0 {
            let description = table.describe()?;
            return Ok(TableSummary { objects: sources, side_car: None, format: format.name(), description, built: false });
        }
        let mut indexed = self.indexed_table(format, &sources, &*table, progress)?;
        if !indexed.built {
            match sidecar::verify(&indexed.stored, &*indexed.body) {
                Err(FormatError::SideCar { name, reason }) => {
                    indexed = self.rebuilt_table(format, &sources, &*table, (&name, &reason), progress)?;
                }
                verified => verified.map_err(|error| self.explain(error))?,
            }
        }
        let Indexed { stored, side_car, built, .. } = indexed;
        let description = stored.description;
        Ok(TableSummary { objects: sources, side_car: Some(side_car), format: format.name(), description, built })
    }

    pub(crate) fn inspect_table(&self, format: &Arc<dyn TableFormat>, source: ObjectRef) -> Result<Inspection, FormatError> {
        let Opened { sources, table } = self.open_table(format, source)?;
        let described = table.describe()?;
        let stored = match format.index_version() {
            0 => None,
            _ => self.stored_table(format, &sources).ok().flatten(),
        };
        let (learned, index) = match stored {
            Some(Indexed { stored, body, .. }) => (Some(stored.description), Some(body)),
            None => (None, None),
        };
        // Rows of pixels tell nobody anything.
        let preview = match described.preview.is_empty() && format.name() != Tiff.name() {
            true => glance::of_table(&*table, index),
            false => described.preview.clone(),
        };
        // A preview is not kept in side-cars; everything else a pass knows better.
        let description = Description { preview, ..learned.unwrap_or(described) };
        Ok(Inspection::of_table(sources[0].clone(), format.name(), description))
    }

    pub(crate) fn read_table(&self, format: &Arc<dyn TableFormat>, slice: &Slice, object: usize) -> Result<Pieces, FormatError> {
        object_of(slice, object)?;
        self.reopen_table(format, slice)?.bytes(&slice.selection, self.index_of(slice)?, object)
    }

    pub(crate) fn table_batches(
        &self,
        format: &Arc<dyn TableFormat>,
        slice: &Slice,
        columns: &[String],
    ) -> Result<Batches, FormatError> {
        self.reopen_table(format, slice)?.arrow_of(&slice.selection, self.index_of(slice)?, columns)
    }

    fn open_table(&self, format: &Arc<dyn TableFormat>, source: ObjectRef) -> Result<Opened, FormatError> {
        let pinned = |uri: &ObjectUri| if *uri == source.uri { Ok(source.clone()) } else { self.stores.head(uri) };
        let sources = format.objects(&source.uri)?.iter().map(pinned).collect::<Result<Vec<_>, _>>()?;
        let table = self.table_among(format, &sources)?;
        Ok(Opened { sources, table })
    }

    fn reopen_table(&self, format: &Arc<dyn TableFormat>, slice: &Slice) -> Result<Box<dyn Table>, FormatError> {
        self.table_among(format, &slice.objects)
    }

    fn table_among(&self, format: &Arc<dyn TableFormat>, sources: &[ObjectRef]) -> Result<Box<dyn Table>, FormatError> {
        let readers = sources.iter().map(|source| self.stores.open(source)).collect::<Result<Vec<_>, _>>()?;
        let (stores, side_cars) = (self.stores.clone(), self.side_cars.clone());
        format.open_among(readers, Surroundings { stores, side_cars, sources: sources.to_vec() })
    }

    fn index_of(&self, slice: &Slice) -> Result<Option<Arc<dyn RangedRead>>, FormatError> {
        let Some(index) = slice.index.first() else { return Ok(None) };
        let source = object_of(slice, 0)?;
        let gone = || FormatError::IndexGone { object: source.uri.to_string(), side_car: index.uri.to_string() };
        let (stored, body) = sidecar::read(self.open_side_car(source, index)?).map_err(|error| match error {
            FormatError::Read(ReadError::NotFound { .. }) => gone(),
            other => other,
        })?;
        if stored.format != slice.format || stored.sources != slice.objects {
            return Err(gone());
        }
        Ok(Some(body))
    }

    fn indexed_table(
        &self,
        format: &Arc<dyn TableFormat>,
        sources: &[ObjectRef],
        table: &dyn Table,
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        self.find_or_build_table(format, sources, table, progress).map_err(|error| self.explain(error))
    }

    /// The fresh index: the one that is there, or else a new one.
    fn find_or_build_table(
        &self,
        format: &Arc<dyn TableFormat>,
        sources: &[ObjectRef],
        table: &dyn Table,
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        match self.stored_table(format, sources) {
            Ok(Some(indexed)) => Ok(indexed),
            Ok(None) => self.build_table(format, sources, table, progress),
            Err(FormatError::SideCar { name, reason }) => self.rebuilt_table(format, sources, table, (&name, &reason), progress),
            Err(error) => Err(error),
        }
    }

    /// A new index in place of one that is damaged, which is told.
    fn rebuilt_table(
        &self,
        format: &Arc<dyn TableFormat>,
        sources: &[ObjectRef],
        table: &dyn Table,
        (side_car, reason): (&str, &str),
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        tracing::warn!(object = %sources[0].uri, side_car, reason, "the side-car is damaged; building it again");
        self.build_table(format, sources, table, progress).map_err(|error| self.explain(error))
    }

    fn build_table(
        &self,
        format: &Arc<dyn TableFormat>,
        sources: &[ObjectRef],
        table: &dyn Table,
        progress: &dyn Fn(Progress),
    ) -> Result<Indexed, FormatError> {
        let uri = &sources[0].uri;
        let scratch = |source: io::Error| FormatError::Scratch { name: uri.to_string(), source };
        let mut body = CrcWriter::new(io::BufWriter::new(tempfile::tempfile().map_err(scratch)?));
        let description = table.build_index(&mut body, progress)?;
        let checksum = body.crc().sum();
        let mut body: File = body.into_inner().into_inner().map_err(|error| scratch(error.into_error()))?;
        let length = body.stream_position().map_err(scratch)?;
        body.rewind().map_err(scratch)?;
        let stored = Stored::new(sources.to_vec(), format.name(), format.index_version(), description, (length, checksum));
        let address = self.side_cars.address_ending(&sources[0], "ndtable");
        let mut upload = self.stores.upload(&address)?;
        let written = upload.write_all(&sidecar::encode(&stored)).and_then(|()| io::copy(&mut body, &mut upload).map(drop));
        written.map_err(|source| FormatError::Scratch { name: format!("the side-car of {uri}"), source })?;
        let object = upload.finish()?;
        let (stored, body) = sidecar::read(self.stores.open(&object)?)?;
        Ok(Indexed { stored, body, side_car: reference(object), built: true })
    }

    /// The index that lies at its address, if it is fresh.
    fn stored_table(&self, format: &Arc<dyn TableFormat>, sources: &[ObjectRef]) -> Result<Option<Indexed>, FormatError> {
        let object = match self.stores.head(&self.side_cars.address_ending(&sources[0], "ndtable")) {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (stored, body) = sidecar::read(self.stores.open(&object)?)?;
        if stored.sources != sources || stored.format != format.name() || stored.index_version != format.index_version() {
            tracing::warn!(object = %sources[0].uri, "the object changed since it was indexed; building its index again");
            return Ok(None);
        }
        Ok(Some(Indexed { stored, body, side_car: reference(object), built: false }))
    }
}

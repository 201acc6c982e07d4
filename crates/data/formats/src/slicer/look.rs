//! What an object turns out to be.

use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ObjectRef, ObjectUri, RangedRead};

use super::Slicer;
use crate::detect::{detect_as, detect_from, start_of};
use crate::table::TableFormat;
use crate::{Detected, Format, FormatError};

/// A pinned object and what it is.
pub(crate) enum Look {
    /// Records in a row.
    Rows(Rows),
    /// A format with a table of its own.
    Table(Arc<dyn TableFormat>, ObjectRef),
}

/// An object of records in a row, opened.
pub(crate) struct Rows {
    pub(crate) source: ObjectRef,
    pub(crate) reader: Arc<dyn RangedRead>,
    pub(crate) detected: Detected,
    /// Its first uncompressed bytes.
    pub(crate) content: Bytes,
}

impl Slicer {
    /// What the object is: one question for its version, one for its first bytes.
    pub(crate) fn look(&self, uri: &ObjectUri) -> Result<Look, FormatError> {
        let source = self.stores.head(uri)?;
        let reader = self.stores.open(&source)?;
        let start = start_of(reader.as_ref())?;
        match self.tables.iter().find(|format| format.sniff(reader.name(), &start)) {
            Some(format) => Ok(Look::Table(Arc::clone(format), source)),
            None => Rows::new(source, reader, start).map(Look::Rows),
        }
    }

    /// The same where the caller says what it is: a format of records in a row is believed, any other must know its own.
    pub(super) fn look_as(&self, uri: &ObjectUri, format: Option<&str>) -> Result<Look, FormatError> {
        let Some(name) = format else { return self.look(uri) };
        let source = self.stores.head(uri)?;
        let reader = self.stores.open(&source)?;
        let start = start_of(reader.as_ref())?;
        if let Some(format) = Format::from_name(name) {
            let (detected, content) = detect_as(reader.name(), start, format)?;
            return Ok(Look::Rows(Rows { source, reader, detected, content }));
        }
        let formats = || self.formats().into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let Some(format) = self.table_named(name) else {
            return Err(FormatError::Query(format!("there is no format `{name}`; there are {}", formats())));
        };
        if !format.sniff(reader.name(), &start) {
            let found = format!("it does not begin as {name} does");
            let remedy = format!("Leave the format out, or name another: {}", formats());
            return Err(FormatError::Unknown { name: reader.name().to_owned(), found, remedy });
        }
        Ok(Look::Table(format, source))
    }

    /// The same where records in a row are asked for.
    pub(super) fn rows(&self, source: ObjectRef) -> Result<Rows, FormatError> {
        let reader = self.stores.open(&source)?;
        let start = start_of(reader.as_ref())?;
        Rows::new(source, reader, start)
    }

    pub(crate) fn table_named(&self, name: &str) -> Option<Arc<dyn TableFormat>> {
        self.tables.iter().find(|format| format.name() == name).cloned()
    }
}

impl Rows {
    fn new(source: ObjectRef, reader: Arc<dyn RangedRead>, start: Bytes) -> Result<Self, FormatError> {
        let (detected, content) = detect_from(reader.name(), start)?;
        Ok(Self { source, reader, detected, content })
    }
}

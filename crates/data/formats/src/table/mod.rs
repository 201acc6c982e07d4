//! Formats that find their parts through a table of their own: in a header, a footer, a tree, or a second object.
//!
//! Where [`crate::Format`] is a scanner over bytes, a [`TableFormat`] reads its table, chooses parts of it for a [`Cut`], and says what
//! of the object belongs to one. Selections are JSON values that only the format looks into. Formats of other crates plug in with
//! [`Slicer::with_format`](crate::Slicer::with_format) and are checked by [`crate::conformance::tables`].

mod batches;
mod contain;
mod cram;
mod cut;
mod description;
mod driver;
mod imzml;
mod ipc;
pub mod las;
mod parquet;
mod rows;
mod sidecar;
mod tiff;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use neardata_core::{ObjectRef, ObjectUri, RangedRead};
use neardata_store::Stores;
use serde_json::Value;

use crate::{FormatError, Progress, SideCars};

pub use batches::Batches;
pub use cut::{Bounds, Cut};
pub use description::{Bound, Column, Description, Extent};
pub use driver::{Prepared, TableSummary};
pub use imzml::ImzMl;
pub use tiff::Tiff;

/// Every table format of this crate, in the order they are tried.
pub(crate) fn builtin() -> Vec<Arc<dyn TableFormat>> {
    vec![
        Arc::new(las::PointCloud::Copc),
        Arc::new(las::PointCloud::Laz),
        Arc::new(las::PointCloud::Las),
        Arc::new(Tiff),
        Arc::new(parquet::Parquet),
        Arc::new(ipc::Ipc),
        Arc::new(cram::Cram),
        Arc::new(imzml::ImzMl),
    ]
}

/// Consecutive pieces of a file.
pub type Pieces = Box<dyn Iterator<Item = Result<Bytes, FormatError>> + Send>;

/// A format with a table of its own.
pub trait TableFormat: Send + Sync {
    /// Name in slices and messages: lower case, one word.
    fn name(&self) -> &'static str;

    /// Whether the first bytes of an object (64 KiB, fewer if it is smaller) are of this format. `name` is its address.
    fn sniff(&self, name: &str, start: &[u8]) -> bool;

    /// All objects that make up what `uri` names, in the order slices list them; most formats have one.
    fn objects(&self, uri: &ObjectUri) -> Result<Vec<ObjectUri>, FormatError> {
        Ok(vec![uri.clone()])
    }

    /// Version of what [`Table::build_index`] writes; an index of another version is built again. 0: there is no index.
    fn index_version(&self) -> u32 {
        0
    }

    /// Opens the objects. Reads headers only: this runs before every read of a slice.
    fn open(&self, objects: Vec<Arc<dyn RangedRead>>) -> Result<Box<dyn Table>, FormatError>;

    /// The same for formats that look further than their objects: at an index beside them, or a reference that a selection names.
    fn open_among(&self, objects: Vec<Arc<dyn RangedRead>>, _around: Surroundings) -> Result<Box<dyn Table>, FormatError> {
        self.open(objects)
    }
}

/// Where the objects of a table lie.
#[derive(Clone)]
pub struct Surroundings {
    /// The stores they come from.
    pub stores: Stores,
    /// Where indexes are kept.
    pub side_cars: SideCars,
    /// The objects, pinned.
    pub sources: Vec<ObjectRef>,
}

/// An opened object of a [`TableFormat`].
///
/// `index` is what [`Table::build_index`] wrote, readable by range. It comes from a file that anyone may have damaged: its checksum
/// is verified only where the whole of it is read, so offsets and counts in it are checked like those of the object.
pub trait Table: Send + Sync {
    /// What its header says, for people and for the catalog.
    fn describe(&self) -> Result<Description, FormatError>;

    /// Whether this cut needs the index.
    fn needs_index(&self, _cut: &Cut) -> bool {
        false
    }

    /// Whether slices of this cut, which needs the index, need it to be read as well.
    fn reads_need_index(&self, _cut: &Cut) -> bool {
        true
    }

    /// Writes the index in one streaming pass with bounded memory, and says what it learned.
    fn build_index(&self, _out: &mut dyn Write, _progress: &dyn Fn(Progress)) -> Result<Description, FormatError> {
        self.describe()
    }

    /// Chooses the parts: one selection a slice, in order, none of them empty, each below some 700 bytes of JSON.
    fn cut(&self, cut: &Cut, index: Option<&dyn RangedRead>) -> Result<Vec<Value>, FormatError>;

    /// Object number `object` (from 0) of the part, as a valid file of its own.
    fn bytes(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>, object: usize) -> Result<Pieces, FormatError>;

    /// The part as Arrow record batches.
    fn arrow(&self, selection: &Value, index: Option<Arc<dyn RangedRead>>) -> Result<Batches, FormatError>;

    /// The same with these columns only, all if none is named: for formats that need not look at the others.
    fn arrow_of(
        &self,
        selection: &Value,
        index: Option<Arc<dyn RangedRead>>,
        columns: &[String],
    ) -> Result<Batches, FormatError> {
        self.arrow(selection, index)?.select(columns)
    }
}

//! Formats: what an object is, where its records begin, how to cut it into [`Slice`](neardata_core::Slice)s without rewriting it,
//! and how to read one slice without seeing the rest.
//!
//! - [`detect`] looks at magic bytes, then at the name.
//! - [`build_index`] makes one streaming pass and gives an [`Index`]: points where decoding can start again and where records begin.
//! - The side-car file that keeps an index is described byte by byte in `docs/formats.md`.
//! - [`Slicer`] is the one driver over a store; everything below it sees objects only through
//!   [`RangedRead`](neardata_core::RangedRead).
//! - [`conformance`] checks the partition law: slices of any object, cut in any way, concatenate to the original, exactly.

mod build;
mod columns;
pub mod conformance;
mod detect;
mod error;
mod glance;
mod gzip;
mod index;
mod input;
mod inspect;
mod lazy;
mod partition;
mod read;
mod records;
mod region;
mod selection;
mod sidecar;
mod slicer;
pub mod table;
mod whole;
mod zstandard;

pub use build::{Built, IndexPart, Parallel, Progress, build_index, build_index_parallel};
pub use columns::ArrowOptions;
pub use detect::{Compression, Detected, detect};
pub use error::FormatError;
pub use index::{Index, IndexOptions, Point, Restart};
pub use inspect::{Counts, Inspection, Reference};
pub use partition::Partition;
pub use read::{Part, RecordReader};
pub use records::Format;
pub use region::{RegionRecords, RegionSelection, SequencePart, SequenceSelection};
pub use selection::{Preamble, Selection, Stretch, WindowRef};
pub use sidecar::read_index;
pub use slicer::{IndexSummary, SideCars, Slicer};
pub use table::{Batches, Bounds, Cut, Prepared, TableSummary};
pub use whole::SliceReader;

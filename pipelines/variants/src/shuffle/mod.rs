//! The range shuffle: one object of sorted records per aligned slice, and a table that says which bytes hold which stretch of the genome.
//!
//! Records lie in blocks of at most 64 KiB, in the order of `samtools sort`; a block never holds two contigs. The table (an output of
//! its own) names each block's contig, first position, furthest end, number of records and bytes, so whoever plans the region calls
//! finds the bytes of any stretch, padding included, without the producing call having known the regions. Nothing is written twice,
//! and a region can be split again later.

mod block;
mod merge;
mod table;
mod writer;

pub use block::{BlockError, BlockReader};
pub use merge::Merge;
pub use table::{BlockEntry, Table, TableError, UNPLACED};
pub use writer::{RunSummary, RunWriter};

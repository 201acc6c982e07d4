//! The one driver: formats over a store.

mod calls;
mod indexes;
mod look;
mod read;

use std::sync::Arc;

use neardata_core::{ObjectUri, Slice};
use neardata_store::Stores;

use self::indexes::Indexed;
pub(crate) use self::indexes::reference;
pub use self::indexes::{IndexSummary, SideCars};
pub(crate) use self::look::{Look, Rows};
pub(crate) use self::read::object_of;
use crate::build::{Parallel, Progress};
use crate::index::{Index, IndexOptions};
use crate::inspect::{Counts, Inspection, inspect};
use crate::lazy;
use crate::partition::{Partition, cuts};
use crate::read::{Part, RecordReader};
use crate::region;
use crate::selection::{PREAMBLE_LIMIT, Selection, Stretch};
use crate::table::{self, Cut, TableFormat};
use crate::{Compression, Detected, Format, FormatError};

/// A pass over less takes no time, and its slices know how many records they hold.
const LAZY_ABOVE: u64 = 32 << 20;

/// Indexes, cuts and reads objects of a store.
#[derive(Clone)]
pub struct Slicer {
    pub(crate) stores: Stores,
    pub(crate) side_cars: SideCars,
    pub(crate) options: IndexOptions,
    parallel: Parallel,
    /// Plain objects of this size are cut without an index where that can be done.
    lazy_above: u64,
    pub(crate) tables: Vec<Arc<dyn TableFormat>>,
}

impl Slicer {
    /// A slicer over these stores, keeping its side-cars there.
    pub fn new(stores: Stores, side_cars: SideCars) -> Self {
        let (options, parallel) = (IndexOptions::default(), Parallel::default());
        Self { stores, side_cars, options, parallel, lazy_above: LAZY_ABOVE, tables: table::builtin() }
    }

    /// The same with a further format; it is asked before those of this crate.
    pub fn with_format(mut self, format: Arc<dyn TableFormat>) -> Self {
        self.tables.insert(0, format);
        self
    }

    /// Names of the formats it knows.
    pub fn formats(&self) -> Vec<&'static str> {
        Format::all().map(Format::name).chain(self.tables.iter().map(|format| format.name())).collect()
    }

    /// The same with other index parameters; a side-car made with different ones is rebuilt.
    pub fn with_options(mut self, options: IndexOptions) -> Self {
        self.options = options;
        self
    }

    /// The same with another number of threads, or other parts for them, when it indexes a large object; side-cars stay the same.
    pub fn with_parallel(mut self, parallel: Parallel) -> Self {
        self.parallel = parallel;
        self
    }

    /// The same with another size from which on plain objects of lines and sequences are cut without an index.
    pub fn with_lazy_above(mut self, bytes: u64) -> Self {
        self.lazy_above = bytes;
        self
    }

    /// Cuts an object, or asks it for what a query selects, whatever its format; indexes it first if need be.
    pub fn cut(&self, uri: &ObjectUri, cut: &Cut, progress: &dyn Fn(Progress)) -> Result<Vec<Slice>, FormatError> {
        let rows = match self.look_as(uri, cut.format.as_deref())? {
            Look::Table(format, source) => return self.cut_table(&format, source, cut, progress),
            Look::Rows(rows) => rows,
        };
        let detected = rows.detected;
        if !cut.regions.is_empty() {
            cut.only(detected.format.title(), &["region", "n", "bytes", "records"])?;
            let regions: Vec<&str> = cut.regions.iter().map(String::as_str).collect();
            return self.regions_of(rows, &regions, cut.partition, progress);
        }
        let offered: &[&str] = match detected.format {
            Format::Csv | Format::Tsv => &["n", "bytes", "records", "header", "one_line_rows"],
            Format::Text => &["n", "bytes", "records", "header"],
            _ => &["n", "bytes", "records"],
        };
        cut.only(detected.format.title(), offered)?;
        let partition = cut.partition.unwrap_or(Partition::Count(1));
        if let Some(slices) = self.cut_lazily(&rows, partition, cut)? {
            return Ok(slices);
        }
        let indexed = self.indexed(&rows.source, Some(&rows), progress)?;
        if cut.header { self.headed(indexed, partition) } else { self::cut(&[indexed], partition, 1) }
    }

    /// Cuts a large plain object without an index, where its format allows it and it has none.
    fn cut_lazily(&self, rows: &Rows, partition: Partition, cut: &Cut) -> Result<Option<Vec<Slice>>, FormatError> {
        let Rows { source, reader, detected: Detected { format, compression }, .. } = rows;
        if *compression != Compression::Plain || !lazy::serves(*format, cut.one_line_rows) || source.size < self.lazy_above {
            return Ok(None);
        }
        if self.summary_of(source).is_some() {
            return Ok(None);
        }
        let Some(selections) = lazy::cuts(reader.as_ref(), *format, partition, cut.header)? else { return Ok(None) };
        let slice = |selection| {
            Ok(Slice {
                v: Slice::VERSION,
                format: format.name().to_owned(),
                objects: vec![source.clone()],
                selection: serde_json::to_value(selection).map_err(neardata_core::SliceError::Malformed)?,
                index: Vec::new(),
            })
        };
        selections.into_iter().map(slice).collect::<Result<_, FormatError>>().map(Some)
    }

    /// Looks at an object without a pass over it: what it is, what its header says, its first records, and what its index knows if it
    /// has a fresh one.
    pub fn inspect(&self, uri: &ObjectUri) -> Result<Inspection, FormatError> {
        let rows = match self.look(uri)? {
            Look::Table(format, source) => return self.inspect_table(&format, source),
            Look::Rows(rows) => rows,
        };
        inspect(&rows, self.summary_of(&rows.source).map(Counts::from))
    }

    /// Cuts an object; indexes it first if need be. An object without records gives no slice.
    pub fn slices(&self, uri: &ObjectUri, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        self.grouped_slices(uri, partition, 1)
    }

    /// Cuts an object whose records belong together in runs of `group` (2 for interleaved mates): no slice splits a run.
    pub fn grouped_slices(&self, uri: &ObjectUri, partition: Partition, group: u64) -> Result<Vec<Slice>, FormatError> {
        let indexed = self.indexed(&self.stores.head(uri)?, None, &|_| {})?;
        let records = indexed.index.records;
        if group > 1 && !records.is_multiple_of(group) {
            return Err(FormatError::IncompleteGroup { name: uri.to_string(), records, group });
        }
        cut(&[indexed], partition, group)
    }

    /// Cuts rows or lines of which the first is a header: it is in no slice, and in front of what [`Slicer::read`] gives of each.
    pub fn headed_slices(&self, uri: &ObjectUri, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        self.headed(self.indexed(&self.stores.head(uri)?, None, &|_| {})?, partition)
    }

    fn headed(&self, indexed: Indexed, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        let index = &indexed.index;
        if !matches!(index.format, Format::Csv | Format::Tsv | Format::Text) {
            let offered = "`n`, `bytes`, `records`".to_owned();
            return Err(FormatError::NotOffered { format: index.format.name(), option: "header", offered });
        }
        let length = match index.records {
            0 => 0,
            _ => self.length_of_first(index)?,
        };
        cut(&[indexed.with_header_row(length)], partition, 1)
    }

    /// Uncompressed bytes of the first record.
    fn length_of_first(&self, index: &Index) -> Result<u64, FormatError> {
        let (object, stretch) = (self.stores.open(&index.source)?, Stretch::new(index, 0, 1));
        let mut reader = RecordReader::new(Part { object, side_car: None, format: index.format, stretch, verify_ends: false })?;
        let mut length = 0;
        loop {
            match reader.chunk()?.len() as u64 {
                0 => return Ok(length),
                _ if length > PREAMBLE_LIMIT => {
                    return Err(FormatError::Malformed {
                        name: index.source.uri.to_string(),
                        format: index.format.name(),
                        line: 1,
                        reason: "the header row is longer than 256 MiB; does it have one?".into(),
                    });
                }
                more => length += more,
            }
        }
    }

    /// Cuts mate files at the same read ordinals; refuses files with different numbers of reads.
    pub fn paired_slices(&self, mate1: &ObjectUri, mate2: &ObjectUri, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        let indexed = |uri| self.indexed(&self.stores.head(uri)?, None, &|_| {});
        let mates = [indexed(mate1)?, indexed(mate2)?];
        let [first, second] = [&mates[0].index, &mates[1].index];
        if first.format != second.format {
            return Err(FormatError::UnlikeMates {
                first: mate1.to_string(),
                first_format: first.format.to_string(),
                second: mate2.to_string(),
                second_format: second.format.to_string(),
            });
        }
        if first.records != second.records {
            return Err(FormatError::UnequalMates {
                first: mate1.to_string(),
                first_records: first.records,
                second: mate2.to_string(),
                second_records: second.records,
            });
        }
        cut(&mates, partition, 1)
    }

    /// One slice a region: all records of sorted BAM, BCF or VCF in BGZF that overlap it, or its bases of FASTA, plain or in BGZF.
    /// Regions are written as samtools reads them (`chr20:1000-2000`, positions from 1, both ends in). The index that lies beside the
    /// object is used (`.bai`, `.csi`, `.tbi`, `.fai` with `.gzi`); where there is none, one is made in one pass and kept among the side-cars.
    pub fn region_slices(
        &self,
        uri: &ObjectUri,
        regions: &[&str],
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<Slice>, FormatError> {
        self.region_parts(uri, regions, None, progress)
    }

    /// The same with a partition: several slices a region that share its records, or its bases. A record belongs to the slice in which
    /// it starts (POS), so every record that starts in the region is in exactly one; those that only reach into it are in none. `Count`
    /// and `Bytes` cut where the index tells that compressed sizes are about equal (for FASTA: where bases are), so a slice may hold
    /// no record; `Records` reads the region to count, and keeps records of one position together.
    pub fn region_parts(
        &self,
        uri: &ObjectUri,
        regions: &[&str],
        partition: Option<Partition>,
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<Slice>, FormatError> {
        self.regions_of(self.rows(self.stores.head(uri)?)?, regions, partition, progress)
    }

    fn regions_of(
        &self,
        rows: Rows,
        regions: &[&str],
        partition: Option<Partition>,
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<Slice>, FormatError> {
        region::slices(&self.stores, &self.side_cars.root, rows.source, rows.detected, regions, partition, progress)
            .map_err(|error| self.explain(error))
    }
}

fn cut(mates: &[Indexed], partition: Partition, group: u64) -> Result<Vec<Slice>, FormatError> {
    let indexes: Vec<&Index> = mates.iter().map(|mate| &mate.index).collect();
    let cuts = cuts(&indexes, partition, group)?;
    let whole = cuts.len() == 2 && partition != Partition::Count(1);
    for index in &indexes {
        for note in index.cut_short().into_iter().chain(index.one_frame().filter(|_| whole)) {
            tracing::warn!(object = %index.source.uri, "{note}");
        }
    }
    let slice = |pair: &[u64]| {
        let stretches: Vec<Stretch> = indexes.iter().map(|index| Stretch::new(index, pair[0], pair[1])).collect();
        let needs_index = stretches.iter().any(|stretch| stretch.window.is_some());
        let selection = serde_json::to_value(Selection { stretches }).map_err(neardata_core::SliceError::Malformed)?;
        Ok(Slice {
            v: Slice::VERSION,
            format: indexes[0].format.name().to_owned(),
            objects: indexes.iter().map(|index| index.source.clone()).collect(),
            selection,
            index: if needs_index { mates.iter().map(|mate| mate.side_car.clone()).collect() } else { Vec::new() },
        })
    };
    cuts.windows(2).map(slice).collect()
}

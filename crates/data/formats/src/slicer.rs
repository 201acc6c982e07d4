//! The one driver: formats over a store.

use std::sync::Arc;

use neardata_core::{IndexRef, ObjectRef, ObjectUri, Pin, RangedRead, ReadError, Slice, canonical};
use neardata_store::{StoreError, Stores};

use crate::build::{Built, Parallel, Progress, build_index_parallel};
use crate::columns::{self, ArrowOptions, Opened};
use crate::detect::{detect_from, start_of};
use crate::index::{Index, IndexOptions};
use crate::inspect::{Counts, Inspection, inspect};
use crate::lazy::{self, PlainSelection};
use crate::partition::{Partition, cuts};
use crate::read::{Part, RecordReader};
use crate::region;
use crate::selection::{PREAMBLE_LIMIT, Selection, Stretch};
use crate::table::{self, Batches, Cut, Look, Prepared, TableFormat};
use crate::whole::SliceReader;
use crate::{Compression, Detected, Format, FormatError, detect, sidecar};

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

pub(crate) struct Indexed {
    index: Index,
    side_car: IndexRef,
    built: bool,
}

impl Indexed {
    pub(crate) fn new(index: Index, side_car: ObjectRef, built: bool) -> Self {
        Self { index, side_car: reference(side_car), built }
    }

    pub(crate) fn summary(self) -> IndexSummary {
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
        let detected = match self.look(uri)? {
            Look::Table(format) => return self.cut_table(&format, uri, cut, progress),
            Look::Rows(detected) => detected,
        };
        if !cut.regions.is_empty() {
            cut.only(detected.format.title(), &["region", "n", "bytes", "records"])?;
            let regions: Vec<&str> = cut.regions.iter().map(String::as_str).collect();
            return self.region_parts(uri, &regions, cut.partition, progress);
        }
        let offered: &[&str] = match detected.format {
            Format::Csv | Format::Tsv | Format::Text => &["n", "bytes", "records", "header"],
            _ => &["n", "bytes", "records"],
        };
        cut.only(detected.format.title(), offered)?;
        let partition = cut.partition.unwrap_or(Partition::Count(1));
        if cut.header {
            self.index(uri, progress)?;
            return self.headed_slices(uri, partition);
        }
        match self.cut_lazily(uri, detected, partition)? {
            Some(slices) => Ok(slices),
            None => self::cut(&[self.indexed(uri, progress)?], partition, 1),
        }
    }

    /// Cuts a large plain object without an index, where its format allows it and it has none.
    fn cut_lazily(&self, uri: &ObjectUri, detected: Detected, partition: Partition) -> Result<Option<Vec<Slice>>, FormatError> {
        let source = self.stores.head(uri)?;
        let Detected { format, compression } = detected;
        if compression != Compression::Plain || !lazy::serves(format) || source.size < self.lazy_above {
            return Ok(None);
        }
        let stored = self.stored(&self.side_cars.address(&source)).ok().flatten();
        if stored.is_some_and(|(index, _)| index.source == source && index.options == self.options) {
            return Ok(None);
        }
        let Some(selections) = lazy::cuts(self.stores.open(&source)?.as_ref(), format, partition)? else { return Ok(None) };
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

    /// Makes sure that a fresh index exists, of whatever kind the object's format has.
    pub fn prepare(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<Prepared, FormatError> {
        match self.look(uri)? {
            Look::Table(format) => Ok(Prepared::Table(self.index_table(&format, uri, progress)?)),
            Look::Rows(_) => Ok(Prepared::Rows(self.index(uri, progress)?)),
        }
    }

    /// Makes sure that a fresh side-car of records in a row exists: builds it if it is absent, stale or damaged.
    pub fn index(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<IndexSummary, FormatError> {
        Ok(self.indexed(uri, progress)?.summary())
    }

    /// Looks at an object without a pass over it: what it is, what its header says, its first records, and what its index knows if it
    /// has a fresh one.
    pub fn inspect(&self, uri: &ObjectUri) -> Result<Inspection, FormatError> {
        let source = self.stores.head(uri)?;
        let reader = self.stores.open(&source)?;
        let start = start_of(reader.as_ref())?;
        if let Some(format) = self.table_of(reader.name(), &start) {
            return self.inspect_table(&format, uri);
        }
        let (detected, content) = detect_from(reader.name(), start)?;
        let stored = self.stored(&self.side_cars.address(&source)).ok().flatten();
        let fresh = stored.filter(|(index, _)| index.source == source && index.options == self.options);
        let counts = fresh.map(|(index, side_car)| Counts::from(&Indexed { index, side_car, built: false }.summary()));
        inspect(reader.as_ref(), source, detected, &content, counts)
    }

    /// Cuts an object; indexes it first if need be. An object without records gives no slice.
    pub fn slices(&self, uri: &ObjectUri, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        self.grouped_slices(uri, partition, 1)
    }

    /// Cuts an object whose records belong together in runs of `group` (2 for interleaved mates): no slice splits a run.
    pub fn grouped_slices(&self, uri: &ObjectUri, partition: Partition, group: u64) -> Result<Vec<Slice>, FormatError> {
        let indexed = self.indexed(uri, &|_| {})?;
        let records = indexed.index.records;
        if group > 1 && !records.is_multiple_of(group) {
            return Err(FormatError::IncompleteGroup { name: uri.to_string(), records, group });
        }
        cut(&[indexed], partition, group)
    }

    /// Cuts rows or lines of which the first is a header: it is in no slice, and in front of what [`Slicer::read`] gives of each.
    pub fn headed_slices(&self, uri: &ObjectUri, partition: Partition) -> Result<Vec<Slice>, FormatError> {
        let Indexed { index, side_car, built } = self.indexed(uri, &|_| {})?;
        if !matches!(index.format, Format::Csv | Format::Tsv | Format::Text) {
            let offered = "`n`, `bytes`, `records`".to_owned();
            return Err(FormatError::NotOffered { format: index.format.name(), option: "header", offered });
        }
        let length = match index.records {
            0 => 0,
            _ => self.length_of_first(&index)?,
        };
        cut(&[Indexed { index: index.with_header_row(length), side_car, built }], partition, 1)
    }

    /// Uncompressed bytes of the first record.
    fn length_of_first(&self, index: &Index) -> Result<u64, FormatError> {
        let (object, stretch) = (self.stores.open(&index.source)?, Stretch::new(index, 0, 1));
        let mut reader = RecordReader::new(Part { object, side_car: None, format: index.format, stretch })?;
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
        let mates = [self.indexed(mate1, &|_| {})?, self.indexed(mate2, &|_| {})?];
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
        let source = self.stores.head(uri)?;
        let detected = detect(self.stores.open(&source)?.as_ref())?;
        region::slices(&self.stores, &self.side_cars.root, source, detected, regions, partition, progress)
            .map_err(|error| self.explain(error))
    }

    /// Reads object number `object` (from 0) of a slice as a file of its own: its records, uncompressed, behind the object's header if
    /// its format has one; BAM and BCF as BGZF.
    pub fn read(&self, slice: &Slice, object: usize) -> Result<SliceReader, FormatError> {
        if let Some(format) = self.table_named(&slice.format) {
            return self.read_table(&format, slice, object).map(SliceReader::of_pieces);
        }
        if slice.selection.get("region").is_some() {
            let (format, source) = (format_of(slice)?, object_of(slice, object)?);
            return SliceReader::of_region(self.stores.open(source)?, format, slice.selection_as()?);
        }
        if slice.selection.get("sequence").is_some() {
            return SliceReader::of_sequence(self.stores.open(object_of(slice, object)?)?, slice.selection_as()?);
        }
        SliceReader::new(self.part(slice, object)?)
    }

    /// A slice as Arrow record batches, with all its columns.
    pub fn arrow(&self, slice: &Slice) -> Result<Batches, FormatError> {
        self.arrow_with(slice, &ArrowOptions::default())
    }

    /// Reads object number `object` (from 0) of a slice: exactly the uncompressed bytes of its records, without any header.
    pub fn read_records(&self, slice: &Slice, object: usize) -> Result<RecordReader, FormatError> {
        RecordReader::new(self.part(slice, object)?)
    }

    /// A slice as Arrow record batches. What the columns of each format are is in `docs/formats/`. Of the options, formats with a
    /// table of their own know `columns`.
    pub fn arrow_with(&self, slice: &Slice, options: &ArrowOptions) -> Result<Batches, FormatError> {
        if let Some(format) = self.table_named(&slice.format) {
            return self.table_batches(&format, slice, &options.columns);
        }
        let (format, source) = (format_of(slice)?, object_of(slice, options.object)?);
        let query = slice.selection.get("region").or(slice.selection.get("sequence"));
        let (compression, records, headed) = match query {
            Some(_) => (Compression::Bgzf, [0, u64::MAX], true),
            None => {
                let Stretch { compression, records, preamble, .. } = self.part(slice, options.object)?.stretch;
                (compression, records, preamble.is_some())
            }
        };
        let object = self.stores.open(source)?;
        let (header, reader) = self.read(slice, options.object)?.into_parts()?;
        columns::batches(Opened { object, format, compression, headed, first: records[0], header }, reader, options)
    }

    fn part(&self, slice: &Slice, object: usize) -> Result<Part, FormatError> {
        let (format, source) = (format_of(slice)?, object_of(slice, object)?);
        let stretch: Stretch = if slice.selection.get("bytes").is_some() {
            slice.selection_as::<PlainSelection>()?.into()
        } else {
            let Selection { mut stretches } = slice.selection_as()?;
            if object >= stretches.len() {
                return Err(FormatError::NoSuchObject { asked: object, held: stretches.len() });
            }
            stretches.swap_remove(object)
        };
        let side_car = match (stretch.window, slice.index.get(object)) {
            (Some(_), Some(index)) => Some(self.open_side_car(source, index)?),
            _ => None,
        };
        Ok(Part { object: self.stores.open(source)?, side_car, format, stretch })
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

    fn indexed(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<Indexed, FormatError> {
        self.find_or_build(uri, progress).map_err(|error| self.explain(error))
    }

    fn find_or_build(&self, uri: &ObjectUri, progress: &dyn Fn(Progress)) -> Result<Indexed, FormatError> {
        let source = self.stores.head(uri)?;
        if let Some(indexed) = self.fresh(&source)? {
            return Ok(indexed);
        }
        let reader = self.stores.open(&source)?;
        let detected = detect(reader.as_ref())?;
        let built = build_index_parallel(reader.as_ref(), &source, detected, self.options, self.parallel, progress)?;
        self.keep(uri, &self.side_cars.address(&source), built)
    }

    /// The index of an object that is there already, if it is of this version of it.
    pub(crate) fn fresh(&self, source: &ObjectRef) -> Result<Option<Indexed>, FormatError> {
        match self.stored(&self.side_cars.address(source)) {
            Ok(Some((index, side_car))) if index.source == *source && index.options == self.options => {
                return Ok(Some(Indexed { index, side_car, built: false }));
            }
            Ok(Some(_)) => tracing::info!(object = %source.uri, "the side-car is stale; building it again"),
            Ok(None) => {}
            Err(FormatError::SideCar { name, reason }) => {
                tracing::warn!(object = %source.uri, side_car = name, reason, "the side-car is damaged; building it again");
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Writes a side-car.
    pub(crate) fn keep(&self, uri: &ObjectUri, address: &ObjectUri, mut built: Built) -> Result<Indexed, FormatError> {
        let mut upload = self.stores.upload(address)?;
        built.write_to(&mut upload).map_err(|source| FormatError::Scratch { name: format!("the side-car of {uri}"), source })?;
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

fn format_of(slice: &Slice) -> Result<Format, FormatError> {
    Format::from_name(&slice.format).ok_or_else(|| FormatError::Unknown {
        name: "this slice".into(),
        found: format!("`{}`", slice.format),
        remedy: "A later version of the program may have written it".into(),
    })
}

pub(crate) fn object_of(slice: &Slice, object: usize) -> Result<&ObjectRef, FormatError> {
    slice.objects.get(object).ok_or(FormatError::NoSuchObject { asked: object, held: slice.objects.len() })
}

/// How slices refer to a side-car. Where the store gives no strong tag the size is enough: a window is checked against the checksum
/// the slice carries, and a rebuilt side-car of the same object has the same bytes but another modification time.
pub(crate) fn reference(mut object: ObjectRef) -> IndexRef {
    if object.pin.is_weak() {
        object.pin = Pin::WeakSize;
    }
    object.into()
}

fn cut(mates: &[Indexed], partition: Partition, group: u64) -> Result<Vec<Slice>, FormatError> {
    let indexes: Vec<&Index> = mates.iter().map(|mate| &mate.index).collect();
    let cuts = cuts(&indexes, partition, group)?;
    if cuts.len() == 2 && partition != Partition::Count(1) {
        for index in &indexes {
            if let Some(note) = index.note() {
                tracing::warn!(object = %index.source.uri, "{note}");
            }
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

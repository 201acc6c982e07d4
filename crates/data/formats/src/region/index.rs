//! The binning index of an object: the one that lies beside it, or one of our own among the side-cars.

use std::io::{self, Write};

use neardata_core::{ObjectRef, ObjectUri, RangedRead, canonical};
use neardata_store::{StoreError, Stores};
use noodles_bam::bai;
use noodles_bgzf::VirtualPosition;
use noodles_core::Position;
use noodles_csi as csi;
use noodles_csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles_csi::binning_index::index::reference_sequence::index::BinnedIndex;
use noodles_csi::binning_index::{BinningIndex as _, Indexer};
use serde::{Deserialize, Serialize};

use super::extent::{self, Extent, Reference};
use super::guard::{self, Layout};
use super::share::Bins;
use super::walk::{self, Header};
use crate::{Format, FormatError, Progress};

/// First bytes of an index of our own; the last is the layout's version.
const MAGIC: &[u8; 9] = b"NDREGION\x01";
/// Bins of 16 kb and six levels: references up to 2^32 bases.
const MIN_SHIFT: u8 = 14;
const DEPTH: u8 = 6;
/// Progress is told every so many bytes.
const TELL_EVERY: u64 = 4 << 20;

/// An index, and the names it knows its references by.
pub(crate) struct RegionIndex {
    pub(crate) index: Box<dyn Bins>,
    /// For VCF, whose header need not name them all; empty for formats whose header does.
    pub(crate) names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct OwnHeader {
    v: u32,
    source: ObjectRef,
    names: Vec<String>,
}

/// The index that lies beside the object, as `samtools index`, `tabix` and `bcftools index` name it.
pub(crate) fn beside(stores: &Stores, uri: &ObjectUri, format: Format) -> Result<Option<RegionIndex>, FormatError> {
    let endings: &[&str] = if format == Format::Bam { &["bai", "csi"] } else { &["tbi", "csi"] };
    for ending in endings {
        for address in neighbours(uri, ending, format) {
            let bytes = match stores.get(&address) {
                Ok(bytes) => bytes,
                Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let damaged = |error: io::Error| FormatError::RegionIndex { name: address.to_string(), reason: error.to_string() };
            return parse(Layout::of_ending(ending), &bytes).map(Some).map_err(damaged);
        }
    }
    Ok(None)
}

/// `x.bam.bai`, and for BAM `x.bai` too.
fn neighbours(uri: &ObjectUri, ending: &str, format: Format) -> Vec<ObjectUri> {
    let text = uri.to_string();
    // An address with a query (a presigned one) names one object alone.
    if text.contains('?') {
        return Vec::new();
    }
    let stem = (format == Format::Bam).then(|| text.strip_suffix(".bam")).flatten();
    let names = [Some(format!("{text}.{ending}")), stem.map(|stem| format!("{stem}.{ending}"))];
    names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect()
}

fn parse(layout: Layout, bytes: &[u8]) -> io::Result<RegionIndex> {
    guard::check(layout, bytes).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    let index: Box<dyn Bins> = match layout {
        Layout::Bai => Box::new(bai::io::Reader::new(bytes).read_index()?),
        Layout::Tbi => Box::new(noodles_tabix::io::Reader::new(bytes).read_index()?),
        Layout::Csi => Box::new(csi::io::Reader::new(bytes).read_index()?),
    };
    let names = index.header().map(|header| header.reference_sequence_names().iter().map(ToString::to_string).collect());
    Ok(RegionIndex { names: names.unwrap_or_default(), index })
}

/// The address of our own index of an object.
pub(crate) fn own_address(root: &ObjectUri, object: &ObjectRef, ending: &str) -> ObjectUri {
    let key = canonical::digest(&(&object.uri, &object.store));
    root.join(&format!("v1/{}/{}.{ending}", &key[..2], &key[2..]))
}

/// The index that we make ourselves of one version of an object.
pub(crate) struct OwnIndex<'o> {
    pub(crate) stores: &'o Stores,
    pub(crate) address: ObjectUri,
    pub(crate) source: &'o ObjectRef,
}

impl OwnIndex<'_> {
    /// The index, if it was made before and still fits.
    pub(crate) fn stored(&self) -> Result<Option<RegionIndex>, FormatError> {
        let bytes = match self.stores.get(&self.address) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let parsed = decode(&bytes);
        if parsed.is_none() {
            tracing::warn!(address = %self.address, "the region index is damaged; building it again");
        }
        let fitting = parsed.filter(|(header, _)| header.source == *self.source);
        Ok(fitting.map(|(header, index)| RegionIndex { index, names: header.names }))
    }

    /// Makes the index in one pass over the object, and keeps it. `references`: how many the object's header numbers, if it does.
    pub(crate) fn build(
        &self,
        object: &dyn RangedRead,
        format: Format,
        header: &Header,
        references: Option<usize>,
        progress: &dyn Fn(Progress),
    ) -> Result<RegionIndex, FormatError> {
        let mut gathered = Gathered::new(references)?;
        let mut number = 0;
        let told = std::cell::Cell::new(0);
        let tell = |done: u64| {
            if done >= told.get() + TELL_EVERY {
                told.set(done);
                progress(Progress { done, total: object.size() });
            }
        };
        walk::walk(object, format, header, &tell, |record, begin, end| {
            number += 1;
            let chunk = Chunk::new(VirtualPosition::from(begin), VirtualPosition::from(end));
            let added = extent::extent(format, record).map_err(Refused::Wrong).and_then(|extent| gathered.add(extent, chunk));
            added.map_err(|refused| match refused {
                Refused::Wrong(reason) => walk::malformed(object, format, number, reason),
                Refused::Order => {
                    FormatError::Unsorted { name: object.name().to_owned(), record: number, remedy: sort_remedy(format) }
                }
            })
        })?;
        let (index, names) = gathered.finish();
        let own_header = canonical::to_string(&OwnHeader { v: 1, source: self.source.clone(), names: names.clone() });
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(own_header.len() as u32).to_le_bytes());
        bytes.extend_from_slice(own_header.as_bytes());
        let written = write_csi(&mut bytes, &index);
        written.map_err(|source| FormatError::Scratch { name: object.name().to_owned(), source })?;
        self.stores.put(&self.address, bytes.into())?;
        Ok(RegionIndex { index: Box::new(index), names })
    }
}

/// Why a record cannot be indexed.
enum Refused {
    Wrong(&'static str),
    Order,
}

/// What an index pass has gathered so far.
struct Gathered {
    indexer: Indexer<BinnedIndex>,
    names: Vec<String>,
    references: Option<usize>,
    seen: usize,
    last: (usize, i64),
}

impl Gathered {
    fn new(references: Option<usize>) -> Result<Self, FormatError> {
        let indexer = Indexer::new(MIN_SHIFT, DEPTH)
            .ok_or_else(|| FormatError::RegionIndex { name: "our own index".into(), reason: "impossible depth".into() })?;
        Ok(Self { indexer, names: Vec::new(), references, seen: 0, last: (0, i64::MIN) })
    }

    fn add(&mut self, extent: Extent<'_>, chunk: Chunk) -> Result<(), Refused> {
        let id = match extent.reference {
            Reference::Number(id) => usize::try_from(id).ok(),
            Reference::Name(name) => Some(number_of(&mut self.names, name)),
        };
        let Some(id) = id else {
            return self.indexer.add_record(None, chunk).map_err(|_| Refused::Wrong("it lies behind the unmapped records"));
        };
        // The indexer makes room for every reference up to this one.
        if self.references.is_some_and(|references| id >= references) {
            return Err(Refused::Wrong("it names a reference that the header does not have"));
        }
        if (id, extent.start) < self.last {
            return Err(Refused::Order);
        }
        self.last = (id, extent.start);
        self.seen = self.seen.max(id + 1);
        // POS 0 stands for a place before the first base.
        let position =
            |from_zero: i64| usize::try_from(from_zero.max(0)).ok().and_then(|place| Position::try_from(place + 1).ok());
        let impossible = Refused::Wrong("its position is impossible");
        let (Some(first), Some(last)) = (position(extent.start), position((extent.end - 1).max(extent.start))) else {
            return Err(impossible);
        };
        self.indexer.add_record(Some((id, first, last, true)), chunk).map_err(|_| impossible)
    }

    fn finish(self) -> (csi::Index, Vec<String>) {
        (self.indexer.build(self.seen), self.names)
    }
}

fn decode(bytes: &[u8]) -> Option<(OwnHeader, Box<dyn Bins>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (header, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let header: OwnHeader = serde_json::from_slice(header).ok().filter(|header: &OwnHeader| header.v == 1)?;
    let index = parse(Layout::Csi, rest).ok()?.index;
    Some((header, index))
}

fn write_csi(out: &mut Vec<u8>, index: &csi::Index) -> io::Result<()> {
    let mut writer = csi::io::Writer::new(out);
    writer.write_index(index)?;
    writer.into_inner().finish()?.flush()
}

fn number_of(names: &mut Vec<String>, name: &[u8]) -> usize {
    let name = String::from_utf8_lossy(name);
    // Sorted objects hold the records of a reference together.
    if names.last().is_some_and(|last| *last == name) {
        return names.len() - 1;
    }
    match names.iter().position(|known| *known == name) {
        Some(id) => id,
        None => {
            names.push(name.into_owned());
            names.len() - 1
        }
    }
}

fn sort_remedy(format: Format) -> &'static str {
    match format {
        Format::Bam => "samtools sort -o SORTED.bam FILE",
        _ => "bcftools sort -Oz -o SORTED.vcf.gz FILE",
    }
}

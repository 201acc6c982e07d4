//! From a region to a slice: which bytes of the object hold its records.

use neardata_core::{ByteRange, ObjectRef, ObjectUri, RangedRead, Slice};
use neardata_store::Stores;
use noodles_core::Position;
use noodles_core::region::Interval;
use serde::{Deserialize, Serialize};

use super::Region;
use super::index::{self, RegionIndex};
use super::walk::{self, Header};
use super::{RegionReader, extent, share};
use crate::gzip::{self, BgzfDecoder, BgzfStep};
use crate::input::Input;
use crate::inspect::Reference;
use crate::selection::{PREAMBLE_LIMIT, Preamble};
use crate::{Compression, Detected, Format, FormatError, Partition, Progress};

/// More runs of blocks than this are merged where the least lies between them, so that a slice stays small.
const RUNS: usize = 14;
/// Bytes looked at to learn a block's size.
const BLOCK_HEADER: u64 = 1024;
/// No block is larger.
const BLOCK_LIMIT: u64 = 1 << 16;
/// Bytes looked at to learn how far records are compressed.
const SAMPLE: u64 = 4 * BLOCK_LIMIT;

/// The selection of a region slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionSelection {
    /// Where the records lie.
    pub region: RegionPart,
    /// Which of them.
    #[serde(default, skip_serializing_if = "RegionRecords::is_overlapping")]
    pub records: RegionRecords,
    /// The object's header.
    pub preamble: Preamble,
    /// Runs of records, in order: virtual offsets of begin and end, and the byte of the object before which decoding is over.
    pub runs: Vec<[u64; 3]>,
}

/// Which records of a region are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegionRecords {
    /// All that overlap it: what a query gives. A record may be in two neighbouring regions.
    #[default]
    Overlapping,
    /// Those that start in it (POS): what a partition gives. A record is in one of neighbouring regions.
    Starting,
}

impl RegionRecords {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(crate) fn is_overlapping(&self) -> bool {
        *self == Self::Overlapping
    }
}

/// A region of one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionPart {
    /// Number of the reference in the object's header; for VCF, in order of appearance.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// First position, from 0.
    pub start: u64,
    /// Behind the last position.
    pub end: u64,
}

/// One object whose regions can be asked for.
pub(crate) struct RegionPlanner {
    object: std::sync::Arc<dyn RangedRead>,
    source: ObjectRef,
    format: Format,
    header: Header,
    index: RegionIndex,
    names: Vec<String>,
    /// References of the header, in its order.
    references: Vec<Reference>,
}

impl RegionPlanner {
    pub(crate) fn new(
        stores: &Stores,
        address: ObjectUri,
        source: ObjectRef,
        detected: Detected,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, FormatError> {
        let Detected { format, compression } = detected;
        if !matches!(format, Format::Bam | Format::Bcf | Format::Vcf) || compression != Compression::Bgzf {
            let name = source.uri.to_string();
            return Err(FormatError::NoRegions { name, found: format!("{format}, {compression}") });
        }
        let object = stores.open(&source)?;
        let header = walk::header(object.as_ref(), format, PREAMBLE_LIMIT)?;
        // VCF names its references line by line; the binary formats number those of their header.
        let numbered = match format {
            Format::Bam => Some(bam_references(&header.bytes).ok_or_else(|| FormatError::MalformedHeader {
                name: object.name().to_owned(),
                format: "BAM",
                reason: "its list of references is cut short".into(),
            })?),
            Format::Bcf => Some(contigs(&header.bytes)),
            _ => None,
        };
        let index = match index::beside(stores, &source.uri, format)? {
            Some(index) => index,
            None => {
                let own = index::OwnIndex { stores, address, source: &source };
                let references = numbered.as_ref().map(Vec::len);
                match own.stored()? {
                    Some(index) => index,
                    None => own.build(object.as_ref(), format, &header, references, progress)?,
                }
            }
        };
        let header_contigs = || contigs(&header.bytes);
        let named = numbered.is_none().then(|| index.names.clone());
        let references = numbered.unwrap_or_else(header_contigs);
        let mut names = named.unwrap_or_default();
        // Behind those of a tabix index come those of the header that have no records: asked for, they give none.
        let known: std::collections::HashSet<String> = names.iter().cloned().collect();
        names.extend(references.iter().map(|reference| reference.name.clone()).filter(|name| !known.contains(name)));
        Ok(Self { object, source, format, header, index, names, references })
    }

    /// The slices of a region: one of all records that overlap it, or with a partition several that share those that start in it.
    pub(crate) fn slices(&self, text: &str, partition: Option<Partition>) -> Result<Vec<Slice>, FormatError> {
        let region = Region::parse(self.object.name(), self.format, text, &self.names)?;
        let inner = match partition {
            None => return Ok(vec![self.slice(&region, RegionRecords::Overlapping)?]),
            Some(Partition::Count(0)) => return Err(FormatError::Partition("0 slices")),
            Some(Partition::Bytes(0)) => return Err(FormatError::Partition("slices of 0 bytes")),
            Some(Partition::Records(0)) => return Err(FormatError::Partition("slices of 0 records")),
            Some(Partition::Count(count)) => self.equal_parts(&region, count),
            Some(Partition::Bytes(bytes)) => self.equal_parts(&region, self.uncompressed(&region)?.div_ceil(bytes)),
            Some(Partition::Records(records)) => self.parts_of_records(&region, records)?,
            Some(Partition::Tiles(_)) => {
                let offered = "`n`, `bytes`, `records`".into();
                return Err(FormatError::NotOffered { format: "a region", option: "tiles", offered });
            }
        };
        let places: Vec<u64> = [region.start].into_iter().chain(inner).chain([region.end]).collect();
        let part = |pair: &[u64]| Region { start: pair[0], end: pair[1], ..region };
        places.windows(2).map(|pair| self.slice(&part(pair), RegionRecords::Starting)).collect()
    }

    /// Inner cuts such that about equally many compressed bytes lie between them, as far as the index tells.
    fn equal_parts(&self, region: &Region<'_>, count: u64) -> Vec<u64> {
        let length =
            self.references.iter().find(|reference| reference.name == region.name).and_then(|reference| reference.length);
        let window = 1_u64.checked_shl(self.index.index.min_shift().into()).unwrap_or(u64::MAX);
        share::cuts(&self.index.index.loads(region.id), [region.start, region.end], length, window, count)
    }

    /// About how many uncompressed bytes its records have.
    fn uncompressed(&self, region: &Region<'_>) -> Result<u64, FormatError> {
        let runs = self.runs(region)?;
        let compressed: u64 = runs.iter().map(|[begin, _, stop]| stop.saturating_sub(begin >> 16)).sum();
        let Some([begin, _, stop]) = runs.first() else { return Ok(0) };
        let sample = ByteRange::new(begin >> 16, (*stop).min((begin >> 16) + SAMPLE));
        let mut decoder = BgzfDecoder::new(self.object.name(), Input::new(self.object.as_ref(), sample));
        let (mut block, mut packed, mut unpacked) = (vec![0; BLOCK_LIMIT as usize], 0, 0);
        // The last block of the sample may be cut short.
        while let Ok(BgzfStep::Block { produced, .. }) = decoder.step(&mut block) {
            unpacked += produced as u64;
            packed = decoder.offset() - sample.start;
        }
        Ok((u128::from(compressed) * u128::from(unpacked) / u128::from(packed.max(1))) as u64)
    }

    /// Inner cuts with at least so many records between them: records of one position stay together. Reads the region.
    fn parts_of_records(&self, region: &Region<'_>, records: u64) -> Result<Vec<u64>, FormatError> {
        let selection = self.selection(region, RegionRecords::Starting)?;
        let mut reader = RegionReader::new(std::sync::Arc::clone(&self.object), self.format, selection)?;
        let (mut cuts, mut held, mut last) = (Vec::new(), 0, 0);
        loop {
            // It hands out whole records.
            let mut found = reader.fill()?;
            let all = found.len();
            if all == 0 {
                return Ok(cuts);
            }
            while let Ok(Some(length)) = extent::length(self.format, found) {
                let (record, rest) = found.split_at(length);
                found = rest;
                let wrong = |reason: &str| walk::malformed(self.object.as_ref(), self.format, held + 1, reason);
                let start = extent::extent(self.format, record).map_err(wrong)?.start.max(0) as u64;
                if held >= records && start > last {
                    cuts.push(start);
                    held = 0;
                }
                (held, last) = (held + 1, start);
            }
            reader.pass(all);
        }
    }

    fn slice(&self, region: &Region<'_>, records: RegionRecords) -> Result<Slice, FormatError> {
        let selection = self.selection(region, records)?;
        Ok(Slice {
            v: Slice::VERSION,
            format: self.format.name().to_owned(),
            objects: vec![self.source.clone()],
            selection: serde_json::to_value(selection).map_err(neardata_core::SliceError::Malformed)?,
            index: Vec::new(),
        })
    }

    fn selection(&self, region: &Region<'_>, records: RegionRecords) -> Result<RegionSelection, FormatError> {
        Ok(RegionSelection {
            records,
            region: RegionPart {
                id: u32::try_from(region.id).unwrap_or(u32::MAX),
                name: region.name.to_owned(),
                start: region.start,
                end: region.end.min(i64::MAX as u64),
            },
            preamble: Preamble { bit: 0, length: self.header.bytes.len() as u64, stop: self.header.stop },
            runs: self.runs(region)?,
        })
    }

    fn runs(&self, region: &Region<'_>) -> Result<Vec<[u64; 3]>, FormatError> {
        if region.id >= self.index.index.reference_sequences().count() {
            // Its index ends before this reference: there are no records of it.
            return Ok(Vec::new());
        }
        let damaged =
            |error: std::io::Error| FormatError::RegionIndex { name: self.object.name().to_owned(), reason: error.to_string() };
        let chunks = self.index.index.query(region.id, self.interval(region)).map_err(damaged)?;
        let mut runs: Vec<[u64; 2]> = chunks.iter().map(|chunk| [u64::from(chunk.start()), u64::from(chunk.end())]).collect();
        runs.sort_unstable();
        while runs.len() > RUNS {
            let gap = |at: usize| runs[at + 1][0].saturating_sub(runs[at][1]);
            let closest = (0..runs.len() - 1).min_by_key(|at| gap(*at)).unwrap_or(0);
            let [_, end] = runs.remove(closest + 1);
            runs[closest][1] = runs[closest][1].max(end);
        }
        runs.into_iter().map(|[begin, end]| Ok([begin, end, self.stop(end)?])).collect()
    }

    /// What the index can be asked for: it knows positions up to its own limit only.
    fn interval(&self, region: &Region<'_>) -> Interval {
        let (shift, depth) = (u32::from(self.index.index.min_shift()), u32::from(self.index.index.depth()));
        let limit = 1_u64.checked_shl(shift + 3 * depth).unwrap_or(u64::MAX) - 1;
        let position = |number: u64| Position::try_from(usize::try_from(number.clamp(1, limit)).unwrap_or(usize::MAX)).ok();
        match (position(region.start.saturating_add(1)), position(region.end)) {
            (Some(first), Some(last)) if region.end <= limit => (first..=last).into(),
            (Some(first), _) => (first..).into(),
            _ => (..).into(),
        }
    }

    /// Behind the block that holds the end of a run.
    fn stop(&self, end: u64) -> Result<u64, FormatError> {
        let (block, inside, size) = (end >> 16, end & 0xffff, self.object.size());
        if block > size {
            let reason = "it names bytes behind the object's end; was the object written after its index?".to_owned();
            return Err(FormatError::RegionIndex { name: self.object.name().to_owned(), reason });
        }
        if inside == 0 || block == size {
            return Ok(block);
        }
        let start = self.object.read(ByteRange::new(block, (block + BLOCK_HEADER).min(size)))?;
        let length = gzip::bgzf_block(&start).map_or(BLOCK_LIMIT, u64::from);
        Ok((block + length).min(size))
    }
}

/// The references of a BAM header (SAMv1 §4.2).
pub(crate) fn bam_references(header: &[u8]) -> Option<Vec<Reference>> {
    let number = |at: usize| header.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number));
    let mut at = 8_usize.checked_add(number(4)? as usize)?;
    let count = number(at)?;
    at += 4;
    let mut references = Vec::new();
    for _ in 0..count {
        let end = at.checked_add(4)?.checked_add(number(at)? as usize)?;
        let name = String::from_utf8_lossy(header.get(at + 4..end)?).trim_end_matches('\0').to_owned();
        references.push(Reference { name, length: Some(number(end)?.into()) });
        at = end + 4;
    }
    Some(references)
}

/// The contigs of a VCF or BCF header in the order of their numbers (VCFv4.3 §6.2.1): by appearance, or as IDX says.
pub(crate) fn contigs(header: &[u8]) -> Vec<Reference> {
    const MOST: usize = 1 << 20;
    let text = String::from_utf8_lossy(header);
    let mut contigs: Vec<Reference> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("##contig=<")) {
        let field = |key: &str| line.trim_end().trim_end_matches('>').split(',').find_map(|part| part.strip_prefix(key));
        let Some(name) = field("ID=") else { continue };
        let number =
            field("IDX=").and_then(|number| number.parse().ok()).filter(|number| *number < MOST).unwrap_or(contigs.len());
        if contigs.len() <= number {
            contigs.resize(number + 1, Reference { name: String::new(), length: None });
        }
        contigs[number] = Reference { name: name.to_owned(), length: field("length=").and_then(|text| text.parse().ok()) };
    }
    contigs
}

#[cfg(test)]
mod tests {
    use super::contigs;

    #[test]
    fn contigs_are_numbered_as_bcf_numbers_them() {
        let header =
            b"BCF\x02\x02\0\0\0\0##fileformat=VCFv4.3\n##contig=<ID=a,length=3,IDX=1>\n##contig=<ID=b,IDX=0>\n##contig=<ID=c>\n";
        let contigs = contigs(header);
        assert_eq!(contigs.iter().map(|contig| contig.name.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(contigs[1].length, Some(3));
    }
}

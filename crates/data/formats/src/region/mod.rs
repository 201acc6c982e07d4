//! Regions: records of a coordinate-sorted BGZF object (BAM, BCF, VCF) that overlap a genomic region, or start in it, found through
//! its BAI, tabix or CSI index (hts-specs SAMv1 §5, tabix, CSIv1); bases of FASTA, through its `.fai`; or through an index of our
//! own where it has none.

mod extent;
mod guard;
mod index;
mod plan;
mod read;
mod sequence;
mod share;
mod walk;

pub(crate) use extent::length as record_length;
pub(crate) use index::own_address;
pub(crate) use plan::{RegionPart, RegionPlanner, bam_references, contigs};
pub use plan::{RegionRecords, RegionSelection};
pub(crate) use read::RegionReader;
pub use sequence::{SequencePart, SequenceSelection};
pub(crate) use sequence::{SequencePlanner, SequenceReader};
pub(crate) use share::{Load, cuts as share_cuts};

use neardata_core::{ObjectRef, ObjectUri, RangedRead, Slice};
use neardata_store::Stores;

use crate::selection::PREAMBLE_LIMIT;
use crate::{Detected, Format, FormatError, Partition, Progress};

/// The slices of each region of an object in turn: one, or several that share its records if there is a partition. `side_cars`:
/// where an index of our own is kept.
pub(crate) fn slices(
    stores: &Stores,
    side_cars: &ObjectUri,
    source: ObjectRef,
    detected: Detected,
    regions: &[&str],
    partition: Option<Partition>,
    progress: &dyn Fn(Progress),
) -> Result<Vec<Slice>, FormatError> {
    let address = |ending| index::own_address(side_cars, &source, ending);
    let slices: Result<Vec<Vec<Slice>>, FormatError> = if detected.format == Format::Fasta {
        let planner = SequencePlanner::new(stores, &address("ndfasta"), source, detected, progress)?;
        regions.iter().map(|region| planner.slices(region, partition)).collect()
    } else {
        let planner = RegionPlanner::new(stores, address("ndregion"), source, detected, progress)?;
        regions.iter().map(|region| planner.slices(region, partition)).collect()
    };
    Ok(slices?.into_iter().flatten().collect())
}

/// A place on a reference, as a user writes it: `chr20`, `chr20:1,000,000-2,000,000`, `chr20:1000-`; positions from 1, both ends in.
/// `chr20:1000` goes to the end in alignments and sequences and is one position in variants, as samtools and bcftools have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region<'n> {
    /// Number of the reference in the object.
    pub(crate) id: usize,
    pub(crate) name: &'n str,
    /// First position, from 0.
    pub(crate) start: u64,
    /// Behind the last position.
    pub(crate) end: u64,
}

impl<'n> Region<'n> {
    /// Understands `text` for an object with these references. A name may hold colons: what is a reference as it stands is one.
    pub(crate) fn parse(object: &str, format: Format, text: &str, names: &'n [String]) -> Result<Self, FormatError> {
        let find = |name: &str| names.iter().position(|known| known == name);
        let whole = |id: usize| Region { id, name: &names[id], start: 0, end: u64::MAX };
        let syntax = || FormatError::RegionSyntax(text.to_owned());
        let apart = text.rsplit_once(':');
        if let Some(id) = find(text) {
            return match apart {
                // Another reference and a place on it, written alike.
                Some((name, interval))
                    if find(name).is_some() && interval.bytes().all(|byte| b"0123456789,-".contains(&byte)) =>
                {
                    Err(FormatError::AmbiguousRegion {
                        region: text.to_owned(),
                        name: name.to_owned(),
                        interval: interval.to_owned(),
                    })
                }
                _ => Ok(whole(id)),
            };
        }
        let (name, interval) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, "")) => return find(name).map(whole).ok_or_else(|| no_reference(object, name, names)),
            Some((name, rest)) => (name, rest.strip_prefix(':').ok_or_else(syntax)?),
            None => apart.unwrap_or((text, "")),
        };
        let Some(id) = find(name) else {
            return Err(no_reference(object, name, names));
        };
        let number = |text: &str| text.replace(',', "").parse::<u64>().ok().filter(|number| *number > 0);
        let (start, end) = match interval.split_once('-') {
            None => {
                let position = number(interval).ok_or_else(syntax)?;
                (position, if matches!(format, Format::Bam | Format::Fasta) { u64::MAX } else { position })
            }
            Some(("", end)) => (1, number(end).ok_or_else(syntax)?),
            Some((start, "")) => (number(start).ok_or_else(syntax)?, u64::MAX),
            Some((start, end)) => (number(start).ok_or_else(syntax)?, number(end).ok_or_else(syntax)?),
        };
        if end < start {
            return Err(syntax());
        }
        Ok(Region { start: start - 1, end, ..whole(id) })
    }
}

/// The whole header of a BGZF object.
pub(crate) fn header_of_bgzf(object: &dyn RangedRead, format: Format) -> Result<Vec<u8>, FormatError> {
    Ok(walk::header(object, format, PREAMBLE_LIMIT)?.bytes)
}

fn no_reference(object: &str, name: &str, names: &[String]) -> FormatError {
    FormatError::NoReference { name: object.to_owned(), reference: name.to_owned(), known: some_of(names) }
}

/// A few names, for an error message.
fn some_of(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(", and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::Region;
    use crate::Format;

    #[test]
    fn regions_are_read_as_samtools_and_bcftools_read_them() {
        let names: Vec<String> = ["chr1", "HLA:A*01:01", "chr1:5", "HLA:A*01:01:9x"].map(str::to_owned).into();
        let parse_for =
            |format, text: &str| Region::parse("o", format, text, &names).map(|region| (region.id, region.start, region.end));
        let parse = |text: &str| parse_for(Format::Bam, text);
        assert_eq!(parse_for(Format::Vcf, "chr1:7").unwrap(), (0, 6, 7));
        assert_eq!(parse("chr1").unwrap(), (0, 0, u64::MAX));
        assert_eq!(parse("chr1:1,001-2,000").unwrap(), (0, 1000, 2000));
        assert_eq!(parse("chr1:7").unwrap(), (0, 6, u64::MAX));
        assert_eq!(parse("chr1:7-").unwrap(), (0, 6, u64::MAX));
        assert_eq!(parse("chr1:-7").unwrap(), (0, 0, 7));
        assert_eq!(parse("HLA:A*01:01").unwrap(), (1, 0, u64::MAX));
        assert_eq!(parse("HLA:A*01:01:3-4").unwrap(), (1, 2, 4));
        assert!(parse("chr1:5").unwrap_err().to_string().contains("`{chr1}:5`"));
        assert_eq!(parse("{chr1:5}").unwrap(), (2, 0, u64::MAX));
        assert_eq!(parse("{chr1:5}:2-3").unwrap(), (2, 1, 3));
        assert_eq!(parse("{chr1}:5").unwrap(), (0, 4, u64::MAX));
        assert_eq!(parse("HLA:A*01:01:9x").unwrap(), (3, 0, u64::MAX));
        for wrong in ["chr1:0-5", "chr1:9-8", "chr1:x", "chr2", "chr1:1-2-3", "", "{chr1", "{chr1}5", "{}:5", "{chr2}", "*", "."]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! Where to cut: between containers.

use neardata_core::SliceError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::index::Entry;
use crate::{FormatError, Partition};

/// Consecutive containers: the selection of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Their bytes in the object, half-open.
    pub(super) bytes: [u64; 2],
    /// Their records, counted from 0, half-open.
    pub(super) records: [u64; 2],
}

impl Part {
    /// Understands a selection, and refuses what no cut gives: a slice may come from anywhere.
    pub(super) fn parse(selection: &Value, first: u64, size: u64) -> Result<Self, SliceError> {
        let part: Self = serde_json::from_value(selection.clone()).map_err(SliceError::Malformed)?;
        let [begin, end] = part.bytes;
        let reason = if begin < first || begin >= end || end > size {
            "its containers lie outside its object"
        } else if part.records[0] >= part.records[1] {
            "its records are out of order"
        } else {
            return Ok(part);
        };
        Err(SliceError::Selection { format: "cram".to_owned(), reason: reason.to_owned() })
    }
}

/// The parts of a file with these containers. Containers without records belong to the part around them.
pub(super) fn cut(name: &str, containers: &[Entry], partition: Option<Partition>) -> Result<Vec<Part>, FormatError> {
    let held: Vec<Entry> = containers.iter().copied().filter(|container| container.records > 0).collect();
    let cuts = match partition.unwrap_or(Partition::Count(1)) {
        Partition::Records(step) => by_records(name, &held, step)?,
        Partition::Bytes(bytes) => by_size(&held, size_of(&held).div_ceil(bytes.max(1))),
        Partition::Count(count) => by_size(&held, count),
        Partition::Tiles(_) => by_size(&held, 1),
    };
    let mut passed = 0;
    let part = |pair: &[usize]| {
        let run = held.get(pair[0]..pair[1])?;
        let (first, last) = (run.first()?, run.last()?);
        let before = passed;
        passed += run.iter().map(|container| container.records).sum::<u64>();
        Some(Part { bytes: [first.offset, last.offset + last.size], records: [before, passed] })
    };
    Ok(cuts.windows(2).filter_map(part).collect())
}

fn size_of(containers: &[Entry]) -> u64 {
    containers.iter().map(|container| container.size).sum()
}

/// Numbers of the containers at which to cut into `count` parts of about equal size, none of them empty.
fn by_size(containers: &[Entry], count: u64) -> Vec<usize> {
    let count = count.min(containers.len() as u64) as usize;
    let total = u128::from(size_of(containers));
    let mut cuts = vec![0];
    let (mut at, mut before) = (0, 0_u128);
    for part in 1..count {
        let target = total * part as u128 / count as u128;
        // Behind the container whose middle lies before the target, and so that all other parts keep one.
        let most = containers.len() - (count - part);
        let least = cuts.last().map_or(0, |last| last + 1);
        while let Some(container) = containers.get(at) {
            let size = u128::from(container.size);
            if at >= most || (at >= least && before + size / 2 > target) {
                break;
            }
            before += size;
            at += 1;
        }
        cuts.push(at);
    }
    cuts.push(containers.len());
    cuts
}

/// The same for parts of exactly `step` records, which works only where containers end there.
fn by_records(name: &str, containers: &[Entry], step: u64) -> Result<Vec<usize>, FormatError> {
    let (mut cuts, mut held) = (vec![0], 0);
    for (number, container) in containers.iter().enumerate() {
        held += container.records;
        let last = number + 1 == containers.len();
        if held > step {
            return Err(uneven(name, containers, step));
        }
        if held == step || last {
            cuts.push(number + 1);
            held = 0;
        }
    }
    Ok(cuts)
}

fn uneven(name: &str, containers: &[Entry], step: u64) -> FormatError {
    let records = containers.iter().map(|container| container.records);
    let (least, most) = (records.clone().min().unwrap_or(0), records.clone().max().unwrap_or(0));
    let each = if least == most { format!("{most}") } else { format!("{least} to {most}") };
    FormatError::Query(format!(
        "{name}: slices of exactly {step} records would cut CRAM containers open; it has {} containers with {each} records in each \
         ({} in all). Ask for `n` or `bytes`, for a multiple of what every container holds, or write it with \
         `samtools view -C --output-fmt-option seqs_per_slice={step}`",
        containers.len(),
        records.sum::<u64>()
    ))
}

#[cfg(test)]
mod tests {
    use super::{Entry, by_records, by_size};

    #[test]
    fn parts_are_about_equal_and_never_empty() {
        let mut offset = 0;
        let containers: Vec<Entry> = [10, 10, 1000, 10, 10, 10, 500, 10]
            .map(|size| {
                offset += size;
                Entry { offset: offset - size, size, records: 5 }
            })
            .into();
        for count in 1..20 {
            let cuts = by_size(&containers, count);
            assert_eq!(cuts.len() as u64, count.min(8) + 1);
            assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "{cuts:?}");
        }
        assert_eq!(by_size(&containers, 2), [0, 3, 8]);
        assert_eq!(by_size(&[], 3), [0, 0]);
        assert_eq!(by_records("c", &containers, 15).unwrap(), [0, 3, 6, 8]);
        assert!(by_records("c", &containers, 7).unwrap_err().to_string().contains("8 containers with 5 records in each"));
    }
}

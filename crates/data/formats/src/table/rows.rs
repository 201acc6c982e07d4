//! Tables of rows in columns: which rows and columns a slice holds, and where to cut rows that are stored in groups.

use std::collections::BinaryHeap;

use neardata_core::SliceError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cut::refuse_too_many;
use crate::{FormatError, Partition};

/// Bytes of JSON that the columns of a selection may take.
const LONGEST_COLUMNS: usize = 600;
/// Names listed when one is unknown.
const NAMES_SHOWN: usize = 12;

/// The part of a table that a slice holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The rows `[a, b)`.
    pub(crate) rows: [u64; 2],
    /// The columns; absent if all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Columns>,
}

impl Part {
    /// The selection of a slice, for a table of `rows` rows.
    pub(crate) fn of(selection: &Value, format: &str, name: &str, rows: u64) -> Result<Self, FormatError> {
        let malformed = |error: serde_json::Error| SliceError::Selection { format: format.to_owned(), reason: error.to_string() };
        let part = Self::deserialize(selection).map_err(malformed)?;
        let [first, end] = part.rows;
        if first > end || end > rows {
            let reason = format!("rows {first} to {end} of {rows}");
            return Err(FormatError::Broken { name: name.to_owned(), reason });
        }
        Ok(part)
    }
}

/// Columns by their numbers, ascending, as runs: so many are skipped, so many taken, and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Columns(Vec<u32>);

impl Columns {
    /// The columns with these names, in the order of the table; none if no name is given.
    pub(crate) fn choose(names: &[String], known: &[&str], object: &str) -> Result<Option<Self>, FormatError> {
        if names.is_empty() {
            return Ok(None);
        }
        let known_names: std::collections::HashSet<&str> = known.iter().copied().collect();
        if let Some(unknown) = names.iter().find(|name| !known_names.contains(name.as_str())) {
            let some = known.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more = if known.len() > NAMES_SHOWN { format!(" and {} more", known.len() - NAMES_SHOWN) } else { String::new() };
            return Err(FormatError::Query(format!("{object}: has no column `{unknown}`; it has {some}{more}")));
        }
        let chosen: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut runs = Vec::new();
        let mut taking = false;
        for name in known {
            if chosen.contains(name) != taking || runs.is_empty() {
                if runs.is_empty() && chosen.contains(name) {
                    runs.push(0);
                }
                taking = chosen.contains(name);
                runs.push(0);
            }
            if let Some(run) = runs.last_mut() {
                *run += 1;
            }
        }
        if !taking {
            runs.pop();
        }
        let columns = Self(runs);
        if serde_json::to_string(&columns).map_or(true, |text| text.len() > LONGEST_COLUMNS) {
            let reason = "are too scattered for one slice; choose fewer, or ones that lie side by side, or all";
            return Err(FormatError::Query(format!("{object}: these {} columns {reason}", chosen.len())));
        }
        Ok(Some(columns))
    }

    /// The numbers, for a table of so many columns.
    pub(crate) fn numbers(&self, object: &str, columns: usize) -> Result<Vec<usize>, FormatError> {
        let mut numbers = Vec::new();
        let mut next = 0_usize;
        for (place, run) in self.0.iter().enumerate() {
            let end = next.saturating_add(*run as usize);
            if end > columns {
                let reason = format!("column {end} of {columns}");
                return Err(FormatError::Broken { name: object.to_owned(), reason });
            }
            if place % 2 == 1 {
                numbers.extend(next..end);
            }
            next = end;
        }
        Ok(numbers)
    }
}

/// Rows that are stored together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// How many.
    pub(crate) rows: u64,
    /// Their size, in any unit.
    pub(crate) weight: u64,
}

/// The rows `[a, b)` of each slice: in order, none empty, together all rows. One slice if no partition is asked for.
///
/// `n` and `bytes` cut between groups; where more slices are asked for than there are groups, the groups are split at rows.
pub(crate) fn cut_rows(groups: &[Group], partition: Option<Partition>, object: &str) -> Result<Vec<[u64; 2]>, FormatError> {
    let groups: Vec<Group> = groups.iter().filter(|group| group.rows > 0).copied().collect();
    let rows = groups.iter().map(|group| group.rows).sum::<u64>();
    let weight: u128 = groups.iter().map(|group| u128::from(group.weight)).sum();
    if rows == 0 {
        return Ok(Vec::new());
    }
    let wanted = match partition {
        None => 1,
        Some(Partition::Count(count)) => count,
        Some(Partition::Bytes(bytes)) => u64::try_from(weight.div_ceil(u128::from(bytes.max(1)))).unwrap_or(u64::MAX).max(1),
        Some(Partition::Records(step)) => rows.div_ceil(step.max(1)),
        Some(Partition::Tiles(_)) => 1,
    };
    let count = wanted.min(rows).max(1);
    refuse_too_many(object, count)?;
    Ok(match partition {
        Some(Partition::Records(step)) => {
            (0..count).map(|slice| [slice * step, ((slice + 1).saturating_mul(step)).min(rows)]).collect()
        }
        _ if count as usize <= groups.len() => between_groups(&groups, count as usize, weight),
        _ => within_groups(&groups, count as usize),
    })
}

/// Cuts between groups: so many slices of about equal weight, each of one group at least.
fn between_groups(groups: &[Group], count: usize, weight: u128) -> Vec<[u64; 2]> {
    let mut slices = Vec::with_capacity(count);
    let (mut group, mut row, mut passed) = (0, 0, 0_u128);
    for slice in 1..=count {
        let first = row;
        let target = weight * slice as u128 / count as u128;
        // As many groups must be left as slices are.
        let last = groups.len() - (count - slice);
        let begin = group;
        while group < last {
            let size = u128::from(groups[group].weight);
            if group > begin && slice < count && passed + size / 2 > target {
                break;
            }
            passed += size;
            row += groups[group].rows;
            group += 1;
        }
        slices.push([first, row]);
    }
    slices
}

/// Cuts at every group and within the heaviest ones, so that there are `count` slices; `count` is at most the number of rows.
fn within_groups(groups: &[Group], count: usize) -> Vec<[u64; 2]> {
    let mut pieces = vec![1_u64; groups.len()];
    // The group whose pieces are the largest is cut once more.
    let size = |group: usize, pieces: u64| u128::from(groups[group].weight.max(1)) * (1 << 32) / u128::from(pieces);
    let mut largest: BinaryHeap<(u128, usize)> =
        (0..groups.len()).filter(|group| groups[*group].rows > 1).map(|group| (size(group, 1), group)).collect();
    for _ in groups.len()..count {
        let Some((_, group)) = largest.pop() else { break };
        pieces[group] += 1;
        if pieces[group] < groups[group].rows {
            largest.push((size(group, pieces[group]), group));
        }
    }
    let mut slices = Vec::with_capacity(count);
    let mut start = 0;
    for (group, pieces) in groups.iter().zip(pieces) {
        let at = |piece: u64| start + (u128::from(group.rows) * u128::from(piece) / u128::from(pieces)) as u64;
        slices.extend((0..pieces).map(|piece| [at(piece), at(piece + 1)]));
        start += group.rows;
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(rows: &[u64]) -> Vec<Group> {
        rows.iter().map(|rows| Group { rows: *rows, weight: rows * 10 }).collect()
    }

    #[test]
    fn slices_cover_all_rows_once() {
        for sizes in [vec![], vec![0], vec![1], vec![5, 0, 1, 1000, 3], vec![100; 9], vec![1; 40]] {
            let groups = groups(&sizes);
            let rows: u64 = sizes.iter().sum();
            for partition in crate::conformance::PARTITIONS.iter().map(|partition| Some(*partition)).chain([None]) {
                let slices = cut_rows(&groups, partition, "x").unwrap();
                let mut next = 0;
                for [first, end] in &slices {
                    assert!(*first == next && end > first, "{sizes:?} {partition:?}: {slices:?}");
                    next = *end;
                }
                assert_eq!(next, rows);
                match partition {
                    Some(Partition::Count(count)) => assert_eq!(slices.len() as u64, count.min(rows)),
                    Some(Partition::Records(step)) => assert_eq!(slices.len() as u64, rows.div_ceil(step)),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn few_slices_are_cut_between_groups() {
        let slices = cut_rows(&groups(&[100; 9]), Some(Partition::Count(4)), "x").unwrap();
        assert!(slices.iter().all(|[first, _]| first % 100 == 0), "{slices:?}");
        let sizes: Vec<u64> = slices.iter().map(|[first, end]| end - first).collect();
        assert!(sizes.iter().all(|size| (200..=300).contains(size)), "{sizes:?}");
    }

    #[test]
    fn claims_of_many_rows_are_no_reason_for_many_slices() {
        let claim = [Group { rows: u64::MAX / 2, weight: 1 }];
        assert!(cut_rows(&claim, Some(Partition::Records(1)), "x").unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn columns_as_runs() {
        let known = ["a", "b", "c", "d", "e"];
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Columns::choose(&names, &known, "x").map(|columns| columns.unwrap())
        };
        for (names, numbers) in [
            (vec!["a"], vec![0]),
            (vec!["e", "b"], vec![1, 4]),
            (vec!["a", "b", "e"], vec![0, 1, 4]),
            (known.to_vec(), vec![0, 1, 2, 3, 4]),
        ] {
            assert_eq!(choose(&names).unwrap().numbers("x", 5).unwrap(), numbers);
        }
        let error = choose(&["f"]).unwrap_err().to_string();
        assert_eq!(error, "x: has no column `f`; it has `a`, `b`, `c`, `d`, `e`");
        assert!(Columns(vec![0, 6]).numbers("x", 5).is_err());
    }
}

//! A BED of targets.

use thiserror::Error;

use crate::reference::Contigs;
use crate::regions::Interval;

/// A BED that cannot be used.
#[derive(Debug, Error)]
#[error("{place}: {reason}; a BED line is: contig of the reference, start (from 0), end, separated by tabs")]
pub struct TargetsError {
    place: String,
    reason: String,
}

/// The intervals, sorted and merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    intervals: Vec<(u32, i32, i32)>,
}

impl Targets {
    /// Reads a BED (plain or gzip-compressed) against these contigs.
    pub fn parse(name: &str, bytes: &[u8], contigs: &Contigs) -> Result<Self, TargetsError> {
        let whole = |reason: String| TargetsError { place: name.to_owned(), reason };
        let mut text = String::new();
        let decompressed = crate::reference::decompressed(bytes);
        let read = decompressed.and_then(|mut input| std::io::Read::read_to_string(&mut input, &mut text));
        read.map_err(|error| whole(format!("it cannot be read ({error})")))?;
        let mut intervals = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || ["#", "track", "browser"].iter().any(|prefix| line.starts_with(prefix)) {
                continue;
            }
            let parsed = parse_line(line, contigs)
                .map_err(|reason| TargetsError { place: format!("{name}, line {}", number + 1), reason })?;
            intervals.push(parsed);
        }
        intervals.sort_unstable();
        let mut merged: Vec<(u32, i32, i32)> = Vec::new();
        for (contig, start, end) in intervals {
            match merged.last_mut() {
                Some(last) if last.0 == contig && last.2 >= start => last.2 = last.2.max(end),
                _ => merged.push((contig, start, end)),
            }
        }
        if merged.is_empty() {
            return Err(whole("no interval in it".to_owned()));
        }
        Ok(Self { intervals: merged })
    }

    /// Whether a position lies in an interval.
    pub fn contain(&self, contig: u32, position: i32) -> bool {
        let behind = self.intervals.partition_point(|(of, start, _)| (*of, *start) <= (contig, position));
        behind.checked_sub(1).is_some_and(|at| {
            let (of, _, end) = self.intervals[at];
            of == contig && position < end
        })
    }

    /// Whether any interval overlaps this stretch.
    pub fn touch(&self, stretch: &Interval) -> bool {
        let from = self.intervals.partition_point(|(of, _, end)| (*of, *end) <= (stretch.contig, stretch.positions.start));
        self.intervals[from..].iter().any(|(of, start, _)| *of == stretch.contig && *start < stretch.positions.end)
    }

    /// The intervals as BED, sorted and merged.
    pub fn to_bed(&self, contigs: &Contigs) -> String {
        let name = |contig: u32| contigs.get(contig as usize).map_or("", |contig| contig.name.as_str());
        self.intervals.iter().map(|(contig, start, end)| format!("{}\t{start}\t{end}\n", name(*contig))).collect()
    }
}

fn parse_line(line: &str, contigs: &Contigs) -> Result<(u32, i32, i32), String> {
    let mut fields = line.split('\t');
    let (Some(name), Some(start), Some(end)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("fewer than three fields".to_owned());
    };
    let contig = contigs.id(name).ok_or_else(|| format!("the reference has no contig `{name}` ({})", known(contigs)))?;
    let number = |text: &str| text.trim().parse::<i32>().map_err(|_| format!("`{text}` is not a position"));
    let (start, end) = (number(start)?, number(end)?);
    if start < 0 || start >= end {
        return Err(format!("{start}-{end} is not an interval"));
    }
    Ok((contig as u32, start, end))
}

/// Some names to compare with: most often one side says `1` and the other `chr1`.
fn known(contigs: &Contigs) -> String {
    let names: Vec<&str> = contigs.iter().take(3).map(|contig| contig.name.as_str()).collect();
    let more = if contigs.len() > names.len() { ", …" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Contig;

    #[test]
    fn intervals_are_merged_and_asked() {
        let contig = |name: &str| Contig { name: name.into(), length: 1000 };
        let contigs = Contigs::new(vec![contig("a"), contig("b")]).unwrap();
        let targets = Targets::parse("t.bed", b"#x\nb\t10\t20\na\t5\t8\tname\nb\t15\t30\n", &contigs).unwrap();
        assert_eq!(targets.to_bed(&contigs), "a\t5\t8\nb\t10\t30\n");
        assert!(targets.contain(1, 29) && !targets.contain(1, 30) && !targets.contain(0, 4) && targets.contain(0, 5));
        assert!(
            targets.touch(&Interval { contig: 0, positions: 7..100 })
                && !targets.touch(&Interval { contig: 0, positions: 8..100 })
        );
        let refuse = |text: &str| Targets::parse("t.bed", text.as_bytes(), &contigs).unwrap_err().to_string();
        assert!(refuse("c\t1\t2").contains("line 1: the reference has no contig `c` (it has a, b)"));
        assert!(refuse("").starts_with("t.bed: no interval"));
    }
}

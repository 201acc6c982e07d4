//! Where to cut a region so that its parts hold about equally many compressed bytes, as far as a binning index tells.

use noodles_csi::BinningIndex;
use noodles_csi::binning_index::Index;
use noodles_csi::binning_index::index::reference_sequence::{self, Bin};

/// An index whose bins can be looked at.
pub(crate) trait Bins: BinningIndex {
    /// The bins of a reference.
    fn loads(&self, reference: usize) -> Vec<Load>;
}

/// What lies at some positions of a reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Positions from 0, half-open.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// About how many compressed bytes.
    pub(crate) bytes: f64,
}

/// Bytes of a block are worth so much less than bytes of the object.
const PACKED: f64 = 0.25;
/// No record has fewer compressed bytes, so more parts make no sense.
const LEAST: u64 = 8;
/// A part of at least so many windows is large.
const WINDOWS: u64 = 8;

impl<I> Bins for Index<I>
where
    I: reference_sequence::Index,
{
    fn loads(&self, reference: usize) -> Vec<Load> {
        let (shift, depth) = (u32::from(self.min_shift()), u32::from(self.depth()));
        let bins = self.reference_sequences().get(reference).map(|sequence| sequence.bins().iter());
        let load = |(id, bin): (&usize, &Bin)| {
            let [start, end] = positions(*id as u64, shift, depth)?;
            let bytes = bin.chunks().iter().map(|chunk| {
                let [begin, end] = [chunk.start(), chunk.end()]
                    .map(|place| place.compressed() as f64 + f64::from(place.uncompressed()) * PACKED);
                (end - begin).max(1.0)
            });
            Some(Load { start, end, bytes: bytes.sum() })
        };
        bins.into_iter().flatten().filter_map(load).collect()
    }
}

/// The positions of a bin (CSIv1): bins of each level are numbered behind those of the level above, eight for one.
fn positions(id: u64, shift: u32, depth: u32) -> Option<[u64; 2]> {
    let first = |level: u32| ((1_u64 << (3 * level)) - 1) / 7;
    let level = (0..=depth).find(|level| id < first(level + 1))?;
    let width = 1_u64.checked_shl(shift + 3 * (depth - level))?;
    let start = (id - first(level)).checked_mul(width)?;
    Some([start, start.checked_add(width)?])
}

/// The positions at which to cut `[start, end)` into at most `count` parts: ascending, without both ends. `last`: where the
/// reference ends, if that is known; `window`: positions of the narrowest bins. Large parts begin where a window does, since reading
/// a part of a window's records fetches them all.
pub(crate) fn cuts(loads: &[Load], [start, end]: [u64; 2], last: Option<u64>, window: u64, count: u64) -> Vec<u64> {
    // The widest bins reach far behind everything that is in them.
    let narrow = loads.iter().filter(|load| load.start > 0).map(|load| load.end).max();
    let end = end.min(last.or(narrow).or(loads.iter().map(|load| load.end).max()).unwrap_or(end)).max(start);
    let mut steps: Vec<(u64, f64)> = Vec::new();
    for load in loads {
        let (from, to) = (load.start.max(start), load.end.min(end));
        if from < to {
            let width = load.end.min(end) - load.start;
            let density = load.bytes / width as f64;
            steps.extend([(from, density), (to, -density)]);
        }
    }
    steps.sort_unstable_by_key(|step| step.0);
    let whole = areas(&steps).map(|(_, bytes, _)| bytes).sum::<f64>();
    let count = count.min(end - start).min(whole as u64 / LEAST + 1);
    let snap = if (end - start) / count.max(1) >= WINDOWS.saturating_mul(window) { window.max(1) } else { 1 };
    let (mut cuts, mut passed) = (Vec::new(), 0.0);
    for (from, bytes, to) in areas(&steps) {
        while (cuts.len() as u64) + 1 < count {
            let wanted = whole * (cuts.len() as f64 + 1.0) / count as f64 - passed;
            if wanted > bytes {
                break;
            }
            let place = (from + ((to - from) as f64 * wanted / bytes) as u64 + snap / 2) / snap * snap;
            // Every part keeps a position, and so do those behind it.
            let least = cuts.last().map_or(start, |cut: &u64| *cut) + 1;
            cuts.push(place.clamp(least, (end - (count - 1 - cuts.len() as u64)).max(least)));
        }
        passed += bytes;
    }
    cuts.retain(|cut| *cut < end);
    cuts
}

/// Between two steps: begin, bytes, end.
fn areas(steps: &[(u64, f64)]) -> impl Iterator<Item = (u64, f64, u64)> {
    let mut density = 0.0;
    steps.windows(2).filter_map(move |pair| {
        density += pair[0].1;
        let width = pair[1].0 - pair[0].0;
        (width > 0 && density > 0.0).then(|| (pair[0].0, density * width as f64, pair[1].0))
    })
}

#[cfg(test)]
mod tests {
    use super::{Load, cuts, positions};

    #[test]
    fn bins_lie_where_the_specification_says() {
        assert_eq!(positions(0, 14, 5), Some([0, 1 << 29]));
        assert_eq!(positions(8, 14, 5), Some([7 << 26, 8 << 26]));
        assert_eq!(positions(4681, 14, 5), Some([0, 1 << 14]));
        assert_eq!(positions(37448, 14, 5), Some([32767 << 14, 1 << 29]));
        assert_eq!(positions(37449, 14, 5), None);
    }

    #[test]
    fn parts_hold_equally_much() {
        let load = |start, end, bytes| Load { start, end, bytes };
        let loads = [load(0, 100, 100.0), load(100, 200, 300.0), load(300, 400, 400.0)];
        assert_eq!(cuts(&loads, [0, u64::MAX], None, 1, 4), [133, 200, 350]);
        assert_eq!(cuts(&loads, [0, u64::MAX], None, 1, 2), [200]);
        assert_eq!(cuts(&loads, [0, u64::MAX], Some(350), 1, 2).len(), 1);
        assert_eq!(cuts(&loads, [0, u64::MAX], None, 8, 4), [136, 200, 352]);
        assert_eq!(cuts(&loads, [100, 200], None, 16, 3), [133, 166]);
        assert_eq!(cuts(&[load(0, 100, 1e6)], [10, 13], None, 1, u64::MAX), [11, 12]);
        assert_eq!(cuts(&loads, [0, 1 << 40], None, 1, u64::MAX).len(), 100, "no part is smaller than a record");
        assert_eq!(cuts(&loads, [0, 400], None, 1, 1), [0_u64; 0]);
        assert_eq!(cuts(&[], [0, 100], None, 1, 4), [0_u64; 0]);
    }
}

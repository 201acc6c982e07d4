//! `report.html`: one page, everything in it.

use serde::Serialize;

use crate::coverage::BIN;
use crate::manifest::Manifest;
use crate::reference::Contigs;
use crate::regions::{Region, Tiling};

/// The page, with a place for the data.
const PAGE: &str = include_str!("report.html");

/// Points of the coverage curve.
const POINTS: u64 = 900;

#[derive(Serialize)]
struct Data<'a> {
    manifest: &'a Manifest,
    coverage: Curve,
    quality_step: f64,
}

/// Mean depth along the genome, contig after contig.
#[derive(Serialize)]
struct Curve {
    contigs: Vec<(String, u64)>,
    /// How many contigs there are, also beyond those listed.
    contig_count: u64,
    /// Mean depth of every point.
    depth: Vec<f64>,
    /// First base of every point, in bases from the start of the first contig.
    at: Vec<u64>,
    bases: u64,
}

/// The page for a run; `bins` are aligned bases per bin of every region.
pub(crate) fn render(manifest: &Manifest, contigs: &Contigs, bins: Vec<(Region, Vec<u32>)>) -> serde_json::Result<String> {
    let data = Data { manifest, coverage: curve(contigs, bins), quality_step: crate::output::vcf::QUALITY_STEP };
    // `</script>` in a name must not end the script, nor `<!--` open a comment.
    let json = serde_json::to_string(&data)?.replace('<', "\\u003c");
    Ok(PAGE.replacen("/*DATA*/null", &json, 1))
}

fn curve(contigs: &Contigs, mut bins: Vec<(Region, Vec<u32>)>) -> Curve {
    bins.sort_by_key(|(region, _)| *region);
    let tiling = Tiling::new(contigs);
    let per_tile = u64::from(crate::regions::TILE / BIN);
    let mut starts = vec![0u64];
    contigs.iter().for_each(|contig| starts.push(starts.last().copied().unwrap_or(0) + contig.length));
    let total = contigs.total_length();
    let width = total.div_ceil(POINTS).next_multiple_of(u64::from(BIN));
    let points = total.div_ceil(width).max(1) as usize;
    let mut sums = vec![0.0; points];
    for (region, values) in &bins {
        for (ordinal, bases) in values.iter().enumerate() {
            let (contig, tile_start) = tiling.place(region.from + ordinal as u64 / per_tile);
            let position = tile_start as u64 + ordinal as u64 % per_tile * u64::from(BIN);
            let start = starts[contig as usize] + position;
            let end = (start + u64::from(BIN)).min(starts[contig as usize + 1]);
            if start >= end {
                continue;
            }
            // A bin may lie across two points where a contig does not begin with one.
            let border = ((start / width + 1) * width).min(end);
            let before = f64::from(*bases) * (border - start) as f64 / (end - start) as f64;
            sums[(start / width) as usize] += before;
            if border < end {
                sums[(border / width) as usize] += f64::from(*bases) - before;
            }
        }
    }
    let length = |point: usize| width.min(total - (point as u64 * width).min(total)).max(1);
    Curve {
        contig_count: contigs.len() as u64,
        contigs: contigs.iter().map(|contig| (contig.name.clone(), contig.length)).take(400).collect(),
        depth: sums.iter().enumerate().map(|(point, sum)| (*sum / length(point) as f64 * 100.0).round() / 100.0).collect(),
        at: (0..points as u64).map(|point| point * width).collect(),
        bases: total,
    }
}

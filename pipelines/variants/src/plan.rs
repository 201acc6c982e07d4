//! Into how many slices and regions: what fits the limits of a call, and keeps the workers busy. `docs/variants.md` has the formula.

use std::fmt;
use std::io::Read;

use neardata_core::{ByteRange, ObjectUri, format_bytes};
use neardata_functions::CallError;
use neardata_store::Stores;
use serde::{Deserialize, Serialize};

use crate::{Aligner, Caller, VariantsArguments};

/// Of the time a call may take, the part that is planned for: a slow node or a slow store must not make it fail.
const TIME_PLANNED: f64 = 0.25;

/// CPU seconds to align one read of 150 bases.
fn align_cost(aligner: Aligner) -> f64 {
    match aligner {
        Aligner::Rammap | Aligner::Minimap2 => 25e-6,
        Aligner::Bwa => 125e-6,
    }
}

/// CPU seconds to call the stretch one aligned read of 150 bases covers.
fn call_cost(caller: Caller) -> f64 {
    match caller {
        Caller::Bcftools => 30e-6,
        Caller::Freebayes => 60e-6,
    }
}

/// Bytes of an encoded alignment of a read of 150 bases, uncompressed, on scratch.
const ALIGNMENT_BYTES: f64 = 400.0;
/// The same in a run, compressed.
const RUN_BYTES: f64 = 130.0;
/// Reads of 150 bases below which a slice is not worth a call of its own, unless asked for.
const SMALLEST_SLICE: f64 = 10_000.0;

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Reads.
    pub reads: u64,
    /// Bytes of FASTQ, uncompressed.
    pub uncompressed: u64,
}

impl Volume {
    /// Reads, scaled to 150 bases each: a FASTQ record of such a read has some 350 bytes.
    fn standard_reads(self) -> f64 {
        (self.uncompressed as f64 / 350.0).max(self.reads as f64 * 0.2)
    }
}

/// The default number of slices of all lanes together.
pub(crate) fn default_slices(arguments: &VariantsArguments, volume: Volume, workers: usize) -> u64 {
    let reads = volume.standard_reads();
    let by_time = reads * align_cost(arguments.aligner) / (arguments.call_time * TIME_PLANNED);
    let by_memory = reads * ALIGNMENT_BYTES / (arguments.call_memory as f64 / 4.0);
    let busy = (2.0 * workers as f64).min(reads / SMALLEST_SLICE);
    by_time.max(by_memory).max(busy).ceil().max(1.0) as u64
}

/// The default number of regions.
pub(crate) fn default_regions(arguments: &VariantsArguments, volume: Volume, workers: usize, tiles: u64) -> u64 {
    let by_time = volume.standard_reads() * call_cost(arguments.caller) / (arguments.call_time * TIME_PLANNED);
    let busy = (2.0 * workers as f64).min(tiles as f64 / 4.0);
    (by_time.max(busy).ceil().max(1.0) as u64).min(tiles.max(1))
}

/// Records above which a region is split again, whatever was asked for: twice what is planned for.
pub(crate) fn hottest_region(arguments: &VariantsArguments) -> u64 {
    ((arguments.call_time * TIME_PLANNED * 2.0 / call_cost(arguments.caller)) as u64).max(1)
}

/// Distributes `slices` over lanes by their reads, at least one each.
pub(crate) fn slices_per_lane(slices: u64, reads: &[u64]) -> Vec<u64> {
    let total: u64 = reads.iter().sum::<u64>().max(1);
    let spare = slices.saturating_sub(reads.len() as u64);
    let mut before = 0u64;
    let mut given = 0u64;
    let share = |reads: &u64| {
        before += reads;
        let until = (u128::from(spare) * u128::from(before) / u128::from(total)) as u64;
        let mine = until - given;
        given = until;
        1 + mine
    };
    reads.iter().map(share).collect()
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The objects of reads with their sizes.
    pub inputs: Vec<(ObjectUri, u64)>,
    /// The reference with its size.
    pub reference: (ObjectUri, u64),
    /// Reads, estimated from the beginning of each object.
    pub volume: Volume,
    /// Slices.
    pub slices: u64,
    /// Regions; a hot one is split again at run time.
    pub regions: u64,
    /// Calls by stage.
    pub calls: Vec<(String, u64)>,
    /// Bytes fetched from the stores by stage, about.
    pub fetched: Vec<(String, u64)>,
    /// Bytes written by stage, about.
    pub written: Vec<(String, u64)>,
    /// CPU seconds of all calls, about.
    pub cpu_s: f64,
}

/// What a run with these arguments would do, from a look at the beginning of each object; nothing is written.
pub fn plan(stores: &Stores, arguments: &VariantsArguments, workers: usize) -> Result<Plan, CallError> {
    arguments.check().map_err(CallError::input)?;
    let workers = arguments.workers.unwrap_or(workers).max(1);
    let mut volume = Volume::default();
    let mut inputs = Vec::new();
    for uri in arguments.reads.iter().chain(&arguments.reads2) {
        let object = stores.head(uri)?;
        let head = stores.open(&object)?.read(ByteRange::new(0, object.size.min(1 << 20)))?;
        let found = estimate(&head, object.size);
        volume.reads += found.reads;
        volume.uncompressed += found.uncompressed;
        inputs.push((uri.clone(), object.size));
    }
    let reference = stores.head(&arguments.reference)?;
    let head = stores.open(&reference)?.read(ByteRange::new(0, reference.size.min(4)))?;
    let bases = if head.starts_with(&[0x1f, 0x8b]) { reference.size as f64 * 3.4 } else { reference.size as f64 };
    let tiles = (bases / f64::from(crate::regions::TILE)).ceil() as u64;
    let slices = arguments.slices.unwrap_or_else(|| default_slices(arguments, volume, workers)).max(arguments.reads.len() as u64);
    let regions = arguments.regions.unwrap_or_else(|| default_regions(arguments, volume, workers, tiles)).min(tiles.max(1));
    Ok(finish_plan(arguments, volume, inputs, (arguments.reference.clone(), reference.size), bases, slices, regions))
}

fn finish_plan(
    arguments: &VariantsArguments,
    volume: Volume,
    inputs: Vec<(ObjectUri, u64)>,
    reference: (ObjectUri, u64),
    bases: f64,
    slices: u64,
    regions: u64,
) -> Plan {
    let kept = u64::from(arguments.keep_alignments);
    let stage = |name: &str, value: u64| (name.to_owned(), value);
    let reads = volume.standard_reads();
    let input: u64 = inputs.iter().map(|(_, size)| size).sum();
    let run = (reads * RUN_BYTES) as u64;
    let index_calls = inputs.len() as u64 + 1 + u64::from(arguments.aligner == Aligner::Bwa);
    Plan {
        calls: vec![stage("index", index_calls), stage("align", slices), stage("call", regions + kept), stage("merge", 1 + kept)],
        fetched: vec![
            stage("index", input + reference.1),
            stage("align", input + slices * (64 << 10)),
            stage("call", run + run / 50),
            stage("merge", kept * run),
        ],
        written: vec![
            stage("index", input / 50 + (bases * 4.5) as u64),
            stage("align", run),
            stage("call", kept * run),
            stage("merge", kept * run),
        ],
        cpu_s: reads * (align_cost(arguments.aligner) + call_cost(arguments.caller)),
        inputs,
        reference,
        volume,
        slices,
        regions,
    }
}

/// Reads in an object, from its first bytes.
fn estimate(head: &[u8], size: u64) -> Volume {
    let mut text = Vec::new();
    // The beginning is cut off somewhere: an error at the end is expected, and what came before it is good.
    let _cut_off = crate::reference::decompressed(head).and_then(|input| input.take(8 << 20).read_to_end(&mut text));
    let lines = memchr::memchr_iter(b'\n', &text).count() as f64;
    let scale = size as f64 / head.len().max(1) as f64;
    Volume { reads: (lines / 4.0 * scale) as u64, uncompressed: (text.len() as f64 * scale) as u64 }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (uri, size) in self.inputs.iter().chain([&self.reference]) {
            writeln!(f, "input     {uri} ({})", format_bytes(*size))?;
        }
        writeln!(f, "reads     about {}", self.volume.reads)?;
        writeln!(f, "slices    {}", self.slices)?;
        writeln!(f, "regions   {} (hot ones are split again)", self.regions)?;
        for (ordinal, (stage, calls)) in self.calls.iter().enumerate() {
            let bytes = |of: &[(String, u64)]| of.get(ordinal).map_or_else(String::new, |(_, bytes)| format_bytes(*bytes));
            writeln!(f, "{stage:<9} {calls} calls; about {} fetched, {} written", bytes(&self.fetched), bytes(&self.written))?;
        }
        write!(f, "CPU       about {:.0} s", self.cpu_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> VariantsArguments {
        let uri = |text: &str| text.parse().unwrap();
        VariantsArguments::new(vec![uri("s3://b/r.fq")], uri("s3://b/ref.fa"), uri("s3://b/out"))
    }

    #[test]
    fn small_inputs_keep_the_workers_busy_and_large_ones_fit_a_call() {
        let arguments = arguments();
        let ecoli = Volume { reads: 927_936, uncompressed: 330_000_000 };
        assert_eq!(default_slices(&arguments, ecoli, 2), 4);
        assert_eq!(default_regions(&arguments, ecoli, 2, 1133), 4);
        let human = Volume { reads: 600_000_000, uncompressed: 210_000_000_000 };
        let slices = default_slices(&arguments, human, 2);
        assert!((60..200).contains(&slices), "{slices}");
        assert_eq!(default_slices(&arguments, Volume { reads: 10, uncompressed: 3500 }, 64), 1);
    }

    #[test]
    fn lanes_share_slices_by_their_reads() {
        assert_eq!(slices_per_lane(10, &[300, 100]), [7, 3]);
        assert_eq!(slices_per_lane(1, &[300, 100, 0]), [1, 1, 1]);
        assert_eq!(slices_per_lane(5, &[0]), [1]);
        assert_eq!(slices_per_lane(7, &[100]), [7]);
    }
}

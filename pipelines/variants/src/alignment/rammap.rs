//! The aligner in this process: `rammap`, whose records are those of `minimap2 -ax sr`, byte for byte.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use rammap::align::extend::AlignmentContext;
use rammap::align::index::{Index, IndexBuilder};
use rammap::align::map::{MapContext, MapOptions};
use rammap::align::pipeline::{OutputConfig, ReadInfo, align_and_format_pair, align_and_format_query};
use rammap::api::{apply_preset_str, calibrate_mid_occ, finalize_options};

use super::fastq::FastqRecord;

/// The version this crate pins; its output is checked against the program `minimap2` with every test run.
pub const VERSION: &str = "1.2.0";

/// Fraction of the most frequent minimizers left out; the default of minimap2's `-f`.
const MID_OCCURRENCE: f32 = 2e-4;

/// A reference's index with the options calibrated to it: read-only, shared by every thread of a process.
pub struct SharedIndex {
    index: Index,
    options: MapOptions,
}

/// The short-read preset: options, k-mer and window length.
fn short_reads() -> io::Result<(MapOptions, usize, usize, bool)> {
    let (mut options, mut k, mut w, mut compressed) = (MapOptions::default(), 15, 10, false);
    apply_preset_str(&mut options, &mut k, &mut w, &mut compressed, "sr").map_err(io::Error::other)?;
    Ok((options, k, w, compressed))
}

/// Builds the index of a FASTA reference and writes it to `output`.
pub fn build_index(fasta: &Path, output: impl Write) -> io::Result<()> {
    let (_, k, w, compressed) = short_reads()?;
    let mut builder = IndexBuilder::new(w, k, compressed, usize::MAX);
    let path = fasta.to_str().ok_or_else(|| io::Error::other("a path that is no text"))?;
    for (name, bases) in rammap::fasta::read_fasta(path).map_err(io::Error::other)? {
        builder.add_sequence(name, bases);
    }
    let mut output = io::BufWriter::with_capacity(1 << 18, output);
    builder.finish().save_part(&mut output)?;
    output.flush()
}

impl SharedIndex {
    /// Loads an index that [`build_index`] wrote.
    pub fn load(path: &Path) -> io::Result<Self> {
        let (mut options, ..) = short_reads()?;
        let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
        let index = Index::load_part(&mut file)?.ok_or_else(|| io::Error::other("an empty aligner index"))?;
        finalize_options(&mut options, index.kmer_size);
        calibrate_mid_occ(&mut options, &index, MID_OCCURRENCE);
        Ok(Self { index, options })
    }
}

/// One thread's state over a shared index.
pub struct Rammap<'a> {
    shared: &'a SharedIndex,
    output: OutputConfig,
    alignment: AlignmentContext,
    mapping: MapContext,
}

impl<'a> Rammap<'a> {
    /// An aligner. Its lines carry no read group: `rammap` would put it where minimap2 does not (see `Encoder::with_read_group`).
    pub fn new(shared: &'a SharedIndex) -> Self {
        let output = OutputConfig {
            do_cigar: true,
            do_cs: false,
            cs_long: false,
            do_md: false,
            do_ds: false,
            eqx: false,
            output_sam: true,
            rg_id: None,
            split_mode: false,
        };
        Self { shared, output, alignment: AlignmentContext::new(), mapping: MapContext::new() }
    }

    /// The SAM lines of one fragment.
    pub fn align(&mut self, read: &FastqRecord, mate: Option<&FastqRecord>) -> String {
        let SharedIndex { index, options } = self.shared;
        let segments = 1 + usize::from(mate.is_some());
        let (alignment, mapping) = (&mut self.alignment, &mut self.mapping);
        let (lines, _) = match mate {
            Some(mate) => align_and_format_pair(
                options,
                index,
                &info(read, 0, segments),
                &info(mate, 1, segments),
                alignment,
                mapping,
                None,
                &self.output,
            ),
            None => {
                align_and_format_query(options, index, &info(read, 0, segments), alignment, mapping, None, None, &self.output)
            }
        };
        lines
    }
}

fn info(read: &FastqRecord, segment: usize, segments: usize) -> ReadInfo<'_> {
    ReadInfo {
        qname: &read.name,
        qseq: &read.bases,
        qual: Some(&read.qualities),
        comment: None,
        n_seg: segments,
        seg_idx: segment,
    }
}

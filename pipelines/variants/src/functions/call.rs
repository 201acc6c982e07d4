//! Stage `call`: the alignments of one region from all runs, merged, to the variants of that region.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use neardata_core::ObjectRef;
use neardata_functions::{CallContext, CallError};
use serde::{Deserialize, Serialize};

use super::align::block_error;
use super::parts::{ObjectReader, run_of};
use super::{ReferenceFiles, Stage, Tool, node};
use crate::Caller;
use crate::alignment::record::Record;
use crate::coverage::Coverage;
use crate::output::bam::{PieceWriter, header_bytes};
use crate::output::vcf::{Variant, VariantCounts};
use crate::reference::Contigs;
use crate::regions::{Place, Region, Tiling};
use crate::shuffle::{BlockReader, Merge};
use crate::targets::Targets;

/// Memory for what is read ahead of all runs together.
const READ_AHEAD: u64 = 64 << 20;

/// Calls one region; without a region, only collects the alignments that have no place.
pub struct Call;

/// What to call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallArguments {
    /// The reference.
    pub reference: ReferenceFiles,
    /// The region; absent for alignments without a place.
    pub region: Option<Region>,
    /// The caller.
    pub caller: Caller,
    /// The program, by version and digest.
    pub tool: Option<Tool>,
    /// Copies of each chromosome.
    pub ploidy: u32,
    /// The sample.
    pub sample: String,
    /// A BED object.
    pub targets: Option<ObjectRef>,
    /// Publish the region's alignments.
    pub keep_alignments: bool,
}

/// What a region gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CallResult {
    /// Records of the region itself, padding left out.
    pub records: u64,
    /// Bytes of the piece of BAM, if alignments are kept.
    pub piece: u64,
    /// Its variants.
    pub variants: VariantCounts,
}

impl Stage for Call {
    type Arguments = CallArguments;
    type Result = CallResult;
    const NAME: &'static str = "variants.call";
    const VERSION: u32 = 1;

    fn run(&self, call: &CallContext, arguments: &CallArguments) -> Result<CallResult, CallError> {
        let contigs = node::contigs(call, &arguments.reference)?;
        let tiling = Tiling::new(&contigs);
        let mut work = Work::new(call, arguments, &contigs, &tiling)?;
        match arguments.region {
            Some(region) if !work.has_nothing_to_call() => {
                let variants = work.call_region(region)?;
                work.finish(Some(variants))
            }
            _ => {
                work.feed(&mut io::sink())?;
                work.finish(None)
            }
        }
    }
}

struct Work<'a> {
    call: &'a CallContext,
    arguments: &'a CallArguments,
    contigs: &'a Contigs,
    tiling: &'a Tiling,
    targets: Option<(Targets, PathBuf)>,
    own: Own<'a>,
}

/// What is kept of the records that belong to the region itself.
struct Own<'a> {
    region: Option<Region>,
    tiling: &'a Tiling,
    records: u64,
    coverage: Option<Coverage>,
    piece: Option<PieceWriter<BufWriter<File>>>,
}

impl<'a> Work<'a> {
    fn new(
        call: &'a CallContext,
        arguments: &'a CallArguments,
        contigs: &'a Contigs,
        tiling: &'a Tiling,
    ) -> Result<Self, CallError> {
        let targets = match &arguments.targets {
            None => None,
            Some(object) => {
                let path = call.scratch().join("targets.bed");
                let text = node::read_object(call, object)?;
                let targets = Targets::parse(&object.uri.to_string(), &text, contigs).map_err(CallError::input)?;
                std::fs::write(&path, targets.to_bed(contigs))?;
                Some((targets, path))
            }
        };
        let piece = match arguments.keep_alignments {
            true => Some(PieceWriter::new(BufWriter::with_capacity(1 << 18, File::create(call.scratch().join("piece"))?))),
            false => None,
        };
        let region = arguments.region;
        let coverage = region.map(|region| Coverage::new(region, tiling));
        let own = Own { region, tiling, records: 0, coverage, piece };
        Ok(Self { call, arguments, contigs, tiling, targets, own })
    }

    /// Whether no alignment lies in the region, or no target.
    fn has_nothing_to_call(&self) -> bool {
        let empty = self.call.slices().is_empty();
        let untargeted = match (&self.targets, self.arguments.region) {
            (Some((targets, _)), Some(region)) => !self.tiling.intervals(region).iter().any(|interval| targets.touch(interval)),
            _ => false,
        };
        empty || untargeted
    }

    fn call_region(&mut self, region: Region) -> Result<VariantCounts, CallError> {
        let reference = node::local_reference(self.call, &self.arguments.reference.source)?;
        let body =
            Body::new(self.call.scratch(), region, self.contigs, self.tiling, self.targets.as_ref().map(|(targets, _)| targets))?;
        match self.arguments.caller {
            Caller::Bcftools => self.bcftools(&reference.fasta, body),
            Caller::Freebayes => self.freebayes(&reference.fasta, body),
        }
    }

    fn bcftools(&mut self, fasta: &Path, body: Body<'_>) -> Result<VariantCounts, CallError> {
        let mut pileup = Command::new("bcftools");
        pileup.args(["mpileup", "-Ou", "-a", "AD,DP", "-f"]).arg(fasta);
        if let Some((_, bed)) = &self.targets {
            pileup.arg("-T").arg(bed);
        }
        pileup.arg("-");
        let mut caller = Command::new("bcftools");
        caller.args(["call", "-mv", "-Ov", "--ploidy", &self.arguments.ploidy.to_string(), "-"]);
        let call = self.call;
        let (mut between, pileup_out) = io::pipe()?;
        let (piled, called) = std::thread::scope(|scope| {
            let feed = |input: &mut dyn Write| self.feed(input);
            let pileup = call
                .child(pileup, "bcftools mpileup")
                .stdin_from(feed)
                .stdout_to(File::from(std::os::fd::OwnedFd::from(pileup_out)));
            let piled = scope.spawn(|| pileup.run());
            let pass_on = move |input: &mut dyn Write| copy(&mut between, input);
            let called = call.child(caller, "bcftools call").stdin_from(pass_on).read_stdout(|output| body.take(output));
            (piled.join(), called)
        });
        // What goes wrong in the first makes the second fail too: its words come first.
        piled.map_err(|_| CallError::failed("the pileup's supervisor panicked"))??;
        Ok(called?.1)
    }

    fn freebayes(&mut self, fasta: &Path, body: Body<'_>) -> Result<VariantCounts, CallError> {
        let mut command = Command::new("freebayes");
        command.arg("-f").arg(fasta).args(["-p", &self.arguments.ploidy.to_string(), "--stdin"]);
        let call = self.call;
        let feed = |input: &mut dyn Write| self.feed(input);
        let (_, variants) = call.child(command, "freebayes").stdin_from(feed).read_stdout(|output| body.take(output))?;
        Ok(variants)
    }

    /// Merges the runs and writes what overlaps the padded region as BAM, not compressed; notes what belongs to the region itself.
    fn feed(&mut self, input: &mut dyn Write) -> Result<(), CallError> {
        let slices = self.call.slices();
        let piece = (READ_AHEAD / slices.len().max(1) as u64).clamp(64 << 10, 4 << 20);
        let mut runs = Vec::with_capacity(slices.len());
        for slice in slices {
            let (object, bytes) = run_of(slice)?;
            runs.push(BlockReader::new(ObjectReader::new(self.call.stores().open(object)?, bytes, piece)));
        }
        let window = self.arguments.region.and_then(|region| self.tiling.padded(region));
        let total: u64 = slices.iter().filter_map(|slice| run_of(slice).ok()).map(|(_, bytes)| bytes.len()).sum();
        let mut merge = Merge::new(runs).map_err(block_error)?;
        let mut input = BufWriter::with_capacity(1 << 17, input);
        input.write_all(&header_bytes(self.contigs, &self.arguments.sample))?;
        let (mut records, mut raw) = (0u64, 0u64);
        while let Some(record) = merge.next().map_err(block_error)? {
            records += 1;
            raw += record.bytes().len() as u64;
            if records % 65_536 == 0 {
                self.call.check_cancelled()?;
                self.call.progress((raw / 3).min(total), total);
            }
            if window.is_some_and(|window| !overlaps(record, window)) {
                continue;
            }
            self.own.note(record)?;
            input.write_all(&(record.bytes().len() as u32).to_le_bytes())?;
            input.write_all(record.bytes())?;
        }
        input.flush()?;
        Ok(())
    }

    fn finish(self, variants: Option<VariantCounts>) -> Result<CallResult, CallError> {
        if variants.is_some() {
            self.call.publish_file("calls.vcf", &self.call.scratch().join("calls.vcf"))?;
        }
        if let Some(coverage) = &self.own.coverage {
            self.call.publish("coverage", coverage.to_bytes().into())?;
        }
        let mut piece_length = 0;
        if let Some(piece) = self.own.piece {
            let (mut file, length, index) = piece.finish()?;
            file.flush()?;
            piece_length = length;
            self.call.publish_file("piece.bam", &self.call.scratch().join("piece"))?;
            self.call.publish("piece.index", serde_json::to_vec(&index).map_err(CallError::failed)?.into())?;
        }
        self.call.count_records(self.own.records);
        Ok(CallResult { records: self.own.records, piece: piece_length, variants: variants.unwrap_or_default() })
    }
}

fn copy(from: &mut io::PipeReader, to: &mut dyn Write) -> Result<(), CallError> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn overlaps(record: Record<'_>, (from, to): (Place, Place)) -> bool {
    u32::try_from(record.contig()).is_ok_and(|contig| (contig, record.position()) < to && (contig, record.end()) > from)
}

impl Own<'_> {
    fn note(&mut self, record: Record<'_>) -> io::Result<()> {
        let own = match (self.region, u32::try_from(record.contig())) {
            (Some(region), Ok(contig)) => (region.from..region.to).contains(&self.tiling.tile((contig, record.position()))),
            (None, Err(_)) => true,
            _ => false,
        };
        if let Some(coverage) = &mut self.coverage {
            coverage.add(record, self.tiling);
        }
        if !own {
            return Ok(());
        }
        self.records += 1;
        self.piece.as_mut().map_or(Ok(()), |piece| piece.push(record))
    }
}

/// Takes a caller's VCF and keeps what lies in the region and in the targets.
struct Body<'a> {
    output: BufWriter<File>,
    region: Region,
    contigs: &'a Contigs,
    tiling: &'a Tiling,
    targets: Option<Targets>,
    counts: VariantCounts,
    /// The contig of the line before.
    last: (String, u32),
}

impl<'a> Body<'a> {
    fn new(
        scratch: &Path,
        region: Region,
        contigs: &'a Contigs,
        tiling: &'a Tiling,
        targets: Option<&Targets>,
    ) -> Result<Self, CallError> {
        let output = BufWriter::with_capacity(1 << 16, File::create(scratch.join("calls.vcf"))?);
        Ok(Self {
            output,
            region,
            contigs,
            tiling,
            targets: targets.cloned(),
            counts: VariantCounts::default(),
            last: (String::new(), 0),
        })
    }

    fn take(mut self, caller: &mut dyn Read) -> Result<VariantCounts, CallError> {
        let mut caller = BufReader::with_capacity(1 << 16, caller);
        let mut line = String::new();
        while caller.read_line(&mut line)? > 0 {
            if line.starts_with('#') || self.keep(line.trim_end())? {
                self.output.write_all(line.as_bytes())?;
            }
            line.clear();
        }
        self.output.flush()?;
        Ok(self.counts)
    }

    fn keep(&mut self, line: &str) -> Result<bool, CallError> {
        let variant =
            Variant::parse(line).ok_or_else(|| CallError::failed(format!("the caller wrote a line that is no VCF: {line}")))?;
        if self.last.0 != variant.contig {
            let unknown = || CallError::failed(format!("the caller named a contig the reference lacks: {line}"));
            self.last = (variant.contig.to_owned(), self.contigs.id(variant.contig).ok_or_else(unknown)? as u32);
        }
        let contig = self.last.1;
        let position = variant.position as i32 - 1;
        let tile = self.tiling.tile((contig, position));
        let in_targets = self.targets.as_ref().is_none_or(|targets| targets.contain(contig, position));
        let keep = (self.region.from..self.region.to).contains(&tile) && in_targets;
        if keep {
            self.counts.add(&variant);
        }
        Ok(keep)
    }
}

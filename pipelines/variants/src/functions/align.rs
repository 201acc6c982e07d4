//! Stage `align`: one slice of reads to one run of sorted alignments.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::Command;

use neardata_core::Slice;
use neardata_formats::SliceReader;
use neardata_functions::{CallContext, CallError};
use serde::{Deserialize, Serialize};

use super::{InsertSizeResult, ReferenceFiles, Stage, Tool, node};
use crate::Aligner;
use crate::alignment::fastq::{FastqError, FastqReader, FastqRecord, FragmentReader, Fragments};
use crate::alignment::rammap::{Rammap, SharedIndex};
use crate::alignment::sam::Encoder;
use crate::output::bam::read_group;
use crate::reference::Contigs;
use crate::shuffle::{BlockError, RunSummary, RunWriter};

/// Bytes of alignments a call holds before it sorts and spills them.
const SORT_MEMORY: usize = 96 << 20;

/// Fragments between two looks at whether the call is cancelled.
const STRIDE: u64 = 2048;

/// Aligns one slice.
pub struct Align;

/// How to align.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlignArguments {
    /// The reference.
    pub reference: ReferenceFiles,
    /// The aligner.
    pub aligner: Aligner,
    /// The aligner by version and digest.
    pub tool: Option<Tool>,
    /// One object of the slice holds pairs.
    pub interleaved: bool,
    /// The sample, whose name is the read group's.
    pub sample: String,
    /// For `bwa`: the insert size, the same for all slices.
    pub insert: Option<InsertSizeResult>,
}

/// What a slice gave.
pub type AlignResult = RunSummary;

impl Stage for Align {
    type Arguments = AlignArguments;
    type Result = AlignResult;
    const NAME: &'static str = "variants.align";
    const VERSION: u32 = 2;

    fn shared_group(&self, arguments: &AlignArguments) -> Option<String> {
        (arguments.aligner == Aligner::Rammap).then(|| index_key(&arguments.reference))
    }

    fn run(&self, call: &CallContext, arguments: &AlignArguments) -> Result<RunSummary, CallError> {
        let contigs = node::contigs(call, &arguments.reference)?;
        let mut run = RunWriter::new(call.scratch(), SORT_MEMORY);
        match arguments.aligner {
            Aligner::Rammap => align_here(call, arguments, &contigs, &mut run)?,
            Aligner::Minimap2 | Aligner::Bwa => {
                let command = command(call, arguments)?;
                align_by_child(call, arguments, command, &contigs, &mut run)?;
            }
        }
        call.check_cancelled()?;
        let path = call.scratch().join("run");
        let (table, summary) = run.finish(&path).map_err(block_error)?;
        call.publish_file("run", &path)?;
        call.publish("table", table.to_bytes().into())?;
        call.count_records(summary.reads);
        Ok(summary)
    }
}

fn index_key(reference: &ReferenceFiles) -> String {
    format!("variants.rammap {}", reference.address)
}

fn align_here(call: &CallContext, arguments: &AlignArguments, contigs: &Contigs, run: &mut RunWriter) -> Result<(), CallError> {
    let reference = &arguments.reference;
    let index = call.shared(&index_key(reference), || {
        let folder = node::local_index(call, reference)?;
        SharedIndex::load(&folder.join("reference.rmmi")).map_err(CallError::from)
    })?;
    let mut aligner = Rammap::new(&index);
    let mut encoder = Encoder::new(contigs).with_read_group(&arguments.sample);
    each_fragment(call, arguments.interleaved, u64::MAX, |read, mate| {
        let lines = aligner.align(read, mate);
        lines.lines().try_for_each(|line| push_line(line.as_bytes(), &mut encoder, run))
    })
}

fn push_line(line: &[u8], encoder: &mut Encoder, run: &mut RunWriter) -> Result<(), CallError> {
    run.push(|out| encoder.encode(line, out).map_err(|error| Failed(CallError::failed(error).permanent())))
        .map_err(|Failed(error)| error)
}

struct Failed(CallError);

impl From<BlockError> for Failed {
    fn from(error: BlockError) -> Self {
        Failed(block_error(error))
    }
}

pub(super) fn block_error(error: BlockError) -> CallError {
    match error {
        BlockError::Io(error) => CallError::from(error),
        damaged => CallError::failed(damaged).permanent(),
    }
}

/// The aligner as a child that reads fragments, mate after mate, from standard input.
///
/// Both programs pair neighbours of one name in a single stream, which gives what two files give.
pub(super) fn command(call: &CallContext, arguments: &AlignArguments) -> Result<Command, CallError> {
    let index = node::local_index(call, &arguments.reference)?;
    let group = read_group(&arguments.sample).replace('\t', "\\t");
    let paired = arguments.interleaved || call.slices().first().is_some_and(|slice| slice.objects.len() == 2);
    let mut command = Command::new(arguments.aligner.name());
    if arguments.aligner == Aligner::Minimap2 {
        command.args(["-t", "1", "-ax", "sr", "-R", &group]).arg(index.join("reference.mmi")).arg("-");
        return Ok(command);
    }
    command.args(["mem", "-t", "1", "-K", "10000000", "-R", &group]);
    if paired {
        command.arg("-p");
    }
    if let Some(InsertSizeResult { mean, deviation, .. }) = arguments.insert
        && deviation > 0.0
    {
        command.args(["-I", &format!("{mean},{deviation}")]);
    }
    command.arg(index.join("reference")).arg("-");
    Ok(command)
}

fn align_by_child(
    call: &CallContext,
    arguments: &AlignArguments,
    command: Command,
    contigs: &Contigs,
    run: &mut RunWriter,
) -> Result<(), CallError> {
    let mut encoder = Encoder::new(contigs);
    let feed = |input: &mut dyn Write| feed_fragments(call, arguments.interleaved, u64::MAX, input);
    call.child(command, arguments.aligner.name())
        .stdin_from(feed)
        .read_stdout(|output| each_line(output, |line| push_line(line, &mut encoder, run)))?;
    Ok(())
}

/// Goes through the lines of a SAM stream that are no header.
pub(super) fn each_line(output: &mut dyn Read, mut take: impl FnMut(&[u8]) -> Result<(), CallError>) -> Result<(), CallError> {
    let mut output = BufReader::with_capacity(1 << 17, output);
    let mut line = Vec::with_capacity(1024);
    while output.read_until(b'\n', &mut line)? > 0 {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.first() != Some(&b'@') {
            take(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// Writes up to `most` fragments of the call's slice as FASTQ, mate after mate.
pub(super) fn feed_fragments(call: &CallContext, interleaved: bool, most: u64, input: &mut dyn Write) -> Result<(), CallError> {
    let mut input = BufWriter::with_capacity(1 << 17, input);
    each_fragment(call, interleaved, most, |read, mate| {
        for read in [Some(read), mate].into_iter().flatten() {
            for part in [b"@", read.name.as_bytes(), b"\n", &read.bases, b"\n+\n", read.qualities.as_bytes(), b"\n"] {
                input.write_all(part)?;
            }
        }
        Ok(())
    })?;
    input.flush()?;
    Ok(())
}

/// Goes through up to `most` fragments of the call's slice.
fn each_fragment(
    call: &CallContext,
    interleaved: bool,
    most: u64,
    mut take: impl FnMut(&FastqRecord, Option<&FastqRecord>) -> Result<(), CallError>,
) -> Result<(), CallError> {
    let slice = call.slices().first().ok_or_else(|| CallError::input("an align call without a slice"))?;
    let records = records_of(slice);
    let (mut reads, mut fragments, mut buffer) = (0, 0, fragments_of(call, slice, interleaved)?);
    while fragments < most
        && let Some((read, mate)) = buffer.next_fragment().map_err(fastq_error)?
    {
        take(read, mate)?;
        fragments += 1;
        reads += 1;
        if fragments % STRIDE == 0 {
            call.check_cancelled()?;
            let step = if interleaved { 2 } else { 1 };
            call.progress((reads * step).min(records), records);
        }
    }
    Ok(())
}

fn records_of(slice: &Slice) -> u64 {
    first_stretch(slice, 0).map_or(0, |[first, end]| end - first)
}

fn first_stretch(slice: &Slice, object: usize) -> Option<[u64; 2]> {
    let selection: neardata_formats::Selection = slice.selection_as().ok()?;
    selection.stretches.get(object).map(|stretch| stretch.records)
}

fn fragments_of(call: &CallContext, slice: &Slice, interleaved: bool) -> Result<FragmentReader<SliceReader>, CallError> {
    let reader = |object: usize| -> Result<FastqReader<SliceReader>, CallError> {
        let name = slice.objects.get(object).map_or_else(String::new, |object| object.uri.to_string());
        let first = first_stretch(slice, object).map_or(0, |[first, _]| first);
        Ok(FastqReader::new(name, first, call.slicer().read(slice, object)?))
    };
    Ok(FragmentReader::new(match (slice.objects.len(), interleaved) {
        (2, _) => Fragments::Paired(reader(0)?, reader(1)?),
        (_, true) => Fragments::Interleaved(reader(0)?),
        _ => Fragments::Single(reader(0)?),
    }))
}

fn fastq_error(error: FastqError) -> CallError {
    match error {
        // Damage and store errors travel inside and come out as they were.
        FastqError::Io { error, source_name } if error.kind() != io::ErrorKind::InvalidData => {
            CallError::from(error).context(source_name)
        }
        other => CallError::input(other),
    }
}

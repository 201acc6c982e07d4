//! The driver: which calls a run makes, and in which order.

use std::sync::Arc;

use futures::future::{BoxFuture, try_join_all};
use futures::{FutureExt, TryFutureExt, try_join};
use neardata_compute::{CallFailed, Job, Pipeline, PipelineError};
use neardata_core::{ByteRange, ObjectRef, Slice};
use neardata_formats::Partition;
use neardata_functions::{CallError, CallRecord, CallSpec, Cause, FunctionSpec, Limits};
use serde_json::Value;

use crate::arguments::{Lane, VariantsArguments};
use crate::functions::{
    Align, AlignArguments, AlignResult, Call, CallArguments, IndexReads, IndexReadsArguments, IndexReadsResult, InsertSize,
    InsertSizeResult, MergeAlignments, MergeAlignmentsArguments, MergeVariants, MergeVariantsArguments, PrepareReference,
    ReferenceArguments, ReferenceFiles, ReferenceResult, Stage, Tool, object_slice, run_slice, tools_needed,
};
use crate::manifest::{CallNote, RunFacts};
use crate::plan::{Volume, default_regions, default_slices, hottest_region, slices_per_lane};
use crate::reference::Contigs;
use crate::regions::{Load, Region, Tiling};
use crate::shuffle::{RunSummary, Table};
use crate::targets::Targets;
use crate::{Aligner, publish};

/// How often a call that failed is tried again.
const RETRIES: u32 = 3;

/// `neardata run variants`.
pub struct VariantsPipeline;

impl Pipeline for VariantsPipeline {
    fn name(&self) -> &'static str {
        "variants"
    }

    fn run(&self, job: Job, arguments: Value) -> BoxFuture<'static, Result<Value, PipelineError>> {
        async move {
            let malformed = |error| PipelineError::input(format!("the arguments are malformed: {error}"));
            let arguments: VariantsArguments = serde_json::from_value(arguments).map_err(malformed)?;
            arguments.check().map_err(PipelineError::input)?;
            Run::new(job, arguments).await?.drive().await
        }
        .boxed()
    }
}

/// One run.
struct Run {
    job: Job,
    arguments: VariantsArguments,
    tools: Vec<Tool>,
    facts: std::sync::Mutex<RunFacts>,
}

/// A run of alignments and its table.
struct Shuffled {
    run: ObjectRef,
    table: Arc<Table>,
}

/// A region that was called.
struct Called {
    region: Option<Region>,
    record: CallRecord,
}

impl Run {
    async fn new(job: Job, arguments: VariantsArguments) -> Result<Self, PipelineError> {
        for stage in ["index", "align", "call", "merge"] {
            job.stage(stage, None);
        }
        let wanted = arguments.clone();
        let tools = job.blocking(move || tools_needed(&wanted)).await?;
        let facts = std::sync::Mutex::new(RunFacts::new(&tools));
        Ok(Self { job, arguments, tools, facts })
    }

    async fn drive(self) -> Result<Value, PipelineError> {
        let (lanes, reference, contigs) = self.index().await?;
        let slices = self.slices(&lanes).await?;
        let shuffled = self.align(&reference, slices).await?;
        let called = self.call(&reference, &contigs, &shuffled).await?;
        drop(shuffled);
        let merged = self.merge(&reference, &called).await?;
        let coverage =
            called.iter().filter_map(|called| Some((called.region?, called.record.output("coverage")?.clone()))).collect();
        let facts = self.facts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (stores, job_id) = (self.job.stores().clone(), self.job.id().clone());
        let arguments = self.arguments;
        let work = move || publish::publish(&stores, &job_id, &arguments, facts, &contigs, coverage, merged);
        let summary = self.job.blocking(work).await?;
        Ok(summary)
    }

    /// One call of a stage; its result typed, and its figures noted for the report.
    async fn one<S: Stage>(
        &self,
        stage: &str,
        label: String,
        arguments: &S::Arguments,
        slices: Vec<Slice>,
    ) -> Result<(CallRecord, S::Result), CallFailed> {
        let limits = Limits { memory: Some(self.arguments.call_memory), time: Some(self.arguments.call_time()) };
        let spec = CallSpec::new(FunctionSpec::native(S::NAME, S::VERSION))
            .arguments(serde_json::to_value(arguments).unwrap_or_default())
            .slices(slices)
            .limits(limits)
            .retries(RETRIES);
        let key = spec.key();
        let record = self.job.call(stage, spec).await?;
        let attempts = self.job.attempts(&key);
        let result = record.result_as().map_err(|error| CallFailed {
            stage: stage.to_owned(),
            call: 0,
            key,
            attempts: 0,
            error: CallError::failed(format!("the record of a finished call is damaged ({error}); remove it and run again")),
        })?;
        self.facts().calls.push(CallNote::new(stage, label, &record, attempts));
        Ok((record, result))
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, RunFacts> {
        self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    /// Stage `index`: side-cars, reference, aligner index; all at once.
    async fn index(&self) -> Result<(Vec<(Lane, u64, u64)>, ReferenceFiles, Arc<Contigs>), PipelineError> {
        let lanes = self.arguments.lanes();
        let uris: Vec<_> = lanes.iter().flat_map(|lane| [Some(lane.first.clone()), lane.second.clone()]).flatten().collect();
        let insert = u64::from(self.arguments.aligner == Aligner::Bwa && self.arguments.is_paired());
        self.job.stage("index", Some(uris.len() as u64 + 1 + insert));
        let (stores, reference, targets) =
            (self.job.stores().clone(), self.arguments.reference.clone(), self.arguments.targets.clone());
        let heads = move || {
            let reads = uris.iter().map(|uri| stores.head(uri)).collect::<Result<Vec<_>, _>>()?;
            Ok((reads, stores.head(&reference)?, targets.map(|uri| stores.head(&uri)).transpose()?))
        };
        let (reads, source, targets) = self.job.blocking(heads).await?;
        {
            let mut facts = self.facts();
            facts.reads.clone_from(&reads);
            facts.targets.clone_from(&targets);
        }
        let indexed = try_join_all(reads.iter().map(|object| {
            let arguments = IndexReadsArguments { object: object.clone() };
            async move { self.one::<IndexReads>("index", object.uri.name().to_owned(), &arguments, Vec::new()).await }
        }));
        let prepared = self.prepare_reference(source, targets);
        let (indexed, (files, contigs)) = try_join!(indexed.map_err(PipelineError::from), prepared)?;
        let mut counts = indexed.into_iter().map(|(_, result)| result);
        let mut found = Vec::new();
        for lane in lanes {
            let first = counts.next();
            let second = lane.second.is_some().then(|| counts.next()).flatten();
            found.push(counted(lane, first, second)?);
        }
        let reads: u64 = found.iter().map(|(lane, reads, _)| reads * (1 + u64::from(lane.second.is_some()))).sum();
        self.facts().read_count = reads;
        if reads == 0 {
            return Err(PipelineError::input(format!("there is no read in {}", list(&self.arguments.reads))));
        }
        Ok((found, files, contigs))
    }

    /// The reference, and whether the targets lie in it: nothing is aligned for a BED that no call could use.
    async fn prepare_reference(
        &self,
        source: ObjectRef,
        targets: Option<ObjectRef>,
    ) -> Result<(ReferenceFiles, Arc<Contigs>), PipelineError> {
        let name = source.uri.name().to_owned();
        let arguments =
            ReferenceArguments { source, aligner: self.arguments.aligner, tool: self.tool(self.arguments.aligner.name()) };
        let (record, result): (_, ReferenceResult) = self.one::<PrepareReference>("index", name, &arguments, Vec::new()).await?;
        let no_output =
            || PipelineError::failed("the reference was prepared without its contigs; remove the results and run again");
        let files = ReferenceFiles::of_outputs(&arguments, &record.outputs).ok_or_else(no_output)?;
        let (stores, contigs) = (self.job.stores().clone(), files.contigs.clone());
        let contigs = self.job.blocking(move || {
            let bytes = stores.open(&contigs)?.read(ByteRange::new(0, contigs.size))?;
            let contigs = serde_json::from_slice::<Contigs>(&bytes).map_err(CallError::failed)?;
            if let Some(targets) = targets {
                let bytes = stores.open(&targets)?.read(ByteRange::new(0, targets.size))?;
                Targets::parse(&targets.uri.to_string(), &bytes, &contigs).map_err(CallError::input)?;
            }
            Ok(contigs)
        });
        let contigs = contigs.await?;
        let mut facts = self.facts();
        facts.reference = Some(arguments.source);
        facts.reference_sha256 = Some(result.sha256);
        Ok((files, Arc::new(contigs)))
    }

    /// Cuts every lane; slices are in the order of the reads.
    async fn slices(&self, lanes: &[(Lane, u64, u64)]) -> Result<Vec<Slice>, PipelineError> {
        let volume = volume(lanes);
        let workers = self.arguments.workers.unwrap_or_else(|| self.job.workers());
        let wanted = self.arguments.slices.unwrap_or_else(|| default_slices(&self.arguments, volume, workers));
        let reads: Vec<u64> = lanes.iter().map(|(_, reads, _)| *reads).collect();
        let shares = slices_per_lane(wanted, &reads);
        let (slicer, interleaved) = (self.job.slicer(), self.arguments.interleaved);
        let lanes: Vec<Lane> = lanes.iter().map(|(lane, ..)| lane.clone()).collect();
        let cut = move || {
            let mut slices = Vec::new();
            for (lane, share) in lanes.iter().zip(shares) {
                let partition = Partition::Count(share);
                slices.extend(match &lane.second {
                    Some(second) => slicer.paired_slices(&lane.first, second, partition)?,
                    None => slicer.grouped_slices(&lane.first, partition, if interleaved { 2 } else { 1 })?,
                });
            }
            Ok(slices)
        };
        let slices = self.job.blocking(cut).await?;
        let pinned = &self.facts().reads.clone();
        if let Some(object) = slices.iter().flat_map(|slice| &slice.objects).find(|object| !pinned.contains(object)) {
            return Err(PipelineError::input(format!("{} changed while the run began; run again", object.uri)));
        }
        Ok(slices)
    }

    /// Stage `align`: one call a slice.
    async fn align(&self, reference: &ReferenceFiles, slices: Vec<Slice>) -> Result<Vec<Shuffled>, PipelineError> {
        let mut arguments = AlignArguments {
            reference: reference.clone(),
            aligner: self.arguments.aligner,
            tool: self.tool(self.arguments.aligner.name()),
            interleaved: self.arguments.interleaved,
            sample: self.arguments.sample.clone(),
            insert: None,
        };
        if self.arguments.aligner == Aligner::Bwa && self.arguments.is_paired() {
            let first = slices.first().cloned().into_iter().collect();
            let (_, insert): (_, InsertSizeResult) =
                self.one::<InsertSize>("index", "insert size".into(), &arguments, first).await?;
            arguments.insert = Some(insert);
        }
        self.job.stage("align", Some(slices.len() as u64));
        self.facts().slices = slices.len() as u64;
        let arguments = &arguments;
        let calls = slices.into_iter().enumerate().map(|(ordinal, slice)| async move {
            self.one::<Align>("align", format!("slice {}", ordinal + 1), arguments, vec![slice]).await
        });
        let aligned: Vec<(CallRecord, AlignResult)> = try_join_all(calls).await?;
        let total = aligned.iter().fold(RunSummary::default(), |total, (_, summary)| total.with(summary));
        self.facts().alignments = total;
        if total.mapped == 0 {
            let (reads, reference) = (list(&self.arguments.reads), &self.arguments.reference);
            return Err(PipelineError::input(format!("no read of {reads} aligns to {reference}: is this the right reference?")));
        }
        let stores = self.job.stores().clone();
        self.job.blocking(move || aligned.into_iter().map(|(record, _)| shuffled(&stores, &record)).collect()).await
    }

    /// Stage `call`: one call a region; regions are cut by what the tables say lies where.
    async fn call(
        &self,
        reference: &ReferenceFiles,
        contigs: &Contigs,
        shuffled: &[Shuffled],
    ) -> Result<Vec<Called>, PipelineError> {
        let tiling = Tiling::new(contigs);
        let mut load = Load::new(&tiling);
        shuffled.iter().for_each(|shuffled| load.add(&shuffled.table, &tiling));
        let records = load.records(tiling.everything());
        let volume = Volume { reads: records, uncompressed: records * 350 };
        let workers = self.arguments.workers.unwrap_or_else(|| self.job.workers());
        let wanted = self.arguments.regions.unwrap_or_else(|| default_regions(&self.arguments, volume, workers, tiling.len()));
        let regions = load.cool(load.cut(tiling.everything(), wanted), hottest_region(&self.arguments));
        let unplaced = self.arguments.keep_alignments;
        self.job.stage("call", Some(regions.len() as u64 + u64::from(unplaced)));
        let caller = RegionCaller { run: self, reference, contigs, tiling: &tiling, load: &load, shuffled };
        let placed = try_join_all(regions.into_iter().map(|region| caller.call(region)));
        let (placed, unplaced) =
            try_join!(placed, async { if unplaced { caller.unplaced().await.map(Some) } else { Ok(None) } })?;
        let called: Vec<Called> = placed.into_iter().flatten().chain(unplaced).collect();
        self.facts().regions = called.iter().filter(|called| called.region.is_some()).count() as u64;
        Ok(called)
    }

    /// Stage `merge`.
    async fn merge(&self, reference: &ReferenceFiles, called: &[Called]) -> Result<publish::Merged, PipelineError> {
        let keep = self.arguments.keep_alignments;
        self.job.stage("merge", Some(1 + u64::from(keep)));
        let bodies = called.iter().filter_map(|called| called.record.output("calls.vcf"));
        let bodies = bodies.map(|body| object_slice(vec![body.clone()])).collect();
        let sample = self.arguments.sample.clone();
        let arguments = MergeVariantsArguments { reference: reference.clone(), caller: self.arguments.caller, sample };
        let variants = self.one::<MergeVariants>("merge", "variants".into(), &arguments, bodies);
        let alignments = async {
            if !keep {
                return Ok(None);
            }
            let pieces = called.iter().filter_map(|called| {
                let (piece, index) = (called.record.output("piece.bam")?, called.record.output("piece.index")?);
                Some(object_slice(vec![piece.clone(), index.clone()]))
            });
            let arguments = MergeAlignmentsArguments { reference: reference.clone(), sample: self.arguments.sample.clone() };
            self.one::<MergeAlignments>("merge", "alignments".into(), &arguments, pieces.collect()).await.map(Some)
        };
        let (variants, alignments) = try_join!(variants, alignments)?;
        self.facts().variants = variants.1.variants.clone();
        Ok(publish::Merged { variants, alignments })
    }
}

/// Calls regions, and splits those that do not fit a call.
#[derive(Clone, Copy)]
struct RegionCaller<'a> {
    run: &'a Run,
    reference: &'a ReferenceFiles,
    contigs: &'a Contigs,
    tiling: &'a Tiling,
    load: &'a Load,
    shuffled: &'a [Shuffled],
}

impl<'a> RegionCaller<'a> {
    /// Calls a region; if a call runs out of time or memory, its halves.
    fn call(self, region: Region) -> BoxFuture<'a, Result<Vec<Called>, PipelineError>> {
        async move {
            let name = self.tiling.name(region, self.contigs);
            let slices = self.run_slices(|table| self.tiling.padded(region).map(|(from, to)| table.range(from, to)));
            match self.run.one::<Call>("call", name.clone(), &self.arguments(Some(region)), slices).await {
                Ok((record, _)) => Ok(vec![Called { region: Some(region), record }]),
                Err(failed) if region.len() > 1 && matches!(failed.error.cause, Cause::Timeout | Cause::Memory) => {
                    self.run.job.log(&format!("region {name} does not fit a call ({}); it is split", failed.error.cause));
                    let halves = self.load.cut(region, 2).into_iter().map(|half| self.call(half));
                    Ok(try_join_all(halves).await?.into_iter().flatten().collect())
                }
                Err(failed) => Err(failed.into()),
            }
        }
        .boxed()
    }

    async fn unplaced(self) -> Result<Called, PipelineError> {
        let slices = self.run_slices(|table| Some(table.unplaced()));
        let (record, _) = self.run.one::<Call>("call", "unplaced reads".into(), &self.arguments(None), slices).await?;
        Ok(Called { region: None, record })
    }

    fn run_slices(&self, range: impl Fn(&Table) -> Option<ByteRange>) -> Vec<Slice> {
        let slice = |shuffled: &Shuffled| {
            let bytes = range(&shuffled.table).filter(|bytes| !bytes.is_empty())?;
            Some(run_slice(&shuffled.run, bytes))
        };
        self.shuffled.iter().filter_map(slice).collect()
    }

    fn arguments(&self, region: Option<Region>) -> CallArguments {
        let arguments = &self.run.arguments;
        CallArguments {
            reference: self.reference.clone(),
            region,
            caller: arguments.caller,
            tool: self.run.tool(arguments.caller.name()),
            ploidy: arguments.ploidy,
            sample: arguments.sample.clone(),
            targets: self.run.facts().targets.clone(),
            keep_alignments: arguments.keep_alignments,
        }
    }
}

fn counted(
    lane: Lane,
    first: Option<IndexReadsResult>,
    second: Option<IndexReadsResult>,
) -> Result<(Lane, u64, u64), PipelineError> {
    let reads = first.as_ref().map_or(0, |found| found.records);
    if let (Some(found), Some(uri)) = (&second, &lane.second)
        && found.records != reads
    {
        let text = format!("{} holds {reads} reads but {uri} {}", lane.first, found.records);
        return Err(PipelineError::input(format!(
            "{text}; both mates' files must have the same number of reads, in the same order"
        )));
    }
    let bytes = [first, second].into_iter().flatten().map(|found| found.uncompressed).sum();
    Ok((lane, reads, bytes))
}

fn volume(lanes: &[(Lane, u64, u64)]) -> Volume {
    let reads = lanes.iter().map(|(lane, reads, _)| reads * (1 + u64::from(lane.second.is_some()))).sum();
    Volume { reads, uncompressed: lanes.iter().map(|(.., bytes)| bytes).sum() }
}

fn shuffled(stores: &neardata_store::Stores, record: &CallRecord) -> Result<Shuffled, CallError> {
    let missing = || CallError::failed(format!("the record of call {} names no run; remove it and run again", record.key));
    let (run, table) = (record.output("run").ok_or_else(missing)?, record.output("table").ok_or_else(missing)?);
    let bytes = stores.open(table)?.read(ByteRange::new(0, table.size))?;
    Ok(Shuffled { run: run.clone(), table: Arc::new(Table::from_bytes(&bytes).map_err(CallError::failed)?) })
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

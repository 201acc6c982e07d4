//! The command line's shape: every flag, with its help and an example a command.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Processes extreme scientific data where it lies.
#[derive(Parser)]
#[command(name = "neardata", version, max_term_width = 110, propagate_version = true)]
#[command(
    after_help = "Start here: `neardata up`, then in another terminal `eval \"$(neardata env)\"`.\nWhat is missing on this machine: `neardata doctor`."
)]
pub(crate) struct Cli {
    /// Print results as JSON, one value a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the platform: S3 endpoint, job service and local workers in one process.
    #[command(after_help = "Example:\n  neardata up --data ./lab-data --s3 127.0.0.1:9000 --api 127.0.0.1:9001")]
    Up(UpArgs),
    /// Print what S3 clients and the SDK need to reach the running platform, for `eval`.
    #[command(after_help = "Example:\n  eval \"$(neardata env)\" && aws s3 ls")]
    Env(EnvArgs),
    /// Cut an object into slices: one JSON value a line.
    #[command(after_help = "Example:\n  neardata slice s3://lab/reads.fastq.gz --n 8 | head -n 1 | neardata read")]
    Slice(SliceArgs),
    /// Write the exact bytes of slices to standard output.
    #[command(after_help = "Examples:\n  neardata slice reads.fastq.gz --records 1000 | sed -n 3p | neardata read\n  \
        neardata slice samples.csv --n 4 | neardata read --arrow --columns id,when --schema 'id:text,when:timestamp[us, UTC]' > samples.arrows")]
    Read(ReadArgs),
    /// Say what an object is: format, columns or references, how many records, the first of them.
    #[command(after_help = "Example:\n  neardata inspect s3://lab/calls.vcf.gz")]
    Inspect(InspectArgs),
    /// Index an object now rather than on first use.
    #[command(after_help = "Example:\n  neardata index s3://lab/reads.fastq.gz")]
    Index(IndexArgs),
    /// Run a pipeline.
    #[command(subcommand)]
    Run(RunCommand),
    /// Run a job again from its manifest and compare the digests of the results.
    #[command(after_help = "Example:\n  neardata reproduce s3://lab/out/manifest.json --output s3://lab/again")]
    Reproduce(ReproduceArgs),
    /// Look at jobs and stop them.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Free what finished jobs and indexes keep.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Say what is installed, what is missing, and the command that installs it.
    #[command(after_help = "Example:\n  neardata doctor")]
    Doctor,
    /// Show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  neardata completions bash > ~/.local/share/bash-completion/completions/neardata")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Run calls for an engine; started by the platform itself.
    #[command(hide = true)]
    Worker,
    /// Host a private engine on a Unix socket until standard input closes; started by the SDK.
    #[command(hide = true)]
    Engine(EngineArgs),
}

#[derive(Args)]
pub(crate) struct UpArgs {
    /// Data folder [default: ~/.local/share/neardata].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// Where the S3 endpoint listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) s3: Option<String>,
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) api: Option<String>,
    /// Local workers [default: one a core].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,
}

#[derive(Args)]
pub(crate) struct EnvArgs {
    /// Data folder of the running platform [default: ~/.local/share/neardata].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
}

#[derive(Args)]
pub(crate) struct SliceArgs {
    /// The object: s3://…, gs://…, az://…, http(s)://… or a path.
    pub(crate) uri: String,
    /// The second mates, cut at the same read.
    #[arg(long, value_name = "URI")]
    pub(crate) mate2: Option<String>,
    #[command(flatten)]
    pub(crate) partition: PartitionArgs,
}

#[derive(Args)]
pub(crate) struct PartitionArgs {
    /// This many slices, of about equal size.
    #[arg(long, value_name = "N", group = "partition", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) n: Option<u64>,
    /// Slices of about this many uncompressed bytes (64M, 1GiB).
    #[arg(long, value_name = "B", group = "partition")]
    pub(crate) bytes: Option<String>,
    /// Slices of this many records.
    #[arg(long, value_name = "R", group = "partition", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) records: Option<u64>,
    /// At most this many rectangles: tiles of points, pixels or spectra.
    #[arg(long, value_name = "N", group = "partition", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) tiles: Option<u64>,
    /// All records that overlap this region: chr20, chr20:1000-2000. May be given again; one slice a region.
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Vec<String>,
    /// What overlaps this rectangle, in the coordinates of the object: MINX,MINY,MAXX,MAXY.
    #[arg(long, value_name = "BOX", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    pub(crate) bounds: Vec<f64>,
    /// Only measured values from LOW to HIGH: m/z of spectra.
    #[arg(long, value_name = "LOW,HIGH", value_delimiter = ',', num_args = 1)]
    pub(crate) window: Vec<f64>,
    /// Points no coarser than this distance is enough (COPC).
    #[arg(long, value_name = "DISTANCE")]
    pub(crate) resolution: Option<f64>,
    /// Overview level of an image; 0 is full resolution.
    #[arg(long, value_name = "L")]
    pub(crate) level: Option<u32>,
    /// The FASTA that alignments (CRAM) were stored with: what reads their bases as Arrow needs it.
    #[arg(long, value_name = "URI")]
    pub(crate) reference: Option<String>,
    /// Only these columns, for formats that have them.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', num_args = 1)]
    pub(crate) columns: Vec<String>,
    /// What to take it for, where its name and first bytes do not tell: csv, tsv, jsonl, text, …
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// The first row (CSV, TSV, text) is a header: it is in no slice, and in front of what is read of each.
    #[arg(long)]
    pub(crate) header: bool,
    /// Each row of CSV or TSV is one line, with no line end in quotes: a large plain object is then cut without a pass over it.
    #[arg(long)]
    pub(crate) one_line_rows: bool,
}

#[derive(Args)]
pub(crate) struct ReadArgs {
    /// Slices as JSON; none, or `-`, reads them from standard input, one a line.
    pub(crate) slices: Vec<String>,
    /// Which object of a pair: 0 or 1.
    #[arg(long, default_value_t = 0, value_name = "I")]
    pub(crate) object: usize,
    /// Write Arrow record batches, as an Arrow IPC stream, rather than bytes.
    #[arg(long)]
    pub(crate) arrow: bool,
    /// Only these columns of the batches, in this order.
    #[arg(long, requires = "arrow", value_name = "NAME,…", value_delimiter = ',', num_args = 1)]
    pub(crate) columns: Vec<String>,
    /// Types of columns that are not to be told from the data: NAME:TYPE,… or a JSON object of them. Types: bool, int8 to int64, uint8
    /// to uint64, float32, float64, text, date, timestamp, timestamp[us, UTC], decimal(9, 2), list<int32>.
    #[arg(long, requires = "arrow", value_name = "SCHEMA")]
    pub(crate) schema: Option<String>,
    /// What stands between the fields of CSV: one character; `tab` and `\t` are the tab.
    #[arg(long, requires = "arrow", value_name = "CHARACTER")]
    pub(crate) separator: Option<String>,
    /// The first row of CSV and TSV is data; columns are then column_1, column_2, …
    #[arg(long, requires = "arrow")]
    pub(crate) no_header_row: bool,
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The object.
    pub(crate) uri: String,
}

#[derive(Args)]
pub(crate) struct IndexArgs {
    /// The objects.
    #[arg(required = true)]
    pub(crate) uris: Vec<String>,
}

#[derive(Subcommand)]
pub(crate) enum RunCommand {
    /// Call variants: reads in a bucket (or on disk) to calls.vcf.gz, near the data.
    #[command(after_help = "Examples:\n  \
        neardata run variants --reads s3://lab/r_1.fastq.gz --reads2 s3://lab/r_2.fastq.gz --reference s3://lab/ref.fa --output s3://lab/out --ploidy 1\n  \
        neardata run variants --reads lane1.fq.gz lane2.fq.gz --reference ref.fa.gz --output ./out --aligner minimap2 --dry-run")]
    Variants(Box<VariantsArgs>),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Aligner {
    /// In process, byte-identical to `minimap2 -ax sr`.
    Rammap,
    /// The minimap2 program.
    Minimap2,
    /// The bwa program, `bwa mem`.
    Bwa,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Caller {
    /// `bcftools mpileup | bcftools call`.
    Bcftools,
    /// `freebayes`.
    Freebayes,
}

#[derive(Args)]
pub(crate) struct VariantsArgs {
    /// Reads, FASTQ plain, gzip or BGZF; several lanes are several URIs.
    #[arg(long, required = true, num_args = 1.., value_name = "URI")]
    pub(crate) reads: Vec<String>,
    /// The second mates, lane by lane.
    #[arg(long, num_args = 1.., value_name = "URI")]
    pub(crate) reads2: Vec<String>,
    /// Mates follow each other in --reads.
    #[arg(long, conflicts_with = "reads2")]
    pub(crate) interleaved: bool,
    /// Reference FASTA, plain or compressed.
    #[arg(long, value_name = "URI")]
    pub(crate) reference: String,
    /// Prefix or folder for the results.
    #[arg(long, value_name = "URI")]
    pub(crate) output: String,
    /// Slices of the reads [default: from --call-memory and --call-time].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) slices: Option<u64>,
    /// Regions of the genome [default: from --call-memory and --call-time].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) regions: Option<u64>,
    /// Workers of a private run [default: one a core].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,
    /// Which aligner.
    #[arg(long, value_enum, default_value = "rammap")]
    pub(crate) aligner: Aligner,
    /// Which variant caller.
    #[arg(long, value_enum, default_value = "bcftools")]
    pub(crate) caller: Caller,
    /// Copies of each chromosome.
    #[arg(long, default_value_t = 2, value_name = "P", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) ploidy: u32,
    /// Sample name in the read group and the VCF.
    #[arg(long, default_value = "sample", value_name = "NAME")]
    pub(crate) sample: String,
    /// Call only inside the intervals of this BED file.
    #[arg(long, value_name = "BED")]
    pub(crate) targets: Option<String>,
    /// Memory a call may use.
    #[arg(long, value_name = "B")]
    pub(crate) call_memory: Option<String>,
    /// Time a call may take.
    #[arg(long, value_name = "T")]
    pub(crate) call_time: Option<String>,
    /// Write the sorted BAM and its index too, unmapped reads included.
    #[arg(long)]
    pub(crate) keep_alignments: bool,
    /// Compare the calls with this truth VCF (a local path) and print recall and precision.
    #[arg(long, value_name = "VCF")]
    pub(crate) truth: Option<String>,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave the job running on the platform and return at once.
    #[arg(long, conflicts_with = "truth")]
    pub(crate) detach: bool,
}

#[derive(Args)]
pub(crate) struct ReproduceArgs {
    /// The manifest.json of a finished run.
    pub(crate) manifest: String,
    /// Where the second run's results go [default: a fresh prefix beside the manifest].
    #[arg(long, value_name = "URI")]
    pub(crate) output: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum JobsCommand {
    /// Every job of the platform, newest first.
    #[command(after_help = "Example:\n  neardata jobs list --json")]
    List,
    /// One job: its stages and calls.
    #[command(after_help = "Example:\n  neardata jobs show 0193 --json | jq .calls")]
    Show {
        /// The job's id, or the beginning of it.
        job: String,
    },
    /// What its workers and tools printed.
    Logs {
        /// The job's id, or the beginning of it.
        job: String,
    },
    /// Stop it; finished calls are kept.
    Cancel {
        /// The job's id, or the beginning of it.
        job: String,
    },
    /// Where its report lies.
    Report {
        /// The job's id, or the beginning of it.
        job: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum CacheCommand {
    /// Remove indexes and results of calls that were written a while ago; they are made again when needed.
    #[command(after_help = "Example:\n  neardata cache gc --older-than 7d")]
    Gc {
        /// Keep what is younger than this.
        #[arg(long, default_value = "30d", value_name = "T")]
        older_than: String,
        /// Outputs of private runs whose `.neardata` folders are to be freed as well.
        #[arg(value_name = "OUTPUT")]
        outputs: Vec<String>,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting, its value, and where the value came from.
    Show,
}

#[derive(Args)]
pub(crate) struct EngineArgs {
    /// Folder of the engine.
    #[arg(long)]
    pub(crate) folder: std::path::PathBuf,
    /// Unix socket to listen on.
    #[arg(long)]
    pub(crate) socket: std::path::PathBuf,
    /// Workers.
    #[arg(long)]
    pub(crate) workers: Option<String>,
    /// Where results of calls go; in the folder if absent.
    #[arg(long)]
    pub(crate) results: Option<String>,
}

//! A job's commit in system calls: what a person is told is on the disk, record and folder and write-ahead log, before they are told.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Platform, run_variants, small, succeed};

/// One system call: the lines of the trace where it began and ended.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    /// The file behind its descriptor.
    file: String,
    /// Its arguments as strace prints them.
    text: String,
    began: usize,
    ended: usize,
}

impl Call {
    /// Syncs of files succeed. (Tools sync their pipes too, which pipes refuse.)
    fn may_end_with(&self, line: &str) -> bool {
        line.ends_with("= 0") || !self.name.ends_with("sync") || !self.file.starts_with('/')
    }
}

/// What a process and all its children did, in order.
struct Trace(Vec<Call>);

impl Trace {
    /// The same command under strace, which stands aside (`-D`): the child is the command itself.
    fn command(command: &Command, trace: &Path) -> Command {
        let calls = "trace=fsync,fdatasync,write,pwrite64,writev,sendto,sendmsg,rename,renameat,renameat2,link,linkat";
        let mut traced = Command::new("strace");
        traced.args(["-D", "-f", "-y", "-s", "65536", "-e", calls, "-o"]).arg(trace).arg(command.get_program());
        traced.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        traced
    }

    /// Reads the trace once strace has written the end of process `pid`.
    fn read(path: &Path, pid: u32) -> Self {
        let started = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            let ended = |line: &str| line.starts_with(&format!("{pid} ")) && line.contains("+++ exited with 0 +++");
            if text.lines().any(ended) {
                return Self::parse(&text);
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the trace has no end of process {pid}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for (line, whole) in text.lines().enumerate() {
            let Some((thread, call)) = whole.split_once(' ') else { continue };
            let call = call.trim_start();
            if call.starts_with("<... ") {
                // A call that its process did not live to see the end of prints `= ?`, and counts as never ended.
                if let Some(index) = open.remove(thread).filter(|_| !call.ends_with("= ?")) {
                    assert!(calls[index].may_end_with(call), "{whole}");
                    calls[index].ended = line;
                }
            } else if let Some((name, arguments)) = call.split_once('(').filter(|_| !call.starts_with(['+', '-'])) {
                let file = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(file, _)| file);
                let index = calls.len();
                let (name, file, text) = (name.to_owned(), file.to_owned(), arguments.to_owned());
                calls.push(Call { name, file, text, began: line, ended: line });
                if call.ends_with("<unfinished ...>") {
                    calls[index].ended = usize::MAX;
                    open.insert(thread, index);
                } else {
                    assert!(calls[index].may_end_with(call), "{whole}");
                }
            }
        }
        Self(calls)
    }

    fn writes<'a>(&'a self, ending: &'a str) -> impl DoubleEndedIterator<Item = &'a Call> {
        self.0.iter().filter(move |call| call.name.contains("write") && call.file.ends_with(ending))
    }

    /// Where a sync of `file` ended that began after line `after`.
    fn synced(&self, file: &str, after: usize) -> Option<usize> {
        let syncs = self.0.iter().filter(|call| call.name.ends_with("sync") && call.file == file && call.began > after);
        syncs.map(|call| call.ended).min()
    }

    /// Files that got their name by renaming, below a path: the name before, the name, the call.
    fn named(&self, below: &str) -> Vec<(String, String, &Call)> {
        let renames = self.0.iter().filter(|call| call.name.starts_with("rename") || call.name.starts_with("link"));
        let names = renames.map(|call| {
            let mut quoted = call.text.split('"').skip(1).step_by(2);
            (quoted.next().unwrap_or_default().to_owned(), quoted.next().unwrap_or_default().to_owned(), call)
        });
        names.filter(|(_, to, _)| to.contains(below)).collect()
    }

    /// The law of a durable file: synced after its last write, only then named, then its folder synced. Gives when that was done.
    fn durable_since(&self, from: &str, to: &str, named: &Call) -> usize {
        let written = self.writes(from).next_back().unwrap_or_else(|| panic!("{to} was never written")).ended;
        let synced = self.synced(from, written).unwrap_or_else(|| panic!("{to} was not synced after its last write"));
        assert!(synced < named.began, "{to} had its name before it was synced");
        let folder = Path::new(to).parent().unwrap().to_str().unwrap();
        self.synced(folder, named.ended).unwrap_or_else(|| panic!("the folder of {to} was not synced after it got its name"))
    }

    /// The law of a write-ahead log: before line `at`, a write that holds `what` has been synced. (Later transactions write the same
    /// page again, maybe at this very moment.)
    fn logged(&self, log: &str, what: &str, at: usize) {
        let writes: Vec<_> = self.writes(log).filter(|call| call.began < at && call.text.contains(what)).collect();
        assert!(!writes.is_empty(), "{log} does not have {what} before it is acknowledged");
        let synced = writes.iter().filter_map(|call| self.synced(&call.file, call.ended)).min().unwrap_or(usize::MAX);
        assert!(synced < at, "{log}: {what} was acknowledged at line {at}, first synced at {synced}");
    }

    /// Nothing of a log is left to be synced at line `at`.
    fn all_logged(&self, log: &str, at: usize) {
        let last = self.writes(log).rfind(|call| call.began < at).unwrap_or_else(|| panic!("{log} was never written"));
        assert!(self.synced(&last.file, last.ended).unwrap_or(usize::MAX) < at, "{log} was not synced before line {at}");
    }

    /// Where `what` first left on a stream: a pipe or a socket.
    fn told(&self, what: &str) -> Option<usize> {
        let streams = |call: &&Call| call.file.starts_with("socket:") || call.file.starts_with("pipe:");
        self.0.iter().filter(streams).find(|call| call.text.contains(what)).map(|call| call.began)
    }
}

/// How an event says that a call is done, inside a string of strace's.
fn done(key: &str) -> String {
    format!(r#"\"state\":\"done\",\"attempt\":1,\"key\":\"{key}\""#)
}

const JOB_DONE: &str = r#"\"type\":\"job\",\"state\":\"done\""#;

fn stem(path: &str) -> &str {
    Path::new(path).file_stem().unwrap().to_str().unwrap()
}

#[test]
fn a_private_job_is_on_the_disk_before_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (output, trace) = (folder.path().join("out"), folder.path().join("trace"));
    let run = run_variants(folder.path(), &output, &["--slices", "2", "--regions", "2", "--workers", "2"]);
    let mut traced = Trace::command(&run, &trace);
    let child = traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let trace = Trace::read(&trace, pid);
    let said = trace.told("slices        2").expect("the summary was printed");

    let records = trace.named("/.neardata/calls/");
    assert!(records.len() >= 6, "index, align, call, merge: {}", records.len());
    for (from, to, named) in records {
        let durable = trace.durable_since(&from, &to, named);
        let noted = trace.writes("/jobs.sqlite-wal").find(|call| call.text.contains(&done(stem(&to))));
        let noted = noted.unwrap_or_else(|| panic!("the job database never heard of {to}"));
        assert!(durable < noted.began, "{to} was noted as done before it was durable");
        trace.logged("/jobs.sqlite-wal", &done(stem(&to)), said);
    }
    trace.logged("/jobs.sqlite-wal", JOB_DONE, said);
    trace.all_logged("/jobs.sqlite-wal", said);
    for name in ["calls.vcf.gz", "calls.vcf.gz.tbi", "manifest.json", "report.html"] {
        let published = trace.named(output.join(name).to_str().unwrap());
        let (from, to, named) = published.into_iter().find(|(_, to, _)| to.ends_with(name)).unwrap();
        assert!(trace.durable_since(&from, &to, named) < said, "{name} was announced before it was durable");
    }
}

#[test]
fn a_platforms_job_is_on_the_disk_before_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut platform = Platform::start_with(folder.path(), |up| *up = Trace::command(up, &trace));
    let small = small();
    platform.upload("lab", &[(&small.mate(1), "r1.fastq.gz"), (&small.reference(), "ref.fa")]);
    let mut run = platform.neardata();
    run.args(["run", "variants", "--ploidy", "1", "--sample", "K12", "--slices", "2", "--regions", "2"]);
    succeed(run.args(["--reads", "s3://lab/r1.fastq.gz", "--reference", "s3://lab/ref.fa", "--output", "s3://lab/out"]));
    let pid = platform.child.id();
    platform.signal("TERM");
    assert_eq!(platform.wait(), Some(0), "{}", platform.log.lock().unwrap());

    let trace = Trace::read(&trace, pid);
    let keys: std::collections::BTreeSet<String> = trace
        .writes("/jobs.sqlite-wal")
        .flat_map(|call| call.text.split(r#"\"state\":\"done\",\"attempt\":1,\"key\":\""#).skip(1))
        .map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect())
        // Free space in a page holds the rests of rows that moved elsewhere.
        .filter(|key: &String| key.len() == 64)
        .collect();
    assert!(keys.len() >= 6, "index, align, call, merge: {keys:?}");
    for key in &keys {
        let told = trace.told(&done(key)).unwrap_or_else(|| panic!("nobody was told that {key} is done"));
        trace.logged("/meta.sqlite-wal", &format!("/{key}.json"), told);
    }
    let told = trace.told(JOB_DONE).expect("the client was told that the job is done");
    trace.logged("/jobs.sqlite-wal", JOB_DONE, told);
    for key in &keys {
        trace.logged("/jobs.sqlite-wal", &done(key), told);
    }
    for name in ["calls.vcf.gz", "manifest.json", "report.html"] {
        trace.logged("/meta.sqlite-wal", &format!("out/{name}"), told);
    }
}

/// The proof that the checks can fail: a trace where any one sync is missing, or late, is refused.
#[test]
fn the_checks_see_every_missing_sync() {
    let good = [
        r#"7 write(5</o/.p>, "record", 6) = 6"#,
        r#"7 fsync(5</o/.p>) = 0"#,
        r#"7 renameat2(AT_FDCWD</>, "/o/.p", AT_FDCWD</>, "/o/key.json", RENAME_NOREPLACE) = 0"#,
        r#"7 fsync(6</o>) = 0"#,
        r#"8 pwrite64(9</e/jobs.sqlite-wal>, "key done", 8, 0) = 8"#,
        r#"8 fsync(9</e/jobs.sqlite-wal> <unfinished ...>"#,
        r#"8 <... fsync resumed>) = 0"#,
        r#"7 write(1<pipe:[1]>, "told", 4) = 4"#,
    ];
    let check = |lines: &[&str]| {
        let trace = Trace::parse(&lines.join("\n"));
        let told = trace.told("told").unwrap();
        let named = trace.named("/o/");
        let (from, to, call) = &named[0];
        assert!(trace.durable_since(from, to, call) < trace.writes("-wal").next().unwrap().began);
        trace.logged("/jobs.sqlite-wal", "key done", told);
    };
    check(&good);
    let fails = |lines: Vec<&str>| std::panic::catch_unwind(|| check(&lines)).is_err();
    for missing in [1, 3, 6] {
        let lines = good.iter().enumerate().filter(|(line, _)| *line != missing && (missing != 6 || *line != 5));
        assert!(fails(lines.map(|(_, line)| *line).collect()), "without {}", good[missing]);
    }
    for late in [0, 1, 2, 3, 6] {
        let mut lines = good.to_vec();
        lines.swap(late, late + 1);
        assert!(fails(lines), "{} after {}", good[late], good[late + 1]);
    }
}

//! What every test needs: the binary, a folder of its own, small real data, a platform on free ports.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_neardata");

/// A command of the binary in an environment without anybody's platform, keys or caches.
pub fn neardata(cache: &Path) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars() {
        if name.starts_with("NEARDATA_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("NEARDATA_CACHE", cache.join("cache"))
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("NEARDATA_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Runs a command that must succeed; gives its standard output.
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a command that must fail with this exit code; gives its standard error.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{stderr}");
    stderr
}

pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A running `neardata up`, killed when dropped.
pub struct Platform {
    pub child: Child,
    pub variables: Vec<(String, String)>,
    pub data: PathBuf,
    pub log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Platform {
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, |_| {})
    }

    pub fn start_with(folder: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let data = folder.join("data");
        let mut command = neardata(folder);
        // A platform started again on the folder gets the addresses it had: slices and results name them.
        let addresses = folder.join("addresses");
        if !addresses.exists() {
            std::fs::write(&addresses, format!("{}\n{}", free_address(), free_address())).unwrap();
        }
        let addresses = std::fs::read_to_string(addresses).unwrap();
        let (s3, api) = addresses.split_once('\n').unwrap();
        command.args(["up", "--s3", s3, "--api", api, "--workers", "2", "--data"]).arg(&data);
        change(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = std::sync::Arc::<std::sync::Mutex<String>>::default();
        let streams: [Box<dyn Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push_str(&(line + "\n"));
                }
            });
        }
        let started = Instant::now();
        let variables = loop {
            let output = run(neardata(folder).args(["--json", "env", "--data"]).arg(&data));
            if output.status.success() {
                let map: std::collections::BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
                break map.into_iter().collect();
            }
            assert!(child.try_wait().unwrap().is_none(), "neardata up ended: {}", log.lock().unwrap());
            assert!(started.elapsed() < Duration::from_secs(30), "neardata up did not start: {}", log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        };
        Self { child, variables, data, log }
    }

    /// A command of the binary pointed at this platform, as `eval "$(neardata env)"` does.
    pub fn neardata(&self) -> Command {
        let mut command = neardata(self.data.parent().unwrap());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn variable(&self, name: &str) -> &str {
        &self.variables.iter().find(|(known, _)| known == name).unwrap().1
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.child.id());
    }

    /// Waits for the end; gives the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Makes a bucket and puts files into it with an ordinary S3 client.
    pub fn upload(&self, bucket: &str, files: &[(&Path, &str)]) {
        let rclone = |arguments: &[&str]| {
            let mut command = Command::new("rclone");
            command.args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
            command
                .env("RCLONE_CONFIG", "/dev/null")
                .env_remove("AWS_CA_BUNDLE")
                .env("RCLONE_CONFIG_ND_TYPE", "s3")
                .env("RCLONE_CONFIG_ND_PROVIDER", "Other");
            command.env("RCLONE_CONFIG_ND_ENV_AUTH", "true").env("RCLONE_CONFIG_ND_ENDPOINT", self.variable("AWS_ENDPOINT_URL"));
            succeed(&mut command);
        };
        rclone(&["mkdir", &format!("nd:{bucket}")]);
        for (path, key) in files {
            rclone(&["copyto", path.to_str().unwrap(), &format!("nd:{bucket}/{key}")]);
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// A free address below the ports that the system gives to outgoing connections, so that it is still free when a platform starts again.
fn free_address() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 20_000 + (std::process::id().wrapping_mul(97) + step) % 12_000;
        let address = format!("127.0.0.1:{port}");
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

pub fn send(signal: &str, pid: u32) {
    let _already_gone =
        Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

/// Small real data, made once for all tests: the first 120 kb of E. coli, and 20x paired reads simulated from it.
pub struct Small {
    pub folder: tempfile::TempDir,
}

impl Small {
    pub fn reference(&self) -> PathBuf {
        self.folder.path().join("ref.fa")
    }

    pub fn mate(&self, mate: u8) -> PathBuf {
        self.folder.path().join(format!("sim.bwa.read{mate}.fastq.gz"))
    }

    pub fn truth(&self) -> PathBuf {
        self.folder.path().join("sim.mutations.vcf")
    }
}

pub fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read_to_string(genome()).unwrap();
        let sequence: String = whole.lines().skip(1).collect::<String>().chars().take(120_000).collect();
        let lines: Vec<&str> = sequence.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        std::fs::write(folder.path().join("ref.fa"), format!(">K12\n{}\n", lines.join("\n"))).unwrap();
        let arguments = "-z 42 -H -C 20 -1 150 -2 150 -d 400 -s 50 -e 0.001-0.010 -E 0.001-0.010 -r 0.001 -R 0.10 -X 0.30 -y 0 -o 1 ref.fa sim";
        succeed(Command::new("dwgsim").args(arguments.split(' ')).current_dir(folder.path()));
        Small { folder }
    })
}

/// The real genome: `make test` names it; else the script fetches it.
fn genome() -> PathBuf {
    if let Some(path) = std::env::var_os("NEARDATA_TEST_GENOME") {
        return path.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/genome");
    text(succeed(Command::new(script).arg("ecoli"))).trim().into()
}

/// `neardata run variants` on the small data, private, on local paths.
pub fn run_variants(folder: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = neardata(folder);
    let small = small();
    command.args(["run", "variants", "--ploidy", "1", "--sample", "K12", "--reads"]).arg(small.mate(1));
    command.arg("--reads2").arg(small.mate(2)).arg("--reference").arg(small.reference()).arg("--output").arg(output).args(more);
    command
}

pub fn manifest(output: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap()
}

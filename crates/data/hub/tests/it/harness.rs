//! Endpoints to test against: in this process, or in a child that can be traced and killed.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use neardata_hub::{Hub, HubOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ACCESS_KEY: &str = "test-access";
pub(crate) const SECRET_KEY: &str = "test-secret";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const BUCKET: &str = "bucket";

pub(crate) fn options(folder: &Path, port: u16) -> HubOptions {
    HubOptions {
        folder: folder.to_owned(),
        listen: ([127, 0, 0, 1], port).into(),
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
        region: REGION.into(),
    }
}

/// A hub in this process, with one bucket.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, stop, task) = serve(folder.path()).await;
        Self { address, folder, stop: Some(stop), task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the hub and starts another one on the same folder.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let (address, stop, task) = serve(self.folder.path()).await;
        self.address = address;
        self.stop = Some(stop);
        self.task = task;
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
            (&mut self.task).await.unwrap();
        }
    }
}

async fn serve(folder: &Path) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let hub = Hub::open(options(folder, 0)).await.unwrap();
    hub.ensure_bucket(BUCKET).await.unwrap();
    let bound = hub.bind().await.unwrap();
    let address = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        bound.serve(async { drop(stopped.await) }).await.unwrap();
    });
    (address, stop, task)
}

/// A hub in a child process: this test binary again, told to run [`child`].
pub(crate) struct ChildEndpoint {
    pub(crate) address: SocketAddr,
    pub(crate) process: Child,
    /// Kept open: a test binary that cannot print ends in an error.
    _output: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

const CHILD_FOLDER: &str = "NEARDATA_TEST_HUB_FOLDER";
const CHILD_PORT: &str = "NEARDATA_TEST_HUB_PORT";

impl ChildEndpoint {
    /// Starts the child, behind `wrapper` (`strace -f …`) if there is one.
    pub(crate) fn start(folder: &Path, wrapper: &[&str]) -> Self {
        let binary = std::env::current_exe().unwrap();
        let mut words: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
        words.push(binary.into());
        let mut process = Command::new(&words[0])
            .args(&words[1..])
            .args(["--exact", "harness::child", "--nocapture"])
            .env(CHILD_FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().rsplit_once("listening on ").map(|(_, address)| address.parse().unwrap()))
            .expect("the child says where it listens");
        Self { address, process, _output: lines }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends the child by closing its standard input.
    pub(crate) fn stop(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// Not a test: what [`ChildEndpoint`] runs. Ends when its standard input does.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let port = std::env::var(CHILD_PORT).map_or(0, |port| port.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let hub = Hub::open(options(Path::new(&folder), port)).await.unwrap();
        hub.ensure_bucket(BUCKET).await.unwrap();
        let bound = hub.bind().await.unwrap();
        println!("listening on {}", bound.address());
        std::io::stdout().flush().unwrap();
        let stdin_closed = tokio::task::spawn_blocking(|| drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink())));
        bound.serve(async { drop(stdin_closed.await) }).await.unwrap();
    });
}

//! The data folder of `neardata up`: its lock, its root key, and what a running platform says of itself.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::CliError;

/// A data folder.
pub(crate) struct DataFolder {
    root: PathBuf,
}

/// The root key pair of a platform.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RootKey {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// What a running platform says of itself, for `neardata env`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) v: u32,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) s3: String,
    pub(crate) api: String,
    pub(crate) region: String,
    /// Digest of the root key it was started with.
    pub(crate) key: String,
}

/// Held as long as the folder is in use; the operating system lets go of it when the process dies, however it dies.
pub(crate) struct FolderLock {
    _file: File,
}

impl RootKey {
    /// The bearer token of the API, derived so that the secret key itself never travels.
    pub(crate) fn api_token(&self) -> String {
        hex::encode(Sha256::digest(format!("neardata api token\n{}\n{}", self.access_key, self.secret_key)))
    }

    /// What tells two keys apart without telling either.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(&Sha256::digest(format!("neardata key fingerprint\n{}", self.api_token()))[..8])
    }

    /// From the two variables; one without the other is an error.
    pub(crate) fn from_env() -> Result<Option<Self>, CliError> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (text("NEARDATA_ACCESS_KEY"), text("NEARDATA_SECRET_KEY")) {
            (Some(access_key), Some(secret_key)) if secret_key.len() >= 8 => Ok(Some(Self { access_key, secret_key })),
            (Some(_), Some(_)) => Err(CliError::Usage("NEARDATA_SECRET_KEY is shorter than 8 characters".to_owned())),
            (None, None) => Ok(None),
            _ => Err(CliError::Usage("set both NEARDATA_ACCESS_KEY and NEARDATA_SECRET_KEY, or neither".to_owned())),
        }
    }

    fn fresh() -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        Self { access_key: format!("ND{}", random()[..18].to_uppercase()), secret_key: random() + &random()[..8] }
    }
}

impl DataFolder {
    /// Opens the folder, making it (mode 0700) if it is not there.
    pub(crate) fn create(root: PathBuf) -> Result<Self, CliError> {
        let fail = |error| CliError::io(format!("data folder {}", root.display()), &error);
        if !root.is_dir() {
            fs::create_dir_all(&root).map_err(fail)?;
            fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(fail)?;
        }
        Ok(Self { root: fs::canonicalize(&root).map_err(fail)? })
    }

    /// The folder as it is.
    pub(crate) fn existing(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    pub(crate) fn hub(&self) -> PathBuf {
        self.root.join("hub")
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    fn running_file(&self) -> PathBuf {
        self.root.join("running.json")
    }

    /// Takes the folder for this process, or says who has it.
    pub(crate) fn lock(&self) -> Result<FolderLock, CliError> {
        let path = self.root.join("lock");
        let fail = |error| CliError::io(path.display(), &error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let owner = self.running().map_or_else(String::new, |running| format!(" (process {})", running.pid));
                Err(CliError::Unavailable(format!(
                    "the data folder {} is in use by another `neardata up`{owner}; stop that one, or give this one its own folder with --data DIR",
                    self.root.display()
                )))
            }
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// The root key: the environment's, else the folder's, else a fresh one that the folder keeps (mode 0600).
    pub(crate) fn root_key_or_fresh(&self) -> Result<RootKey, CliError> {
        if let Some(key) = self.root_key()? {
            return Ok(key);
        }
        let key = RootKey::fresh();
        self.write_private("root-key.json", &serde_json::to_vec_pretty(&key)?)?;
        Ok(key)
    }

    /// The root key, if there is one.
    pub(crate) fn root_key(&self) -> Result<Option<RootKey>, CliError> {
        if let Some(key) = RootKey::from_env()? {
            return Ok(Some(key));
        }
        let path = self.root.join("root-key.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                CliError::Failed(format!("{}: {error}; restore the file, or delete it to get a new key", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CliError::io(path.display(), &error)),
        }
    }

    /// What the platform on this folder last said of itself.
    pub(crate) fn running(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(self.running_file()).ok()?).ok()
    }

    /// Whether somebody holds the lock: a file left behind by `kill -9` does not make a platform run.
    pub(crate) fn is_in_use(&self) -> bool {
        let file = File::open(self.root.join("lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    pub(crate) fn set_running(&self, running: &Running) -> Result<(), CliError> {
        self.write_private("running.json", &serde_json::to_vec_pretty(running)?)
    }

    pub(crate) fn clear_running(&self) {
        let _already_gone = fs::remove_file(self.running_file());
    }

    fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), CliError> {
        let path = self.root.join(name);
        let fail = |error: std::io::Error| CliError::io(path.display(), &error);
        let mut file = tempfile::NamedTempFile::new_in(&self.root).map_err(fail)?; // mode 0600
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&path).map_err(|error| fail(error.error))?;
        File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(fail)
    }
}

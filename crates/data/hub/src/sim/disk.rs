//! The simulated disk.
//!
//! What it assumes of a disk: a synced file has its bytes, a synced folder its names, a sector of 512 bytes is whole or old, a
//! rename happens or does not. Nothing else: writes that were not synced survive a power cut in any combination and out of order,
//! and so do names. Folders themselves are taken as durable once made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Rng;
use crate::disk::{Disk, DiskFile};

const SECTOR: u64 = 512;

/// What the disk only pretends to do: the proof that the test can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lie {
    /// It is honest.
    #[default]
    None,
    /// Syncs of files do nothing where this stands in the path (which ends in `$`).
    FileSync(&'static str),
    /// Syncs of folders do nothing where this stands in the path (which ends in `$`).
    FolderSync(&'static str),
}

/// A disk. Cheap to clone: clones are the same disk.
#[derive(Clone)]
pub(super) struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    lie: Lie,
    /// Operations until the power goes.
    power: Option<u64>,
    dark: bool,
    next_inode: u64,
    files: HashMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    folders: BTreeSet<PathBuf>,
    operations: u64,
    /// Bytes that fit.
    capacity: Option<u64>,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of a file's bytes that was not synced.
#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// A change of names that was not synced.
#[derive(Clone)]
enum NameChange {
    Link { path: PathBuf, inode: u64 },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
}

/// An open file of a [`SimDisk`].
pub(super) struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    path: PathBuf,
}

fn no_power() -> io::Error {
    io::Error::other("the power is gone")
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl SimDisk {
    pub(super) fn new(seed: u64, lie: Lie) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                rng: Rng(seed),
                lie,
                power: None,
                dark: false,
                next_inode: 1,
                files: HashMap::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                pending_names: Vec::new(),
                folders: BTreeSet::new(),
                operations: 0,
                capacity: None,
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes during the `operations`-th change from now.
    pub(super) fn cut_after(&self, operations: u64) {
        self.lock().power = Some(operations);
    }

    /// The power goes now.
    pub(super) fn cut(&self) {
        self.lock().dark = true;
    }

    pub(super) fn is_dark(&self) -> bool {
        self.lock().dark
    }

    /// From now on at most this many bytes fit.
    pub(super) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes in files that have names.
    pub(super) fn used(&self) -> u64 {
        self.lock().used()
    }

    /// The disk as it is found when the power is back. The old one stays dark, so that nothing left over can touch the new one.
    pub(super) fn restart(&self) -> Self {
        let mut old = self.lock();
        let keep = [0, 20, 50, 90, 100][old.rng.below(5) as usize];
        let State { rng, files, durable_names, pending_names, folders, next_inode, lie, operations, .. } = &mut *old;
        let mut names = durable_names.clone();
        for change in pending_names.iter() {
            if rng.chance(keep) {
                change.apply(&mut names);
            }
        }
        let mut survivors = HashMap::new();
        for inode in names.values() {
            let Some(content) = files.get(inode) else { continue };
            let bytes = content.after_power_cut(rng, keep);
            survivors.insert(*inode, Content { durable: bytes.clone(), current: bytes, pending: Vec::new() });
        }
        let state = State {
            rng: Rng(rng.next()),
            lie: *lie,
            power: None,
            dark: false,
            next_inode: *next_inode,
            files: survivors,
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            folders: folders.clone(),
            operations: *operations,
            capacity: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Opens a file for reading and writing, and makes it if it is not there and `create` says so. The second value tells whether
    /// it was made.
    pub(super) fn open_or_create(&self, path: &Path, create: bool) -> io::Result<(SimFile, bool)> {
        let mut state = self.lock();
        if state.dark {
            return Err(no_power());
        }
        let (inode, made) = match state.names.get(path) {
            Some(inode) => (*inode, false),
            None if create => (state.make(path)?, true),
            None => return Err(absent(path)),
        };
        Ok((SimFile { state: Arc::clone(&self.state), inode, path: path.to_owned() }, made))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.lock().names.contains_key(path)
    }
}

impl State {
    /// Counts a change; the one during which the power goes fails, and so does every later one.
    fn step(&mut self) -> io::Result<bool> {
        if self.dark {
            return Err(no_power());
        }
        self.operations += 1;
        match &mut self.power {
            Some(0) => {
                self.dark = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn make(&mut self, path: &Path) -> io::Result<u64> {
        if !path.parent().is_some_and(|folder| self.folders.contains(folder)) {
            return Err(absent(path));
        }
        let powered = self.step()?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.files.insert(inode, Content::default());
        self.names.insert(path.to_owned(), inode);
        self.pending_names.push(NameChange::Link { path: path.to_owned(), inode });
        if powered { Ok(inode) } else { Err(no_power()) }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.files.get(inode)).map(|content| content.current.len() as u64).sum()
    }

    fn change(&mut self, inode: u64, change: Change) -> io::Result<()> {
        if let (Some(capacity), Change::Write { offset, bytes }) = (self.capacity, &change) {
            let size = self.files.get(&inode).map_or(0, |content| content.current.len() as u64);
            let growth = (offset + bytes.len() as u64).saturating_sub(size);
            if growth > 0 && self.used() + growth > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let powered = self.step()?;
        if let Some(content) = self.files.get_mut(&inode) {
            change.apply(&mut content.current);
            content.pending.push(change);
        }
        if powered { Ok(()) } else { Err(no_power()) }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let start = *offset as usize;
                if bytes.len() < start + written.len() {
                    bytes.resize(start + written.len(), 0);
                }
                bytes[start..start + written.len()].copy_from_slice(written);
            }
            Self::Truncate(size) => bytes.resize(*size as usize, 0),
        }
    }
}

impl Content {
    /// What is durable, and whatever of the rest happened to reach the disk, sector by sector.
    fn after_power_cut(&self, rng: &mut Rng, keep: u64) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Truncate(_) if rng.chance(keep) => change.apply(&mut bytes),
                Change::Truncate(_) => {}
                Change::Write { offset, bytes: written } => {
                    let end = offset + written.len() as u64;
                    let mut start = *offset;
                    while start < end {
                        let stop = ((start / SECTOR + 1) * SECTOR).min(end);
                        if rng.chance(keep) {
                            let piece = written[(start - offset) as usize..(stop - offset) as usize].to_vec();
                            Change::Write { offset: start, bytes: piece }.apply(&mut bytes);
                        }
                        start = stop;
                    }
                }
            }
        }
        bytes
    }
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } => path.parent(),
            Self::Rename { to, .. } => to.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink { path } => {
                names.remove(path);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(self.open_or_create(path, true)?.0))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.open_or_create(path, false)?.0))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if !state.step()? {
            return Err(no_power());
        }
        if let Lie::FolderSync(part) = state.lie
            && format!("{}$", path.display()).contains(part)
        {
            return Ok(());
        }
        let State { durable_names, pending_names, .. } = &mut *state;
        pending_names.retain(|change| {
            let here = change.folder() == Some(path);
            if here {
                change.apply(durable_names);
            }
            !here
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let powered = state.step()?;
        let inode = state.names.remove(from).ok_or_else(|| absent(from))?;
        state.names.insert(to.to_owned(), inode);
        state.pending_names.push(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        if powered { Ok(()) } else { Err(no_power()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let powered = state.step()?;
        state.names.remove(path).ok_or_else(|| absent(path))?;
        state.pending_names.push(NameChange::Unlink { path: path.to_owned() });
        if powered { Ok(()) } else { Err(no_power()) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        if state.dark {
            return Err(no_power());
        }
        let inside = state.names.range(path.to_owned()..).take_while(|(name, _)| name.starts_with(path));
        let names = inside.filter(|(name, _)| name.parent() == Some(path)).filter_map(|(name, _)| name.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }
}

impl SimFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().files.get(&self.inode).map_or(0, |content| content.current.len() as u64)
    }

    pub(super) fn truncate(&self, size: u64) -> io::Result<()> {
        self.lock().change(self.inode, Change::Truncate(size))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().change(self.inode, Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.lock();
        if state.dark {
            return Err(no_power());
        }
        let Some(content) = state.files.get(&self.inode) else { return Ok(0) };
        let rest = content.current.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        if !state.step()? {
            return Err(no_power());
        }
        if let Lie::FileSync(part) = state.lie
            && format!("{}$", self.path.display()).contains(part)
        {
            return Ok(());
        }
        if let Some(content) = state.files.get_mut(&self.inode) {
            content.durable = content.current.clone();
            content.pending.clear();
        }
        Ok(())
    }
}

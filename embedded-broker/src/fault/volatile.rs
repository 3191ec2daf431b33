//! A disk that remembers what was never made durable, so that a power cut can take it away.
//!
//! It is an undo log over the real files: every change notes what it would take to revert it, an fsync of a file forgets
//! what was noted of its bytes, an fsync of a directory what was noted of its names. What is left is what a machine that
//! loses its power may lose.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// A change to the file system that is about to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A file is created that is not there, or an existing one is emptied.
    Create(&'a Path),
    /// Bytes are written at this position.
    Write(&'a Path, u64, usize),
    /// A file gets this length.
    Truncate(&'a Path, u64),
    /// A file is renamed, replacing another.
    Rename(&'a Path, &'a Path),
    /// A file is deleted.
    Remove(&'a Path),
    /// A file or directory is made durable.
    Sync,
    /// Something that makes itself durable.
    Whole,
    /// An existing file is opened: no change.
    Open,
}

/// What a power cut takes of what was never made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Some, by this seed: of each file its last writes, the first of them perhaps torn; of each directory its last
    /// changes of names. This is closer to what real disks do, and harder to survive.
    Some(u64),
}

/// A disk whose power can be cut. Clones are the same disk.
///
/// Give it to a broker with [`BrokerConfig::volatile_disk`], let it write, then:
///
/// ```
/// use kstreams_embedded_broker::fault::{Loss, VolatileDisk};
/// use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let (dir, disk) = (tempfile::tempdir()?, VolatileDisk::new());
/// let config = BrokerConfig::new().data_dir(dir.path()).volatile_disk(&disk);
/// let broker = EmbeddedBroker::start(config.clone()).await?;
/// // ... clients produce ...
/// disk.cut_power();
/// broker.kill().await;
/// disk.lose_unsynced(Loss::Everything)?;
/// let broker = EmbeddedBroker::start(config).await?;
/// // ... what was made durable is there ...
/// broker.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`BrokerConfig::volatile_disk`]: crate::BrokerConfig::volatile_disk
#[derive(Debug, Clone, Default)]
pub struct VolatileDisk(Arc<Mutex<State>>);

/// A file, whatever it is called at the moment.
type FileId = u64;

#[derive(Debug, Default)]
struct State {
    /// Changes that still succeed; none: all do.
    changes_left: Option<u64>,
    changes: u64,
    next_id: FileId,
    names: HashMap<PathBuf, FileId>,
    undo: Vec<Undo>,
}

/// How to take back one change.
#[derive(Debug)]
enum Undo {
    /// The file's bytes from `start` on were these, and its end behind them. `len` bytes were written there.
    Bytes { file: FileId, start: u64, before: Vec<u8>, len: usize },
    /// The file was not there.
    Created { path: PathBuf },
    /// The file was called `from`; `to` was another file, with these bytes.
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<(FileId, Vec<u8>)> },
    /// The file was there, with these bytes.
    Removed { path: PathBuf, file: FileId, bytes: Vec<u8> },
}

impl Undo {
    /// The directory whose fsync makes the change durable.
    fn directory(&self) -> Option<&Path> {
        match self {
            Undo::Bytes { .. } => None,
            Undo::Created { path } | Undo::Renamed { to: path, .. } | Undo::Removed { path, .. } => {
                path.parent()
            }
        }
    }
}

impl VolatileDisk {
    /// A disk with power.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on no change to any file succeeds: what was acknowledged before has happened, nothing after.
    pub fn cut_power(&self) {
        self.cut_power_after(0);
    }

    /// Lets so many changes (writes, truncations, creations, renames, deletions, fsyncs) succeed, then cuts the power: a
    /// crash point before every write can be tried, one after the other.
    pub fn cut_power_after(&self, changes: u64) {
        self.0.lock().changes_left = Some(changes);
    }

    /// Whether a change failed because the power was cut.
    pub fn is_dead(&self) -> bool {
        self.0.lock().changes_left == Some(0)
    }

    /// How many changes there were so far.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Takes away what was never made durable, and switches the power on again. The broker must be gone:
    /// [`EmbeddedBroker::kill`](crate::EmbeddedBroker::kill).
    ///
    /// # Errors
    /// Of the file system; what is left then is undefined.
    pub fn lose_unsynced(&self, loss: Loss) -> io::Result<()> {
        let mut state = self.0.lock();
        let undo = std::mem::take(&mut state.undo);
        let mut dice = match loss {
            Loss::Everything => None,
            Loss::Some(seed) => Some(Dice(seed)),
        };
        let mut fates: HashMap<Owner, usize> = HashMap::new();
        for change in &undo {
            *fates.entry(owner(change)).or_default() += 1;
        }
        // Per file and per directory: how many of its last changes are lost.
        let mut owners: Vec<_> = fates.keys().cloned().collect();
        owners.sort();
        for owner in owners {
            if let (Some(dice), Some(count)) = (&mut dice, fates.get_mut(&owner)) {
                *count = dice.below(*count + 1);
            }
        }
        for change in undo.into_iter().rev() {
            let Some(left) = fates.get_mut(&owner(&change)).filter(|left| **left > 0) else { continue };
            *left -= 1;
            // The first lost write may be torn.
            let kept = match (&mut dice, &change) {
                (Some(dice), Undo::Bytes { len, .. }) if *left == 0 => dice.below(*len + 1),
                _ => 0,
            };
            state.take_back(change, kept)?;
        }
        state.names.clear();
        state.changes_left = None;
        Ok(())
    }

    /// Called before a change happens: whether it may, and what it would take to revert it.
    pub(crate) fn before(&self, change: Change<'_>) -> io::Result<()> {
        if matches!(change, Change::Open) {
            return Ok(());
        }
        let mut state = self.0.lock();
        match &mut state.changes_left {
            Some(0) => return Err(io::Error::other("the power was cut")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.changes += 1;
        state.note(change)
    }

    /// Called when a file or directory was made durable.
    pub(crate) fn synced(&self, path: &Path) {
        let mut state = self.0.lock();
        let file = state.names.get(path).copied();
        state.undo.retain(|undo| match undo {
            Undo::Bytes { file: changed, .. } => Some(*changed) != file,
            name => name.directory() != Some(path),
        });
    }
}

/// Whose changes are lost in the order opposite to that in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Owner {
    File(FileId),
    Directory(PathBuf),
}

fn owner(change: &Undo) -> Owner {
    match change {
        Undo::Bytes { file, .. } => Owner::File(*file),
        name => Owner::Directory(name.directory().map(Path::to_owned).unwrap_or_default()),
    }
}

impl State {
    fn id(&mut self, path: &Path) -> FileId {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        self.next_id += 1;
        self.names.insert(path.to_owned(), self.next_id);
        self.next_id
    }

    fn note(&mut self, change: Change<'_>) -> io::Result<()> {
        let undo = match change {
            Change::Create(path) if !path.exists() => {
                // A new file, not the one that had the name before.
                self.names.remove(path);
                self.id(path);
                Undo::Created { path: path.to_owned() }
            }
            Change::Create(path) => {
                Undo::Bytes { file: self.id(path), start: 0, before: fs::read(path)?, len: 0 }
            }
            Change::Write(path, start, len) => {
                Undo::Bytes { file: self.id(path), start, before: read_from(path, start)?, len }
            }
            Change::Truncate(path, length) => {
                Undo::Bytes { file: self.id(path), start: length, before: read_from(path, length)?, len: 0 }
            }
            Change::Rename(from, to) => {
                let replaced = if to.is_file() { Some((self.id(to), fs::read(to)?)) } else { None };
                let file = self.id(from);
                self.names.remove(from);
                self.names.insert(to.to_owned(), file);
                Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced }
            }
            Change::Remove(path) if path.is_file() => {
                let undo =
                    Undo::Removed { path: path.to_owned(), file: self.id(path), bytes: fs::read(path)? };
                self.names.remove(path);
                undo
            }
            Change::Remove(_) | Change::Sync | Change::Whole | Change::Open => return Ok(()),
        };
        self.undo.push(undo);
        Ok(())
    }

    /// Reverts a change, except for the first `kept` bytes of a write.
    fn take_back(&mut self, change: Undo, kept: usize) -> io::Result<()> {
        match change {
            Undo::Bytes { file, start, before, len: _ } => {
                // A file without a name is gone with its bytes.
                let name = self.names.iter().find(|(_, id)| **id == file).map(|(name, _)| name.clone());
                let Some(path) = name.filter(|path| path.exists()) else { return Ok(()) };
                let file = OpenOptions::new().write(true).open(path)?;
                let kept = kept as u64;
                let end = file.metadata()?.len();
                if before.is_empty() {
                    return file.set_len(end.min(start + kept));
                }
                file.set_len(start + before.len() as u64)?;
                file.write_all_at(&before, start)
            }
            Undo::Created { path } => {
                self.names.remove(&path);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
            Undo::Renamed { from, to, replaced } => {
                if let Some(file) = self.names.remove(&to) {
                    fs::rename(&to, &from)?;
                    self.names.insert(from, file);
                }
                if let Some((file, bytes)) = replaced {
                    fs::write(&to, bytes)?;
                    self.names.insert(to, file);
                }
                Ok(())
            }
            Undo::Removed { path, file, bytes } => {
                fs::write(&path, bytes)?;
                self.names.insert(path, file);
                Ok(())
            }
        }
    }
}

/// What a file has from `start` on.
fn read_from(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().saturating_sub(start);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

/// A small generator (xorshift after SplitMix's finaliser): the same seed loses the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

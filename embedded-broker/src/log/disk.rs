//! Every change the log makes to the file system goes through here, so that tests (and the broker's fault seam)
//! can make the n-th of them fail or stop half-way.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::LogError;
use crate::fault::{Change, VolatileDisk};

/// A kind of change to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskOp {
    /// A file is created.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut.
    Truncate,
    /// A file or directory is made durable.
    Sync,
    /// A file is renamed.
    Rename,
    /// A file is deleted.
    Remove,
}

/// What a fault plan wants to happen to an operation.
#[derive(Debug)]
pub enum DiskFault {
    /// Fails without effect.
    Fail(io::Error),
    /// A write puts only the first bytes on disk, then fails (a full disk). Other operations fail without effect.
    Short(usize, io::Error),
}

/// Decides which operations fail. Called before each of them.
pub trait DiskFaults: Send + Sync + fmt::Debug {
    /// `None` lets the operation through. `len` is the number of bytes of a write, else 0.
    fn check(&self, op: DiskOp, path: &Path, len: usize) -> Option<DiskFault>;
}

/// The file system as the log changes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// Decides which operations fail.
    pub(crate) faults: Option<Arc<dyn DiskFaults>>,
    /// Knows what is not durable.
    pub(crate) volatile: Option<VolatileDisk>,
}

impl Disk {
    /// A disk on which `faults` decides what fails.
    #[cfg(test)]
    pub(crate) fn with_faults(faults: Arc<dyn DiskFaults>) -> Self {
        Disk { faults: Some(faults), volatile: None }
    }

    /// Whether a change other than a write may happen.
    fn check(&self, op: DiskOp, path: &Path, change: Change<'_>) -> io::Result<()> {
        match self.faults.as_ref().and_then(|faults| faults.check(op, path, 0)) {
            None => self.before(change),
            Some(DiskFault::Fail(error) | DiskFault::Short(_, error)) => Err(error),
        }
    }

    /// Whether something may happen that is not taken apart: it makes itself durable, as a whole.
    pub(crate) fn allow(&self, op: DiskOp, path: &Path) -> io::Result<()> {
        self.check(op, path, Change::Whole)
    }

    fn before(&self, change: Change<'_>) -> io::Result<()> {
        self.volatile.as_ref().map_or(Ok(()), |disk| disk.before(change))
    }

    fn synced(&self, path: &Path) {
        if let Some(disk) = &self.volatile {
            disk.synced(path);
        }
    }

    /// Opens a file for reading and writing, creating it if it is missing.
    pub(crate) fn open_or_create(&self, path: &Path) -> Result<File, LogError> {
        let change = if path.exists() { Change::Open } else { Change::Create(path) };
        self.check(DiskOp::Create, path, change)
            .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
            .map_err(LogError::io("create", path))
    }

    /// Creates a file, emptying it if it is there.
    pub(crate) fn create_empty(&self, path: &Path) -> Result<File, LogError> {
        self.check(DiskOp::Create, path, Change::Create(path))
            .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path))
            .map_err(LogError::io("create", path))
    }

    /// Writes all of `bytes` at `position`. After an error some of them may be on disk.
    pub(crate) fn write_at(
        &self,
        file: &File,
        path: &Path,
        bytes: &[u8],
        position: u64,
    ) -> Result<(), LogError> {
        let fault = self.faults.as_ref().and_then(|faults| faults.check(DiskOp::Write, path, bytes.len()));
        let (bytes, outcome) = match fault {
            None => (bytes, Ok(())),
            Some(DiskFault::Fail(error)) => (&bytes[..0], Err(error)),
            Some(DiskFault::Short(len, error)) => (bytes.get(..len).unwrap_or(bytes), Err(error)),
        };
        self.before(Change::Write(path, position, bytes.len()))
            .and_then(|()| file.write_all_at(bytes, position))
            .and(outcome)
            .map_err(LogError::io("write", path))
    }

    /// Cuts (or extends) a file to `len` bytes.
    pub(crate) fn set_len(&self, file: &File, path: &Path, len: u64) -> Result<(), LogError> {
        self.check(DiskOp::Truncate, path, Change::Truncate(path, len))
            .and_then(|()| file.set_len(len))
            .map_err(LogError::io("truncate", path))
    }

    /// Makes a file's bytes survive a power failure.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<(), LogError> {
        self.check(DiskOp::Sync, path, Change::Sync)
            .and_then(|()| file.sync_data())
            .map(|()| self.synced(path))
            .map_err(LogError::io("fsync", path))
    }

    /// Makes a directory's entries (created, renamed, deleted files) survive a power failure.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        self.check(DiskOp::Sync, dir, Change::Sync)
            .and_then(|()| File::open(dir)?.sync_all())
            .map(|()| self.synced(dir))
            .map_err(LogError::io("fsync directory", dir))
    }

    /// Renames a file, replacing `to`.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), LogError> {
        self.check(DiskOp::Rename, from, Change::Rename(from, to))
            .and_then(|()| fs::rename(from, to))
            .map_err(LogError::io("rename", from))
    }

    /// Deletes a file; one that is not there is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), LogError> {
        let result =
            self.check(DiskOp::Remove, path, Change::Remove(path)).and_then(|()| fs::remove_file(path));
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(LogError::io("delete", path)),
        }
    }

    /// Replaces a small file in one step: a crash leaves the old or the new contents.
    pub(crate) fn replace(&self, path: &Path, contents: &[u8], durable: bool) -> Result<(), LogError> {
        let temporary = path.with_extension("tmp");
        let file = self.create_empty(&temporary)?;
        self.write_at(&file, &temporary, contents, 0)?;
        if durable {
            self.sync(&file, &temporary)?;
        }
        self.rename(&temporary, path)
    }
}

//! Ids of idempotent producers, unique over the life of the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::data_dir::write_atomically;
use crate::error::BrokerError;
use crate::log::{Disk, DiskOp};

/// Ids reserved by one write; those a stopped broker has not handed out are lost (as in Apache Kafka).
const BLOCK: i64 = 1000;

/// Hands out producer ids.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    disk: Disk,
    block: Mutex<Block>,
}

/// Ids reserved on disk and not handed out yet: `next..end`.
#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// Reads where the last broker in `data_dir` left off.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, BrokerError> {
        let path = data_dir.join("producer-ids");
        let next = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok().filter(|id| *id >= 0).ok_or_else(|| {
                BrokerError::Damaged { path: path.clone(), reason: "expected a number".to_owned() }
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(BrokerError::storage("read", path, source)),
        };
        Ok(ProducerIds { path, disk: Disk::default(), block: Mutex::new(Block { next, end: next }) })
    }

    /// With a disk on which things go wrong on purpose.
    pub(crate) fn on(self, disk: Disk) -> Self {
        ProducerIds { disk, ..self }
    }

    /// The next id.
    pub(crate) fn next(&self) -> Result<i64, BrokerError> {
        let mut block = self.block.lock();
        if block.next == block.end {
            let end = block.end + BLOCK;
            self.disk
                .allow(DiskOp::Write, &self.path)
                .and_then(|()| write_atomically(&self.path, format!("{end}\n").as_bytes()))
                .map_err(|source| BrokerError::storage("write", &self.path, source))?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let ids = ProducerIds::open(dir.path()).unwrap();
            for _ in 0..BLOCK + 5 {
                assert!(seen.insert(ids.next().unwrap()));
            }
        }
    }

    #[test]
    fn a_storage_fault_hands_out_nothing_and_passes() {
        let dir = tempfile::tempdir().unwrap();
        let ids = ProducerIds::open(dir.path()).unwrap();
        // A directory in the way of the temporary file.
        fs::create_dir(dir.path().join("producer-ids.tmp")).unwrap();
        assert!(ids.next().is_err());
        fs::remove_dir(dir.path().join("producer-ids.tmp")).unwrap();
        assert_eq!(ids.next().unwrap(), 0);
    }
}

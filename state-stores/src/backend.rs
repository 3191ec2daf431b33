//! Where the stores of a task live, and the one write batch of a commit.

use std::sync::Arc;

use rocksdb::WriteBatch;

use crate::StoreError;
use crate::rocks::{TaskDb, meta};
use crate::shared::SharedBackend;

/// Where the stores of a task live.
#[derive(Clone)]
#[non_exhaustive]
pub enum TaskBackend {
    /// Persistent stores in the task's RocksDB, the others in memory.
    Rocks(Arc<TaskDb>),
    /// Stores that other tasks use too: global stores.
    Shared(SharedBackend),
    /// All in memory; persistent stores keep their rules of order and expiry. For test drivers.
    Memory,
}

impl TaskBackend {
    /// An empty batch for one commit of this task.
    pub fn new_batch(&self) -> CommitBatch {
        let db = self.db().map(Arc::clone);
        CommitBatch { rocks: db.map(|db| RocksBatch { db, writes: WriteBatch::default(), updates: 0 }) }
    }

    /// The database of the persistent stores, if they are in one.
    pub fn db(&self) -> Option<&Arc<TaskDb>> {
        match self {
            TaskBackend::Rocks(db) => Some(db),
            TaskBackend::Shared(shared) => shared.stores.db(),
            TaskBackend::Memory => None,
        }
    }

    /// Whether stores over it take no puts.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, TaskBackend::Shared(shared) if shared.read_only)
    }

    /// Writes a commit: all of it or nothing.
    ///
    /// # Errors
    /// Those of the database; the task must then be closed without commit.
    pub fn write(&self, batch: CommitBatch) -> Result<(), StoreError> {
        match batch.rocks {
            Some(batch) => batch.db.write(batch.writes, batch.updates),
            None => Ok(()),
        }
    }
}

/// What one commit writes: every store's updates, and the offsets they correspond to.
pub struct CommitBatch {
    rocks: Option<RocksBatch>,
}

struct RocksBatch {
    db: Arc<TaskDb>,
    writes: WriteBatch,
    updates: u64,
}

impl CommitBatch {
    /// The changelog partition's offset up to which (exclusively) this commit holds its updates. Only for changelogs
    /// of persistent stores: the others start empty, so an offset would make a restore skip what they lost.
    ///
    /// # Errors
    /// None in a database that is open.
    pub fn set_changelog_offset(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), StoreError> {
        self.put_number(&meta::partition_key(meta::CHANGELOG_OFFSET, topic, partition), offset)
    }

    /// Forgets the offset of a changelog partition: its store is to be restored from the start.
    ///
    /// # Errors
    /// None in a database that is open.
    pub fn remove_changelog_offset(&mut self, topic: &str, partition: i32) -> Result<(), StoreError> {
        if let Some(batch) = &mut self.rocks {
            let family = batch.db.meta_family()?;
            batch.writes.delete_cf(family, meta::partition_key(meta::CHANGELOG_OFFSET, topic, partition));
        }
        Ok(())
    }

    /// Next offset to process of an input partition, as of this commit.
    ///
    /// # Errors
    /// None in a database that is open.
    pub fn set_position(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), StoreError> {
        self.put_number(&meta::partition_key(meta::POSITION, topic, partition), offset)
    }

    /// Stream time of the task, in ms.
    ///
    /// # Errors
    /// None in a database that is open.
    pub fn set_stream_time(&mut self, timestamp: i64) -> Result<(), StoreError> {
        self.put_number(meta::STREAM_TIME_KEY, timestamp)
    }

    fn put_number(&mut self, key: &[u8], number: i64) -> Result<(), StoreError> {
        if let Some(batch) = &mut self.rocks {
            let family = batch.db.meta_family()?;
            batch.writes.put_cf(family, key, number.to_be_bytes());
        }
        Ok(())
    }

    /// The writes, and the number of updates among them, for a store in `db`.
    pub(crate) fn writes_to(&mut self, db: &Arc<TaskDb>) -> Result<(&mut WriteBatch, &mut u64), StoreError> {
        match &mut self.rocks {
            Some(batch) if Arc::ptr_eq(&batch.db, db) => Ok((&mut batch.writes, &mut batch.updates)),
            _ => Err(StoreError::Database {
                path: db.path().to_owned(),
                action: "adding a store to a commit".to_owned(),
                source: "the batch is of another task".into(),
            }),
        }
    }
}

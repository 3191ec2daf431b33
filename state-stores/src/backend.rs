//! Where the stores of a task live, and the one write batch of a commit.

use crate::StoreError;

/// Where the stores of a task live.
#[derive(Clone)]
#[non_exhaustive]
pub enum TaskBackend {
    /// In memory, persistent stores too (with the rules of persistent ones): for test drivers.
    Memory,
}

impl TaskBackend {
    /// An empty batch for one commit of this task.
    pub fn new_batch(&self) -> CommitBatch {
        CommitBatch {}
    }

    /// Writes a commit: all of it or nothing.
    ///
    /// # Errors
    /// Those of the database; the task must then be closed without commit.
    pub fn write(&self, batch: CommitBatch) -> Result<(), StoreError> {
        let CommitBatch {} = batch;
        Ok(())
    }
}

/// What one commit writes: every store's updates, and the offsets they correspond to.
pub struct CommitBatch {}

impl CommitBatch {
    /// The changelog partition's offset up to which (exclusively) this commit holds its updates. Only for changelogs
    /// of persistent stores: the others start empty, so an offset would make a restore skip what they lost.
    pub fn set_changelog_offset(&mut self, _topic: &str, _partition: i32, _offset: i64) {}

    /// Next offset to process of an input partition, as of this commit.
    pub fn set_position(&mut self, _topic: &str, _partition: i32, _offset: i64) {}

    /// Stream time of the task, in ms.
    pub fn set_stream_time(&mut self, _timestamp: i64) {}
}

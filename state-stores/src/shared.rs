//! Stores that one task writes and every task of an instance reads: global stores.
//!
//! Each reader has a store of its own (serdes, buffers) over the same committed entries. RocksDB is read without a lock;
//! entries in memory are behind a lock that readers share and that the writer takes once per commit, not per record.
//! What the writer has not committed, nobody else sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::StoreError;
use crate::backend::{CommitBatch, TaskBackend};
use crate::cursor::{CopiedCursor, Cursor, KeyRange};
use crate::engine::Engine;
use crate::memory::{Entries, MemoryCursor, take_commit};
use crate::overlay::Overlay;
use crate::rocks::TaskDb;

/// Where stores live that several tasks use. Cheap to clone; the clones are the same stores.
#[derive(Clone)]
pub struct SharedStores {
    db: Option<Arc<TaskDb>>,
    memory: Arc<Mutex<BTreeMap<String, SharedEntries>>>,
}

type SharedEntries = Arc<RwLock<Entries>>;

impl SharedStores {
    /// With persistent stores in `db`; in memory without one, as in test drivers.
    pub fn new(db: Option<Arc<TaskDb>>) -> Self {
        SharedStores { db, memory: Arc::default() }
    }

    /// The backend of the one task that writes.
    pub fn writer(&self) -> TaskBackend {
        TaskBackend::Shared(SharedBackend { stores: self.clone(), read_only: false })
    }

    /// The backend of stores that only read: a put is [`StoreError::ReadOnly`].
    pub fn reader(&self) -> TaskBackend {
        TaskBackend::Shared(SharedBackend { stores: self.clone(), read_only: true })
    }

    /// The database of the persistent ones.
    pub fn db(&self) -> Option<&Arc<TaskDb>> {
        self.db.as_ref()
    }

    pub(crate) fn memory_engine(&self, store: &str) -> SharedMemoryEngine {
        SharedMemoryEngine { entries: self.memory.lock().entry(store.to_owned()).or_default().clone() }
    }
}

/// One side of [`SharedStores`].
#[derive(Clone)]
pub struct SharedBackend {
    pub(crate) stores: SharedStores,
    pub(crate) read_only: bool,
}

/// The in-memory engine of a store that several tasks use.
pub(crate) struct SharedMemoryEngine {
    entries: SharedEntries,
}

impl Engine for SharedMemoryEngine {
    fn get<'a>(&'a self, key: &[u8], buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, StoreError> {
        let entries = self.entries.read();
        Ok(entries.get(key).map(|value| {
            buffer.clear();
            buffer.extend_from_slice(value);
            buffer.as_slice()
        }))
    }

    fn cursor<'a>(
        &'a self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'a>, StoreError> {
        self.owned_cursor(range, reverse)
    }

    fn owned_cursor(
        &self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'static>, StoreError> {
        let entries = self.entries.read();
        let mut cursor = MemoryCursor::new(&entries, range, reverse);
        Ok(Box::new(CopiedCursor::of(&mut cursor, reverse)?))
    }

    fn write_commit(
        &mut self,
        _overlay: &Overlay,
        _expired: &[KeyRange],
        _batch: &mut CommitBatch,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn committed(&mut self, overlay: &mut Overlay, expired: &[KeyRange]) {
        if overlay.len() > 0 || !expired.is_empty() {
            take_commit(&mut self.entries.write(), overlay, expired);
        }
    }

    fn approximate_entries(&self) -> u64 {
        self.entries.read().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NoChangelog;
    use crate::{KeyValueStore, StateStore, StoreBuilder, StoreContext, StoreEnvironment, Stores};

    type Counts = KeyValueStore<String, i64>;

    fn open(backend: TaskBackend) -> Counts {
        let builder = Stores::key_value::<String, i64>("counts").in_memory();
        builder.build(&StoreEnvironment { backend, ..StoreEnvironment::in_memory() }).unwrap()
    }

    /// Readers are to see whole commits, and to be stopped from writing into nothing.
    #[test]
    fn readers_see_commits_and_cannot_write() {
        let shared = SharedStores::new(None);
        let (mut writer, mut reader) = (open(shared.writer()), open(shared.reader()));
        let (record, mut changelog) = (Default::default(), NoChangelog);
        let mut cx = StoreContext { record: &record, changelog: &mut changelog };
        for (key, count) in [("a", 1), ("b", 2)] {
            writer.put(&mut cx, &key.to_owned(), Some(&count)).unwrap();
        }
        assert_eq!(reader.get(&"a".to_owned()).unwrap(), None);
        let mut batch = shared.writer().new_batch();
        writer.write_commit(&mut batch).unwrap();
        shared.writer().write(batch).unwrap();
        writer.committed();
        assert_eq!(reader.get(&"a".to_owned()).unwrap(), Some(1));
        let keys: Vec<String> = reader.reverse_all().unwrap().map(|entry| entry.unwrap().0).collect();
        assert_eq!(keys, ["b", "a"]);
        assert_eq!(reader.approximate_num_entries(), 2);
        let refused = reader.put(&mut cx, &"a".to_owned(), None).unwrap_err();
        assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    }
}

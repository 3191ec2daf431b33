//! One store's column family as an engine.

use std::sync::Arc;

use ::rocksdb::{ColumnFamily, DBRawIterator, ReadOptions, WriteBatch, properties};
use self_cell::self_cell;

use super::db::TaskDb;
use crate::StoreError;
use crate::backend::CommitBatch;
use crate::cursor::{Cursor, KeyRange};
use crate::engine::Engine;
use crate::overlay::Overlay;

/// See the module.
pub(crate) struct RocksEngine {
    db: Arc<TaskDb>,
    store: String,
    read_options: ReadOptions,
}

impl RocksEngine {
    /// The column family of `store`.
    ///
    /// # Errors
    /// [`StoreError::InvalidStore`] when the database was opened without the store.
    pub(crate) fn new(db: &Arc<TaskDb>, store: &str) -> Result<Self, StoreError> {
        db.family(store)?;
        Ok(RocksEngine { db: Arc::clone(db), store: store.to_owned(), read_options: ReadOptions::default() })
    }
}

impl Engine for RocksEngine {
    fn get<'a>(&'a self, key: &[u8], buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, StoreError> {
        let family = self.db.family(&self.store)?;
        let found = self.db.db.get_pinned_cf_opt(family, key, &self.read_options);
        let found = found.map_err(|error| self.db.error("read of a key", error))?;
        Ok(found.map(|value| {
            buffer.clear();
            buffer.extend_from_slice(&value);
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
        Ok(Box::new(RocksCursor::new(&self.db, &self.store, range, reverse)?))
    }

    fn write_commit(
        &mut self,
        overlay: &Overlay,
        expired: &[KeyRange],
        batch: &mut CommitBatch,
    ) -> Result<(), StoreError> {
        let family = self.db.family(&self.store)?;
        let (writes, updates) = batch.writes_to(&self.db)?;
        // In order: memtables take in sorted keys several times faster than random ones.
        let mut sorted: Vec<_> = overlay.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in sorted {
            match value {
                Some(value) => writes.put_cf(family, key, value),
                None => writes.delete_cf(family, key),
            }
        }
        delete_ranges(writes, family, expired);
        *updates += overlay.len() as u64;
        Ok(())
    }

    fn committed(&mut self, overlay: &mut Overlay, _expired: &[KeyRange]) {
        overlay.clear();
    }

    fn approximate_entries(&self) -> u64 {
        let Ok(family) = self.db.family(&self.store) else { return 0 };
        let estimate = self.db.db.property_int_value_cf(family, properties::ESTIMATE_NUM_KEYS);
        estimate.ok().flatten().unwrap_or(0)
    }
}

/// Adds the removal of all keys in the ranges.
pub(super) fn delete_ranges(writes: &mut WriteBatch, family: &ColumnFamily, ranges: &[KeyRange]) {
    for range in ranges {
        if let Some(upper) = &range.upper {
            writes.delete_range_cf(family, &range.lower, upper);
        }
    }
}

self_cell!(
    /// An iterator and the database it reads: it can outlive the store that made it, on another thread.
    struct OwnedIterator {
        owner: Arc<TaskDb>,

        #[covariant]
        dependent: DBRawIterator,
    }
);

/// An ordered read of a column family, as it was when the cursor was made.
pub(super) struct RocksCursor {
    iterator: OwnedIterator,
    reverse: bool,
}

impl RocksCursor {
    pub(super) fn new(
        db: &Arc<TaskDb>,
        store: &str,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Self, StoreError> {
        let iterator = OwnedIterator::try_new(Arc::clone(db), |db| -> Result<_, StoreError> {
            let family = db.family(store)?;
            let mut options = ReadOptions::default();
            if !range.lower.is_empty() {
                options.set_iterate_lower_bound(range.lower.clone());
            }
            if let Some(upper) = &range.upper {
                options.set_iterate_upper_bound(upper.clone());
            }
            options.set_auto_readahead_size(true);
            Ok(db.db.raw_iterator_cf_opt(family, options))
        })?;
        let mut cursor = RocksCursor { iterator, reverse };
        cursor.iterator.with_dependent_mut(|_, iterator| {
            if reverse { iterator.seek_to_last() } else { iterator.seek_to_first() }
        });
        cursor.check()?;
        Ok(cursor)
    }

    /// At the end of a range, or after a failed read: which one?
    fn check(&self) -> Result<(), StoreError> {
        let iterator = self.iterator.borrow_dependent();
        if iterator.valid() {
            return Ok(());
        }
        iterator.status().map_err(|error| self.iterator.borrow_owner().error("read of a range", error))
    }
}

impl Cursor for RocksCursor {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.iterator.borrow_dependent().item().map(|(key, value)| (key, Some(value)))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        let reverse = self.reverse;
        self.iterator.with_dependent_mut(|_, iterator| {
            if iterator.valid() {
                if reverse { iterator.prev() } else { iterator.next() }
            }
        });
        self.check()
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        let reverse = self.reverse;
        self.iterator.with_dependent_mut(|_, iterator| {
            if reverse { iterator.seek_for_prev(target) } else { iterator.seek(target) }
        });
        self.check()
    }
}

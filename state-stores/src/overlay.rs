//! The uncommitted layer: what was put since the last commit, as encoded key to value or tombstone.

use std::sync::Arc;

use crate::budget::UncommittedBudget;
use crate::byte_map::{ByteMap, Stored};
use crate::cursor::{Cursor, KeyRange};
use crate::shared_bytes::SharedBytes;

/// What an entry costs beyond key and value: slots of the tables, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 112;

/// The budget is shared by all threads: a store tells it of changes in steps of this size.
const REPORT_STEP_BYTES: usize = 16 * 1024;

/// A value or a tombstone.
pub(crate) struct Update(pub(crate) Option<SharedBytes>);

impl Stored for Update {
    fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// See the module.
pub(crate) struct Overlay {
    updates: ByteMap<Update>,
    bytes: usize,
    reported_bytes: usize,
    budget: Arc<UncommittedBudget>,
}

impl Overlay {
    pub(crate) fn new(budget: Arc<UncommittedBudget>) -> Self {
        Overlay { updates: ByteMap::default(), bytes: 0, reported_bytes: 0, budget }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    /// `None`: this layer does not know the key; `Some(None)`: it is deleted.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Option<&[u8]>> {
        let slot = self.updates.find(key)?;
        self.updates.get(slot).map(|(_, update)| update.0.as_deref())
    }

    /// Puts bytes that are not shared yet. Answers whether this layer did not know so far that the key has a value, or
    /// has none.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        self.put_by(key, || key.into(), |place| overwrite(place, value))
    }

    /// As [`put`](Self::put), of bytes that the cache holds: they are shared, not copied.
    pub(crate) fn put_shared(&mut self, key: &SharedBytes, value: Option<&SharedBytes>) -> bool {
        self.put_by(key, || key.clone(), |place| *place = value.cloned())
    }

    /// `write` sets the value in the place of the old one; `new_key` makes the key of a new entry.
    #[inline]
    fn put_by(
        &mut self,
        key: &[u8],
        new_key: impl FnOnce() -> SharedBytes,
        write: impl FnOnce(&mut Option<SharedBytes>),
    ) -> bool {
        let length = |value: &Option<SharedBytes>| value.as_ref().map_or(0, |value| value.len());
        let is_news = match self.updates.find(key).and_then(|slot| self.updates.item_mut(slot)) {
            Some(Update(value)) => {
                let had_value = value.is_some();
                self.bytes -= length(value);
                write(value);
                self.bytes += length(value);
                had_value != value.is_some()
            }
            None => {
                let mut value = None;
                write(&mut value);
                self.bytes += key.len() + length(&value) + ENTRY_OVERHEAD_BYTES;
                self.updates.insert_new(new_key(), Update(value));
                true
            }
        };
        self.report(REPORT_STEP_BYTES);
        is_news
    }

    fn report(&mut self, step: usize) {
        if self.bytes.abs_diff(self.reported_bytes) >= step {
            self.budget.adjust(self.reported_bytes, self.bytes);
            self.reported_bytes = self.bytes;
        }
    }

    /// All updates, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SharedBytes, Option<&SharedBytes>)> {
        self.updates.iter().map(|(key, update)| (key, update.0.as_ref()))
    }

    /// Takes all updates out, in no order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (SharedBytes, Option<SharedBytes>)> + '_ {
        self.bytes = 0;
        self.report(1);
        self.updates.drain().map(|(key, update)| (key, update.0))
    }

    pub(crate) fn clear(&mut self) {
        self.updates.clear();
        self.bytes = 0;
        self.report(1);
    }

    pub(crate) fn cursor<'a>(&'a mut self, range: &KeyRange, reverse: bool) -> impl Cursor + Send + 'a {
        self.updates.prepare_ordered_read();
        self.updates.cursor(range, reverse)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Replaces a value or tombstone.
pub(crate) fn overwrite(place: &mut Option<SharedBytes>, value: Option<&[u8]>) {
    match (place.as_mut(), value) {
        (Some(old), Some(new)) => old.overwrite(new),
        (_, value) => *place = value.map(Into::into),
    }
}

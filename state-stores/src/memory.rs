//! The in-memory engine: an ordered map that takes whole commits only, so that an abort leaves it as it was.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

use crate::StoreError;
use crate::backend::CommitBatch;
use crate::cursor::{Cursor, KeyRange};
use crate::engine::Engine;
use crate::overlay::Overlay;
use crate::shared_bytes::SharedBytes;

/// The committed entries of a store in memory.
pub(crate) type Entries = BTreeMap<SharedBytes, SharedBytes>;

/// See the module.
#[derive(Default)]
pub(crate) struct MemoryEngine {
    entries: Entries,
}

/// Moves a commit into the entries, and removes all keys in the `expired` ranges.
pub(crate) fn take_commit(entries: &mut Entries, overlay: &mut Overlay, expired: &[KeyRange]) {
    for (key, value) in overlay.drain() {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
    for range in expired.iter().filter(|range| !range.is_empty()) {
        let bounds = (Bound::Included(&*range.lower), range.upper_bound());
        let keys: Vec<SharedBytes> = entries.range::<[u8], _>(bounds).map(|(key, _)| key.clone()).collect();
        for key in keys {
            entries.remove(&key);
        }
    }
}

impl Engine for MemoryEngine {
    fn get<'a>(&'a self, key: &[u8], _buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, StoreError> {
        Ok(self.entries.get(key).map(|value| &**value))
    }

    fn cursor<'a>(
        &'a self,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Box<dyn Cursor + Send + 'a>, StoreError> {
        Ok(Box::new(MemoryCursor::new(&self.entries, range, reverse)))
    }

    fn write_commit(
        &mut self,
        _overlay: &Overlay,
        _expired: &[KeyRange],
        _batch: &mut CommitBatch,
    ) -> Result<(), StoreError> {
        // Taken in `committed`: should the batch of the task's other stores fail, this store is not ahead of them.
        Ok(())
    }

    fn committed(&mut self, overlay: &mut Overlay, expired: &[KeyRange]) {
        take_commit(&mut self.entries, overlay, expired);
    }

    fn approximate_entries(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// An ordered read of entries in memory.
pub(crate) struct MemoryCursor<'a> {
    entries: &'a Entries,
    bounds: KeyRange,
    reverse: bool,
    rest: Option<btree_map::Range<'a, SharedBytes, SharedBytes>>,
    current: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> MemoryCursor<'a> {
    pub(crate) fn new(entries: &'a Entries, range: &KeyRange, reverse: bool) -> Self {
        let mut cursor = MemoryCursor { entries, bounds: range.clone(), reverse, rest: None, current: None };
        cursor.restart(&range.lower, range.upper_bound());
        cursor
    }

    fn restart(&mut self, lower: &[u8], upper: Bound<&[u8]>) {
        // `BTreeMap::range` panics where the bounds cross.
        let is_empty = match upper {
            Bound::Excluded(upper) => upper <= lower,
            Bound::Included(upper) => upper < lower,
            Bound::Unbounded => false,
        };
        let bounds = (Bound::Included(lower), upper);
        self.rest = (!is_empty).then(|| self.entries.range::<[u8], _>(bounds));
        self.step();
    }

    fn step(&mut self) {
        let reverse = self.reverse;
        let next = self.rest.as_mut().and_then(|rest| if reverse { rest.next_back() } else { rest.next() });
        self.current = next.map(|(key, value)| (&**key, &**value));
    }
}

impl Cursor for MemoryCursor<'_> {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.current.map(|(key, value)| (key, Some(value)))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.step();
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        let bounds = self.bounds.clone();
        if self.reverse {
            let past_target = bounds.upper.as_deref().is_none_or(|upper| upper > target);
            let upper = if past_target { Bound::Included(target) } else { bounds.upper_bound() };
            self.restart(&bounds.lower, upper);
        } else {
            self.restart(target.max(&bounds.lower), bounds.upper_bound());
        }
        Ok(())
    }
}

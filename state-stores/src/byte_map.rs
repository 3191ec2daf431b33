//! The map below the record cache and the uncommitted layer: from encoded keys to items, hashed for single reads,
//! with a sorted index that is made at the first ordered read and kept while ordered reads go on.

use std::collections::{BTreeMap, btree_map};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Bound;
use std::sync::OnceLock;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::StoreError;
use crate::cursor::{Cursor, KeyRange};
use crate::shared_bytes::SharedBytes;

/// Place of an entry; it stays until the entry is removed.
pub(crate) type Slot = u32;

const NO_SLOT: Slot = Slot::MAX;

/// An item that stands for a value or a tombstone.
pub(crate) trait Stored {
    /// The value; `None` is a tombstone.
    fn bytes(&self) -> Option<&[u8]>;
}

struct Entry<T> {
    key: SharedBytes,
    hash: u64,
    item: T,
}

/// See the module.
pub(crate) struct ByteMap<T> {
    table: HashTable<Slot>,
    entries: Vec<Option<Entry<T>>>,
    free: Vec<Slot>,
    /// The entry found last: a put mostly follows a get of the same key, and then needs no hash.
    recent: Slot,
    sorted: Option<BTreeMap<SharedBytes, Slot>>,
    inserts_since_ordered_read: usize,
}

impl<T> Default for ByteMap<T> {
    fn default() -> Self {
        ByteMap {
            table: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            recent: NO_SLOT,
            sorted: None,
            inserts_since_ordered_read: 0,
        }
    }
}

/// Seeded anew in each process: keys come from outside.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    static SEED: OnceLock<usize> = OnceLock::new();
    let seed = *SEED.get_or_init(|| RandomState::new().build_hasher().finish() as usize);
    let mut hasher = FxHasher::with_seed(seed);
    hasher.write(key);
    hasher.finish()
}

impl<T> ByteMap<T> {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn entry(&self, slot: Slot) -> Option<&Entry<T>> {
        self.entries.get(slot as usize).and_then(Option::as_ref)
    }

    fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry<T>> {
        self.entries.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// The slot of a key.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Slot> {
        if self.table.is_empty() {
            return None;
        }
        if self.entry(self.recent).is_some_and(|entry| *entry.key == *key) {
            return Some(self.recent);
        }
        let hash = hash_of(key);
        let entries = &self.entries;
        let found = self.table.find(hash, |&slot| has_key(entries, slot, hash, key)).copied();
        if let Some(slot) = found {
            self.recent = slot;
        }
        found
    }

    /// Adds an entry for a key that is not there.
    pub(crate) fn insert_new(&mut self, key: SharedBytes, item: T) -> Slot {
        let hash = hash_of(&key);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(None);
                // Below 2^32 entries by far: every entry takes tens of bytes of a budget.
                (self.entries.len() - 1) as Slot
            }
        };
        self.index_new(&key, slot);
        self.entries[slot as usize] = Some(Entry { key, hash, item });
        let entries = &self.entries;
        self.table.insert_unique(hash, slot, |&slot| {
            entries.get(slot as usize).and_then(Option::as_ref).map_or(0, |entry| entry.hash)
        });
        self.recent = slot;
        slot
    }

    /// Keeps the index if ordered reads still come; drops it when a quarter of the entries came without any.
    fn index_new(&mut self, key: &SharedBytes, slot: Slot) {
        let Some(sorted) = &mut self.sorted else { return };
        self.inserts_since_ordered_read += 1;
        if self.inserts_since_ordered_read > 1024 + self.table.len() / 4 {
            self.sorted = None;
        } else {
            sorted.insert(key.clone(), slot);
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<(SharedBytes, T)> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        if let Ok(found) = self.table.find_entry(entry.hash, |&other| other == slot) {
            found.remove();
        }
        if let Some(sorted) = &mut self.sorted {
            sorted.remove(&entry.key);
        }
        if self.recent == slot {
            self.recent = NO_SLOT;
        }
        self.free.push(slot);
        Some((entry.key, entry.item))
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<(&SharedBytes, &T)> {
        self.entry(slot).map(|entry| (&entry.key, &entry.item))
    }

    pub(crate) fn item_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entry_mut(slot).map(|entry| &mut entry.item)
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SharedBytes, &T)> {
        self.entries.iter().flatten().map(|entry| (&entry.key, &entry.item))
    }

    /// Takes all entries out, in no order; the room stays.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (SharedBytes, T)> + '_ {
        self.forget_positions();
        self.entries.drain(..).flatten().map(|entry| (entry.key, entry.item))
    }

    pub(crate) fn clear(&mut self) {
        self.forget_positions();
        self.entries.clear();
    }

    fn forget_positions(&mut self) {
        self.table.clear();
        self.free.clear();
        self.recent = NO_SLOT;
        self.sorted = None;
        self.inserts_since_ordered_read = 0;
    }

    /// Makes the index if it is not there; ordered reads need it.
    pub(crate) fn prepare_ordered_read(&mut self) {
        self.inserts_since_ordered_read = 0;
        if self.sorted.is_none() {
            let entries = self.entries.iter().enumerate();
            let keys = entries
                .filter_map(|(slot, entry)| entry.as_ref().map(|entry| (entry.key.clone(), slot as Slot)));
            self.sorted = Some(keys.collect());
        }
    }
}

fn has_key<T>(entries: &[Option<Entry<T>>], slot: Slot, hash: u64, key: &[u8]) -> bool {
    entries
        .get(slot as usize)
        .and_then(Option::as_ref)
        .is_some_and(|entry| entry.hash == hash && *entry.key == *key)
}

impl<T: Stored> ByteMap<T> {
    /// Reads a range in order. Call [`prepare_ordered_read`](Self::prepare_ordered_read) before.
    pub(crate) fn cursor<'a>(&'a self, range: &KeyRange, reverse: bool) -> MapCursor<'a, T> {
        let empty = EMPTY_INDEX.get_or_init(BTreeMap::new);
        let sorted = self.sorted.as_ref().unwrap_or(empty);
        let mut cursor = MapCursor {
            map: self,
            sorted,
            bounds: range.clone(),
            reverse,
            rest: sorted.range::<[u8], _>(EMPTY_BOUNDS),
            current: None,
        };
        cursor.rest = cursor.between(Bound::Included(&range.lower), range.upper_bound());
        cursor.step();
        cursor
    }
}

static EMPTY_INDEX: OnceLock<BTreeMap<SharedBytes, Slot>> = OnceLock::new();
const EMPTY_BOUNDS: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(&[]), Bound::Excluded(&[]));

/// A range of a [`ByteMap`] in order.
pub(crate) struct MapCursor<'a, T> {
    map: &'a ByteMap<T>,
    sorted: &'a BTreeMap<SharedBytes, Slot>,
    bounds: KeyRange,
    reverse: bool,
    rest: btree_map::Range<'a, SharedBytes, Slot>,
    current: Option<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a, T: Stored> MapCursor<'a, T> {
    fn between(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> btree_map::Range<'a, SharedBytes, Slot> {
        if is_empty_range(lower, upper) {
            return self.sorted.range::<[u8], _>(EMPTY_BOUNDS);
        }
        self.sorted.range::<[u8], _>((lower, upper))
    }

    fn step(&mut self) {
        let next = if self.reverse { self.rest.next_back() } else { self.rest.next() };
        self.current =
            next.and_then(|(key, &slot)| self.map.entry(slot).map(|entry| (&**key, entry.item.bytes())));
    }
}

/// `BTreeMap::range` panics on these.
fn is_empty_range(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Included(lower), Bound::Excluded(upper)) => lower >= upper,
        (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
        _ => false,
    }
}

impl<T: Stored> Cursor for MapCursor<'_, T> {
    fn entry(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.current
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.step();
        Ok(())
    }

    fn seek(&mut self, target: &[u8]) -> Result<(), StoreError> {
        let bounds = self.bounds.clone();
        self.rest = if self.reverse {
            let past_target = bounds.upper.as_deref().is_none_or(|upper| upper > target);
            let upper = if past_target { Bound::Included(target) } else { bounds.upper_bound() };
            self.between(Bound::Included(&bounds.lower), upper)
        } else {
            let lower = target.max(&bounds.lower);
            self.between(Bound::Included(lower), bounds.upper_bound())
        };
        self.step();
        Ok(())
    }
}

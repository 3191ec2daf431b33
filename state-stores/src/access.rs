//! The handle through which processors use a store: the store, and the context of the record being processed, so that
//! user code writes `store.put(&key, &value)?`.

use crate::change_buffer::{Buffered, ChangeBuffer};
use crate::contract::StoreContext;
use crate::key_value::{KeyValueIterator, KeyValueStore, Pages};
use crate::session::{SessionIterator, SessionStore};
use crate::window::{WindowStore, WindowStoreIterator, WindowedIterator};
use crate::windowed::Windowed;
use crate::{Serde, StoreError};

/// See the module. Errors are those of the store's method of the same name.
pub struct StoreAccess<'a, S: ?Sized> {
    /// The store.
    pub store: &'a mut S,
    /// Context of the record being processed.
    pub cx: StoreContext<'a>,
}

impl<'a, S: ?Sized> StoreAccess<'a, S> {
    /// Access to `store` while the record of `cx` is processed.
    pub fn new(store: &'a mut S, cx: StoreContext<'a>) -> Self {
        StoreAccess { store, cx }
    }
}

#[allow(clippy::missing_errors_doc)] // said once, at the type
impl<K: 'static, V: 'static> StoreAccess<'_, KeyValueStore<K, V>> {
    /// The value of a key.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        self.store.get(key)
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: &K, value: &V) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, key, Some(value))
    }

    /// Sets the value of a key, or deletes it with `None`.
    pub fn put_nullable(&mut self, key: &K, value: Option<&V>) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, key, value)
    }

    /// Sets the value of a key that has none; answers the value that was there.
    pub fn put_if_absent(&mut self, key: &K, value: &V) -> Result<Option<V>, StoreError> {
        self.store.put_if_absent(&mut self.cx, key, Some(value))
    }

    /// Sets the values of several keys.
    pub fn put_all<'b>(
        &mut self,
        entries: impl IntoIterator<Item = (&'b K, &'b V)>,
    ) -> Result<(), StoreError> {
        entries.into_iter().try_for_each(|(key, value)| self.put(key, value))
    }

    /// Deletes a key; answers the value it had.
    pub fn delete(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        self.store.delete(&mut self.cx, key)
    }

    /// Entries from one key to another, both included; `None`: without a bound.
    pub fn range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.store.range(from, to)
    }

    /// As [`range`](Self::range), in reverse.
    pub fn reverse_range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.store.reverse_range(from, to)
    }

    /// All entries.
    pub fn all(&mut self) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.store.all()
    }

    /// All entries, in reverse.
    pub fn reverse_all(&mut self) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.store.reverse_all()
    }

    /// Entries whose key's bytes start with those of `prefix`.
    pub fn prefix_scan<P: Serde>(
        &mut self,
        prefix: &P::Target,
        serde: &P,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.store.prefix_scan_with(prefix, serde)
    }

    /// The entries whose key's bytes start with `prefix`, to be read in pages: as a [scan](Self::prefix_scan) between whose
    /// parts records can be forwarded.
    pub fn pages(&self, prefix: &[u8]) -> Pages {
        self.store.pages(prefix)
    }

    /// The next entries, at most `limit` of them (1 or more); none where `pages` has ended.
    pub fn next_page(&mut self, pages: &mut Pages, limit: usize) -> Result<Vec<(K, V)>, StoreError> {
        self.store.next_page(pages, limit)
    }

    /// Number of entries, roughly.
    pub fn approximate_num_entries(&self) -> u64 {
        self.store.approximate_num_entries()
    }
}

#[allow(clippy::missing_errors_doc)] // said once, at the type
impl<K: 'static, V: 'static> StoreAccess<'_, KeyValueStore<K, Vec<V>>> {
    /// Adds a value at the end of a key's list; the list is there with its first value.
    pub fn append(&mut self, key: &K, value: V) -> Result<(), StoreError> {
        let mut list = self.store.get(key)?.unwrap_or_default();
        list.push(value);
        self.put(key, &list)
    }
}

#[allow(clippy::missing_errors_doc)] // said once, at the type
impl<K: 'static, V: 'static> StoreAccess<'_, WindowStore<K, V>> {
    /// Sets the value of a key in the window that starts at `window_start` (ms).
    pub fn put(&mut self, key: &K, value: &V, window_start: i64) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, key, Some(value), window_start)
    }

    /// Sets the value of a key in a window, or deletes it with `None`.
    pub fn put_nullable(&mut self, key: &K, value: Option<&V>, window_start: i64) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, key, value, window_start)
    }

    /// Deletes a key in a window.
    pub fn delete(&mut self, key: &K, window_start: i64) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, key, None, window_start)
    }

    /// The value of a key in a window.
    pub fn fetch_one(&mut self, key: &K, window_start: i64) -> Result<Option<V>, StoreError> {
        self.store.fetch_one(key, window_start)
    }

    /// Values of a key in windows that start from `from` to `to`, earliest first.
    pub fn fetch(&mut self, key: &K, from: i64, to: i64) -> Result<WindowStoreIterator<'_, V>, StoreError> {
        self.store.fetch(key, from, to)
    }

    /// As [`fetch`](Self::fetch), latest first.
    pub fn backward_fetch(
        &mut self,
        key: &K,
        from: i64,
        to: i64,
    ) -> Result<WindowStoreIterator<'_, V>, StoreError> {
        self.store.backward_fetch(key, from, to)
    }

    /// Values of a range of keys in windows that start from `from` to `to`.
    pub fn fetch_range(
        &mut self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.fetch_range(key_from, key_to, from, to)
    }

    /// As [`fetch_range`](Self::fetch_range), in reverse.
    pub fn backward_fetch_range(
        &mut self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.backward_fetch_range(key_from, key_to, from, to)
    }

    /// Values of all keys in windows that start from `from` to `to`.
    pub fn fetch_all(&mut self, from: i64, to: i64) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.fetch_all(from, to)
    }

    /// As [`fetch_all`](Self::fetch_all), in reverse.
    pub fn backward_fetch_all(
        &mut self,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.backward_fetch_all(from, to)
    }

    /// All windows of all keys.
    pub fn all(&mut self) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.all()
    }

    /// All windows of all keys, in reverse.
    pub fn backward_all(&mut self) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.store.backward_all()
    }
}

#[allow(clippy::missing_errors_doc)] // said once, at the type
impl<K: 'static, V: 'static> StoreAccess<'_, SessionStore<K, V>> {
    /// Sets the value of a session.
    pub fn put(&mut self, session: &Windowed<K>, value: &V) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, session, Some(value))
    }

    /// Sets the value of a session, or deletes it with `None`.
    pub fn put_nullable(&mut self, session: &Windowed<K>, value: Option<&V>) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, session, value)
    }

    /// Deletes a session.
    pub fn remove(&mut self, session: &Windowed<K>) -> Result<(), StoreError> {
        self.store.remove(&mut self.cx, session)
    }

    /// The value of one session.
    pub fn fetch_session(&mut self, key: &K, start: i64, end: i64) -> Result<Option<V>, StoreError> {
        self.store.fetch_session(key, start, end)
    }

    /// All sessions of a key.
    pub fn fetch(&mut self, key: &K) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.store.fetch(key)
    }

    /// All sessions of a range of keys.
    pub fn fetch_range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.store.fetch_range(from, to)
    }

    /// Sessions of a key that end at `earliest_end` or later and start at `latest_start` or earlier.
    pub fn find_sessions(
        &mut self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.store.find_sessions(key, earliest_end, latest_start)
    }

    /// As [`find_sessions`](Self::find_sessions), in reverse.
    pub fn backward_find_sessions(
        &mut self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.store.backward_find_sessions(key, earliest_end, latest_start)
    }
}

#[allow(clippy::missing_errors_doc)] // said once, at the type
impl<K: 'static, V: 'static> StoreAccess<'_, ChangeBuffer<K, V>> {
    /// Buffers an update of a key, to be told when `time` (ms) is due.
    pub fn put(&mut self, time: i64, key: &K, new: Option<&V>, old: Option<&V>) -> Result<(), StoreError> {
        self.store.put(&mut self.cx, time, key, new, old)
    }

    /// The entry with the lowest buffer time.
    pub fn first(&mut self) -> Result<Option<Buffered<K, V>>, StoreError> {
        self.store.first()
    }

    /// Removes that entry.
    pub fn remove_first(&mut self) -> Result<(), StoreError> {
        self.store.remove_first(&mut self.cx)
    }

    /// What was known of a key downstream before it was buffered.
    pub fn prior_value(&mut self, key: &K) -> Result<Option<Option<V>>, StoreError> {
        self.store.prior_value(key)
    }
}

//! Window stores, plain and timestamped, as processors use them.

use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::contract::{
    CacheStats, Flushed, RestoreRecord, StateStore, StoreContext, StoreEnvironment, StoreSpec,
};
use crate::engine::Engine;
use crate::key_value::Serdes;
use crate::keys::{MAX_SEQ, TimedKey};
use crate::rocks::BulkRestored;
use crate::time_index::TimePages;
use crate::timed::{TimedStore, timed_reads, timed_store_methods};
use crate::view::{ReadView, StoreIterator};
use crate::windowed::{Window, Windowed};
use crate::{DynSerde, StoreError, ValueAndTimestamp};

/// A store of values by key and window start. Windows older than the retention, counted from the newest window put,
/// expire: late puts are refused and counted as dropped, by segment in RocksDB, strictly in memory.
///
/// Iteration is in the JVM's order: in RocksDB segment by segment, then by key and start; in memory by start, then key.
pub struct WindowStore<K, V> {
    timed: TimedStore<K, V>,
    window_size_ms: i64,
    /// Counts the puts of a store that retains duplicates (`maybeUpdateSeqnumForDups`), from 1 at each start.
    seq: u32,
}

/// A window store whose values carry the timestamp of their last update: windowed aggregations of the DSL.
pub type TimestampedWindowStore<K, V> = WindowStore<K, ValueAndTimestamp<V>>;

/// Window starts and values of one key, in the order of starts, borrowed from a store.
pub type WindowStoreIterator<'a, V> = StoreIterator<'a, (i64, V)>;

/// Windowed keys and values, borrowed from a store.
pub type WindowedIterator<'a, K, V> = StoreIterator<'a, (Windowed<K>, V)>;

impl<K: 'static, V: 'static> WindowStore<K, V> {
    pub(crate) fn new(
        spec: StoreSpec,
        engine: Box<dyn Engine>,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let window_size_ms = spec.window_size_ms.unwrap_or(i64::MAX);
        Ok(WindowStore { timed: TimedStore::new(spec, engine, key, value, env)?, window_size_ms, seq: 0 })
    }

    /// Sets the value of a key in the window that starts at `window_start`; `None` deletes it. A store that retains
    /// duplicates keeps every value, and only logs a null.
    ///
    /// # Errors
    /// [`StoreError::Serde`], and those of the changelog and the database. A late put is no error.
    pub fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        value: Option<&V>,
        window_start: i64,
    ) -> Result<(), StoreError> {
        if self.timed.layers.spec().retain_duplicates {
            self.seq = self.seq.wrapping_add(1) & MAX_SEQ;
        }
        self.timed.put(cx, key, window_start, u64::from(self.seq), value)
    }

    /// The value of a key in the window that starts at `window_start`. A store that retains duplicates answers only
    /// with the value put last, if it is this key's.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database.
    pub fn fetch_one(&mut self, key: &K, window_start: i64) -> Result<Option<V>, StoreError> {
        self.timed.get(key, window_start, u64::from(self.seq))
    }

    timed_reads! {
        /// Values of a key in windows that start from `from` to `to` (ms, both included), earliest first.
        ///
        /// # Errors
        /// [`StoreError::Serde`] and those of the database, also in the iterator.
        pub fn fetch, backward_fetch(key: &K, from: i64, to: i64) -> WindowStoreIterator<'_, V>,
        |store| store.timed.of_key(key, from, to) => started;

        /// Values of the keys from `key_from` to `key_to` (both included; `None`: no bound) in windows that start from
        /// `from` to `to`.
        ///
        /// # Errors
        /// As [`fetch`](Self::fetch).
        pub fn fetch_range, backward_fetch_range(
            key_from: Option<&K>,
            key_to: Option<&K>,
            from: i64,
            to: i64,
        ) -> WindowedIterator<'_, K, V>,
        |store| store.timed.of_keys(key_from, key_to, from, to) => windowed(store.window_size_ms);
    }

    /// Values of all keys in windows that start from `from` to `to`.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_all(&mut self, from: i64, to: i64) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.fetch_range(None, None, from, to)
    }

    /// As [`fetch_all`](Self::fetch_all), in reverse.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_all(
        &mut self,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.backward_fetch_range(None, None, from, to)
    }

    /// All windows of all keys.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn all(&mut self) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.fetch_all(0, i64::MAX)
    }

    /// As [`all`](Self::all), in reverse.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_all(&mut self) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        self.backward_fetch_all(0, i64::MAX)
    }

    /// Size of the windows in ms.
    pub fn window_size_ms(&self) -> i64 {
        self.window_size_ms
    }

    timed_store_methods!();

    /// See [`KeyValueStore::pop_flushed`](crate::KeyValueStore::pop_flushed).
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn pop_flushed(&mut self) -> Result<Option<Flushed<Windowed<K>, V>>, StoreError> {
        let size = self.window_size_ms;
        self.timed.pop_flushed(|found| Window::of_size(found.time, size))
    }

    /// [`fetch`](Self::fetch) for another thread, of the entries as they are now; see
    /// [`KeyValueStore::read_view`](crate::KeyValueStore::read_view).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_view(&mut self, key: &K, from: i64, to: i64) -> Result<ReadView<(i64, V)>, StoreError> {
        let query = self.timed.of_key(key, from, to)?;
        self.timed.view(&query, started)
    }

    /// [`fetch_range`](Self::fetch_range) for another thread, of the entries as they are now; see
    /// [`KeyValueStore::read_view`](crate::KeyValueStore::read_view).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range_view(
        &mut self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<ReadView<(Windowed<K>, V)>, StoreError> {
        let query = self.timed.of_keys(key_from, key_to, from, to)?;
        self.timed.view(&query, windowed(self.window_size_ms))
    }

    /// The windows that start from `from` to `to` in the order of their starts, then of their keys, whatever the order
    /// of the store is; to be read with [`next_page_by_time`](Self::next_page_by_time). A store that was built
    /// [for final results](crate::WindowStoreBuilder::for_final_results) reads no more than these.
    pub fn by_time(&self, from: i64, to: i64) -> TimePages {
        TimePages::new(from, to)
    }

    /// The next windows, about `limit` of them: none where `pages` has ended. The store may change in between.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn next_page_by_time(
        &mut self,
        pages: &mut TimePages,
        limit: usize,
    ) -> Result<Vec<(Windowed<K>, V)>, StoreError> {
        self.timed.next_page_by_time(pages, limit, false, windowed(self.window_size_ms))
    }
}

/// The start of a window and its value.
fn started<K: 'static, V: 'static>(
    serdes: &Serdes<K, V>,
    found: TimedKey<'_>,
    value: &[u8],
) -> Result<(i64, V), StoreError> {
    Ok((found.time, serdes.read_value(value)?))
}

type WindowedItem<K, V> = Result<(Windowed<K>, V), StoreError>;

/// Key, window and value.
fn windowed<K: 'static, V: 'static>(
    size_ms: i64,
) -> impl Fn(&Serdes<K, V>, TimedKey<'_>, &[u8]) -> WindowedItem<K, V> + Send {
    move |serdes, found, value| {
        let window = Window::of_size(found.time, size_ms);
        Ok((Windowed::new(serdes.read_key(found.key)?, window), serdes.read_value(value)?))
    }
}

impl<K: 'static, V: 'static> StateStore for WindowStore<K, V> {
    crate::layers::state_store_by_layers!(timed.layers);
}

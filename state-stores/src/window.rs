//! Window stores, plain and timestamped, as processors use them.

use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::contract::{
    CacheStats, Flushed, RestoreRecord, StateStore, StoreContext, StoreEnvironment, StoreSpec,
};
use crate::engine::Engine;
use crate::key_value::Serdes;
use crate::keys::{KeyLayout, MAX_SEQ, WindowKey};
use crate::layers::Layers;
use crate::rocks::BulkRestored;
use crate::view::{Decode, Entries, ReadView, StoreIterator};
use crate::window_query::{Keys, WindowQuery};
use crate::windowed::{Window, Windowed};
use crate::{DynSerde, StoreError, ValueAndTimestamp};

/// A store of values by key and window start. Windows older than the retention, counted from the newest window put,
/// expire: late puts are refused and counted as dropped, by segment in RocksDB, strictly in memory.
///
/// Iteration is in the JVM's order: in RocksDB segment by segment, then by key and start; in memory by start, then key.
pub struct WindowStore<K, V> {
    layers: Layers,
    serdes: Serdes<K, V>,
    window_size_ms: i64,
    /// Counts the puts of a store that retains duplicates (`maybeUpdateSeqnumForDups`), from 1 at each start.
    seq: u32,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
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
        layout: KeyLayout,
        engine: Box<dyn Engine>,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let serdes = Serdes::new(&spec, key, value, &env.changelog_topic);
        let window_size_ms = spec.window_size_ms.unwrap_or(i64::MAX);
        let layers = Layers::new(Arc::new(spec), layout, engine, env)?;
        Ok(WindowStore {
            layers,
            serdes,
            window_size_ms,
            seq: 0,
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        })
    }

    fn write_window_key(&mut self, key: &K, start: i64) -> Result<(), StoreError> {
        let layout = self.layers.layout();
        self.key_buffer.clear();
        layout.begin_window_key(start, &mut self.key_buffer);
        self.serdes.write_key(key, &mut self.key_buffer)?;
        layout.end_window_key(start, self.seq, &mut self.key_buffer);
        Ok(())
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
        let retains_duplicates = self.layers.spec().retain_duplicates;
        if retains_duplicates {
            self.seq = self.seq.wrapping_add(1) & MAX_SEQ;
        }
        self.write_window_key(key, window_start)?;
        let value = self.serdes.write_value(value, &mut self.value_buffer)?;
        match value {
            None if retains_duplicates => self.layers.put_nothing(cx, &self.key_buffer),
            value => self.layers.put(cx, &self.key_buffer, value),
        }
    }

    /// The value of a key in the window that starts at `window_start`. A store that retains duplicates answers only
    /// with the value put last, if it is this key's.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database.
    pub fn fetch_one(&mut self, key: &K, window_start: i64) -> Result<Option<V>, StoreError> {
        self.write_window_key(key, window_start)?;
        let value = self.layers.get(&self.key_buffer)?;
        value.map(|bytes| self.serdes.read_value(bytes)).transpose()
    }

    /// Values of a key in windows that start from `from` to `to` (ms, both included), earliest first.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database, also in the iterator.
    pub fn fetch(&mut self, key: &K, from: i64, to: i64) -> Result<WindowStoreIterator<'_, V>, StoreError> {
        self.fetch_key(key, from, to, false)
    }

    /// As [`fetch`](Self::fetch), latest first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch(
        &mut self,
        key: &K,
        from: i64,
        to: i64,
    ) -> Result<WindowStoreIterator<'_, V>, StoreError> {
        self.fetch_key(key, from, to, true)
    }

    /// Values of the keys from `key_from` to `key_to` (both included; `None`: no bound) in windows that start from
    /// `from` to `to`.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range(
        &mut self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        let keys = self.key_range(key_from, key_to)?;
        self.scan(self.query(keys, from, to), false)
    }

    /// As [`fetch_range`](Self::fetch_range), in reverse.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_range(
        &mut self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        let keys = self.key_range(key_from, key_to)?;
        self.scan(self.query(keys, from, to), true)
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

    /// Greatest window start that reached the layers below the cache, in ms; -1 before the first.
    pub fn observed_stream_time(&self) -> i64 {
        self.layers.observed_stream_time()
    }

    /// Number of entries, as [`KeyValueStore::approximate_num_entries`](crate::KeyValueStore::approximate_num_entries).
    pub fn approximate_num_entries(&self) -> u64 {
        self.layers.approximate_entries()
    }

    /// Whether a record cache stands before the store. A store that retains duplicates is never cached.
    pub fn is_cached(&self) -> bool {
        self.layers.is_cached()
    }

    /// See [`KeyValueStore::forward_flushed`](crate::KeyValueStore::forward_flushed).
    pub fn forward_flushed(&mut self, old_values: bool) {
        self.layers.forward_flushed(old_values);
    }

    /// See [`KeyValueStore::pop_flushed`](crate::KeyValueStore::pop_flushed).
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn pop_flushed(&mut self) -> Result<Option<Flushed<Windowed<K>, V>>, StoreError> {
        let Some(flushed) = self.layers.pop_flushed() else { return Ok(None) };
        let Some(found) = self.layers.layout().window_key(&flushed.key) else { return Ok(None) };
        let value = |bytes: Option<&[u8]>| bytes.map(|bytes| self.serdes.read_value(bytes)).transpose();
        let window = Window::of_size(found.start, self.window_size_ms);
        Ok(Some(Flushed {
            key: Windowed::new(self.serdes.read_key(found.key)?, window),
            new: value(flushed.new.as_deref())?,
            old: value(flushed.old.as_deref())?,
            context: flushed.context,
        }))
    }

    /// [`fetch`](Self::fetch) for another thread, of the entries as they are now; see
    /// [`KeyValueStore::read_view`](crate::KeyValueStore::read_view).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_view(&mut self, key: &K, from: i64, to: i64) -> Result<ReadView<(i64, V)>, StoreError> {
        let query = self.key_query(key, from, to)?;
        let decode = self.decode_start();
        let cursor = self.layers.view(&query.range(), false, Some(&|time| query.starting_from(time)))?;
        Ok(ReadView::new(cursor, decode))
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
        let query = self.query(self.key_range(key_from, key_to)?, from, to);
        let decode = self.decode_windowed();
        let cursor = self.layers.view(&query.range(), false, Some(&|time| query.starting_from(time)))?;
        Ok(ReadView::new(cursor, decode))
    }

    fn query(&self, keys: Keys, from: i64, to: i64) -> WindowQuery {
        WindowQuery::new(self.layers.layout(), keys, from, to)
    }

    fn key_query(&self, key: &K, from: i64, to: i64) -> Result<WindowQuery, StoreError> {
        let mut bytes = Vec::new();
        self.serdes.write_key(key, &mut bytes)?;
        Ok(self.query(Keys::One(bytes), from, to))
    }

    fn key_range(&self, from: Option<&K>, to: Option<&K>) -> Result<Keys, StoreError> {
        let bytes = |key: Option<&K>| {
            let Some(key) = key else { return Ok(None) };
            let mut bytes = Vec::new();
            self.serdes.write_key(key, &mut bytes).map(|()| Some(bytes))
        };
        Ok(Keys::Range(bytes(from)?, bytes(to)?))
    }

    fn fetch_key(
        &mut self,
        key: &K,
        from: i64,
        to: i64,
        reverse: bool,
    ) -> Result<WindowStoreIterator<'_, V>, StoreError> {
        let query = self.key_query(key, from, to)?;
        if query.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let decode = self.decode_start();
        let cursor = self.layers.scan(&query.range(), reverse, Some(&|time| query.starting_from(time)))?;
        Ok(Box::new(Entries::new(cursor, decode)))
    }

    fn scan(&mut self, query: WindowQuery, reverse: bool) -> Result<WindowedIterator<'_, K, V>, StoreError> {
        if query.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let decode = self.decode_windowed();
        let cursor = self.layers.scan(&query.range(), reverse, Some(&|time| query.starting_from(time)))?;
        Ok(Box::new(Entries::new(cursor, decode)))
    }

    fn decode_start(&self) -> Decode<(i64, V)> {
        let (serdes, layout) = (self.serdes.clone(), self.layers.layout());
        Box::new(move |key, value| Ok((take_apart(layout, &serdes, key)?.start, serdes.read_value(value)?)))
    }

    fn decode_windowed(&self) -> Decode<(Windowed<K>, V)> {
        let (serdes, layout, size) = (self.serdes.clone(), self.layers.layout(), self.window_size_ms);
        Box::new(move |key, value| {
            let found = take_apart(layout, &serdes, key)?;
            let windowed = Windowed::new(serdes.read_key(found.key)?, Window::of_size(found.start, size));
            Ok((windowed, serdes.read_value(value)?))
        })
    }
}

fn take_apart<'a, K, V>(
    layout: KeyLayout,
    serdes: &Serdes<K, V>,
    key: &'a [u8],
) -> Result<WindowKey<'a>, StoreError> {
    layout.window_key(key).ok_or_else(|| StoreError::BadChangelogRecord {
        store: serdes.store.to_string(),
        reason: format!("a key of {} bytes is too short for a window store", key.len()),
    })
}

impl<K: 'static, V: 'static> StateStore for WindowStore<K, V> {
    crate::layers::state_store_by_layers!();
}

//! Key-value stores, plain and timestamped, as processors use them.

use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::contract::{
    CacheStats, Flushed, RestoreRecord, StateStore, StoreContext, StoreEnvironment, StoreSpec,
};
use crate::cursor::{KeyRange, Selection, Verdict, successor};
use crate::engine::Engine;
use crate::keys::KeyLayout;
use crate::layers::Layers;
use crate::rocks::BulkRestored;
use crate::timings::StoreOperation;
use crate::view::{Decode, Entries, ReadView, StoreIterator};
use crate::{DynSerde, Serde, StoreError, ValueAndTimestamp};

/// A store of keys and values. Ranges and iterators are in the order of the keys' bytes.
///
/// Reads take `&mut self`: a cached store keeps the order of use. A serde that writes null for a value deletes the key.
///
/// ```
/// use kstreams_state_stores::{StoreBuilder, StoreEnvironment, Stores, testing};
///
/// let mut counts = Stores::key_value::<String, i64>("counts").build(&StoreEnvironment::in_memory())?;
/// let (record, mut changelog) = (Default::default(), testing::NoChangelog);
/// let mut cx = kstreams_state_stores::StoreContext { record: &record, changelog: &mut changelog };
/// counts.put(&mut cx, &"a".to_owned(), Some(&1))?;
/// assert_eq!(counts.get(&"a".to_owned())?, Some(1));
/// # Ok::<(), kstreams_state_stores::StoreError>(())
/// ```
pub struct KeyValueStore<K, V> {
    layers: Layers,
    serdes: Serdes<K, V>,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

/// A key-value store whose values carry the timestamp of their last update: every table of the DSL.
pub type TimestampedKeyValueStore<K, V> = KeyValueStore<K, ValueAndTimestamp<V>>;

/// Keys and values in key order, borrowed from a store.
pub type KeyValueIterator<'a, K, V> = StoreIterator<'a, (K, V)>;

/// Serdes of a store, bound to its changelog topic, with its name for their errors.
pub(crate) struct Serdes<K, V> {
    pub(crate) store: Arc<str>,
    pub(crate) key: DynSerde<K>,
    pub(crate) value: DynSerde<V>,
}

impl<K, V> Clone for Serdes<K, V> {
    fn clone(&self) -> Self {
        Serdes { store: Arc::clone(&self.store), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> Serdes<K, V> {
    pub(crate) fn new(spec: &StoreSpec, key: &DynSerde<K>, value: &DynSerde<V>, topic: &str) -> Self {
        Serdes {
            store: spec.name.as_str().into(),
            key: key.for_topic(topic, true),
            value: value.for_topic(topic, false),
        }
    }

    /// Appends the key's bytes.
    pub(crate) fn write_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        match self.key.serialize_nullable(key, out) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::NullKey { store: self.store.to_string() }),
            Err(source) => Err(StoreError::key_serde(&self.store, source)),
        }
    }

    /// The value's bytes in `buffer`; `None` for a null.
    pub(crate) fn write_value<'a>(
        &self,
        value: Option<&V>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, StoreError> {
        buffer.clear();
        let Some(value) = value else { return Ok(None) };
        let present = self.value.serialize_nullable(value, buffer);
        let present = present.map_err(|source| StoreError::value_serde(&self.store, source))?;
        Ok(present.then_some(buffer.as_slice()))
    }

    pub(crate) fn read_key(&self, bytes: &[u8]) -> Result<K, StoreError> {
        self.key.deserialize(bytes).map_err(|source| StoreError::key_serde(&self.store, source))
    }

    pub(crate) fn read_value(&self, bytes: &[u8]) -> Result<V, StoreError> {
        self.value.deserialize(bytes).map_err(|source| StoreError::value_serde(&self.store, source))
    }
}

/// Where a read of a [`KeyValueStore`] in pages stands: made by [`pages`](KeyValueStore::pages).
#[derive(Debug, Clone)]
pub struct Pages {
    /// What is left to read; `None`: nothing.
    rest: Option<KeyRange>,
}

impl Pages {
    /// Whether there is nothing left to read.
    pub fn ended(&self) -> bool {
        self.rest.is_none()
    }
}

/// Takes every key: key-value stores choose by range alone.
struct Everything;

impl Selection for Everything {
    fn judge(&self, _key: &[u8], _reverse: bool) -> Verdict {
        Verdict::Take
    }
}

impl<K: 'static, V: 'static> KeyValueStore<K, V> {
    pub(crate) fn new(
        spec: StoreSpec,
        engine: Box<dyn Engine>,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let serdes = Serdes::new(&spec, key, value, &env.changelog_topic);
        let layers = Layers::new(Arc::new(spec), KeyLayout::Plain, engine, env)?;
        Ok(KeyValueStore { layers, serdes, key_buffer: Vec::new(), value_buffer: Vec::new() })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Get);
        self.read(key)
    }

    #[inline]
    fn read(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        self.key_buffer.clear();
        self.serdes.write_key(key, &mut self.key_buffer)?;
        let value = self.layers.get(&self.key_buffer)?;
        value.map(|bytes| self.serdes.read_value(bytes)).transpose()
    }

    /// Sets the value of a key; `None` deletes it.
    ///
    /// # Errors
    /// [`StoreError::Serde`], and those of the changelog and the database.
    pub fn put(&mut self, cx: &mut StoreContext<'_>, key: &K, value: Option<&V>) -> Result<(), StoreError> {
        let _timer = self.layers.time(StoreOperation::Put);
        self.write(cx, key, value)
    }

    #[inline]
    fn write(&mut self, cx: &mut StoreContext<'_>, key: &K, value: Option<&V>) -> Result<(), StoreError> {
        self.key_buffer.clear();
        self.serdes.write_key(key, &mut self.key_buffer)?;
        let value = self.serdes.write_value(value, &mut self.value_buffer)?;
        self.layers.put(cx, &self.key_buffer, value)
    }

    /// Sets the value of a key that has none. Answers the value that was there and stays, or else `None`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_if_absent(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        value: Option<&V>,
    ) -> Result<Option<V>, StoreError> {
        let _timer = self.layers.time(StoreOperation::PutIfAbsent);
        let old = self.read(key)?;
        if old.is_none() {
            self.write(cx, key, value)?;
        }
        Ok(old)
    }

    /// Deletes a key and answers the value it had. The tombstone is logged even if there was none, as in the JVM.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, cx: &mut StoreContext<'_>, key: &K) -> Result<Option<V>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Delete);
        let old = self.read(key)?;
        self.write(cx, key, None)?;
        Ok(old)
    }

    /// Entries from one key to another, both included; `None`: without a bound.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database, also in the iterator.
    pub fn range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        let range = self.key_range(from, to)?;
        self.scan(&range, false, StoreOperation::Range)
    }

    /// As [`range`](Self::range), from the greatest key down.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn reverse_range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        let range = self.key_range(from, to)?;
        self.scan(&range, true, StoreOperation::Range)
    }

    /// All entries.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn all(&mut self) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.scan(&KeyRange::default(), false, StoreOperation::All)
    }

    /// All entries, from the greatest key down.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn reverse_all(&mut self) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.scan(&KeyRange::default(), true, StoreOperation::All)
    }

    /// Entries whose key's bytes start with `prefix`.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn prefix_scan(&mut self, prefix: &[u8]) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.scan(&KeyRange::of_prefix(prefix), false, StoreOperation::PrefixScan)
    }

    /// As [`prefix_scan`](Self::prefix_scan), from the greatest key down.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn reverse_prefix_scan(&mut self, prefix: &[u8]) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        self.scan(&KeyRange::of_prefix(prefix), true, StoreOperation::PrefixScan)
    }

    /// As [`prefix_scan`](Self::prefix_scan), with the prefix as a value and its serde.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn prefix_scan_with<S: Serde>(
        &mut self,
        prefix: &S::Target,
        serde: &S,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        let mut bytes = Vec::new();
        let written = serde.serialize(prefix, &mut bytes);
        written.map_err(|source| StoreError::key_serde(&self.serdes.store, source))?;
        self.prefix_scan(&bytes)
    }

    /// The entries whose key's bytes start with `prefix`, to be read in pages: between two
    /// [`next_page`](Self::next_page)s the store can be used for something else, and memory holds one page at a time.
    pub fn pages(&self, prefix: &[u8]) -> Pages {
        Pages { rest: Some(KeyRange::of_prefix(prefix)) }
    }

    /// The next entries in key order, at most `limit` of them (1 or more); none where `pages` has ended. Of what is put in
    /// between, keys still ahead are seen.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn next_page(&mut self, pages: &mut Pages, limit: usize) -> Result<Vec<(K, V)>, StoreError> {
        let mut page = Vec::new();
        let Some(mut range) = pages.rest.take() else { return Ok(page) };
        let (_timer, decode) = (self.layers.time(StoreOperation::PrefixScan), self.decode());
        let mut cursor = self.layers.scan::<Everything>(&range, false, None)?;
        while let Some((key, value)) = cursor.entry() {
            if let Some(value) = value {
                page.push(decode(key, value)?);
            }
            if page.len() >= limit.max(1) {
                range.lower = successor(key.to_vec());
                pages.rest = Some(range);
                break;
            }
            cursor.advance()?;
        }
        Ok(page)
    }

    /// Number of entries: exact in memory, an estimate in RocksDB; cached entries do not count.
    pub fn approximate_num_entries(&self) -> u64 {
        self.layers.approximate_entries()
    }

    /// Whether a record cache stands before the store.
    pub fn is_cached(&self) -> bool {
        self.layers.is_cached()
    }

    /// From now on, what leaves the cache waits in the outbox for [`pop_flushed`](Self::pop_flushed)
    /// (`setFlushListener`), with the old values or without. The node that owns a cached store calls it once, at its
    /// initialisation; without, nothing is kept. It also means that a key created and deleted between two flushes is
    /// neither logged nor forwarded.
    pub fn forward_flushed(&mut self, old_values: bool) {
        self.layers.forward_flushed(old_values);
    }

    /// The next entry that left the cache, to be forwarded. Pop until `None` after each call that may flush:
    /// [`put`](Self::put), [`flush_cache`](StateStore::flush_cache), and all that put.
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn pop_flushed(&mut self) -> Result<Option<Flushed<K, V>>, StoreError> {
        let Some(flushed) = self.layers.pop_flushed() else { return Ok(None) };
        let value = |bytes: Option<&[u8]>| bytes.map(|bytes| self.serdes.read_value(bytes)).transpose();
        Ok(Some(Flushed {
            key: self.serdes.read_key(&flushed.key)?,
            new: value(flushed.new.as_deref())?,
            old: value(flushed.old.as_deref())?,
            context: flushed.context,
        }))
    }

    /// [`range`](Self::range) for another thread, of the entries as they are now. What is cached or uncommitted in the
    /// range is copied, the database gives a snapshot.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn read_view(&mut self, from: Option<&K>, to: Option<&K>) -> Result<ReadView<(K, V)>, StoreError> {
        let range = self.key_range(from, to)?;
        self.view(&range, false)
    }

    /// [`reverse_range`](Self::reverse_range) for another thread; see [`read_view`](Self::read_view).
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn reverse_read_view(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<ReadView<(K, V)>, StoreError> {
        let range = self.key_range(from, to)?;
        self.view(&range, true)
    }

    /// [`prefix_scan`](Self::prefix_scan) for another thread; see [`read_view`](Self::read_view).
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn prefix_read_view(&mut self, prefix: &[u8]) -> Result<ReadView<(K, V)>, StoreError> {
        self.view(&KeyRange::of_prefix(prefix), false)
    }

    fn key_range(&self, from: Option<&K>, to: Option<&K>) -> Result<KeyRange, StoreError> {
        let bytes = |key: Option<&K>| {
            let mut bytes = Vec::new();
            key.map(|key| self.serdes.write_key(key, &mut bytes))
                .transpose()?
                .map_or(Ok(None), |()| Ok(Some(bytes)))
        };
        Ok(KeyRange { lower: bytes(from)?.unwrap_or_default(), upper: bytes(to)?.map(successor) })
    }

    fn decode(&self) -> Decode<(K, V)> {
        let serdes = self.serdes.clone();
        Box::new(move |key, value| Ok((serdes.read_key(key)?, serdes.read_value(value)?)))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        operation: StoreOperation,
    ) -> Result<KeyValueIterator<'_, K, V>, StoreError> {
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let (timer, decode) = (self.layers.time(operation), self.decode());
        let cursor = self.layers.scan::<Everything>(range, reverse, None)?;
        Ok(Box::new(Entries::new(cursor, decode).timed(timer)))
    }

    fn view(&mut self, range: &KeyRange, reverse: bool) -> Result<ReadView<(K, V)>, StoreError> {
        let cursor = self.layers.view::<Everything>(range, reverse, None)?;
        Ok(ReadView::new(cursor, self.decode()))
    }
}

impl<K: 'static, V: 'static> StateStore for KeyValueStore<K, V> {
    crate::layers::state_store_by_layers!(layers);
}

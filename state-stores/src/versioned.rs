//! Versioned key-value stores (KIP-889), as processors use them: each key's value as it was at any time of the history.

use std::sync::Arc;

use crate::access::StoreAccess;
use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::building::{Plan, common_settings, invalid, layout_of};
use crate::contract::{
    CacheStats, RestoreRecord, StateStore, StoreBuilder, StoreContext, StoreEnvironment, StoreKind, StoreSpec,
};
use crate::key_value::Serdes;
use crate::layers::Layers;
use crate::rocks::BulkRestored;
use crate::timings::StoreOperation;
use crate::versions::Version;
use crate::{DynSerde, Serde, StoreError, Stores};

/// A value with the times between which it counts (`VersionedRecord`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// Since when it counts, in ms since the epoch: the timestamp that it was put with.
    pub timestamp: i64,
    /// When the next version took its place, in ms since the epoch; `None` for the latest.
    pub valid_to: Option<i64>,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionedPut {
    /// It is the latest version of its key.
    Latest,
    /// It is an earlier one, and counts until this time (ms since the epoch).
    ValidTo(i64),
    /// It is older than the history retention: logged and counted as dropped, but not stored.
    TooOld,
}

/// A store that keeps the versions of each key: a put with a time is the value from that time until the next version's.
///
/// The history goes back `history_retention_ms` from the greatest time put to the store, of any key. Older puts are
/// refused (and counted as dropped), questions about older times are answered only if the latest version already counted
/// then. The latest version of a key never expires. A null is a version too: the key was deleted at that time.
///
/// There are no ranges over keys, and no record cache, as in the JVM.
///
/// ```
/// use kstreams_state_stores::{StoreBuilder, StoreContext, StoreEnvironment, Stores, VersionedPut, testing};
///
/// let hour = 3_600_000;
/// let mut prices = Stores::versioned_key_value::<String, i64>("prices", hour).build(&StoreEnvironment::in_memory())?;
/// let (record, mut changelog) = (Default::default(), testing::NoChangelog);
/// let mut cx = StoreContext { record: &record, changelog: &mut changelog };
/// let tea = "tea".to_owned();
/// prices.put(&mut cx, &tea, Some(&3), 1_000)?;
/// assert_eq!(prices.put(&mut cx, &tea, Some(&4), 5_000)?, VersionedPut::Latest);
/// assert_eq!(prices.get(&tea)?.map(|price| price.value), Some(4));
/// assert_eq!(prices.get_as_of(&tea, 2_000)?.map(|price| price.value), Some(3));
/// # Ok::<(), kstreams_state_stores::StoreError>(())
/// ```
pub struct VersionedKeyValueStore<K, V> {
    layers: Layers,
    serdes: Serdes<K, V>,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

impl<K: 'static, V: 'static> VersionedKeyValueStore<K, V> {
    fn write_key(&mut self, key: &K) -> Result<(), StoreError> {
        self.key_buffer.clear();
        self.serdes.write_key(key, &mut self.key_buffer)
    }

    /// The latest version of a key; `None` when there is none or it was deleted.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database.
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Get);
        self.read(key)
    }

    fn read(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>, StoreError> {
        self.write_key(key)?;
        let latest = self.layers.latest_version(&self.key_buffer)?;
        latest.map_or(Ok(None), |version| self.decode(version))
    }

    /// The version of a key that counted at `time` (ms since the epoch). Before the history, only the latest version is
    /// known: `None` if it did not count yet.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_as_of(&mut self, key: &K, time: i64) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Get);
        self.read_as_of(key, time)
    }

    fn read_as_of(&mut self, key: &K, time: i64) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let latest = self.read(key)?;
        if latest.as_ref().is_some_and(|latest| latest.timestamp <= time) {
            return Ok(latest);
        }
        if time < self.history_start() {
            return Ok(None);
        }
        let found = self.layers.versions_between(&self.key_buffer, time, time)?.into_iter().next();
        found.map_or(Ok(None), |version| self.decode(version))
    }

    /// The versions of a key that counted at some time from `from` to `to` (ms since the epoch), the latest first
    /// (`MultiVersionedKeyQuery`); times before the history are known only as far as
    /// [`get_as_of`](Self::get_as_of) says.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn versions(&mut self, key: &K, from: i64, to: i64) -> Result<Vec<VersionedRecord<V>>, StoreError> {
        if to < self.history_start() {
            return Ok(self.get_as_of(key, to)?.into_iter().collect());
        }
        self.write_key(key)?;
        let from = from.max(self.history_start());
        let found = self.layers.versions_between(&self.key_buffer, from, to)?;
        let decoded = found.into_iter().filter_map(|version| self.decode(version).transpose());
        decoded.collect()
    }

    /// Puts the value that counts from `timestamp` (ms since the epoch) on; `None`: the key is deleted from then on. An
    /// equal timestamp replaces the version.
    ///
    /// # Errors
    /// [`StoreError::Serde`], and those of the changelog and the database. A late put is no error.
    pub fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        value: Option<&V>,
        timestamp: i64,
    ) -> Result<VersionedPut, StoreError> {
        let _timer = self.layers.time(StoreOperation::Put);
        self.write(cx, key, value, timestamp)
    }

    fn write(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        value: Option<&V>,
        timestamp: i64,
    ) -> Result<VersionedPut, StoreError> {
        self.write_key(key)?;
        let value = self.serdes.write_value(value, &mut self.value_buffer)?;
        let put = self.layers.put_version(cx.changelog, &self.key_buffer, value, timestamp)?;
        Ok(match put {
            None => VersionedPut::TooOld,
            Some(None) => VersionedPut::Latest,
            Some(Some(valid_to)) => VersionedPut::ValidTo(valid_to),
        })
    }

    /// Deletes a key from `timestamp` on; answers what counted then. Of a late deletion nothing is known.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        timestamp: i64,
    ) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Delete);
        let old = self.read_as_of(key, timestamp)?;
        let put = self.write(cx, key, None, timestamp)?;
        Ok(old.filter(|_| put != VersionedPut::TooOld))
    }

    /// Greatest time put so far, in ms; -1 before the first.
    pub fn observed_stream_time(&self) -> i64 {
        self.layers.observed_stream_time()
    }

    /// How far the history goes back from [`observed_stream_time`](Self::observed_stream_time), in ms.
    pub fn history_retention_ms(&self) -> i64 {
        self.layers.spec().retention_ms.unwrap_or(i64::MAX)
    }

    fn history_start(&self) -> i64 {
        self.observed_stream_time().saturating_sub(self.history_retention_ms())
    }

    fn decode(&self, version: Version) -> Result<Option<VersionedRecord<V>>, StoreError> {
        let Version { time: timestamp, value, valid_to } = version;
        let Some(value) = value else { return Ok(None) };
        Ok(Some(VersionedRecord { value: self.serdes.read_value(&value)?, timestamp, valid_to }))
    }
}

impl<K: 'static, V: 'static> StateStore for VersionedKeyValueStore<K, V> {
    crate::layers::state_store_by_layers!(layers);
}

#[allow(clippy::missing_errors_doc)] // said once, at `StoreAccess`
impl<K: 'static, V: 'static> StoreAccess<'_, VersionedKeyValueStore<K, V>> {
    /// The latest version of a key.
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>, StoreError> {
        self.store.get(key)
    }

    /// The version of a key that counted at `time` (ms since the epoch).
    pub fn get_as_of(&mut self, key: &K, time: i64) -> Result<Option<VersionedRecord<V>>, StoreError> {
        self.store.get_as_of(key, time)
    }

    /// The versions of a key that counted from `from` to `to`, the latest first.
    pub fn versions(&mut self, key: &K, from: i64, to: i64) -> Result<Vec<VersionedRecord<V>>, StoreError> {
        self.store.versions(key, from, to)
    }

    /// Puts the value that counts from `timestamp` on; `None`: the key is deleted from then on.
    pub fn put(&mut self, key: &K, value: Option<&V>, timestamp: i64) -> Result<VersionedPut, StoreError> {
        self.store.put(&mut self.cx, key, value, timestamp)
    }

    /// Deletes a key from `timestamp` on; answers what counted then.
    pub fn delete(&mut self, key: &K, timestamp: i64) -> Result<Option<VersionedRecord<V>>, StoreError> {
        self.store.delete(&mut self.cx, key, timestamp)
    }
}

/// Builds [`VersionedKeyValueStore`]s.
pub struct VersionedKeyValueStoreBuilder<K, V> {
    plan: Plan<K, V>,
}

impl<K, V> Clone for VersionedKeyValueStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        VersionedKeyValueStoreBuilder { plan: self.plan.clone() }
    }
}

impl<K: 'static, V: 'static> VersionedKeyValueStoreBuilder<K, V> {
    /// A store whose history goes back `history_retention_ms`.
    pub fn new(
        name: impl Into<String>,
        history_retention_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let mut plan = Plan::new(name, StoreKind::Versioned, key, value);
        plan.spec.retention_ms = Some(history_retention_ms);
        VersionedKeyValueStoreBuilder { plan }
    }

    common_settings!();
}

impl<K: 'static, V: 'static> StoreBuilder for VersionedKeyValueStoreBuilder<K, V> {
    type Store = VersionedKeyValueStore<K, V>;

    fn name(&self) -> &str {
        &self.plan.spec.name
    }

    fn spec(&self) -> StoreSpec {
        StoreSpec { caching: false, ..self.plan.spec.clone() }
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let spec = self.spec();
        if let Some(retention @ ..0) = spec.retention_ms {
            let reason = format!("the history retention of {retention} ms is negative");
            return Err(invalid(&spec, reason));
        }
        let engine = self.plan.engine(&spec, env)?;
        let serdes = Serdes::new(&spec, &self.plan.key, &self.plan.value, &env.changelog_topic);
        let layout = layout_of(&spec);
        let layers = Layers::new(Arc::new(spec), layout, engine, env)?;
        Ok(VersionedKeyValueStore { layers, serdes, key_buffer: Vec::new(), value_buffer: Vec::new() })
    }
}

impl Stores {
    /// A versioned key-value store whose history goes back `history_retention_ms` (`persistentVersionedKeyValueStore`).
    pub fn versioned_key_value<K, V>(
        name: impl Into<String>,
        history_retention_ms: i64,
    ) -> VersionedKeyValueStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = (DynSerde::new(K::default()), DynSerde::new(V::default()));
        VersionedKeyValueStoreBuilder::new(name, history_retention_ms, key, value)
    }
}

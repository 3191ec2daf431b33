//! How stores are described and built: `Stores` with Kafka's constructors, and the builders they give.

use std::collections::BTreeMap;

use crate::backend::TaskBackend;
use crate::contract::{StoreBuilder, StoreEnvironment, StoreKind, StoreSpec, StoreType};
use crate::engine::Engine;
use crate::key_value::KeyValueStore;
use crate::keys::{KeyLayout, Schema};
use crate::memory::MemoryEngine;
use crate::rocks::RocksEngine;
use crate::session::SessionStore;
use crate::timestamped::ValueAndTimestampSerde;
use crate::window::WindowStore;
use crate::{DynSerde, Serde, StoreError, ValueAndTimestamp};

/// Constructors of store builders, named as `org.apache.kafka.streams.state.Stores` names them. Type arguments name
/// the serdes. Defaults are the JVM's: persistent, logged, not cached.
///
/// ```
/// use kstreams_state_stores::{StoreBuilder, Stores};
///
/// let counts = Stores::key_value::<String, i64>("counts").in_memory().with_caching_enabled();
/// assert!(!counts.spec().persistent);
/// ```
pub struct Stores;

impl Stores {
    /// A key-value store.
    pub fn key_value<K, V>(name: impl Into<String>) -> KeyValueStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        KeyValueStoreBuilder::new(name, DynSerde::new(K::default()), DynSerde::new(V::default()))
    }

    /// A key-value store whose values carry their timestamp.
    pub fn timestamped_key_value<K, V>(
        name: impl Into<String>,
    ) -> KeyValueStoreBuilder<K::Target, ValueAndTimestamp<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        KeyValueStoreBuilder::timestamped(name, DynSerde::new(K::default()), DynSerde::new(V::default()))
    }

    /// A key-value store in memory that keeps `max_entries` entries: beyond them the least recently used one is deleted,
    /// from the changelog too (`Stores.lruMap`). It is never cached: it is a cache.
    pub fn lru_map<K, V>(
        name: impl Into<String>,
        max_entries: usize,
    ) -> KeyValueStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let mut builder = Stores::key_value::<K, V>(name).in_memory();
        builder.spec.max_entries = Some(max_entries);
        builder
    }

    /// A window store that keeps windows of `window_size_ms` for `retention_ms` after their start.
    pub fn window<K, V>(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
    ) -> WindowStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = (DynSerde::new(K::default()), DynSerde::new(V::default()));
        WindowStoreBuilder::new(name, retention_ms, window_size_ms, key, value)
    }

    /// A window store whose values carry their timestamp.
    pub fn timestamped_window<K, V>(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
    ) -> WindowStoreBuilder<K::Target, ValueAndTimestamp<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = (DynSerde::new(K::default()), DynSerde::new(V::default()));
        WindowStoreBuilder::timestamped(name, retention_ms, window_size_ms, key, value)
    }

    /// A session store that keeps sessions for `retention_ms` after their end.
    pub fn session<K, V>(
        name: impl Into<String>,
        retention_ms: i64,
    ) -> SessionStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = (DynSerde::new(K::default()), DynSerde::new(V::default()));
        SessionStoreBuilder::new(name, retention_ms, key, value)
    }
}

/// Settings that builders of all kinds of stores have.
macro_rules! common_settings {
    () => {
        /// Keeps the store in memory instead of RocksDB; it is restored from the changelog at each start.
        #[must_use]
        pub fn in_memory(self) -> Self {
            self.with_store_type(StoreType::InMemory)
        }

        /// Sets where the store is kept.
        #[must_use]
        pub fn with_store_type(mut self, store_type: StoreType) -> Self {
            self.spec.persistent = store_type == StoreType::RocksDb;
            self
        }

        /// Puts a record cache before the store.
        #[must_use]
        pub fn with_caching_enabled(mut self) -> Self {
            self.spec.caching = true;
            self
        }

        /// Takes the record cache away.
        #[must_use]
        pub fn with_caching_disabled(mut self) -> Self {
            self.spec.caching = false;
            self
        }

        /// Logs updates to a changelog topic, with `configs` of the topic beyond the defaults.
        #[must_use]
        pub fn with_logging_enabled(mut self, configs: BTreeMap<String, String>) -> Self {
            self.spec.logging = Some(configs);
            self
        }

        /// Logs each update with the headers of the record that made it.
        #[must_use]
        pub fn with_headers_logged(mut self) -> Self {
            self.spec.logs_headers = crate::LoggedHeaders::Always;
            self
        }

        /// Logs deletions with the headers of the record that made them (`dsl.store.format=HEADERS`).
        #[must_use]
        pub fn with_headers_of_deletions_logged(mut self) -> Self {
            self.spec.logs_headers = crate::LoggedHeaders::OfDeletions;
            self
        }

        /// Leaves the time of the changelog's records to the producer.
        #[must_use]
        pub fn without_logged_time(mut self) -> Self {
            self.spec.logs_time = false;
            self
        }

        /// Logs nothing: the store is lost with its disk, and not moved with its task.
        #[must_use]
        pub fn with_logging_disabled(mut self) -> Self {
            self.spec.logging = None;
            self
        }
    };
}

pub(crate) use common_settings;

/// Builds [`KeyValueStore`]s.
pub struct KeyValueStoreBuilder<K, V> {
    spec: StoreSpec,
    key: DynSerde<K>,
    value: DynSerde<V>,
}

impl<K, V> Clone for KeyValueStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        KeyValueStoreBuilder { spec: self.spec.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<K, V> {
    /// A plain store.
    pub fn new(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        KeyValueStoreBuilder { spec: default_spec(name, StoreKind::KeyValue), key, value }
    }

    common_settings!();
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<K, ValueAndTimestamp<V>> {
    /// A timestamped store; `value` is the serde of the values alone.
    pub fn timestamped(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        let value = DynSerde::new(ValueAndTimestampSerde::new(value));
        KeyValueStoreBuilder { spec: default_spec(name, StoreKind::TimestampedKeyValue), key, value }
    }
}

impl<K: 'static, V: 'static> StoreBuilder for KeyValueStoreBuilder<K, V> {
    type Store = KeyValueStore<K, V>;

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn spec(&self) -> StoreSpec {
        let mut spec = self.spec.clone();
        if spec.max_entries.is_some() {
            (spec.caching, spec.persistent) = (false, false);
        }
        spec
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let spec = self.spec();
        let engine = engine_of(&spec, env)?;
        KeyValueStore::new(spec, engine, &self.key, &self.value, env)
    }
}

/// Builds [`WindowStore`]s.
pub struct WindowStoreBuilder<K, V> {
    spec: StoreSpec,
    key: DynSerde<K>,
    value: DynSerde<V>,
}

impl<K, V> Clone for WindowStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        WindowStoreBuilder { spec: self.spec.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> WindowStoreBuilder<K, V> {
    /// A plain store.
    pub fn new(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let mut spec = default_spec(name, StoreKind::Window);
        spec.retention_ms = Some(retention_ms);
        spec.window_size_ms = Some(window_size_ms);
        WindowStoreBuilder { spec, key, value }
    }

    /// Final results of windows that have closed are read from the store (see [`StoreSpec::final_results`]).
    #[must_use]
    pub fn for_final_results(mut self) -> Self {
        self.spec.final_results = true;
        self
    }

    /// Keeps all values of a key and window instead of the last (join stores). Such a store is never cached.
    #[must_use]
    pub fn retain_duplicates(mut self) -> Self {
        self.spec.retain_duplicates = true;
        self
    }

    common_settings!();
}

impl<K: 'static, V: 'static> WindowStoreBuilder<K, ValueAndTimestamp<V>> {
    /// A timestamped store; `value` is the serde of the values alone.
    pub fn timestamped(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let value = DynSerde::new(ValueAndTimestampSerde::new(value));
        let mut builder = WindowStoreBuilder::new(name, retention_ms, window_size_ms, key, value);
        builder.spec.kind = StoreKind::TimestampedWindow;
        builder
    }
}

impl<K: 'static, V: 'static> StoreBuilder for WindowStoreBuilder<K, V> {
    type Store = WindowStore<K, V>;

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn spec(&self) -> StoreSpec {
        let mut spec = self.spec.clone();
        spec.caching &= !spec.retain_duplicates;
        spec
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let spec = self.spec();
        let (retention, size) = (spec.retention_ms.unwrap_or(0), spec.window_size_ms.unwrap_or(0));
        let fault = if retention < 0 {
            Some(format!("the retention of {retention} ms is negative"))
        } else if size < 0 {
            Some(format!("the window size of {size} ms is negative"))
        } else if retention < size {
            Some(format!(
                "the retention of {retention} ms is shorter than its windows of {size} ms: extend it"
            ))
        } else {
            None
        };
        if let Some(reason) = fault {
            return Err(StoreError::InvalidStore { store: spec.name, reason });
        }
        let engine = engine_of(&spec, env)?;
        WindowStore::new(spec, engine, &self.key, &self.value, env)
    }
}

/// Builds [`SessionStore`]s.
pub struct SessionStoreBuilder<K, V> {
    spec: StoreSpec,
    key: DynSerde<K>,
    value: DynSerde<V>,
}

impl<K, V> Clone for SessionStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        SessionStoreBuilder { spec: self.spec.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> SessionStoreBuilder<K, V> {
    /// A store that keeps sessions for `retention_ms` after their end.
    pub fn new(name: impl Into<String>, retention_ms: i64, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        let mut spec = default_spec(name, StoreKind::Session);
        spec.retention_ms = Some(retention_ms);
        SessionStoreBuilder { spec, key, value }
    }

    /// Final results of sessions that have closed are read from the store (see [`StoreSpec::final_results`]).
    #[must_use]
    pub fn for_final_results(mut self) -> Self {
        self.spec.final_results = true;
        self
    }

    common_settings!();
}

impl<K: 'static, V: 'static> StoreBuilder for SessionStoreBuilder<K, V> {
    type Store = SessionStore<K, V>;

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn spec(&self) -> StoreSpec {
        self.spec.clone()
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let retention = self.spec.retention_ms.unwrap_or(0);
        if retention < 0 {
            return Err(StoreError::InvalidStore {
                store: self.spec.name.clone(),
                reason: format!("the retention of {retention} ms is negative"),
            });
        }
        let engine = engine_of(&self.spec, env)?;
        SessionStore::new(self.spec.clone(), engine, &self.key, &self.value, env)
    }
}

/// Segments are half the retention, at least a minute (`Stores.defaultSegmentInterval`).
const MIN_SEGMENT_INTERVAL_MS: i64 = 60_000;

/// How the keys of a store stand in its engine. Test drivers keep persistent stores in memory: with their own layout,
/// so that order and expiry are theirs.
pub(crate) fn layout_of(spec: &StoreSpec) -> KeyLayout {
    let schema = match spec.kind {
        StoreKind::Session => Schema::Session,
        StoreKind::Versioned => return KeyLayout::Versions,
        kind if kind.is_windowed() => Schema::Window,
        _ => return KeyLayout::Plain,
    };
    match spec.persistent {
        true => KeyLayout::Segments {
            interval_ms: (spec.retention_ms.unwrap_or(i64::MAX) / 2).max(MIN_SEGMENT_INTERVAL_MS),
            schema,
        },
        false => KeyLayout::Times { schema },
    }
}

pub(crate) fn default_spec(name: impl Into<String>, kind: StoreKind) -> StoreSpec {
    StoreSpec {
        name: name.into(),
        kind,
        persistent: true,
        logging: Some(BTreeMap::new()),
        caching: false,
        retention_ms: None,
        window_size_ms: None,
        logs_headers: crate::LoggedHeaders::Never,
        logs_time: true,
        retain_duplicates: false,
        final_results: false,
        max_entries: None,
    }
}

/// A store's name becomes part of its changelog's, so it takes what a topic's name takes (`Named.validate`).
fn check_name(name: &str) -> Result<(), StoreError> {
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(is_legal) {
        return Ok(());
    }
    Err(StoreError::InvalidStore {
        store: name.to_owned(),
        reason: "a name has 1 to 249 ASCII letters, digits, '.', '_' and '-', and is not '.' or '..'"
            .to_owned(),
    })
}

pub(crate) fn engine_of(spec: &StoreSpec, env: &StoreEnvironment) -> Result<Box<dyn Engine>, StoreError> {
    check_name(&spec.name)?;
    if let Some(db) = env.backend.db().filter(|_| spec.persistent) {
        return Ok(Box::new(RocksEngine::new(db, &spec.name)?));
    }
    match &env.backend {
        TaskBackend::Shared(shared) => Ok(Box::new(shared.stores.memory_engine(&spec.name))),
        TaskBackend::Rocks(_) | TaskBackend::Memory => Ok(Box::new(MemoryEngine::default())),
    }
}

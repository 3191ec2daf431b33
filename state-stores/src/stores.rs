//! How stores are described and built: `Stores` with Kafka's constructors, and the builders they give.

use crate::building::{Plan, common_settings, invalid};
use crate::contract::{StoreBuilder, StoreEnvironment, StoreKind, StoreSpec};
use crate::key_value::KeyValueStore;
use crate::session::SessionStore;
use crate::timestamped::ValueAndTimestampSerde;
use crate::window::WindowStore;
use crate::with_headers::{AggregationWithHeadersSerde, ValueTimestampHeadersSerde};
use crate::{
    AggregationWithHeaders, DynSerde, ListSerde, Serde, StoreError, ValueAndTimestamp, ValueTimestampHeaders,
};

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

/// The serdes that the type arguments of a constructor name.
fn serdes<K, V>() -> (DynSerde<K::Target>, DynSerde<V::Target>)
where
    K: Serde + Default,
    V: Serde + Default,
{
    (DynSerde::new(K::default()), DynSerde::new(V::default()))
}

impl Stores {
    /// A key-value store.
    pub fn key_value<K, V>(name: impl Into<String>) -> KeyValueStoreBuilder<K::Target, V::Target>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = serdes::<K, V>();
        KeyValueStoreBuilder::new(name, key, value)
    }

    /// A key-value store whose values carry their timestamp.
    pub fn timestamped_key_value<K, V>(
        name: impl Into<String>,
    ) -> KeyValueStoreBuilder<K::Target, ValueAndTimestamp<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = serdes::<K, V>();
        KeyValueStoreBuilder::timestamped(name, key, value)
    }

    /// A key-value store whose values carry their timestamp and headers
    /// (`timestampedKeyValueStoreWithHeadersBuilder`, KIP-1271).
    ///
    /// ```
    /// use kstreams_state_stores::{
    ///     Headers, RecordContext, StoreBuilder, StoreContext, StoreEnvironment, Stores, ValueTimestampHeaders, testing,
    /// };
    ///
    /// let builder = Stores::timestamped_key_value_with_headers::<String, i64>("prices");
    /// let mut prices = builder.build(&StoreEnvironment::in_memory())?;
    /// let (record, mut changelog) = (RecordContext::default(), testing::NoChangelog);
    /// let mut cx = StoreContext { record: &record, changelog: &mut changelog };
    /// let mut headers = Headers::new();
    /// headers.add("currency", Some(b"EUR"));
    /// prices.put(&mut cx, &"tea".to_owned(), Some(&ValueTimestampHeaders::new(3, 1_000, headers)))?;
    /// let price = prices.get(&"tea".to_owned())?.unwrap();
    /// assert_eq!(price.headers.last("currency").unwrap().value.as_deref(), Some(&b"EUR"[..]));
    /// # Ok::<(), kstreams_state_stores::StoreError>(())
    /// ```
    pub fn timestamped_key_value_with_headers<K, V>(
        name: impl Into<String>,
    ) -> KeyValueStoreBuilder<K::Target, ValueTimestampHeaders<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = serdes::<K, V>();
        KeyValueStoreBuilder::timestamped_with_headers(name, key, value)
    }

    /// A store of lists by key, to which values are added one at a time
    /// ([`append`](crate::StoreAccess::append); `ListValueStore` of the JVM). The changelog has the whole list each time.
    pub fn list_value<K, V>(name: impl Into<String>) -> KeyValueStoreBuilder<K::Target, Vec<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let list = DynSerde::new(ListSerde::new(V::default()));
        KeyValueStoreBuilder::new(name, DynSerde::new(K::default()), list)
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
        Stores::key_value::<K, V>(name).with_max_entries(max_entries)
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
        let (key, value) = serdes::<K, V>();
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
        let (key, value) = serdes::<K, V>();
        WindowStoreBuilder::timestamped(name, retention_ms, window_size_ms, key, value)
    }

    /// A window store whose values carry their timestamp and headers (`timestampedWindowStoreWithHeadersBuilder`,
    /// KIP-1271).
    pub fn timestamped_window_with_headers<K, V>(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
    ) -> WindowStoreBuilder<K::Target, ValueTimestampHeaders<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = serdes::<K, V>();
        WindowStoreBuilder::timestamped_with_headers(name, retention_ms, window_size_ms, key, value)
    }

    /// A session store whose values carry headers (`sessionStoreWithHeadersBuilder`, KIP-1271).
    pub fn session_with_headers<K, V>(
        name: impl Into<String>,
        retention_ms: i64,
    ) -> SessionStoreBuilder<K::Target, AggregationWithHeaders<V::Target>>
    where
        K: Serde + Default,
        V: Serde + Default,
    {
        let (key, value) = serdes::<K, V>();
        SessionStoreBuilder::new_with_headers(name, retention_ms, key, value)
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
        let (key, value) = serdes::<K, V>();
        SessionStoreBuilder::new(name, retention_ms, key, value)
    }
}

/// Builds [`KeyValueStore`]s.
pub struct KeyValueStoreBuilder<K, V> {
    plan: Plan<K, V>,
}

impl<K, V> Clone for KeyValueStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        KeyValueStoreBuilder { plan: self.plan.clone() }
    }
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<K, V> {
    /// A plain store.
    pub fn new(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        KeyValueStoreBuilder { plan: Plan::new(name, StoreKind::KeyValue, key, value) }
    }

    /// Keeps `max_entries` entries, in memory: beyond them the least recently used one is deleted, from the changelog too.
    /// Such a store is never cached.
    #[must_use]
    pub fn with_max_entries(mut self, max_entries: usize) -> Self {
        self.plan.spec.max_entries = Some(max_entries);
        self
    }

    common_settings!();
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<K, ValueAndTimestamp<V>> {
    /// A timestamped store; `value` is the serde of the values alone.
    pub fn timestamped(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        let value = DynSerde::new(ValueAndTimestampSerde::new(value));
        KeyValueStoreBuilder { plan: Plan::new(name, StoreKind::TimestampedKeyValue, key, value) }
    }
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<K, ValueTimestampHeaders<V>> {
    /// A timestamped store with headers; `value` is the serde of the values alone.
    pub fn timestamped_with_headers(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        let value = DynSerde::new(ValueTimestampHeadersSerde::new(value));
        KeyValueStoreBuilder { plan: Plan::new(name, StoreKind::TimestampedKeyValueWithHeaders, key, value) }
    }
}

impl<K: 'static, V: 'static> StoreBuilder for KeyValueStoreBuilder<K, V> {
    type Store = KeyValueStore<K, V>;

    fn name(&self) -> &str {
        &self.plan.spec.name
    }

    fn spec(&self) -> StoreSpec {
        let mut spec = self.plan.spec.clone();
        if spec.max_entries.is_some() {
            (spec.caching, spec.persistent) = (false, false);
        }
        spec
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let spec = self.spec();
        let engine = self.plan.engine(&spec, env)?;
        KeyValueStore::new(spec, engine, &self.plan.key, &self.plan.value, env)
    }
}

/// Builds [`WindowStore`]s.
pub struct WindowStoreBuilder<K, V> {
    plan: Plan<K, V>,
}

impl<K, V> Clone for WindowStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        WindowStoreBuilder { plan: self.plan.clone() }
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
        let sizes = (retention_ms, window_size_ms);
        WindowStoreBuilder::of_kind(StoreKind::Window, name, sizes, key, value)
    }

    fn of_kind(
        kind: StoreKind,
        name: impl Into<String>,
        (retention_ms, window_size_ms): (i64, i64),
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let mut plan = Plan::new(name, kind, key, value);
        plan.spec.retention_ms = Some(retention_ms);
        plan.spec.window_size_ms = Some(window_size_ms);
        WindowStoreBuilder { plan }
    }

    /// Final results of windows that have closed are read from the store (see [`StoreSpec::final_results`]).
    #[must_use]
    pub fn for_final_results(mut self) -> Self {
        self.plan.spec.final_results = true;
        self
    }

    /// Keeps all values of a key and window instead of the last (join stores). Such a store is never cached.
    #[must_use]
    pub fn retain_duplicates(mut self) -> Self {
        self.plan.spec.retain_duplicates = true;
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
        let sizes = (retention_ms, window_size_ms);
        WindowStoreBuilder::of_kind(StoreKind::TimestampedWindow, name, sizes, key, value)
    }
}

impl<K: 'static, V: 'static> WindowStoreBuilder<K, ValueTimestampHeaders<V>> {
    /// A timestamped store with headers; `value` is the serde of the values alone.
    pub fn timestamped_with_headers(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let value = DynSerde::new(ValueTimestampHeadersSerde::new(value));
        let sizes = (retention_ms, window_size_ms);
        WindowStoreBuilder::of_kind(StoreKind::TimestampedWindowWithHeaders, name, sizes, key, value)
    }
}

impl<K: 'static, V: 'static> StoreBuilder for WindowStoreBuilder<K, V> {
    type Store = WindowStore<K, V>;

    fn name(&self) -> &str {
        &self.plan.spec.name
    }

    fn spec(&self) -> StoreSpec {
        let mut spec = self.plan.spec.clone();
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
            return Err(invalid(&spec, reason));
        }
        let engine = self.plan.engine(&spec, env)?;
        WindowStore::new(spec, engine, &self.plan.key, &self.plan.value, env)
    }
}

/// Builds [`SessionStore`]s.
pub struct SessionStoreBuilder<K, V> {
    plan: Plan<K, V>,
}

impl<K, V> Clone for SessionStoreBuilder<K, V> {
    fn clone(&self) -> Self {
        SessionStoreBuilder { plan: self.plan.clone() }
    }
}

impl<K: 'static, V: 'static> SessionStoreBuilder<K, V> {
    /// A store that keeps sessions for `retention_ms` after their end.
    pub fn new(name: impl Into<String>, retention_ms: i64, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        SessionStoreBuilder::of_kind(StoreKind::Session, name, retention_ms, key, value)
    }

    fn of_kind(
        kind: StoreKind,
        name: impl Into<String>,
        retention_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let mut plan = Plan::new(name, kind, key, value);
        plan.spec.retention_ms = Some(retention_ms);
        SessionStoreBuilder { plan }
    }

    /// Final results of sessions that have closed are read from the store (see [`StoreSpec::final_results`]).
    #[must_use]
    pub fn for_final_results(mut self) -> Self {
        self.plan.spec.final_results = true;
        self
    }

    common_settings!();
}

impl<K: 'static, V: 'static> SessionStoreBuilder<K, AggregationWithHeaders<V>> {
    /// A store with headers; `value` is the serde of the values alone.
    pub fn new_with_headers(
        name: impl Into<String>,
        retention_ms: i64,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        let value = DynSerde::new(AggregationWithHeadersSerde::new(value));
        SessionStoreBuilder::of_kind(StoreKind::SessionWithHeaders, name, retention_ms, key, value)
    }
}

impl<K: 'static, V: 'static> StoreBuilder for SessionStoreBuilder<K, V> {
    type Store = SessionStore<K, V>;

    fn name(&self) -> &str {
        &self.plan.spec.name
    }

    fn spec(&self) -> StoreSpec {
        self.plan.spec.clone()
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        let Plan { spec, key, value, .. } = &self.plan;
        let retention = spec.retention_ms.unwrap_or(0);
        if retention < 0 {
            return Err(invalid(spec, format!("the retention of {retention} ms is negative")));
        }
        SessionStore::new(spec.clone(), self.plan.engine(spec, env)?, key, value, env)
    }
}

//! How a table is stored.

use std::collections::BTreeMap;

use kstreams_core::config::DslStoreFormat;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{
    DynSerde, KeyValueStoreBuilder, SessionStoreBuilder, StoreType, ValueAndTimestamp,
    VersionedKeyValueStoreBuilder, WindowStoreBuilder,
};

use super::{ByType, SerdeFor, SerdeOverride};
use crate::graph::Writing;

/// The store of a table: name, engine, cache, changelog, serdes. A named store can be queried.
///
/// ```
/// use kstreams_dsl::Materialized;
///
/// let counts = Materialized::named("counts").in_memory().with_caching_disabled();
/// ```
#[derive(Debug, Clone)]
pub struct Materialized<KS = ByType, VS = ByType> {
    key: KS,
    value: VS,
    settings: Settings,
}

/// All but the serdes.
#[derive(Debug, Clone)]
struct Settings {
    name: Option<String>,
    /// The user said something, if only the serdes: the JVM's overload with a `Materialized`, which takes an index of
    /// the generated names more in some operators.
    given: bool,
    /// `None`: as the application's `dsl.store.suppliers.class` says.
    store_type: Option<StoreType>,
    /// The table keeps its versions for so long.
    history_retention_ms: Option<i64>,
    caching: bool,
    logging: Option<BTreeMap<String, String>>,
    retention_ms: Option<i64>,
}

impl Settings {
    fn new(given: bool) -> Self {
        Settings {
            name: None,
            given,
            store_type: None,
            history_retention_ms: None,
            caching: true,
            logging: Some(BTreeMap::new()),
            retention_ms: None,
        }
    }
}

impl Default for Materialized {
    /// Nothing said: generated name, serdes by type, cached and logged, in RocksDB.
    fn default() -> Self {
        Materialized { key: ByType, value: ByType, settings: Settings::new(false) }
    }
}

impl Materialized {
    /// A store of this name.
    pub fn named(store: impl Into<String>) -> Self {
        Materialized::with(ByType, ByType).with_store_name(store)
    }
}

impl<KS: Default, VS: Default> Materialized<KS, VS> {
    /// With the serdes named as type arguments and a generated name.
    pub fn new() -> Self {
        Materialized::with(KS::default(), VS::default())
    }
}

impl<KS, VS> Materialized<KS, VS> {
    /// With these serdes and a generated name.
    pub fn with(key: KS, value: VS) -> Self {
        Materialized { key, value, settings: Settings::new(true) }
    }

    /// Names the store.
    #[must_use]
    pub fn with_store_name(mut self, store: impl Into<String>) -> Self {
        self.settings.name = Some(store.into());
        self.settings.given = true;
        self
    }

    /// Uses this serde for keys.
    #[must_use]
    pub fn with_key_serde<S: kstreams_state_stores::Serde>(self, key: S) -> Materialized<S, VS> {
        Materialized { key, value: self.value, settings: Settings { given: true, ..self.settings } }
    }

    /// Uses this serde for values.
    #[must_use]
    pub fn with_value_serde<S: kstreams_state_stores::Serde>(self, value: S) -> Materialized<KS, S> {
        Materialized { key: self.key, value, settings: Settings { given: true, ..self.settings } }
    }

    /// Keeps the table in memory; it is restored from its changelog at each start.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.settings.store_type = Some(StoreType::InMemory);
        self.settings.given = true;
        self
    }

    /// Keeps the versions of each key for `history_retention_ms` of stream time after they ended, in a
    /// [`VersionedKeyValueStore`](kstreams_state_stores::VersionedKeyValueStore) (KIP-889, KIP-914).
    ///
    /// A late update then no longer replaces a newer one: it takes its place in the history, and joins, groupings and
    /// aggregations below leave it out. A stream joined with the table meets it as it was at the record's time. An
    /// update older than the history is dropped and counted. Such a table has no record cache and cannot be suppressed;
    /// not for windowed aggregations.
    #[must_use]
    pub fn versioned(mut self, history_retention_ms: i64) -> Self {
        self.settings.history_retention_ms = Some(history_retention_ms);
        self.settings.given = true;
        self
    }

    /// Sets where the table is kept. (The default: what `dsl.store.suppliers.class` says, RocksDB.)
    #[must_use]
    pub fn with_store_type(mut self, store_type: StoreType) -> Self {
        self.settings.store_type = Some(store_type);
        self.settings.given = true;
        self
    }

    /// Each update is stored, logged and forwarded at once. (The default: at commit, only the last one of each key.)
    #[must_use]
    pub fn with_caching_disabled(mut self) -> Self {
        self.settings.caching = false;
        self.settings.given = true;
        self
    }

    /// Updates wait in the record cache until a commit, or until it is full: the default.
    #[must_use]
    pub fn with_caching_enabled(mut self) -> Self {
        self.settings.caching = true;
        self.settings.given = true;
        self
    }

    /// No changelog: the table is lost with its disk and starts empty wherever its task moves to.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.settings.logging = None;
        self.settings.given = true;
        self
    }

    /// Configs of the changelog topic beyond the defaults.
    #[must_use]
    pub fn with_logging_enabled(mut self, configs: BTreeMap<String, String>) -> Self {
        self.settings.logging = Some(configs);
        self.settings.given = true;
        self
    }

    /// How long windows are kept, in ms of stream time; at least window size plus grace, which is the default.
    /// Windowed aggregations only.
    #[must_use]
    pub fn with_retention_ms(mut self, retention_ms: i64) -> Self {
        self.settings.retention_ms = Some(retention_ms);
        self.settings.given = true;
        self
    }

    /// A `Materialized` without a store name was given.
    pub(crate) fn is_given_without_name(&self) -> bool {
        self.settings.given && self.settings.name.is_none()
    }

    /// The user's store name, or else what `generate` makes.
    pub(crate) fn store_name_or(&self, generate: impl FnOnce() -> String) -> String {
        self.settings.name.clone().unwrap_or_else(generate)
    }

    /// The store's description, with serdes resolved: keys by `key`, values by `value` where none is named here.
    pub(crate) fn into_spec<K: 'static, V: 'static>(
        self,
        name: String,
        key: Option<&DynSerde<K>>,
        value: Option<&DynSerde<V>>,
    ) -> TableSpec<K, V>
    where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        TableSpec {
            key: self.key.serde(key),
            value: self.value.serde(value),
            queryable: self.settings.name.is_some(),
            name,
            settings: self.settings,
        }
    }

    /// As [`into_spec`](Self::into_spec) where both serdes are known already.
    pub(crate) fn override_spec<K: 'static, V: 'static>(
        self,
        name: String,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
    ) -> TableSpec<K, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        TableSpec {
            key: self.key.given().unwrap_or_else(|| key.clone()),
            value: self.value.given().unwrap_or_else(|| value.clone()),
            queryable: self.settings.name.is_some(),
            name,
            settings: self.settings,
        }
    }

    /// The serdes and the rest apart, for callers that resolve the two serdes differently.
    pub(crate) fn with_resolved<K: 'static, V: 'static>(
        self,
        name: String,
        key: impl FnOnce(KS) -> DynSerde<K>,
        value: impl FnOnce(VS) -> DynSerde<V>,
    ) -> TableSpec<K, V> {
        let queryable = self.settings.name.is_some();
        TableSpec { key: key(self.key), value: value(self.value), queryable, name, settings: self.settings }
    }
}

/// Engine, cache and changelog of a store as the user wants them, on any kind of builder.
macro_rules! configured {
    ($builder:expr, $settings:expr, $writing:expr) => {{
        let store_type = $settings.store_type.unwrap_or_else(|| $writing.store_type());
        let builder = $builder.with_store_type(store_type);
        let builder = match $writing.settings.dsl_store_format {
            DslStoreFormat::Headers => builder.with_headers_of_deletions_logged(),
            _ => builder,
        };
        let builder = if $settings.caching { builder.with_caching_enabled() } else { builder };
        match &$settings.logging {
            Some(configs) => builder.with_logging_enabled(configs.clone()),
            None => builder.with_logging_disabled(),
        }
    }};
}

/// A table's store with everything decided.
#[derive(Clone)]
pub struct TableSpec<K, V> {
    pub(crate) name: String,
    pub(crate) key: DynSerde<K>,
    pub(crate) value: DynSerde<V>,
    /// The user named it.
    pub(crate) queryable: bool,
    settings: Settings,
}

impl<K: 'static, V: 'static> TableSpec<K, V> {
    /// Whether the table keeps versions.
    pub(crate) fn is_versioned(&self) -> bool {
        self.settings.history_retention_ms.is_some()
    }

    /// Adds the table's store by key, with versions or with timestamps, to the node that owns it.
    pub(crate) fn add_key_value(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
        node: &str,
    ) -> Result<(), TopologyError> {
        match self.settings.history_retention_ms {
            Some(history_ms) => {
                let (key, value) = (self.key.clone(), self.value.clone());
                let builder = VersionedKeyValueStoreBuilder::new(&self.name, history_ms, key, value);
                topology.add_state_store(configured!(builder, self.settings, writing), &[node])?;
            }
            None => {
                topology.add_state_store(self.timestamped(writing), &[node])?;
            }
        }
        Ok(())
    }

    /// The store by key, with timestamps.
    pub(crate) fn timestamped(&self, writing: &Writing<'_>) -> KeyValueStoreBuilder<K, ValueAndTimestamp<V>> {
        let builder = KeyValueStoreBuilder::timestamped(&self.name, self.key.clone(), self.value.clone());
        configured!(builder, self.settings, writing)
    }

    /// The timestamped window store for windows of `size_ms`, kept for `default_retention_ms` unless said otherwise.
    pub(crate) fn window(
        &self,
        size_ms: i64,
        default_retention_ms: i64,
        writing: &Writing<'_>,
    ) -> WindowStoreBuilder<K, ValueAndTimestamp<V>> {
        let retention = self.retention_ms(default_retention_ms);
        let (key, value) = (self.key.clone(), self.value.clone());
        configured!(
            WindowStoreBuilder::timestamped(&self.name, retention, size_ms, key, value),
            self.settings,
            writing
        )
    }

    /// The session store, kept for `default_retention_ms` unless said otherwise.
    pub(crate) fn session(
        &self,
        default_retention_ms: i64,
        writing: &Writing<'_>,
    ) -> SessionStoreBuilder<K, V> {
        let retention = self.retention_ms(default_retention_ms);
        let (key, value) = (self.key.clone(), self.value.clone());
        configured!(SessionStoreBuilder::new(&self.name, retention, key, value), self.settings, writing)
    }

    pub(crate) fn retention_ms(&self, default_ms: i64) -> i64 {
        self.settings.retention_ms.unwrap_or(default_ms)
    }

    /// A retention that was given and is shorter than the windows need; `of` says what they need it for.
    pub(crate) fn short_retention(&self, needed_ms: i64, of: &str) -> Option<TopologyError> {
        let given = self.retention_ms(needed_ms);
        (given < needed_ms).then(|| {
            TopologyError::Invalid(format!(
                "the retention of store {} is {given} ms, less than {of}: make it {needed_ms} ms or more",
                self.name
            ))
        })
    }
}

/// Says that a derived table needs no store of its own: it is computed from its parent's where it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmaterialized;

/// Whether and how a derived table (filter, map_values, join) is stored: [`Unmaterialized`] or a [`Materialized`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how to store a table",
    label = "this says whether and how the table is stored",
    note = "give `Unmaterialized`, or `Materialized::named(\"store\")`, with serdes for `{K}` and `{V}` where the types have none"
)]
pub trait TableMaterialization<K: 'static, V: 'static>: sealed::Sealed<K, V> {}

pub(crate) mod sealed {
    use super::{DynSerde, TableSpec};

    /// What the operators ask.
    pub trait Sealed<K: 'static, V: 'static> {
        /// A `Materialized` without a name: takes an index.
        fn is_given_without_name(&self) -> bool;
        /// The store, if there is to be one; `generated` is its name where the user gave none.
        fn into_spec(
            self,
            generated: Option<String>,
            key: Option<&DynSerde<K>>,
            value: Option<&DynSerde<V>>,
        ) -> Option<TableSpec<K, V>>;
    }
}

impl<K: 'static, V: 'static> TableMaterialization<K, V> for Unmaterialized {}

impl<K: 'static, V: 'static> sealed::Sealed<K, V> for Unmaterialized {
    fn is_given_without_name(&self) -> bool {
        false
    }
    fn into_spec(
        self,
        _generated: Option<String>,
        _key: Option<&DynSerde<K>>,
        _value: Option<&DynSerde<V>>,
    ) -> Option<TableSpec<K, V>> {
        None
    }
}

impl<K: 'static, V: 'static, KS: SerdeFor<K>, VS: SerdeFor<V>> TableMaterialization<K, V>
    for Materialized<KS, VS>
{
}

impl<K: 'static, V: 'static, KS: SerdeFor<K>, VS: SerdeFor<V>> sealed::Sealed<K, V> for Materialized<KS, VS> {
    fn is_given_without_name(&self) -> bool {
        Materialized::is_given_without_name(self)
    }
    fn into_spec(
        self,
        generated: Option<String>,
        key: Option<&DynSerde<K>>,
        value: Option<&DynSerde<V>>,
    ) -> Option<TableSpec<K, V>> {
        let name = self.settings.name.clone().or(generated)?;
        Some(Materialized::into_spec(self, name, key, value))
    }
}

//! How a table is stored.

use std::collections::BTreeMap;

use kstreams_state_stores::{
    BytesStore, BytesStoreFactory, BytesStoreSupplier, DynSerde, StoreEngine, StoreType, SuppliedKind,
};

use super::{ByType, SerdeFor, SerdeOverride, TableSpec};

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
pub(super) struct Settings {
    name: Option<String>,
    /// The user said something, if only the serdes: the JVM's overload with a `Materialized`, which takes an index of
    /// the generated names more in some operators.
    given: bool,
    /// `None`: as the application's `dsl.store.suppliers.class` says.
    pub(super) engine: Option<StoreEngine>,
    /// What the user's supplier makes; `None`: what the operator needs.
    pub(super) supplied: Option<SuppliedKind>,
    /// The table keeps its versions for so long.
    pub(super) history_retention_ms: Option<i64>,
    pub(super) caching: bool,
    pub(super) logging: Option<BTreeMap<String, String>>,
    pub(super) retention_ms: Option<i64>,
}

impl Settings {
    fn new(given: bool) -> Self {
        Settings {
            name: None,
            given,
            engine: None,
            supplied: None,
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

impl Materialized {
    /// The store that `supplier` makes: its name, its engine (RocksDB, memory, or one of the user's own), its retention
    /// (`Materialized.as(supplier)`). It must be of the kind that the operator keeps, and keep windows for as long as it
    /// needs; else `build` says what does not fit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};
    /// use kstreams_state_stores::Stores;
    ///
    /// let builder = StreamsBuilder::new();
    /// let (size, retention) = (60_000, 24 * 3_600_000);
    /// builder
    ///     .stream::<String, String>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_millis(size)))
    ///     .count(Materialized::supplied(Stores::in_memory_window_store("clicks", retention, size as i64, false)));
    /// # builder.build().unwrap();
    /// ```
    pub fn supplied(supplier: BytesStoreSupplier) -> Self {
        let mut materialized = Materialized::named(supplier.name());
        materialized.settings.engine = Some(supplier.engine().clone());
        materialized.settings.supplied = Some(supplier.kind());
        if let SuppliedKind::Versioned { history_retention_ms } = supplier.kind() {
            materialized.settings.history_retention_ms = Some(history_retention_ms);
        }
        materialized
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
        self.settings.engine = Some(StoreEngine::InMemory);
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
        self.settings.engine = Some(store_type.into());
        self.settings.given = true;
        self
    }

    /// Keeps the table in one of the user's own [`BytesStore`]s, which `make` makes for each task, given the store's name.
    /// It is restored from its changelog at each start.
    #[must_use]
    pub fn with_bytes_store<S: BytesStore + 'static>(
        mut self,
        make: impl Fn(&str) -> S + Send + Sync + 'static,
    ) -> Self {
        self.settings.engine = Some(StoreEngine::Own(BytesStoreFactory::new(make)));
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

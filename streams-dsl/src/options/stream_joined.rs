//! How two streams are joined.

use std::collections::BTreeMap;

use kstreams_core::TopologyError;
use kstreams_state_stores::{
    BytesStoreSupplier, DynSerde, KeyValueStoreBuilder, Serde, StoreEngine, StoreType, SuppliedKind,
    WindowStoreBuilder,
};

use super::ByType;
use crate::graph::Writing;
use crate::join_windows::JoinWindows;

/// Serdes, names and stores of a join of two streams: `KS` is the serde of the keys, `VS` that of this stream's values,
/// `VS2` that of the other's.
///
/// ```
/// use kstreams_dsl::StreamJoined;
///
/// let joined = StreamJoined::named("orders-with-payments").with_store_name("orders-payments").in_memory();
/// let with_serdes = StreamJoined::<String, String, i64>::new();
/// ```
#[derive(Debug, Clone)]
pub struct StreamJoined<KS = ByType, VS = ByType, VS2 = ByType> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) other_value: VS2,
    pub(crate) settings: JoinSettings,
}

/// All but the serdes.
#[derive(Debug, Clone)]
pub(crate) struct JoinSettings {
    pub(crate) name: Option<String>,
    pub(crate) store_name: Option<String>,
    /// `None`: as the application's `dsl.store.suppliers.class` says.
    store_type: Option<StoreType>,
    pub(crate) this_supplier: Option<BytesStoreSupplier>,
    pub(crate) other_supplier: Option<BytesStoreSupplier>,
    logging: Option<BTreeMap<String, String>>,
}

impl<KS: Default, VS: Default, VS2: Default> StreamJoined<KS, VS, VS2> {
    /// With the serdes named as type arguments.
    pub fn new() -> Self {
        StreamJoined::with(KS::default(), VS::default(), VS2::default())
    }
}

impl<KS: Default, VS: Default, VS2: Default> Default for StreamJoined<KS, VS, VS2> {
    fn default() -> Self {
        StreamJoined::new()
    }
}

impl StreamJoined {
    /// With a name, and serdes by type.
    pub fn named(name: impl Into<String>) -> Self {
        StreamJoined::with(ByType, ByType, ByType).with_name(name)
    }
}

impl<KS, VS, VS2> StreamJoined<KS, VS, VS2> {
    /// With these serdes.
    pub fn with(key: KS, value: VS, other_value: VS2) -> Self {
        let settings = JoinSettings {
            name: None,
            store_name: None,
            store_type: None,
            this_supplier: None,
            other_supplier: None,
            logging: Some(BTreeMap::new()),
        };
        StreamJoined { key, value, other_value, settings }
    }

    /// Names the join's nodes and its repartition topics; the stores have a name of their own.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// The base of the stores' names, and so of their changelog topics'.
    #[must_use]
    pub fn with_store_name(mut self, store_name: impl Into<String>) -> Self {
        self.settings.store_name = Some(store_name.into());
        self
    }

    /// Uses this serde for keys.
    #[must_use]
    pub fn with_key_serde<S: Serde>(self, key: S) -> StreamJoined<S, VS, VS2> {
        let StreamJoined { value, other_value, settings, .. } = self;
        StreamJoined { key, value, other_value, settings }
    }

    /// Uses this serde for values of this stream.
    #[must_use]
    pub fn with_value_serde<S: Serde>(self, value: S) -> StreamJoined<KS, S, VS2> {
        let StreamJoined { key, other_value, settings, .. } = self;
        StreamJoined { key, value, other_value, settings }
    }

    /// Uses this serde for values of the other stream.
    #[must_use]
    pub fn with_other_value_serde<S: Serde>(self, other_value: S) -> StreamJoined<KS, VS, S> {
        let StreamJoined { key, value, settings, .. } = self;
        StreamJoined { key, value, other_value, settings }
    }

    /// Keeps the records in memory; they are restored from the changelogs at each start.
    #[must_use]
    pub fn in_memory(self) -> Self {
        self.with_store_type(StoreType::InMemory)
    }

    /// Sets where the records are kept.
    #[must_use]
    pub fn with_store_type(mut self, store_type: StoreType) -> Self {
        self.settings.store_type = Some(store_type);
        self
    }

    /// Keeps the records of this stream in the store that `supplier` makes. It must retain duplicates, have the size of the
    /// join's windows, and keep them for that size plus the grace; else `build` says what does not fit.
    ///
    /// ```
    /// use kstreams_dsl::StreamJoined;
    /// use kstreams_state_stores::Stores;
    ///
    /// // For windows of 5 s before and after, with 1 s of grace.
    /// let joined = StreamJoined::named("orders-with-payments")
    ///     .with_this_store_supplier(Stores::in_memory_window_store("orders", 11_000, 10_000, true))
    ///     .with_other_store_supplier(Stores::in_memory_window_store("payments", 11_000, 10_000, true));
    /// ```
    #[must_use]
    pub fn with_this_store_supplier(mut self, supplier: BytesStoreSupplier) -> Self {
        self.settings.this_supplier = Some(supplier);
        self
    }

    /// As [`with_this_store_supplier`](Self::with_this_store_supplier), for the records of the other stream.
    #[must_use]
    pub fn with_other_store_supplier(mut self, supplier: BytesStoreSupplier) -> Self {
        self.settings.other_supplier = Some(supplier);
        self
    }

    /// No changelogs: what waits for a partner is lost with its disk and where the task moves away.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.settings.logging = None;
        self
    }

    /// Configs of the changelog topics beyond the defaults.
    #[must_use]
    pub fn with_logging_enabled(mut self, configs: BTreeMap<String, String>) -> Self {
        self.settings.logging = Some(configs);
        self
    }
}

impl JoinSettings {
    fn engine(&self, writing: &Writing<'_>) -> StoreEngine {
        self.store_type.unwrap_or_else(|| writing.store_type()).into()
    }

    /// What does not fit of the stores that the user supplies (`KStreamImplJoin.assertWindowSettings`).
    pub(crate) fn fault(&self, windows: &JoinWindows) -> Option<TopologyError> {
        let suppliers = [&self.this_supplier, &self.other_supplier];
        let mut faults = suppliers.into_iter().flatten().filter_map(|supplier| fault_of(supplier, windows));
        let fault = faults.next().or_else(|| match (&self.this_supplier, &self.other_supplier) {
            (Some(this), Some(other)) if this.name() == other.name() => Some(format!(
                "both suppliers of a join have the name {}: give each store a name of its own",
                this.name()
            )),
            _ => None,
        });
        fault.map(TopologyError::Invalid)
    }

    /// The store of one side's records, all that share a key and a time included.
    pub(crate) fn window_store<K: 'static, V: 'static>(
        &self,
        name: &str,
        supplier: Option<&BytesStoreSupplier>,
        windows: JoinWindows,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        writing: &Writing<'_>,
    ) -> WindowStoreBuilder<K, V> {
        let (retention, size) = (windows.retention_ms(), windows.size_ms());
        let engine = supplier.map_or_else(|| self.engine(writing), |supplier| supplier.engine().clone());
        let builder = WindowStoreBuilder::new(name, retention, size, key.clone(), value.clone())
            .retain_duplicates()
            .with_headers_logged()
            .with_engine(engine);
        match &self.logging {
            Some(configs) => builder.with_logging_enabled(configs.clone()),
            None => builder.with_logging_disabled(),
        }
    }

    /// The store of records that have no partner yet: kept as is said, or else as this stream's records are
    /// (`OuterStreamJoinStoreFactory`).
    pub(crate) fn unmatched_store<K: 'static, V: 'static>(
        &self,
        name: &str,
        key: DynSerde<K>,
        value: DynSerde<V>,
        writing: &Writing<'_>,
    ) -> KeyValueStoreBuilder<K, V> {
        let supplied = self.this_supplier.as_ref().map(BytesStoreSupplier::engine);
        let engine = match supplied.filter(|_| self.store_type.is_none()) {
            Some(StoreEngine::RocksDb) => StoreEngine::RocksDb,
            Some(StoreEngine::InMemory) => StoreEngine::InMemory,
            _ => self.engine(writing),
        };
        let builder = KeyValueStoreBuilder::new(name, key, value).with_engine(engine);
        match &self.logging {
            Some(configs) => builder.with_logging_enabled(configs.clone()),
            None => builder.with_logging_disabled(),
        }
    }
}

fn fault_of(supplier: &BytesStoreSupplier, windows: &JoinWindows) -> Option<String> {
    let name = supplier.name();
    let SuppliedKind::Window { retention_ms, window_size_ms, retain_duplicates } = supplier.kind() else {
        let kind = supplier.kind().name();
        return Some(format!(
            "the supplier of store {name} makes a {kind} store, but a join of streams keeps windows: take a window \
             store's supplier"
        ));
    };
    if !retain_duplicates {
        return Some(format!(
            "the supplier of store {name} does not retain duplicates, but a join of streams keeps every record: \
             make it retain them"
        ));
    }
    let (size, retention) = (windows.size_ms(), windows.retention_ms());
    (window_size_ms != size || retention_ms != retention).then(|| {
        format!(
            "the supplier of store {name} is for windows of {window_size_ms} ms kept for {retention_ms} ms, but the \
             join has windows of {size} ms and needs {retention} ms: make them the same"
        )
    })
}

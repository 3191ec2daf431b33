//! How two streams are joined.

use std::collections::BTreeMap;

use kstreams_state_stores::{DynSerde, KeyValueStoreBuilder, Serde, StoreType, WindowStoreBuilder};

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
        let (name, store_name, store_type) = (None, None, None);
        let settings = JoinSettings { name, store_name, store_type, logging: Some(BTreeMap::new()) };
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
    fn store_type(&self, writing: &Writing<'_>) -> StoreType {
        self.store_type.unwrap_or_else(|| writing.store_type())
    }

    /// The store of one side's records, all that share a key and a time included.
    pub(crate) fn window_store<K: 'static, V: 'static>(
        &self,
        name: &str,
        windows: JoinWindows,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        writing: &Writing<'_>,
    ) -> WindowStoreBuilder<K, V> {
        let (retention, size) = (windows.retention_ms(), windows.size_ms());
        let builder = WindowStoreBuilder::new(name, retention, size, key.clone(), value.clone())
            .retain_duplicates()
            .with_headers_logged()
            .with_store_type(self.store_type(writing));
        match &self.logging {
            Some(configs) => builder.with_logging_enabled(configs.clone()),
            None => builder.with_logging_disabled(),
        }
    }

    /// The store of records that have no partner yet.
    pub(crate) fn unmatched_store<K: 'static, V: 'static>(
        &self,
        name: &str,
        key: DynSerde<K>,
        value: DynSerde<V>,
        writing: &Writing<'_>,
    ) -> KeyValueStoreBuilder<K, V> {
        let builder = KeyValueStoreBuilder::new(name, key, value).with_store_type(self.store_type(writing));
        match &self.logging {
            Some(configs) => builder.with_logging_enabled(configs.clone()),
            None => builder.with_logging_disabled(),
        }
    }
}

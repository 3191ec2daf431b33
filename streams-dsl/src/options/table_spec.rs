//! A table's store with everything decided: how it is built, and whether what the user said of it fits.

use kstreams_core::config::DslStoreFormat;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{
    DynSerde, KeyValueStoreBuilder, SessionStoreBuilder, SuppliedKind, ValueAndTimestamp,
    VersionedKeyValueStoreBuilder, WindowStoreBuilder,
};

use super::materialized::Settings;
use crate::graph::Writing;

/// Engine, cache and changelog of a store as the user wants them, on any kind of builder.
macro_rules! configured {
    ($builder:expr, $settings:expr, $writing:expr) => {{
        let engine = $settings.engine.clone().unwrap_or_else(|| $writing.store_type().into());
        let builder = $builder.with_engine(engine);
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
    pub(super) settings: Settings,
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
        if let Some(fault) = self.key_value_fault() {
            return Err(fault);
        }
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
        let builder = match self.settings.supplied {
            Some(SuppliedKind::KeyValue { max_entries: Some(entries) }) => builder.with_max_entries(entries),
            _ => builder,
        };
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
        let supplied = match self.settings.supplied {
            Some(SuppliedKind::Window { retention_ms, .. } | SuppliedKind::Session { retention_ms }) => {
                Some(retention_ms)
            }
            _ => None,
        };
        supplied.or(self.settings.retention_ms).unwrap_or(default_ms)
    }

    /// A supplier whose store is not of the kind that an operator keeps.
    fn wrong_kind(&self, needed: &str, fits: impl Fn(SuppliedKind) -> bool) -> Option<TopologyError> {
        let supplied = self.settings.supplied.filter(|kind| !fits(*kind))?;
        Some(TopologyError::Invalid(format!(
            "the supplier of store {} makes a {} store, but a {needed} store is needed here: take another supplier",
            self.name,
            supplied.name()
        )))
    }

    /// What does not fit of the store that the user describes for rows by key.
    pub(crate) fn key_value_fault(&self) -> Option<TopologyError> {
        use SuppliedKind::{KeyValue, Versioned};
        self.wrong_kind("key-value", |kind| matches!(kind, KeyValue { .. } | Versioned { .. }))
    }

    /// What does not fit of the store that the user describes for windows of `size_ms`.
    pub(crate) fn window_fault(&self, size_ms: i64, needed_ms: i64, of: &str) -> Option<TopologyError> {
        let fault = self.wrong_kind("window", |kind| matches!(kind, SuppliedKind::Window { .. }));
        let fault = fault.or_else(|| match self.settings.supplied {
            Some(SuppliedKind::Window { window_size_ms, .. }) if window_size_ms != size_ms => {
                Some(TopologyError::Invalid(format!(
                    "the supplier of store {} is for windows of {window_size_ms} ms, but those kept in it have \
                     {size_ms} ms: make them the same",
                    self.name
                )))
            }
            Some(SuppliedKind::Window { retain_duplicates: true, .. }) => {
                Some(TopologyError::Invalid(format!(
                    "the supplier of store {} retains duplicates, but an aggregation keeps one value for each key \
                     and window: leave it out",
                    self.name
                )))
            }
            _ => None,
        });
        fault.or_else(|| self.short_retention(needed_ms, of))
    }

    /// What does not fit of the store that the user describes for sessions.
    pub(crate) fn session_fault(&self, needed_ms: i64, of: &str) -> Option<TopologyError> {
        let fault = self.wrong_kind("session", |kind| matches!(kind, SuppliedKind::Session { .. }));
        fault.or_else(|| self.short_retention(needed_ms, of))
    }

    /// A retention that was given and is shorter than the windows need; `of` says what they need it for.
    fn short_retention(&self, needed_ms: i64, of: &str) -> Option<TopologyError> {
        let given = self.retention_ms(needed_ms);
        (given < needed_ms).then(|| {
            TopologyError::Invalid(format!(
                "the retention of store {} is {given} ms, less than {of}: make it {needed_ms} ms or more",
                self.name
            ))
        })
    }
}

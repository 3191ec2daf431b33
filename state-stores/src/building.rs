//! What the builders of all kinds of stores share: description, serdes and engine; checks, and how keys stand in the
//! engine.

use std::collections::BTreeMap;

use crate::backend::TaskBackend;
use crate::bytes_store::BytesStoreFactory;
use crate::contract::{LoggedHeaders, StoreEnvironment, StoreKind, StoreSpec};
use crate::engine::Engine;
use crate::keys::{KeyLayout, Schema};
use crate::memory::MemoryEngine;
use crate::rocks::RocksEngine;
use crate::{DynSerde, StoreError};

/// A store as its builder knows it.
pub(crate) struct Plan<K, V> {
    pub(crate) spec: StoreSpec,
    pub(crate) key: DynSerde<K>,
    pub(crate) value: DynSerde<V>,
    /// The user's engine, instead of RocksDB and of the library's in memory.
    pub(crate) own: Option<BytesStoreFactory>,
}

impl<K, V> Clone for Plan<K, V> {
    fn clone(&self) -> Self {
        let (spec, own) = (self.spec.clone(), self.own.clone());
        Plan { spec, key: self.key.clone(), value: self.value.clone(), own }
    }
}

impl<K: 'static, V: 'static> Plan<K, V> {
    pub(crate) fn new(
        name: impl Into<String>,
        kind: StoreKind,
        key: DynSerde<K>,
        value: DynSerde<V>,
    ) -> Self {
        Plan { spec: default_spec(name, kind), key, value, own: None }
    }

    /// The engine of one task's store, as it is described in the end.
    pub(crate) fn engine(
        &self,
        spec: &StoreSpec,
        env: &StoreEnvironment,
    ) -> Result<Box<dyn Engine>, StoreError> {
        check_name(&spec.name)?;
        match (&self.own, &env.backend) {
            (Some(_), TaskBackend::Shared(_)) => Err(invalid(
                spec,
                "a global store is read by every task, so it is kept in RocksDB or in the library's memory: \
                 leave the own engine out",
            )),
            (Some(own), _) => Ok(Box::new(own.make_engine(&spec.name))),
            (None, backend) => library_engine(spec, backend),
        }
    }
}

fn library_engine(spec: &StoreSpec, backend: &TaskBackend) -> Result<Box<dyn Engine>, StoreError> {
    if let Some(db) = backend.db().filter(|_| spec.persistent) {
        return Ok(Box::new(RocksEngine::new(db, &spec.name)?));
    }
    match backend {
        TaskBackend::Shared(shared) => Ok(Box::new(shared.stores.memory_engine(&spec.name))),
        TaskBackend::Rocks(_) | TaskBackend::Memory => Ok(Box::new(MemoryEngine::default())),
    }
}

/// The error of a description that does not make sense.
pub(crate) fn invalid(spec: &StoreSpec, reason: impl Into<String>) -> StoreError {
    StoreError::InvalidStore { store: spec.name.clone(), reason: reason.into() }
}

/// Settings that builders of all kinds of stores have; they are in a field `plan`.
macro_rules! common_settings {
    () => {
        /// Keeps the store in memory instead of RocksDB; it is restored from the changelog at each start.
        #[must_use]
        pub fn in_memory(self) -> Self {
            self.with_store_type(crate::StoreType::InMemory)
        }

        /// Sets where the store is kept.
        #[must_use]
        pub fn with_store_type(mut self, store_type: crate::StoreType) -> Self {
            self.plan.spec.persistent = store_type == crate::StoreType::RocksDb;
            self.plan.own = None;
            self
        }

        /// Keeps the store in one of the user's own, which `make` makes for each task, given the store's name. It is
        /// restored from the changelog at each start.
        #[must_use]
        pub fn with_bytes_store<S: crate::BytesStore + 'static>(
            self,
            make: impl Fn(&str) -> S + Send + Sync + 'static,
        ) -> Self {
            self.with_engine(crate::StoreEngine::Own(crate::BytesStoreFactory::new(make)))
        }

        /// Sets where the store is kept, be it in one of the user's own.
        #[must_use]
        pub fn with_engine(mut self, engine: crate::StoreEngine) -> Self {
            self.plan.spec.persistent = engine.is_persistent();
            self.plan.own = match engine {
                crate::StoreEngine::Own(factory) => Some(factory),
                _ => None,
            };
            self
        }

        /// Puts a record cache before the store.
        #[must_use]
        pub fn with_caching_enabled(mut self) -> Self {
            self.plan.spec.caching = true;
            self
        }

        /// Takes the record cache away.
        #[must_use]
        pub fn with_caching_disabled(mut self) -> Self {
            self.plan.spec.caching = false;
            self
        }

        /// Logs updates to a changelog topic, with `configs` of the topic beyond the defaults.
        #[must_use]
        pub fn with_logging_enabled(mut self, configs: std::collections::BTreeMap<String, String>) -> Self {
            self.plan.spec.logging = Some(configs);
            self
        }

        /// Logs each update with the headers of the record that made it.
        #[must_use]
        pub fn with_headers_logged(mut self) -> Self {
            self.plan.spec.logs_headers = crate::LoggedHeaders::Always;
            self
        }

        /// Logs deletions with the headers of the record that made them (`dsl.store.format=HEADERS`).
        #[must_use]
        pub fn with_headers_of_deletions_logged(mut self) -> Self {
            self.plan.spec.logs_headers = crate::LoggedHeaders::OfDeletions;
            self
        }

        /// Leaves the time of the changelog's records to the producer.
        #[must_use]
        pub fn without_logged_time(mut self) -> Self {
            self.plan.spec.logs_time = false;
            self
        }

        /// Logs nothing: the store is lost with its disk, and not moved with its task.
        #[must_use]
        pub fn with_logging_disabled(mut self) -> Self {
            self.plan.spec.logging = None;
            self
        }
    };
}
pub(crate) use common_settings;

/// Segments are half the retention, at least a minute (`Stores.defaultSegmentInterval`).
const MIN_SEGMENT_INTERVAL_MS: i64 = 60_000;

/// How the keys of a store stand in its engine. Test drivers keep persistent stores in memory: with their own layout,
/// so that order and expiry are theirs.
pub(crate) fn layout_of(spec: &StoreSpec) -> KeyLayout {
    let schema = match spec.kind {
        StoreKind::Versioned => return KeyLayout::Versions,
        kind if kind.is_session() => Schema::Session,
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
        logs_headers: if kind.has_headers() { LoggedHeaders::OfDeletions } else { LoggedHeaders::Never },
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

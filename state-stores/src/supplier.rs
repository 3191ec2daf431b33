//! Suppliers of byte stores: a store's name, kind and engine without its types, as `Materialized` and `StreamJoined` of
//! the DSL take them (`KeyValueBytesStoreSupplier`, `WindowBytesStoreSupplier`, `SessionBytesStoreSupplier`,
//! `VersionedBytesStoreSupplier`).

use crate::{BytesStore, BytesStoreFactory, StoreType, Stores};

/// Where a store is kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreEngine {
    /// In the task's RocksDB; survives a restart.
    RocksDb,
    /// In memory; restored from the changelog at each start.
    InMemory,
    /// In a store of the user's own; restored from the changelog at each start.
    Own(BytesStoreFactory),
}

impl StoreEngine {
    /// Whether it survives a restart.
    pub fn is_persistent(&self) -> bool {
        matches!(self, StoreEngine::RocksDb)
    }
}

impl From<StoreType> for StoreEngine {
    fn from(store_type: StoreType) -> Self {
        match store_type {
            StoreType::RocksDb => StoreEngine::RocksDb,
            StoreType::InMemory => StoreEngine::InMemory,
        }
    }
}

/// What a supplied store holds, with what its kind needs to know; all times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuppliedKind {
    /// Keys and values.
    KeyValue {
        /// How many entries are kept, the least recently used one giving way; `None`: all.
        max_entries: Option<usize>,
    },
    /// Keys and windows.
    Window {
        /// How long a window is kept after its start.
        retention_ms: i64,
        /// Size of the windows.
        window_size_ms: i64,
        /// Whether several values of one key and window are kept: stores of joins do, those of aggregations do not.
        retain_duplicates: bool,
    },
    /// Keys and sessions.
    Session {
        /// How long a session is kept after its end.
        retention_ms: i64,
    },
    /// Keys and the versions of their values.
    Versioned {
        /// How far the history goes back.
        history_retention_ms: i64,
    },
}

impl SuppliedKind {
    /// The kind in a word, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            SuppliedKind::KeyValue { .. } => "key-value",
            SuppliedKind::Window { .. } => "window",
            SuppliedKind::Session { .. } => "session",
            SuppliedKind::Versioned { .. } => "versioned",
        }
    }
}

/// See the module. Made by `Stores::persistent_key_value_store` and its siblings.
///
/// ```
/// use kstreams_state_stores::{StoreEngine, Stores};
///
/// let supplier = Stores::in_memory_window_store("clicks", 600_000, 60_000, false);
/// assert_eq!(supplier.name(), "clicks");
/// assert!(!supplier.engine().is_persistent());
/// ```
#[derive(Debug, Clone)]
pub struct BytesStoreSupplier {
    name: String,
    kind: SuppliedKind,
    engine: StoreEngine,
}

impl BytesStoreSupplier {
    fn new(name: impl Into<String>, kind: SuppliedKind, engine: StoreEngine) -> Self {
        BytesStoreSupplier { name: name.into(), kind, engine }
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the store holds.
    pub fn kind(&self) -> SuppliedKind {
        self.kind
    }

    /// Where the store is kept.
    pub fn engine(&self) -> &StoreEngine {
        &self.engine
    }

    /// Keeps the store in one of the user's own, which `make` makes for each task, given the store's name.
    #[must_use]
    pub fn with_bytes_store<S: BytesStore + 'static>(
        mut self,
        make: impl Fn(&str) -> S + Send + Sync + 'static,
    ) -> Self {
        self.engine = StoreEngine::Own(BytesStoreFactory::new(make));
        self
    }
}

/// Suppliers for the DSL. The DSL adds timestamps and serdes.
impl Stores {
    /// A key-value store in RocksDB (`persistentKeyValueStore`, `persistentTimestampedKeyValueStore`).
    pub fn persistent_key_value_store(name: impl Into<String>) -> BytesStoreSupplier {
        BytesStoreSupplier::new(name, SuppliedKind::KeyValue { max_entries: None }, StoreEngine::RocksDb)
    }

    /// A key-value store in memory (`inMemoryKeyValueStore`).
    pub fn in_memory_key_value_store(name: impl Into<String>) -> BytesStoreSupplier {
        BytesStoreSupplier::new(name, SuppliedKind::KeyValue { max_entries: None }, StoreEngine::InMemory)
    }

    /// A key-value store in memory that keeps `max_entries` entries, the least recently used one giving way (`lruMap`).
    pub fn lru_map_store(name: impl Into<String>, max_entries: usize) -> BytesStoreSupplier {
        let kind = SuppliedKind::KeyValue { max_entries: Some(max_entries) };
        BytesStoreSupplier::new(name, kind, StoreEngine::InMemory)
    }

    /// A window store in RocksDB that keeps windows of `window_size_ms` for `retention_ms` after their start
    /// (`persistentWindowStore`, `persistentTimestampedWindowStore`).
    pub fn persistent_window_store(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
        retain_duplicates: bool,
    ) -> BytesStoreSupplier {
        let kind = SuppliedKind::Window { retention_ms, window_size_ms, retain_duplicates };
        BytesStoreSupplier::new(name, kind, StoreEngine::RocksDb)
    }

    /// The same in memory (`inMemoryWindowStore`).
    pub fn in_memory_window_store(
        name: impl Into<String>,
        retention_ms: i64,
        window_size_ms: i64,
        retain_duplicates: bool,
    ) -> BytesStoreSupplier {
        let kind = SuppliedKind::Window { retention_ms, window_size_ms, retain_duplicates };
        BytesStoreSupplier::new(name, kind, StoreEngine::InMemory)
    }

    /// A session store in RocksDB that keeps sessions for `retention_ms` after their end (`persistentSessionStore`).
    pub fn persistent_session_store(name: impl Into<String>, retention_ms: i64) -> BytesStoreSupplier {
        BytesStoreSupplier::new(name, SuppliedKind::Session { retention_ms }, StoreEngine::RocksDb)
    }

    /// The same in memory (`inMemorySessionStore`).
    pub fn in_memory_session_store(name: impl Into<String>, retention_ms: i64) -> BytesStoreSupplier {
        BytesStoreSupplier::new(name, SuppliedKind::Session { retention_ms }, StoreEngine::InMemory)
    }

    /// A versioned key-value store in RocksDB whose history goes back `history_retention_ms`
    /// (`persistentVersionedKeyValueStore`).
    pub fn persistent_versioned_key_value_store(
        name: impl Into<String>,
        history_retention_ms: i64,
    ) -> BytesStoreSupplier {
        let kind = SuppliedKind::Versioned { history_retention_ms };
        BytesStoreSupplier::new(name, kind, StoreEngine::RocksDb)
    }
}

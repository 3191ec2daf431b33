//! The contract between stores and the task that owns them: what a store is given for a call, how it is described and
//! built, and what the task does with it at flush, commit and restore.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::{CommitBatch, TaskBackend};
use crate::budget::{CacheBudget, UncommittedBudget};
use crate::rocks::BulkRestored;
use crate::{Headers, StoreError, StoreTimes};

/// Where the record being processed comes from (`ProcessorRecordContext` of the JVM).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordContext {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Headers of the record.
    pub headers: Headers,
    /// Topic it was read from; `None` where there is none (a punctuation).
    pub topic: Option<Arc<str>>,
    /// Partition it was read from; -1 where there is none.
    pub partition: i32,
    /// Its offset; -1 where there is none.
    pub offset: i64,
}

/// Index that the task gives to each of its logged stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangelogId(pub u32);

/// Where stores write their changelog; the task implements it over its producer.
pub trait ChangelogSink {
    /// Logs one update; `value` `None` is a tombstone, `timestamp` `None` leaves the time to the producer. Most stores log
    /// no headers.
    ///
    /// # Errors
    /// Whatever the producer says, as [`StoreError::Changelog`].
    fn log(
        &mut self,
        changelog: ChangelogId,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<i64>,
        headers: &Headers,
    ) -> Result<(), StoreError>;

    /// A put came after its window had expired and was not stored: `dropped-records` counts it, a warning tells it.
    fn record_dropped(&mut self, store: &str);
}

/// What a store is given for one call that may write: the record being processed and the changelog.
pub struct StoreContext<'a> {
    /// The record being processed.
    pub record: &'a RecordContext,
    /// Where updates are logged.
    pub changelog: &'a mut dyn ChangelogSink,
}

/// Engine of a store (`Materialized.StoreType`, `Stores.persistent..` and `inMemory..`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreType {
    /// In the task's RocksDB; survives a restart.
    #[default]
    RocksDb,
    /// In memory; restored from the changelog at each start.
    InMemory,
}

/// What a store holds, and so how its changelog looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// Key to value.
    KeyValue,
    /// Key to value and the timestamp of its last update; all tables of the DSL.
    TimestampedKeyValue,
    /// Key and window start to value.
    Window,
    /// Key and window start to value and timestamp; windowed aggregations of the DSL.
    TimestampedWindow,
    /// Key and session to value; session aggregations of the DSL.
    Session,
    /// Key to the versions of its value, each with the time from which it counts (KIP-889).
    Versioned,
    /// Key to value, timestamp and headers of its last update (KIP-1271).
    TimestampedKeyValueWithHeaders,
    /// Key and window start to value, timestamp and headers (KIP-1271).
    TimestampedWindowWithHeaders,
    /// Key and session to value and headers (KIP-1271).
    SessionWithHeaders,
}

impl StoreKind {
    /// Whether each value carries its timestamp: the changelog has it as the record's timestamp instead.
    pub fn is_timestamped(self) -> bool {
        use StoreKind::*;
        matches!(
            self,
            TimestampedKeyValue
                | TimestampedWindow
                | TimestampedKeyValueWithHeaders
                | TimestampedWindowWithHeaders
        )
    }

    /// Whether each value carries headers: the changelog has them as the record's headers instead.
    pub fn has_headers(self) -> bool {
        use StoreKind::*;
        matches!(self, TimestampedKeyValueWithHeaders | TimestampedWindowWithHeaders | SessionWithHeaders)
    }

    /// Whether it keeps sessions.
    pub fn is_session(self) -> bool {
        matches!(self, StoreKind::Session | StoreKind::SessionWithHeaders)
    }

    /// Whether the store is windowed: its changelog topic is `compact,delete`.
    pub fn is_windowed(self) -> bool {
        use StoreKind::*;
        self.is_session() || matches!(self, Window | TimestampedWindow | TimestampedWindowWithHeaders)
    }
}

/// Which records of a changelog have the headers of the record that made the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoggedHeaders {
    /// None.
    #[default]
    Never,
    /// Deletions: stores whose values have headers of their own, and tables and aggregates where `dsl.store.format` is
    /// `HEADERS` (the DSL leaves the headers of their values empty, as in the JVM).
    OfDeletions,
    /// All: join stores.
    Always,
}

/// Description of a store: enough to make its changelog topic, its column family and its part of a topology's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// Name, unique in a topology.
    pub name: String,
    /// What it holds.
    pub kind: StoreKind,
    /// Whether it is kept in RocksDB.
    pub persistent: bool,
    /// Configs of the changelog topic beyond the defaults; `None`: no changelog.
    pub logging: Option<BTreeMap<String, String>>,
    /// Whether a record cache stands before it.
    pub caching: bool,
    /// How long windows are kept after their start, sessions after their end, versions after the next one's time, in ms of
    /// stream time; windowed and versioned stores only.
    pub retention_ms: Option<i64>,
    /// Size of the windows in ms; windowed stores only.
    pub window_size_ms: Option<i64>,
    /// Whether the changelog has the headers of the record that made each update.
    pub logs_headers: LoggedHeaders,
    /// Whether final results of windows are read from it, when they close: in RocksDB a window is then seen 1 ms longer,
    /// and a closed session as long as its segment lives.
    pub final_results: bool,
    /// Whether the changelog's records have a time of the store's; else it is the producer's (buffers).
    pub logs_time: bool,
    /// How many entries are kept, the least recently used one giving way; `None`: all. Key-value stores in memory only.
    pub max_entries: Option<usize>,
    /// Whether several values of one key and window are kept, each with a sequence number (join stores).
    pub retain_duplicates: bool,
}

impl StoreSpec {
    /// The kind of the store in the tags of its metrics (`metricsScope`): `rocksdb-window`, `in-memory`.
    pub fn metrics_scope(&self) -> &'static str {
        match (self.persistent, self.kind) {
            (true, kind) if kind.is_session() => "rocksdb-session",
            (true, kind) if kind.is_windowed() => "rocksdb-window",
            (true, _) => "rocksdb",
            (false, kind) if kind.is_session() => "in-memory-session",
            (false, kind) if kind.is_windowed() => "in-memory-window",
            (false, _) if !self.logs_time => "in-memory-suppression",
            (false, _) if self.max_entries.is_some() => "in-memory-lru",
            (false, _) => "in-memory",
        }
    }

    /// Whether the headers of its changelog's records are needed to restore it: they are part of its values, or tell the
    /// version of a buffer's records.
    pub fn restores_headers(&self) -> bool {
        self.kind.has_headers() || !self.logs_time
    }
}

/// What a store is built into: made by the task.
#[derive(Clone)]
pub struct StoreEnvironment {
    /// The task's database.
    pub backend: TaskBackend,
    /// Budget of the record caches, shared by the stores of a thread.
    pub cache: Arc<CacheBudget>,
    /// Budget of uncommitted updates, shared by the stores of the instance.
    pub uncommitted: Arc<UncommittedBudget>,
    /// Number of this store's changelog; `None`: not logged.
    pub changelog: Option<ChangelogId>,
    /// Name of the changelog topic; serdes of schema registries are bound to it, also where nothing is logged.
    pub changelog_topic: String,
}

impl StoreEnvironment {
    /// An environment in memory, without changelog and with plenty of room: for tests of processors and stores.
    pub fn in_memory() -> Self {
        StoreEnvironment {
            backend: TaskBackend::Memory,
            cache: CacheBudget::new(10 * 1024 * 1024),
            uncommitted: UncommittedBudget::new(usize::MAX),
            changelog: None,
            changelog_topic: "changelog".to_owned(),
        }
    }
}

/// Makes a store for a task; held by topologies, hence shared.
pub trait StoreBuilder: Send + Sync {
    /// The store.
    type Store: StateStore + 'static;

    /// Name of the store.
    fn name(&self) -> &str;

    /// Description of the store.
    fn spec(&self) -> StoreSpec;

    /// Builds the store of one task. What the task's database holds of it is there at once.
    ///
    /// # Errors
    /// [`StoreError::InvalidStore`] when the description does not make sense, and those of the database.
    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError>;
}

/// One record of a changelog, to be restored.
#[derive(Debug, Clone)]
pub struct RestoreRecord<'a> {
    /// Key as it stands in the changelog.
    pub key: &'a [u8],
    /// Value as it stands in the changelog; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Timestamp of the record, in ms.
    pub timestamp: i64,
    /// Headers of the record, where [`StoreSpec::restores_headers`] asks for them.
    pub headers: Headers,
    /// Partition of the changelog.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
}

/// A key that left the record cache, to be forwarded by the node that owns the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed<K, V> {
    /// The key.
    pub key: K,
    /// The value now; `None`: deleted.
    pub new: Option<V>,
    /// What the layer below held before, that is the value forwarded last; only where old values are asked for.
    pub old: Option<V>,
    /// Context of the last update of the key: its results carry that timestamp and those headers.
    pub context: RecordContext,
}

/// Gets and hits of a record cache since the store was built (`hit-ratio` of `stream-record-cache-metrics`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads of single keys.
    pub gets: u64,
    /// Those answered by the cache.
    pub hits: u64,
}

/// Every store, as its task sees it.
///
/// The way of an update: put -> cache (if on) -> at flush or eviction: changelog and uncommitted layer -> at commit:
/// the task's one write batch. In a commit the task calls, on every store, [`flush_cache`](StateStore::flush_cache);
/// then [`flush`](StateStore::flush); then, when the changelog is acknowledged and the input offsets are committed,
/// [`write_commit`](StateStore::write_commit); then it writes the batch; then [`committed`](StateStore::committed).
/// There must be no put between `write_commit` and `committed`.
pub trait StateStore: Any + Send {
    /// Name of the store.
    fn name(&self) -> &str {
        &self.spec().name
    }

    /// Description of the store.
    fn spec(&self) -> &StoreSpec;

    /// Moves the cache's dirty entries to the layers below, in the order of their last put, and, where the store
    /// [forwards](crate::KeyValueStore::forward_flushed) them, into the outbox of flushed entries.
    ///
    /// # Errors
    /// Those of the changelog and the database. The task must then be closed without commit.
    fn flush_cache(&mut self, cx: &mut StoreContext<'_>) -> Result<(), StoreError>;

    /// Logs what the store keeps from its changelog until a commit. Called when the caches of all stores were flushed.
    ///
    /// # Errors
    /// Those of the changelog. The task must then be closed without commit.
    fn flush(&mut self, _cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Puts the uncommitted layer into the task's write batch.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StoreError>;

    /// The batch was written: what was uncommitted is committed.
    fn committed(&mut self);

    /// Drops everything since the last commit, the cache included.
    fn discard_uncommitted(&mut self);

    /// Applies records of the changelog in their order; nothing is logged or cached. They are uncommitted until the
    /// next commit, which should carry the offset they reach to. This is for tails: an empty persistent store is built
    /// faster by [`BulkRestore`](crate::BulkRestore).
    ///
    /// # Errors
    /// [`StoreError::BadChangelogRecord`] for a record that is none of this store's.
    fn restore(&mut self, records: &mut dyn Iterator<Item = RestoreRecord<'_>>) -> Result<(), StoreError>;

    /// A bulk restore has filled the store's database: a windowed store takes over the stream time it saw.
    fn bulk_restored(&mut self, restored: &BulkRestored);

    /// Bytes of the uncommitted layer: keys, values and an estimate of what holding them costs.
    fn uncommitted_bytes(&self) -> usize;

    /// Number of entries, exact only in memory (`approximateNumEntries`).
    fn approximate_entries(&self) -> u64;

    /// Takes the cached entries over into the budget of another thread, when the task moves there.
    fn move_cache(&mut self, budget: &Arc<CacheBudget>);

    /// How well the cache does.
    fn cache_stats(&self) -> CacheStats;

    /// From now on counts and times its calls into `times`. Not all stores do.
    fn record_times(&mut self, _times: Arc<StoreTimes>) {}

    /// Records and bytes that the store holds back; `None`: it is no buffer.
    fn held_back(&self) -> Option<(u64, u64)> {
        None
    }

    /// Closes the store; what is uncommitted is dropped. Later calls answer [`StoreError::Closed`].
    ///
    /// # Errors
    /// None today; the database of a task is closed with its last store.
    fn close(&mut self) -> Result<(), StoreError>;
}

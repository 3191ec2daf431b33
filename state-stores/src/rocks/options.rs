//! Options of the databases, and what all databases of an instance share: one block cache, one write-buffer manager.
//!
//! Memory is bounded by one setting. Memtables are charged to the block cache, index and filter blocks live in it, so
//! the cache's capacity is the bound, whatever the number of tasks and stores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use ::rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BlockBasedTablePinningTier, Cache, DBCompressionType,
    DataBlockIndexType, Env, LogLevel, Options, WriteBufferManager,
};

use super::statistics;

/// A user's hook on the options of a store's column family (`rocksdb.config.setter`). It runs after the defaults are
/// set; what the library relies on (atomic flush, no write-ahead log) is not within its reach.
pub trait RocksDbConfigSetter: Send + Sync {
    /// Changes the options of store `store`.
    fn set_config(&self, store: &str, options: &mut Options);
}

impl<F: Fn(&str, &mut Options) + Send + Sync> RocksDbConfigSetter for F {
    fn set_config(&self, store: &str, options: &mut Options) {
        self(store, options);
    }
}

/// Settings of all databases of an instance.
#[derive(Debug, Clone)]
pub struct RocksDbSettings {
    /// Bytes for block cache and memtables of all stores together. Default 64 MiB.
    pub memory_bytes: usize,
    /// Updates after which memtables are flushed, so that a restart has a bounded tail of the changelog to replay.
    /// Default 1,000,000.
    pub flush_after_records: u64,
    /// Time after which memtables with updates are flushed: a quiet store's offset must not fall behind the retention
    /// of its changelog. Default 5 minutes.
    pub flush_after: Duration,
    /// Whether RocksDB counts what it does ([`TaskDb::statistics`](crate::TaskDb::statistics)), which slows it down a
    /// little. Default no.
    pub statistics: bool,
}

impl Default for RocksDbSettings {
    fn default() -> Self {
        RocksDbSettings {
            memory_bytes: 64 * 1024 * 1024,
            flush_after_records: 1_000_000,
            flush_after: Duration::from_secs(5 * 60),
            statistics: false,
        }
    }
}

/// How filters and indexes of a new file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indexes {
    /// One block each, held as long as the file is open: a get is a quarter cheaper (measured on a join with a table).
    Whole,
    /// In parts of a few KiB that come and go in the block cache. One of a million keys is over a MiB, and a cache that
    /// can't hold all of them would read and check a whole one for a get (half of the time of a windowed count, measured).
    InParts,
}

impl Indexes {
    /// Changes an open column family to [`InParts`](Self::InParts), for the files it writes from now on.
    pub(super) const IN_PARTS: [(&str, &str); 1] =
        [("block_based_table_factory", "{index_type=kTwoLevelIndexSearch;partition_filters=true}")];
}

/// What the databases of an instance share.
pub struct RocksDbResources {
    pub(super) settings: RocksDbSettings,
    /// Bytes of the files of all databases, as of each one's last flush.
    on_disk: AtomicU64,
    cache: Cache,
    write_buffers: WriteBufferManager,
}

/// RocksDB starts its threads for flushes and compactions when a database first needs them, with the priority of whoever opens
/// it. That may be a thread that gives way to others, and a flush that is late holds up every writer.
fn start_background_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Ok(mut env) = Env::new() {
            env.set_background_threads(1);
            env.set_high_priority_background_threads(1);
        }
    });
}

impl RocksDbResources {
    /// Allocates nothing yet: the cache fills as it is used.
    pub fn new(settings: RocksDbSettings) -> Arc<Self> {
        start_background_threads();
        let cache = Cache::new_hyper_clock_cache(settings.memory_bytes, 0);
        // A third for memtables: they flush when they reach it together, the rest of the cache holds blocks.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            settings.memory_bytes / 3,
            false,
            cache.clone(),
        );
        Arc::new(RocksDbResources { settings, on_disk: AtomicU64::new(0), cache, write_buffers })
    }

    /// Bytes of blocks and memtables in memory now.
    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// Bytes of memtables alone.
    pub fn memtable_bytes(&self) -> usize {
        self.write_buffers.get_usage()
    }

    /// Notes that a database has `now` bytes of files instead of `before`.
    pub(super) fn grown(&self, before: u64, now: u64) {
        self.on_disk.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Whole while all of them together take a small part of the memory: with the smallest entries (a few bytes of key, a
    /// count) they are a sixteenth of the files, so that of four times the memory is at most a quarter of it.
    pub(super) fn indexes(&self) -> Indexes {
        let memory = u64::try_from(self.settings.memory_bytes).unwrap_or(u64::MAX);
        let is_small = self.on_disk.load(Ordering::Relaxed) <= memory.saturating_mul(4);
        if is_small { Indexes::Whole } else { Indexes::InParts }
    }

    /// Options of the database as a whole.
    pub(super) fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // All column families reach the disk as of the same commit: without it, and without a log, the offsets could
        // be newer than the data.
        options.set_atomic_flush(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_background_jobs(2);
        // One task, one writer.
        options.set_allow_concurrent_memtable_write(false);
        // Hundreds of tasks may share the process's limit of open files.
        options.set_max_open_files(256);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(1024 * 1024);
        options.set_stats_dump_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        if self.settings.statistics {
            statistics::enable(&mut options);
        }
        options
    }

    /// Options of one column family, before the user's hook.
    pub(super) fn store_options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Half as many blocks in index and cache as with Kafka Streams' 4 KiB. A hash index leads to the run of four entries
        // where a key is, at half the load that lets it be sure; both are a tenth of a get (`store_costs -- layers`).
        table.set_block_size(8 * 1024);
        table.set_block_restart_interval(4);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.5);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
        table.set_metadata_block_size(4 * 1024);
        table.set_pin_top_level_index_and_filter(true);
        if self.indexes() == Indexes::InParts {
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        // As the JVM: values are small, and reads of state are more frequent than bytes on disk are dear.
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(32 * 1024 * 1024);
        // Most gets are of keys that no memtable has: a small filter saves them the walk through its skip list.
        options.set_memtable_prefix_bloom_ratio(0.03);
        options.set_memtable_whole_key_filtering(true);
        options.set_max_write_buffer_number(3);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}

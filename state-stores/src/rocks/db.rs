//! The database of a task: opening, the write of a commit, the bounded tail.
//!
//! There is no write-ahead log. A commit is one write batch over all column families, memtables are flushed
//! atomically: after a crash the database is as it was after some commit, offsets included, and the changelog brings
//! the rest. Flushes after a number of records or minutes keep that rest small.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ::rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, FlushOptions, IteratorMode, Options, WriteBatch, WriteOptions,
};
use parking_lot::Mutex;

use super::error::{database_error, file_error};
use super::meta::{
    CHANGELOG_OFFSET, FORMAT_KEY, FORMAT_VERSION, META_FAMILY, POSITION, STREAM_TIME_KEY, TopicPartition,
    read_number, read_partition_key,
};
use super::options::{Indexes, RocksDbConfigSetter, RocksDbResources};
use crate::StoreError;
use crate::contract::StoreSpec;

/// The RocksDB of one task: a column family per persistent store.
pub struct TaskDb {
    pub(crate) db: DB,
    path: PathBuf,
    resources: Arc<RocksDbResources>,
    setter: Option<Arc<dyn RocksDbConfigSetter>>,
    /// The options it was opened with: they are what shows RocksDB's statistics.
    options: Options,
    families: Vec<String>,
    unknown_stores: Vec<String>,
    unflushed: AtomicU64,
    flushed_at: Mutex<Instant>,
    /// Bytes of its files as told to the resources.
    on_disk: AtomicU64,
    /// Whether new files have their indexes in parts.
    in_parts: AtomicBool,
}

impl Drop for TaskDb {
    fn drop(&mut self) {
        self.resources.grown(self.on_disk.load(Ordering::Relaxed), 0);
    }
}

impl TaskDb {
    /// Opens, or creates, the database in `path` (`<state.dir>/<application.id>/<task>/rocksdb`), with a column family
    /// for each persistent store of `stores`. Stores found in it that are not among them are left alone, see
    /// [`unknown_stores`](Self::unknown_stores).
    ///
    /// # Errors
    /// [`StoreError::Locked`] while somebody else has it open; [`StoreError::Corrupted`] and
    /// [`StoreError::UnsupportedFormat`], after which the directory can be deleted and restored;
    /// [`StoreError::InvalidStore`] for a name that is taken; [`StoreError::DiskFull`] and [`StoreError::Database`].
    pub fn open(
        path: impl AsRef<Path>,
        stores: &[StoreSpec],
        resources: &Arc<RocksDbResources>,
        setter: Option<Arc<dyn RocksDbConfigSetter>>,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if stores.iter().any(|store| store.name == META_FAMILY) {
            return Err(StoreError::InvalidStore {
                store: META_FAMILY.to_owned(),
                reason: "the name is taken by the library: choose another".to_owned(),
            });
        }
        std::fs::create_dir_all(path)
            .map_err(|error| file_error(path, "creation of the directory", error))?;
        let options = resources.database_options();
        let found = existing_families(path, &options)?;
        let is_known = |name: &String| {
            name == META_FAMILY
                || name == ::rocksdb::DEFAULT_COLUMN_FAMILY_NAME
                || stores.iter().any(|store| store.persistent && store.name == *name)
        };
        let unknown_stores: Vec<String> = found.into_iter().filter(|name| !is_known(name)).collect();
        if !unknown_stores.is_empty() {
            tracing::warn!(path = %path.display(), stores = ?unknown_stores,
                "the task's database holds stores that the topology does not have; they are kept");
        }
        let known = stores.iter().filter(|store| store.persistent).map(|store| store.name.as_str());
        let names = known.chain(unknown_stores.iter().map(String::as_str)).chain([META_FAMILY]);
        let families: Vec<String> = names.map(str::to_owned).collect();
        let on_disk = bytes_of_files(path);
        resources.grown(0, on_disk);
        let in_parts = resources.indexes() == Indexes::InParts;
        let descriptors = families
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name, store_options(resources, setter.as_deref(), name)));
        let db = DB::open_cf_descriptors(&options, path, descriptors).map_err(|error| {
            resources.grown(on_disk, 0);
            database_error(path, "opening", error)
        })?;
        let db = TaskDb {
            db,
            path: path.to_owned(),
            resources: Arc::clone(resources),
            setter,
            options,
            families,
            unknown_stores,
            unflushed: AtomicU64::new(0),
            flushed_at: Mutex::new(Instant::now()),
            on_disk: AtomicU64::new(on_disk),
            in_parts: AtomicBool::new(in_parts),
        };
        db.check_format()?;
        db.check_store_formats(stores)?;
        // Left by a bulk restore that was killed.
        let _ = std::fs::remove_dir_all(db.ingest_directory());
        Ok(db)
    }

    /// The database's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores of an earlier topology whose data is still there.
    pub fn unknown_stores(&self) -> &[String] {
        &self.unknown_stores
    }

    /// The next offset to restore of each changelog partition that a commit or a bulk restore has noted. What is not
    /// noted has to be restored from the start.
    ///
    /// # Errors
    /// Those of the database.
    pub fn changelog_offsets(&self) -> Result<BTreeMap<TopicPartition, i64>, StoreError> {
        self.partition_numbers(CHANGELOG_OFFSET)
    }

    /// The next offset to process of each input partition, as of the last commit.
    ///
    /// # Errors
    /// Those of the database.
    pub fn positions(&self) -> Result<BTreeMap<TopicPartition, i64>, StoreError> {
        self.partition_numbers(POSITION)
    }

    /// Stream time of the task as of the last commit, in ms; `None`: not noted yet.
    ///
    /// # Errors
    /// Those of the database.
    pub fn stream_time(&self) -> Result<Option<i64>, StoreError> {
        self.number(STREAM_TIME_KEY)
    }

    /// The numbers that RocksDB keeps of each store, as Kafka Streams names them in its metrics (`RocksDBMetrics`).
    pub const PROPERTIES: &'static [&'static str] = &[
        "num-entries-active-mem-table",
        "num-deletes-active-mem-table",
        "num-entries-imm-mem-tables",
        "num-deletes-imm-mem-tables",
        "num-immutable-mem-table",
        "cur-size-active-mem-table",
        "cur-size-all-mem-tables",
        "size-all-mem-tables",
        "mem-table-flush-pending",
        "num-running-flushes",
        "compaction-pending",
        "num-running-compactions",
        "estimate-pending-compaction-bytes",
        "total-sst-files-size",
        "live-sst-files-size",
        "num-live-versions",
        "block-cache-capacity",
        "block-cache-usage",
        "block-cache-pinned-usage",
        "estimate-num-keys",
        "estimate-table-readers-mem",
        "background-errors",
    ];

    /// One of the [`PROPERTIES`](Self::PROPERTIES) of a store; `None`: RocksDB does not know it, or not the store.
    pub fn property(&self, store: &str, property: &str) -> Option<u64> {
        let family = self.db.cf_handle(store)?;
        self.db.property_int_value_cf(family, &format!("rocksdb.{property}")).ok().flatten()
    }

    /// The options that show the statistics, if there are any.
    pub(super) fn counting(&self) -> Option<&Options> {
        self.resources.settings.statistics.then_some(&self.options)
    }

    /// Writes memtables to disk: what is committed now survives a crash. To be called at close; commits do it on
    /// their own when it is due.
    ///
    /// # Errors
    /// Those of the database.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.start_flush(true)
    }

    /// Whether updates were committed that only the changelog has safely.
    pub fn has_unflushed(&self) -> bool {
        self.unflushed.load(Ordering::Relaxed) > 0
    }

    /// Starts a flush if the last one is longer ago than the settings allow. To be called now and then also where
    /// nothing is committed.
    ///
    /// # Errors
    /// Those of the database.
    pub fn flush_if_due(&self, now: Instant) -> Result<(), StoreError> {
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        let settings = &self.resources.settings;
        let since = now.saturating_duration_since(*self.flushed_at.lock());
        let is_due = unflushed >= settings.flush_after_records || since >= settings.flush_after;
        if unflushed > 0 && is_due { self.start_flush(false) } else { Ok(()) }
    }

    /// All column families at once: a flush of one would not be atomic with the others.
    fn start_flush(&self, wait: bool) -> Result<(), StoreError> {
        self.note_size()?;
        // Before the flush: what is written meanwhile counts for the next.
        self.unflushed.store(0, Ordering::Relaxed);
        *self.flushed_at.lock() = Instant::now();
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        let mut families = Vec::new();
        for name in &self.families {
            families.push(self.family(name)?);
        }
        self.db
            .flush_cfs_opt(&families, &options)
            .map_err(|error| database_error(&self.path, "flush of the memtables", error))
    }

    /// Tells the resources how large the files have become, and goes over to indexes in parts when all are too large for
    /// whole ones. A user's own table options stay as they are.
    pub(super) fn note_size(&self) -> Result<(), StoreError> {
        let size = |name: &String| self.property(name, "total-sst-files-size").unwrap_or(0);
        let now = self.families.iter().map(size).sum();
        self.resources.grown(self.on_disk.swap(now, Ordering::Relaxed), now);
        let change = self.setter.is_none() && self.resources.indexes() == Indexes::InParts;
        if change && !self.in_parts.swap(true, Ordering::Relaxed) {
            for name in &self.families {
                self.db
                    .set_options_cf(self.family(name)?, &Indexes::IN_PARTS)
                    .map_err(|error| self.error("change of the options", error))?;
            }
        }
        Ok(())
    }

    /// Writes a commit of `updates` updates.
    pub(crate) fn write(&self, batch: WriteBatch, updates: u64) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db
            .write_opt(batch, &options)
            .map_err(|error| database_error(&self.path, "write of a commit", error))?;
        self.unflushed.fetch_add(updates, Ordering::Relaxed);
        self.flush_if_due(Instant::now())
    }

    pub(crate) fn family(&self, name: &str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| StoreError::InvalidStore {
            store: name.to_owned(),
            reason: format!("the database {} was opened without this store", self.path.display()),
        })
    }

    pub(crate) fn meta_family(&self) -> Result<&ColumnFamily, StoreError> {
        self.family(META_FAMILY)
    }

    pub(super) fn error(&self, action: &str, error: ::rocksdb::Error) -> StoreError {
        database_error(&self.path, action, error)
    }

    pub(super) fn file_error(&self, action: &str, error: std::io::Error) -> StoreError {
        file_error(&self.path, action, error)
    }

    /// Options of a store's column family, for files to be ingested.
    pub(super) fn store_options(&self, store: &str) -> Options {
        store_options(&self.resources, self.setter.as_deref(), store)
    }

    /// Where files are written before they are moved into the database; on the same file system.
    pub(super) fn ingest_directory(&self) -> PathBuf {
        self.path.join("ingest")
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.number(FORMAT_KEY)? {
            Some(found) if found > FORMAT_VERSION => Err(StoreError::UnsupportedFormat {
                path: self.path.clone(),
                found,
                supported: FORMAT_VERSION,
            }),
            Some(_) => Ok(()),
            None => {
                let mut batch = WriteBatch::default();
                batch.put_cf(self.meta_family()?, FORMAT_KEY, FORMAT_VERSION.to_be_bytes());
                self.write(batch, 0)
            }
        }
    }

    fn number(&self, key: &[u8]) -> Result<Option<i64>, StoreError> {
        let found = self.db.get_pinned_cf(self.meta_family()?, key);
        let found = found.map_err(|error| self.error("read of the task's offsets", error))?;
        Ok(found.and_then(|bytes| read_number(&bytes)))
    }

    fn partition_numbers(&self, family: &str) -> Result<BTreeMap<TopicPartition, i64>, StoreError> {
        let mut numbers = BTreeMap::new();
        for entry in self.db.iterator_cf(self.meta_family()?, IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| self.error("read of the task's offsets", error))?;
            if let (Some(partition), Some(number)) = (read_partition_key(family, &key), read_number(&value)) {
                numbers.insert(partition, number);
            }
        }
        Ok(numbers)
    }
}

fn store_options(
    resources: &RocksDbResources,
    setter: Option<&dyn RocksDbConfigSetter>,
    store: &str,
) -> Options {
    let mut options = resources.store_options();
    if let Some(setter) = setter
        && store != META_FAMILY
    {
        setter.set_config(store, &mut options);
    }
    options
}

/// Bytes of the table files in a database's directory; 0 if it can't be read, which opening it will say.
fn bytes_of_files(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sst"));
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Column families of a database that may not exist yet.
fn existing_families(path: &Path, options: &Options) -> Result<Vec<String>, StoreError> {
    if !path.join("CURRENT").exists() {
        return Ok(Vec::new());
    }
    DB::list_cf(options, path).map_err(|error| database_error(path, "reading the list of stores", error))
}

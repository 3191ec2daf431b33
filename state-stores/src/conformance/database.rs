//! The database itself: bulk restore, and what it says when it cannot be opened.

use std::sync::Arc;

use tempfile::TempDir;

use crate::testing::NoChangelog;
use crate::{
    BulkRestore, KeyValueStore, RecordContext, RestoreRecord, RocksDbConfigSetter, RocksDbResources,
    RocksDbSettings, StateStore, StoreBuilder, StoreContext, StoreEnvironment, StoreError, StoreSpec, Stores,
    TaskBackend, TaskDb, ValueAndTimestamp,
};

const TOPIC: &str = "app-counts-changelog";

fn open(directory: &TempDir, specs: &[StoreSpec]) -> Result<TaskBackend, StoreError> {
    let resources = RocksDbResources::new(RocksDbSettings::default());
    TaskDb::open(directory.path(), specs, &resources, None).map(|db| TaskBackend::Rocks(Arc::new(db)))
}

fn environment(backend: &TaskBackend) -> StoreEnvironment {
    StoreEnvironment { backend: backend.clone(), ..StoreEnvironment::in_memory() }
}

fn record<'a>(key: &'a [u8], value: Option<&'a [u8]>, timestamp: i64) -> RestoreRecord<'a> {
    RestoreRecord { key, value, timestamp, headers: crate::Headers::new(), partition: 0, offset: 0 }
}

#[test]
fn a_bulk_restore_gives_what_the_changelog_says_whatever_was_there_before() {
    let directory = TempDir::new().unwrap();
    let builder = Stores::timestamped_key_value::<String, i64>("counts");
    let backend = open(&directory, &[builder.spec()]).unwrap();
    // A restore that is broken off leaves a key that the changelog no longer has.
    let mut broken_off = BulkRestore::new(&backend, &builder.spec(), 1).unwrap();
    broken_off.push(&record(b"gone", Some(&1i64.to_be_bytes()), 1)).unwrap();
    drop(broken_off);

    // A budget of three records or so: later chunks must hide earlier ones.
    let mut restore = BulkRestore::new(&backend, &builder.spec(), 150).unwrap();
    for round in 0..5i64 {
        for key in 0..10 {
            let (key, value) = (format!("k{key}"), (round * 10 + key).to_be_bytes());
            restore.push(&record(key.as_bytes(), Some(&value), round)).unwrap();
        }
        restore.push(&record(b"k3", None, round)).unwrap();
    }
    let restored = restore.finish(TOPIC, 0, 55).unwrap();
    assert_eq!((restored.records, restored.stream_time), (55, -1));

    let mut backend = backend;
    for reopened in [false, true] {
        if reopened {
            drop(std::mem::replace(&mut backend, TaskBackend::Memory));
            backend = open(&directory, &[builder.spec()]).unwrap();
        }
        let TaskBackend::Rocks(db) = &backend else { unreachable!() };
        assert_eq!(db.changelog_offsets().unwrap(), [((TOPIC.to_owned(), 0), 55)].into());
        let mut store = builder.build(&environment(&backend)).unwrap();
        let entries: Vec<_> = store.all().unwrap().map(Result::unwrap).collect();
        let expected = (0..10).filter(|key| *key != 3);
        let expected =
            expected.map(|key| (format!("k{key}"), ValueAndTimestamp { value: 40 + key, timestamp: 4 }));
        assert_eq!(entries, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_bulk_restore_of_windows_drops_what_has_expired_and_tells_the_time() {
    let directory = TempDir::new().unwrap();
    let builder = Stores::window::<String, i64>("windows", 100_000, 10);
    let backend = open(&directory, &[builder.spec()]).unwrap();
    let mut store = builder.build(&environment(&backend)).unwrap();
    let mut restore = BulkRestore::new(&backend, &builder.spec(), 1 << 20).unwrap();
    for start in [0i64, 60_000, 250_000, 10, 200_000] {
        let key = [b"k".as_slice(), &start.to_be_bytes(), &[0; 4]].concat();
        restore.push(&record(&key, Some(&start.to_be_bytes()), start)).unwrap();
    }
    let restored = restore.finish(TOPIC, 0, 5).unwrap();
    store.bulk_restored(&restored);
    assert_eq!(store.observed_stream_time(), 250_000);
    let starts = |store: &mut crate::WindowStore<String, i64>| -> Vec<i64> {
        store.all().unwrap().map(|entry| entry.unwrap().1).collect()
    };
    assert_eq!(starts(&mut store), [200_000, 250_000]);
    let mut reopened = builder.build(&environment(&backend)).unwrap();
    assert_eq!(starts(&mut reopened), [200_000, 250_000], "the expired ones are gone from the database");
}

/// Closed windows are found through the index, so a restore has to make it.
#[test]
fn a_bulk_restore_makes_the_index_by_time() {
    let directory = TempDir::new().unwrap();
    let builder = Stores::window::<String, i64>("windows", 100_000, 10).for_final_results();
    let backend = open(&directory, &[builder.spec()]).unwrap();
    let mut restore = BulkRestore::new(&backend, &builder.spec(), 1 << 20).unwrap();
    for (name, start) in [(b"b", 0i64), (b"a", 250_000), (b"b", 200_000), (b"a", 200_010), (b"c", 200_000)] {
        let key = [name.as_slice(), &start.to_be_bytes(), &[0; 4]].concat();
        // One of them was deleted.
        let value = (start != 200_010).then(|| start.to_be_bytes());
        restore.push(&record(&key, value.as_ref().map(<[u8; 8]>::as_slice), start)).unwrap();
    }
    let restored = restore.finish(TOPIC, 0, 5).unwrap();
    let mut store = builder.build(&environment(&backend)).unwrap();
    store.bulk_restored(&restored);
    assert_eq!(store.observed_stream_time(), 250_000, "the index is behind the windows and tells no time");
    let mut pages = store.by_time(0, i64::MAX);
    let found = store.next_page_by_time(&mut pages, 10).unwrap();
    let found: Vec<_> = found.iter().map(|(found, start)| (&*found.key, *start)).collect();
    assert_eq!(found, [("b", 200_000), ("c", 200_000), ("a", 250_000)]);
}

/// Level DEBUG shows what RocksDB counts; below it, nothing may be counted.
#[test]
fn rocksdb_counts_where_it_is_asked_to() {
    for counts in [true, false] {
        let directory = TempDir::new().unwrap();
        let builder = Stores::key_value::<String, i64>("counts");
        let settings = RocksDbSettings { statistics: counts, ..RocksDbSettings::default() };
        let resources = RocksDbResources::new(settings);
        let db = Arc::new(TaskDb::open(directory.path(), &[builder.spec()], &resources, None).unwrap());
        let backend = TaskBackend::Rocks(Arc::clone(&db));
        let mut store = builder.build(&environment(&backend)).unwrap();
        let (context, mut changelog) = (RecordContext::default(), NoChangelog);
        let mut cx = StoreContext { record: &context, changelog: &mut changelog };
        store.put(&mut cx, &"a".to_owned(), Some(&1)).unwrap();
        let mut batch = backend.new_batch();
        store.write_commit(&mut batch).unwrap();
        backend.write(batch).unwrap();
        store.committed();
        assert_eq!(store.get(&"a".to_owned()).unwrap(), Some(1));
        let counted = db.statistics();
        assert_eq!(counted.is_some(), counts);
        if let Some(counted) = counted {
            assert!(counted.bytes_written > 0 && counted.memtable.hits > 0, "{counted:?}");
        }
        db.flush().unwrap();
        if let Some(counted) = db.statistics() {
            assert!(counted.memtable_bytes_flushed > 0 && counted.memtable_flush.max > 0.0, "{counted:?}");
        }
    }
}

#[test]
fn a_directory_in_use_says_so() {
    let directory = TempDir::new().unwrap();
    let spec = Stores::key_value::<String, i64>("counts").spec();
    let first = open(&directory, std::slice::from_ref(&spec)).unwrap();
    let error = open(&directory, std::slice::from_ref(&spec)).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert!(error.is_retriable());
    drop(first);
    open(&directory, &[spec]).unwrap();
}

#[test]
fn damaged_files_ask_for_a_wipe() {
    let directory = TempDir::new().unwrap();
    let spec = Stores::key_value::<String, i64>("counts").spec();
    drop(open(&directory, std::slice::from_ref(&spec)).unwrap());
    for file in std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("MANIFEST") {
            std::fs::write(file.path(), b"this is no list of files").unwrap();
        }
    }
    let error = open(&directory, &[spec]).err().unwrap();
    assert!(error.needs_wipe(), "{error:?}");
}

#[test]
fn a_store_that_left_the_topology_keeps_its_data() {
    let directory = TempDir::new().unwrap();
    let specs = ["kept", "left"].map(|name| Stores::key_value::<String, i64>(name).spec());
    drop(open(&directory, &specs).unwrap());
    let TaskBackend::Rocks(db) = open(&directory, &specs[..1]).unwrap() else { unreachable!() };
    assert_eq!(db.unknown_stores(), ["left"]);
    drop(db);
    let TaskBackend::Rocks(db) = open(&directory, &specs).unwrap() else { unreachable!() };
    assert!(db.unknown_stores().is_empty());
}

#[test]
fn users_can_change_the_options_of_a_store() {
    struct Setter(parking_lot::Mutex<Vec<String>>);
    impl RocksDbConfigSetter for Setter {
        fn set_config(&self, store: &str, options: &mut ::rocksdb::Options) {
            options.set_write_buffer_size(1 << 20);
            self.0.lock().push(store.to_owned());
        }
    }
    let directory = TempDir::new().unwrap();
    let setter = Arc::new(Setter(parking_lot::Mutex::new(Vec::new())));
    let resources = RocksDbResources::new(RocksDbSettings::default());
    let spec = Stores::key_value::<String, i64>("counts").spec();
    TaskDb::open(directory.path(), &[spec], &resources, Some(Arc::clone(&setter) as _)).unwrap();
    assert_eq!(*setter.0.lock(), ["counts"]);
}

/// Whole filters and indexes of large stores would leave no room for anything else in the memory that all share.
#[test]
fn large_stores_get_filters_in_parts_while_they_are_open() {
    let directory = TempDir::new().unwrap();
    let settings = RocksDbSettings { memory_bytes: 256 * 1024, ..RocksDbSettings::default() };
    let resources = RocksDbResources::new(settings);
    let builder = Stores::key_value::<i64, Vec<u8>>("rows");
    let open = || TaskDb::open(directory.path(), &[builder.spec()], &resources, None).map(Arc::new).unwrap();
    let fill = |db: &Arc<TaskDb>, keys: std::ops::Range<i64>| {
        let backend = TaskBackend::Rocks(Arc::clone(db));
        let mut store = builder.build(&environment(&backend)).unwrap();
        let (record, mut changelog) = (crate::RecordContext::default(), crate::testing::NoChangelog);
        let mut cx = crate::StoreContext { record: &record, changelog: &mut changelog };
        for key in keys {
            store.put(&mut cx, &key, Some(&vec![7; 1_000])).unwrap();
        }
        let mut batch = backend.new_batch();
        store.write_commit(&mut batch).unwrap();
        backend.write(batch).unwrap();
        store.committed();
        db.flush().unwrap();
    };
    let has_parts = |db: &Arc<TaskDb>| {
        let rows = db.family("rows").unwrap();
        let properties =
            db.db.property_value_cf(rows, "rocksdb.aggregated-table-properties").unwrap().unwrap();
        properties.contains("index partitions")
    };
    let db = open();
    fill(&db, 0..900);
    assert!(!has_parts(&db), "900 kB are less than four times the memory");
    fill(&db, 900..1_200);
    assert!(!has_parts(&db), "what the file itself adds is known at the next flush");
    fill(&db, 1_200..1_500);
    assert!(has_parts(&db));
    drop(db);
    let db = open();
    let mut store = builder.build(&environment(&TaskBackend::Rocks(Arc::clone(&db)))).unwrap();
    let found = (0..1_500).filter(|key| store.get(key).unwrap().is_some()).count();
    assert_eq!(found, 1_500);
}

#[test]
fn names_that_no_topic_could_have_are_refused() {
    for name in ["", "a/b", "..", "kstreams meta"] {
        let built = Stores::key_value::<String, i64>(name).build(&StoreEnvironment::in_memory());
        assert!(matches!(built, Err(StoreError::InvalidStore { .. })), "{name:?}");
    }
    let built: Result<KeyValueStore<_, _>, _> =
        Stores::key_value::<String, i64>("KSTREAM-AGGREGATE-STATE-STORE-0000000002")
            .build(&StoreEnvironment::in_memory());
    assert!(built.is_ok());
}

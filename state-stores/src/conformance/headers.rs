//! Stores with headers (KIP-1271) on every engine: what they log, and what the changelog gives back, by records and in
//! bulk; and a store that is given another format than its database has.

use std::sync::Arc;

use tempfile::TempDir;

use super::{Engine, TOPIC, Task, on_engine};
use crate::testing::Logged;
use crate::{
    AggregationWithHeaders, BulkRestore, Headers, RocksDbResources, RocksDbSettings, StateStore,
    StoreBuilder, StoreContext, StoreEnvironment, Stores, TaskBackend, TaskDb, ValueAndTimestamp,
    ValueTimestampHeaders, Window, Windowed,
};

const ENGINES: [Engine; 3] = [Engine::Rocks, Engine::Memory, Engine::Own];

fn headers(value: &str) -> Headers {
    let mut headers = Headers::new();
    headers.add("h", Some(value.as_bytes())).add("null", None);
    headers
}

fn task<B>(engine: Engine, builder: B) -> Task<B::Store>
where
    B: StoreBuilder + 'static,
    B::Store: StateStore,
{
    Task::new(engine, 1 << 20, builder.spec(), move |env| builder.build(env).unwrap())
}

/// What was logged last: value, time and the last header named `h`.
fn last_logged<S>(task: &Task<S>) -> (Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>) {
    let logged = task.changelog.records.last().unwrap();
    let header = logged.headers.last("h").and_then(|header| header.value.as_deref().map(<[u8]>::to_vec));
    (logged.value.clone(), logged.timestamp, header)
}

/// The other store's changelog in a new task of its own: by records, or in bulk.
fn restored<B>(engine: Engine, builder: B, records: &[Logged], in_bulk: bool) -> Task<B::Store>
where
    B: StoreBuilder + Clone + 'static,
    B::Store: StateStore,
{
    let spec = builder.spec();
    let mut task = task(engine, builder);
    if !in_bulk {
        task.access().0.restore(&mut records.iter().map(Logged::restore)).unwrap();
        return task;
    }
    let mut bulk = BulkRestore::new(&task.backend, &spec, 60).unwrap();
    for logged in records {
        bulk.push(&logged.restore()).unwrap();
    }
    let done = bulk.finish(TOPIC, 0, records.len() as i64).unwrap();
    task.access().0.bulk_restored(&done);
    task
}

fn ways_to_restore(engine: Engine) -> &'static [bool] {
    if engine == Engine::Rocks { &[false, true] } else { &[false] }
}

#[test]
fn key_value_stores_keep_headers_and_log_them_as_the_records() {
    for engine in ENGINES {
        for cached in [false, true] {
            let builder =
                on_engine!(Stores::timestamped_key_value_with_headers::<String, String>("store"), engine);
            let builder = if cached { builder.with_caching_enabled() } else { builder };
            let mut task = task(engine, builder.clone());
            task.record.timestamp = 50;
            task.record.headers = headers("of the record");
            let (a, b) = ("a".to_owned(), "b".to_owned());
            let first = ValueTimestampHeaders::new("1".to_owned(), 7, headers("of the value"));
            let bare = ValueTimestampHeaders::new("2".to_owned(), 8, Headers::new());
            let (store, mut cx) = task.access();
            store.put(&mut cx, &a, Some(&first)).unwrap();
            task.commit();
            let logged = (Some(b"1".to_vec()), Some(7), Some(b"of the value".to_vec()));
            assert_eq!(last_logged(&task), logged);
            let (store, mut cx) = task.access();
            store.put(&mut cx, &b, Some(&bare)).unwrap();
            task.commit();
            assert_eq!(last_logged(&task), (Some(b"2".to_vec()), Some(8), None));
            let (store, mut cx) = task.access();
            assert_eq!(store.delete(&mut cx, &b).unwrap(), Some(bare));
            task.commit();
            let deleted = (None, Some(50), Some(b"of the record".to_vec()));
            assert_eq!(last_logged(&task), deleted, "a deletion has the headers of the record");

            task.crash();
            assert_eq!(task.access().0.get(&a).unwrap().as_ref(), Some(&first));
            for &in_bulk in ways_to_restore(engine) {
                let mut other = restored(engine, builder.clone(), &task.changelog.records, in_bulk);
                assert_eq!(other.access().0.get(&a).unwrap().as_ref(), Some(&first));
                assert_eq!(other.access().0.all().unwrap().count(), 1);
                let mut view = other.access().0.read_view(None, None).unwrap();
                assert_eq!(view.next().unwrap().unwrap(), (a.clone(), first.clone()));
            }
        }
    }
}

#[test]
fn window_stores_keep_headers() {
    for engine in ENGINES {
        let builder =
            on_engine!(Stores::timestamped_window_with_headers::<String, i64>("store", 200_000, 10), engine);
        let mut task = task(engine, builder.clone());
        task.record.headers = headers("of the record");
        let key = "a".to_owned();
        let value =
            |number: i64, time| ValueTimestampHeaders::new(number, time, headers(&number.to_string()));
        let (store, mut cx) = task.access();
        store.put(&mut cx, &key, Some(&value(1, 5)), 0).unwrap();
        store.put(&mut cx, &key, Some(&value(2, 90_001)), 90_000).unwrap();
        store.put(&mut cx, &key, None, 0).unwrap();
        store.put(&mut cx, &key, Some(&value(3, 300_001)), 300_000).unwrap();
        task.commit();
        assert_eq!(
            last_logged(&task),
            (Some(3_i64.to_be_bytes().to_vec()), Some(300_001), Some(b"3".to_vec()))
        );
        assert_eq!(task.changelog.records[2].headers, headers("of the record"));
        for &in_bulk in ways_to_restore(engine) {
            let mut other = restored(engine, builder.clone(), &task.changelog.records, in_bulk);
            let store = other.access().0;
            assert_eq!(store.observed_stream_time(), 300_000);
            assert_eq!(store.fetch_one(&key, 300_000).unwrap(), Some(value(3, 300_001)));
            assert_eq!(store.all().unwrap().count(), 1, "the others have expired");
        }
    }
}

#[test]
fn session_stores_keep_headers_and_log_the_records_time() {
    for engine in ENGINES {
        let builder = on_engine!(Stores::session_with_headers::<String, i64>("store", 100_000), engine);
        let mut task = task(engine, builder.clone());
        task.record.timestamp = 42;
        task.record.headers = headers("of the record");
        let session = |start, end| Windowed::new("a".to_owned(), Window { start, end });
        let value = AggregationWithHeaders::new(3, headers("of the value"));
        let (store, mut cx) = task.access();
        store.put(&mut cx, &session(1, 2), Some(&value)).unwrap();
        store.put(&mut cx, &session(10, 20), Some(&value)).unwrap();
        store.remove(&mut cx, &session(1, 2)).unwrap();
        task.commit();
        assert_eq!(last_logged(&task), (None, Some(42), Some(b"of the record".to_vec())));
        let put = &task.changelog.records[1];
        assert_eq!((put.timestamp, &put.headers), (Some(42), &headers("of the value")));
        assert_eq!(put.value, Some(3_i64.to_be_bytes().to_vec()));
        for &in_bulk in ways_to_restore(engine) {
            let mut other = restored(engine, builder.clone(), &task.changelog.records, in_bulk);
            let found = other.access().0.fetch(&"a".to_owned()).unwrap();
            let found: Vec<_> = found.map(Result::unwrap).collect();
            assert_eq!(found, [(session(10, 20), value.clone())]);
        }
    }
}

/// The rows of one format read as those of another would be nonsense: the store is emptied, and its changelog's offset
/// forgotten, so that it is restored.
#[test]
fn a_store_whose_format_changes_is_to_be_restored() {
    let directory = TempDir::new().unwrap();
    let resources = RocksDbResources::new(RocksDbSettings::default());
    let plain = Stores::timestamped_key_value::<String, i64>("store");
    let other = Stores::key_value::<String, i64>("other");
    let open = |spec| {
        let specs = [spec, other.spec()];
        TaskBackend::Rocks(Arc::new(TaskDb::open(directory.path(), &specs, &resources, None).unwrap()))
    };
    let env = |backend: &TaskBackend| StoreEnvironment {
        backend: backend.clone(),
        ..StoreEnvironment::in_memory()
    };
    let commit = |backend: &TaskBackend, store: &mut dyn StateStore| {
        let mut batch = backend.new_batch();
        batch.set_changelog_offset(TOPIC, 0, 1).unwrap();
        store.write_commit(&mut batch).unwrap();
        backend.write(batch).unwrap();
        store.committed();
    };
    let (record, mut changelog) = (Default::default(), crate::testing::NoChangelog);
    let mut cx = StoreContext { record: &record, changelog: &mut changelog };

    let backend = open(plain.spec());
    let mut store = plain.build(&env(&backend)).unwrap();
    store.put(&mut cx, &"a".to_owned(), Some(&ValueAndTimestamp { value: 1, timestamp: 7 })).unwrap();
    commit(&backend, &mut store);
    let mut kept = other.build(&env(&backend)).unwrap();
    kept.put(&mut cx, &"a".to_owned(), Some(&1)).unwrap();
    commit(&backend, &mut kept);
    drop((store, kept, backend));

    let backend = open(plain.spec());
    assert_eq!(backend.db().unwrap().changelog_offsets().unwrap().len(), 1, "the format is the same");
    drop(backend);

    let with_headers = Stores::timestamped_key_value_with_headers::<String, i64>("store");
    for _ in 0..2 {
        let backend = open(with_headers.spec());
        assert_eq!(backend.db().unwrap().changelog_offsets().unwrap().len(), 0);
        let mut store = with_headers.build(&env(&backend)).unwrap();
        assert_eq!(store.get(&"a".to_owned()).unwrap(), None);
        let mut kept = other.build(&env(&backend)).unwrap();
        assert_eq!(kept.get(&"a".to_owned()).unwrap(), Some(1));
    }
}

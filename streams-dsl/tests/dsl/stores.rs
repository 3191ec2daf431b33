//! Stores that the user supplies: engines of their own, suppliers of the library's, and what `build` says of those that
//! do not fit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kstreams_dsl::{
    JoinWindows, KTable, Materialized, SessionWindows, StreamJoined, StreamsBuilder, TimeWindows,
};
use kstreams_state_stores::{
    BytesIterator, BytesStore, BytesStoreError, BytesStoreSupplier, Stores, Windowed,
};
use kstreams_test::TopologyTestDriver;

/// A sorted map that tells how many updates it was given.
struct Counted {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    updates: Arc<AtomicUsize>,
}

impl BytesStore for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BytesStoreError> {
        Ok(self.entries.get(key).cloned())
    }

    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
    ) -> Result<BytesIterator<'_>, BytesStoreError> {
        let is_below = |key: &Vec<u8>| to.is_none_or(|to| key.as_slice() < to);
        let found = self.entries.range(from.to_vec()..).take_while(|(key, _)| is_below(key));
        let mut found: Vec<_> = found.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        if reverse {
            found.reverse();
        }
        Ok(Box::new(found.into_iter()))
    }

    fn write<'a>(
        &mut self,
        updates: &mut dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), BytesStoreError> {
        for (key, value) in updates {
            self.updates.fetch_add(1, Ordering::Relaxed);
            match value {
                Some(value) => self.entries.insert(key.to_vec(), value.to_vec()),
                None => self.entries.remove(key),
            };
        }
        Ok(())
    }

    fn approximate_num_entries(&self) -> u64 {
        self.entries.len() as u64
    }
}

type Rows<K> = Vec<(K, Option<i64>)>;

/// What a table tells of a few clicks, some of them late.
fn told<K>(table: impl FnOnce(&StreamsBuilder) -> KTable<K, i64>) -> Vec<String>
where
    K: Clone + Send + std::fmt::Debug + 'static,
{
    let builder = StreamsBuilder::new();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    table(&builder)
        .to_stream()
        .for_each(move |key, count| seen.lock().unwrap().push(format!("{key:?} {count:?}")));
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, String>("clicks");
    for (key, time) in [("a", 5), ("b", 12), ("a", 7), ("a", 31), ("b", 8), ("a", 200), ("b", 33)] {
        input.pipe_input_at(key.to_owned(), "x".to_owned(), time).unwrap();
    }
    driver.close().unwrap();
    told.lock().unwrap().clone()
}

/// A store of the user's own behaves as one in memory, whatever is kept in it, and it is what everything ends up in.
#[test]
fn a_store_of_ones_own_takes_the_place_of_the_librarys() {
    let updates = Arc::new(AtomicUsize::new(0));
    let own = |name: &str| {
        let updates = Arc::clone(&updates);
        let make = move |store: &str| {
            assert_eq!(store, "counts");
            Counted { entries: BTreeMap::new(), updates: Arc::clone(&updates) }
        };
        Materialized::named(name).with_bytes_store(make)
    };
    let ms = Duration::from_millis;
    let by_key = |stored: Materialized| {
        told(|builder| builder.stream::<String, String>("clicks").group_by_key().count(stored))
    };
    let by_window = |stored: Materialized| {
        let windows = TimeWindows::of_size_and_grace(ms(10), ms(30));
        told(|builder| {
            builder.stream::<String, String>("clicks").group_by_key().windowed_by(windows).count(stored)
        })
    };
    let by_session = |stored: Materialized| {
        let windows = SessionWindows::of_inactivity_gap_and_grace(ms(10), ms(30));
        told(|builder| {
            builder.stream::<String, String>("clicks").group_by_key().windowed_by(windows).count(stored)
        })
    };
    let runs: [&dyn Fn(Materialized) -> Vec<String>; 3] = [&by_key, &by_window, &by_session];
    for run in runs {
        let before = updates.load(Ordering::Relaxed);
        let told = run(own("counts"));
        assert_eq!(told, run(Materialized::named("counts").in_memory()));
        assert!(!told.is_empty());
        assert!(updates.load(Ordering::Relaxed) > before, "nothing was written to it");
    }
}

#[test]
fn supplied_stores_have_their_own_names_and_bounds() {
    let supplier = Stores::lru_map_store("last", 1);
    let builder = StreamsBuilder::new();
    let counts = builder
        .stream::<String, String>("clicks")
        .group_by_key()
        .count(Materialized::supplied(supplier).with_caching_disabled());
    assert_eq!(counts.queryable_store_name(), Some("last"));
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, String>("clicks");
    for key in ["a", "a", "b", "a"] {
        input.pipe_input(key.to_owned(), String::new()).unwrap();
    }
    let rows = driver.with_store(
        "last",
        |store: &mut kstreams_state_stores::TimestampedKeyValueStore<String, i64>| -> Rows<String> {
            store.all().unwrap().map(|row| row.map(|(key, row)| (key, Some(row.value))).unwrap()).collect()
        },
    );
    assert_eq!(rows.unwrap(), [("a".to_owned(), Some(1))], "b made a give way, and a b");
    driver.close().unwrap();
}

fn window_count(supplier: BytesStoreSupplier) -> Result<(), String> {
    let windows = TimeWindows::of_size_and_grace(Duration::from_millis(10), Duration::from_millis(5));
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("clicks").group_by_key();
    let counts: KTable<Windowed<String>, i64> =
        grouped.windowed_by(windows).count(Materialized::supplied(supplier));
    drop(counts);
    builder.build().map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn suppliers_that_do_not_fit_are_refused() {
    window_count(Stores::persistent_window_store("w", 15, 10, false)).unwrap();
    window_count(Stores::persistent_window_store("w", 1_000, 10, false)).unwrap();
    let refused = [
        (Stores::persistent_window_store("w", 14, 10, false), "make it 15 ms or more"),
        (Stores::persistent_window_store("w", 15, 11, false), "for windows of 11 ms"),
        (Stores::persistent_window_store("w", 15, 10, true), "retains duplicates"),
        (Stores::persistent_key_value_store("w"), "makes a key-value store, but a window store"),
        (Stores::persistent_session_store("w", 15), "makes a session store"),
    ];
    for (supplier, expected) in refused {
        let error = window_count(supplier).unwrap_err();
        assert!(error.contains(expected) && error.contains("store w"), "{error}");
    }
    let builder = StreamsBuilder::new();
    let supplier = Stores::in_memory_window_store("w", 15, 10, false);
    builder
        .stream::<String, String>("clicks")
        .group_by_key()
        .reduce(|a, _| a, Materialized::supplied(supplier.clone()));
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("makes a window store, but a key-value store"), "{error}");
    let builder = StreamsBuilder::new();
    builder.global_table_with(
        "t",
        kstreams_dsl::Consumed::<String, String>::new(),
        Materialized::supplied(supplier),
    );
    assert!(builder.build().unwrap_err().to_string().contains("makes a window store"));
}

fn join(joined: StreamJoined) -> Result<String, String> {
    let builder = StreamsBuilder::new();
    let windows =
        JoinWindows::of_time_difference_and_grace(Duration::from_millis(5), Duration::from_millis(1));
    let (left, right) = (builder.stream::<String, String>("l"), builder.stream::<String, String>("r"));
    left.outer_join_stream_with(&right, |_, l, r| format!("{l:?}{r:?}"), windows, joined).to("out");
    builder.build().map(|topology| topology.describe().to_string()).map_err(|error| error.to_string())
}

#[test]
fn joins_take_suppliers_that_fit_their_windows() {
    let fits = |name| Stores::in_memory_window_store(name, 11, 10, true);
    let both = StreamJoined::named("j")
        .with_this_store_supplier(fits("left-records"))
        .with_other_store_supplier(fits("right-records"));
    let text = join(both).unwrap();
    assert!(text.contains("j-this-windowed (stores: [left-records])"), "{text}");
    assert!(text.contains("j-other-windowed (stores: [right-records])"), "{text}");
    let refused = [
        (Stores::in_memory_window_store("l", 11, 9, true), "windows of 10 ms and needs 11 ms"),
        (Stores::in_memory_window_store("l", 12, 10, true), "windows of 10 ms and needs 11 ms"),
        (Stores::in_memory_window_store("l", 11, 10, false), "does not retain duplicates"),
        (Stores::in_memory_key_value_store("l"), "makes a key-value store"),
        (fits("same"), "both suppliers of a join have the name same"),
    ];
    for (supplier, expected) in refused {
        let joined = StreamJoined::named("j").with_this_store_supplier(supplier);
        let error = join(joined.with_other_store_supplier(fits("same"))).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

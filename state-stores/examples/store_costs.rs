//! What a store costs: reads and writes through the layers, commits, cached increments, restore in bulk; and what the flush
//! of a whole instance's databases costs, 100 tasks of 20 stores. Prints nanoseconds a call and records a second, on the
//! clock and of this thread's CPU (Linux), which a busy machine changes less.
//!
//! ```sh
//! cargo run --release -p kstreams-state-stores --example store_costs [-- layers|cache|restore|flush|all [million records]]
//! ```

use std::sync::Arc;
use std::time::Instant;

use kstreams_state_stores::testing::NoChangelog;
use kstreams_state_stores::{
    BulkRestore, CacheBudget, ChangelogId, Headers, KeyValueStore, RecordContext, RestoreRecord,
    RocksDbResources, RocksDbSettings, StateStore, StoreBuilder, StoreContext, StoreEnvironment, StoreError,
    Stores, TaskBackend, TaskDb, UncommittedBudget, ValueAndTimestamp,
};

const KEYS: u64 = 1_000_000;
const CACHED_KEYS: u64 = 50_000;

type Store = KeyValueStore<Vec<u8>, ValueAndTimestamp<i64>>;

fn main() -> Result<(), StoreError> {
    let part = std::env::args().nth(1).unwrap_or_else(|| "all".to_owned());
    let measures = |name: &str| part == name || part == "all";
    let millions = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(10);
    let directory = tempfile::TempDir::new().map_err(|error| invalid(&error.to_string()))?;
    let builder = Stores::timestamped_key_value::<Vec<u8>, i64>("counts");
    let resources = RocksDbResources::new(RocksDbSettings::default());
    let db = Arc::new(TaskDb::open(directory.path(), &[builder.spec()], &resources, None)?);
    let env = StoreEnvironment {
        backend: TaskBackend::Rocks(db),
        cache: CacheBudget::new(64 << 20),
        uncommitted: UncommittedBudget::new(usize::MAX),
        changelog: Some(ChangelogId(0)),
        changelog_topic: "changelog".to_owned(),
    };
    if measures("layers") {
        layers("RocksDB", &env, builder.build(&env)?)?;
        layers("memory", &env, builder.clone().in_memory().build(&env)?)?;
    }
    if measures("cache") {
        cached_increments(&env, builder.clone().with_caching_enabled().build(&env)?)?;
    }
    if measures("flush") {
        flushes()?;
    }
    if measures("restore") {
        restore(&env, &builder.spec(), millions)?;
    }
    Ok(())
}

fn invalid(reason: &str) -> StoreError {
    StoreError::InvalidStore { store: "counts".to_owned(), reason: reason.to_owned() }
}

/// Nine bytes that look random, the same for the same number.
fn key(number: u64) -> Vec<u8> {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = vec![b'k'];
    key.extend_from_slice(&(mixed ^ (mixed >> 29)).to_be_bytes());
    key
}

/// Measures from its start on.
struct Watch {
    clock: Instant,
    cpu_nanoseconds: u64,
}

impl Watch {
    fn start() -> Self {
        Watch { clock: Instant::now(), cpu_nanoseconds: cpu_nanoseconds() }
    }

    /// Nanoseconds since the start, on the clock and of CPU.
    fn stop(&self) -> (f64, f64) {
        let cpu = cpu_nanoseconds() - self.cpu_nanoseconds;
        (self.clock.elapsed().as_nanos() as f64, cpu as f64)
    }

    fn report(&self, what: &str, calls: u64) {
        let (clock, cpu) = self.stop();
        let calls = calls as f64;
        println!("{what:<48} {:>7.0} ns a call, {:>6.0} of CPU", clock / calls, cpu / calls);
    }
}

/// CPU time of this thread so far; 0 where the system does not say.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn commit(env: &StoreEnvironment, store: &mut Store) -> Result<(), StoreError> {
    let mut batch = env.backend.new_batch();
    store.write_commit(&mut batch)?;
    env.backend.write(batch)?;
    store.committed();
    Ok(())
}

fn layers(engine: &str, env: &StoreEnvironment, mut store: Store) -> Result<(), StoreError> {
    let record = RecordContext::default();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    let mut cx = StoreContext { record: &record, changelog: &mut NoChangelog };
    for round in ["new keys", "existing keys"] {
        let watch = Watch::start();
        for key in &keys {
            store.put(&mut cx, key, Some(&ValueAndTimestamp { value: 1, timestamp: 1 }))?;
        }
        watch.report(&format!("{engine}: put, not cached, {round}"), KEYS);
        let watch = Watch::start();
        let mut found = 0;
        for key in &keys {
            found += u64::from(store.get(key)?.is_some());
        }
        watch.report(&format!("{engine}: get of an uncommitted key"), found);
        let watch = Watch::start();
        commit(env, &mut store)?;
        watch.report(&format!("{engine}: commit, a key"), KEYS);
    }
    let watch = Watch::start();
    let mut found = 0;
    for key in &keys {
        found += u64::from(store.get(key)?.is_some());
    }
    watch.report(&format!("{engine}: get of a committed key"), found);
    let watch = Watch::start();
    let entries = store.all()?.count() as u64;
    watch.report(&format!("{engine}: all, an entry"), entries);
    Ok(())
}

fn cached_increments(env: &StoreEnvironment, mut store: Store) -> Result<(), StoreError> {
    let record = RecordContext { topic: Some("words".into()), ..RecordContext::default() };
    let keys: Vec<Vec<u8>> = (0..CACHED_KEYS).map(key).collect();
    let mut cx = StoreContext { record: &record, changelog: &mut NoChangelog };
    for key in &keys {
        store.put(&mut cx, key, Some(&ValueAndTimestamp { value: 0, timestamp: 1 }))?;
    }
    let calls = 5_000_000;
    let watch = Watch::start();
    for number in 0..calls {
        let key = &keys[(number * 7919 % CACHED_KEYS) as usize];
        let count = store.get(key)?.map_or(0, |old| old.value);
        store.put(&mut cx, key, Some(&ValueAndTimestamp { value: count + 1, timestamp: 1 }))?;
    }
    watch.report("cached increment (get and put), 50,000 keys", calls);
    let watch = Watch::start();
    store.flush_cache(&mut cx)?;
    watch.report("flush of the cache, a key", CACHED_KEYS);
    commit(env, &mut store)
}

fn restore(
    env: &StoreEnvironment,
    spec: &kstreams_state_stores::StoreSpec,
    millions: u64,
) -> Result<(), StoreError> {
    let records = millions * 1_000_000;
    let keys: Vec<u8> = (0..records).flat_map(key).collect();
    let watch = Watch::start();
    let mut restore = BulkRestore::new(&env.backend, spec, 64 << 20)?;
    let one = 1i64.to_be_bytes();
    for key in keys.chunks_exact(9) {
        let headers = Headers::new();
        restore.push(&RestoreRecord {
            key,
            value: Some(&one),
            timestamp: 1,
            headers,
            partition: 0,
            offset: 0,
        })?;
    }
    let restored = restore.finish("changelog", 0, records as i64)?;
    let (clock, cpu) = watch.stop();
    let rate = |nanoseconds: f64| restored.records as f64 * 1e3 / nanoseconds;
    println!(
        "bulk restore of {millions} M records: {:.2} M records/s, {:.2} a second of CPU",
        rate(clock),
        rate(cpu)
    );
    Ok(())
}

const TASKS: usize = 100;
const STORES: usize = 20;
/// Updates of each store between two flushes.
const UPDATES: u64 = 50;

/// All tasks of a large instance commit, then each flushes its column families as one: how long that takes, and what it
/// leaves on the disk.
fn flushes() -> Result<(), StoreError> {
    let builders: Vec<_> = (0..STORES)
        .map(|store| Stores::timestamped_key_value::<Vec<u8>, i64>(format!("store-{store}")))
        .collect();
    let specs: Vec<_> = builders.iter().map(StoreBuilder::spec).collect();
    let directory = tempfile::TempDir::new().map_err(|error| invalid(&error.to_string()))?;
    let resources = RocksDbResources::new(RocksDbSettings::default());
    let watch = Watch::start();
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let db = Arc::new(TaskDb::open(directory.path().join(task.to_string()), &specs, &resources, None)?);
        let env = StoreEnvironment {
            backend: TaskBackend::Rocks(Arc::clone(&db)),
            ..StoreEnvironment::in_memory()
        };
        let stores: Result<Vec<Store>, _> = builders.iter().map(|builder| builder.build(&env)).collect();
        tasks.push((db, env, stores?));
    }
    watch.report(&format!("open of a database with {STORES} stores"), TASKS as u64);
    let record = RecordContext::default();
    let mut cx = StoreContext { record: &record, changelog: &mut NoChangelog };
    for round in 0..3 {
        let watch = Watch::start();
        for (_, env, stores) in &mut tasks {
            let mut batch = env.backend.new_batch();
            for store in stores.iter_mut() {
                for number in 0..UPDATES {
                    let value = ValueAndTimestamp { value: round, timestamp: 1 };
                    store.put(&mut cx, &key(number), Some(&value))?;
                }
                store.write_commit(&mut batch)?;
            }
            env.backend.write(batch)?;
            stores.iter_mut().for_each(StateStore::committed);
        }
        watch
            .report(&format!("commit of a task, {UPDATES} updates in each of {STORES} stores"), TASKS as u64);
        let watch = Watch::start();
        tasks.iter().try_for_each(|(db, ..)| db.flush())?;
        watch.report(&format!("atomic flush of a task, {STORES} stores"), TASKS as u64);
    }
    let files =
        tasks.iter().flat_map(|(db, ..)| std::fs::read_dir(db.path()).into_iter().flatten().flatten());
    let bytes: Vec<u64> = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).collect();
    println!("{} files, {} KiB a task", bytes.len() / TASKS, bytes.iter().sum::<u64>() / 1024 / TASKS as u64);
    Ok(())
}

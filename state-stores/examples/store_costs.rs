//! What a store costs: reads and writes through the layers, commits, cached increments, restore in bulk. Prints
//! nanoseconds a call and records a second; everything on one thread.
//!
//! ```sh
//! cargo run --release -p kstreams-state-stores --example store_costs [-- <million records to restore>]
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstreams_state_stores::testing::NoChangelog;
use kstreams_state_stores::{
    BulkRestore, CacheBudget, ChangelogId, KeyValueStore, RecordContext, RocksDbResources, RocksDbSettings,
    StateStore, StoreBuilder, StoreContext, StoreEnvironment, StoreError, Stores, TaskBackend, TaskDb,
    UncommittedBudget, ValueAndTimestamp,
};

const KEYS: u64 = 1_000_000;
const CACHED_KEYS: u64 = 50_000;

type Store = KeyValueStore<Vec<u8>, ValueAndTimestamp<i64>>;

fn main() -> Result<(), StoreError> {
    let millions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
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
    layers("RocksDB", &env, builder.build(&env)?)?;
    layers("memory", &env, builder.clone().in_memory().build(&env)?)?;
    cached_increments(&env, builder.clone().with_caching_enabled().build(&env)?)?;
    restore(&env, &builder.spec(), millions)
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

fn report(what: &str, calls: u64, took: Duration) {
    let nanoseconds = took.as_nanos() as f64 / calls as f64;
    println!("{what:<48} {nanoseconds:>8.0} ns a call");
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
        let start = Instant::now();
        for key in &keys {
            store.put(&mut cx, key, Some(&ValueAndTimestamp { value: 1, timestamp: 1 }))?;
        }
        report(&format!("{engine}: put, not cached, {round}"), KEYS, start.elapsed());
        let start = Instant::now();
        let mut found = 0;
        for key in &keys {
            found += u64::from(store.get(key)?.is_some());
        }
        report(&format!("{engine}: get of an uncommitted key"), found, start.elapsed());
        let start = Instant::now();
        commit(env, &mut store)?;
        report(&format!("{engine}: commit, a key"), KEYS, start.elapsed());
    }
    let start = Instant::now();
    let mut found = 0;
    for key in &keys {
        found += u64::from(store.get(key)?.is_some());
    }
    report(&format!("{engine}: get of a committed key"), found, start.elapsed());
    let start = Instant::now();
    let entries = store.all()?.count() as u64;
    report(&format!("{engine}: all, an entry"), entries, start.elapsed());
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
    let start = Instant::now();
    for number in 0..calls {
        let key = &keys[(number * 7919 % CACHED_KEYS) as usize];
        let count = store.get(key)?.map_or(0, |old| old.value);
        store.put(&mut cx, key, Some(&ValueAndTimestamp { value: count + 1, timestamp: 1 }))?;
    }
    report("cached increment (get and put), 50,000 keys", calls, start.elapsed());
    let start = Instant::now();
    store.flush_cache(&mut cx)?;
    report("flush of the cache, a key", CACHED_KEYS, start.elapsed());
    commit(env, &mut store)
}

fn restore(
    env: &StoreEnvironment,
    spec: &kstreams_state_stores::StoreSpec,
    millions: u64,
) -> Result<(), StoreError> {
    let records = millions * 1_000_000;
    let keys: Vec<u8> = (0..records).flat_map(key).collect();
    let start = Instant::now();
    let mut restore = BulkRestore::new(&env.backend, spec, 64 << 20)?;
    for key in keys.chunks_exact(9) {
        restore.push(key, Some(&1i64.to_be_bytes()), 1)?;
    }
    let restored = restore.finish("changelog", 0, records as i64)?;
    let took = start.elapsed();
    let rate = restored.records as f64 / took.as_secs_f64() / 1e6;
    println!("bulk restore of {millions} M records: {rate:.2} M records/s");
    Ok(())
}

//! What it costs to read the windows that have closed, with the index by time that stores for final results have and without
//! it, and what the index costs the puts. Many windows of many keys, all in one segment of RocksDB; one start is read.
//!
//! ```sh
//! cargo run --release -p kstreams-state-stores --example window_costs [-- thousand keys, windows of each]
//! ```

use std::sync::Arc;
use std::time::Instant;

use kstreams_state_stores::testing::NoChangelog;
use kstreams_state_stores::{
    RecordContext, RocksDbResources, RocksDbSettings, StateStore, StoreBuilder, StoreContext,
    StoreEnvironment, StoreError, Stores, TaskBackend, TaskDb,
};

/// A window begins each second.
const ADVANCE_MS: i64 = 1_000;
const SIZE_MS: i64 = 60_000;

fn main() -> Result<(), StoreError> {
    let number = |at: usize, default: u64| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (keys, windows) = (number(1, 20) * 1_000, number(2, 60) as i64);
    println!("{keys} keys x {windows} windows, a result for each key");
    for indexed in [false, true] {
        measure(keys, windows, indexed)?;
    }
    Ok(())
}

fn measure(keys: u64, windows: i64, indexed: bool) -> Result<(), StoreError> {
    let directory = tempfile::TempDir::new().map_err(|error| StoreError::InvalidStore {
        store: "windows".to_owned(),
        reason: error.to_string(),
    })?;
    // Long enough that all windows are in one segment, half the retention.
    let retention = 2 * windows * ADVANCE_MS + SIZE_MS;
    let builder = Stores::window::<u64, i64>("windows", retention, SIZE_MS);
    let builder = if indexed { builder.for_final_results() } else { builder };
    let resources =
        RocksDbResources::new(RocksDbSettings { memory_bytes: 512 << 20, ..RocksDbSettings::default() });
    let db = Arc::new(TaskDb::open(directory.path(), &[builder.spec()], &resources, None)?);
    let backend = TaskBackend::Rocks(db);
    let mut store =
        builder.build(&StoreEnvironment { backend: backend.clone(), ..StoreEnvironment::in_memory() })?;
    let (record, mut changelog) = (RecordContext::default(), NoChangelog);
    let begun = Instant::now();
    for window in 0..windows {
        for key in 0..keys {
            let mut cx = StoreContext { record: &record, changelog: &mut changelog };
            store.put(&mut cx, &key.wrapping_mul(0x9e37_79b9_7f4a_7c15), Some(&1), window * ADVANCE_MS)?;
        }
        let mut batch = backend.new_batch();
        store.write_commit(&mut batch)?;
        backend.write(batch)?;
        store.committed();
    }
    let put_nanos = begun.elapsed().as_nanos() / u128::from(keys * windows as u64);
    let closed = windows / 2 * ADVANCE_MS;
    for round in ["first", "second"] {
        let begun = Instant::now();
        // As each second, when one more start has closed.
        let (mut pages, mut results) = (store.by_time(closed - ADVANCE_MS + 1, closed), 0);
        while !pages.ended() {
            results += store.next_page_by_time(&mut pages, 1024)?.len();
        }
        let name = if indexed { "with the index" } else { "without" };
        println!(
            "{name:>15}: put and commit {put_nanos} ns, {round} read of {results} results {:.1} ms",
            begun.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

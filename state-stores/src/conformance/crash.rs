//! A process killed while it commits: what it leaves is the state as of one of its commits, in all stores alike.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::testing::NoChangelog;
use crate::{
    KeyValueStore, KeyValueStoreBuilder, RecordContext, RocksDbResources, RocksDbSettings, StateStore,
    StoreBuilder, StoreContext, StoreEnvironment, Stores, TaskBackend, TaskDb,
};

const DIRECTORY: &str = "KSTREAMS_CRASH_TEST_DIRECTORY";
const TOPIC: &str = "changelog";
const KEYS: i64 = 1000;
const UPDATES_PER_COMMIT: i64 = 100;

struct Process {
    db: Arc<TaskDb>,
    backend: TaskBackend,
    stores: Vec<KeyValueStore<i64, i64>>,
}

impl Process {
    fn start(path: &Path) -> Self {
        // Flushes in the background all the time, so that the kill meets some.
        let settings = RocksDbSettings { flush_after_records: 3000, ..RocksDbSettings::default() };
        let builders: Vec<KeyValueStoreBuilder<i64, i64>> =
            ["one", "two"].map(Stores::key_value::<i64, i64>).to_vec();
        let specs: Vec<_> = builders.iter().map(StoreBuilder::spec).collect();
        let db = TaskDb::open(path, &specs, &RocksDbResources::new(settings), None).unwrap();
        let db = Arc::new(db);
        let backend = TaskBackend::Rocks(Arc::clone(&db));
        let env = StoreEnvironment { backend: backend.clone(), ..StoreEnvironment::in_memory() };
        let stores = builders.iter().map(|builder| builder.build(&env).unwrap()).collect();
        Process { db, backend, stores }
    }

    fn offset(&self) -> i64 {
        self.db.changelog_offsets().unwrap().get(&(TOPIC.to_owned(), 0)).copied().unwrap_or(0)
    }

    /// Update `n` sets key `n % KEYS` to `n`.
    fn commit_from(&mut self, offset: i64) {
        let record = RecordContext::default();
        let mut batch = self.backend.new_batch();
        for store in &mut self.stores {
            let mut cx = StoreContext { record: &record, changelog: &mut NoChangelog };
            for update in offset..offset + UPDATES_PER_COMMIT {
                store.put(&mut cx, &(update % KEYS), Some(&update)).unwrap();
            }
            store.write_commit(&mut batch).unwrap();
        }
        batch.set_changelog_offset(TOPIC, 0, offset + UPDATES_PER_COMMIT).unwrap();
        self.backend.write(batch).unwrap();
        self.stores.iter_mut().for_each(StateStore::committed);
    }

    fn check(&mut self, offset: i64) {
        for store in &mut self.stores {
            for key in 0..KEYS {
                let newest = (offset - 1 - key).div_euclid(KEYS) * KEYS + key;
                let expected = (newest >= 0).then_some(newest);
                assert_eq!(store.get(&key).unwrap(), expected, "key {key} at offset {offset}");
            }
        }
    }
}

/// Runs until it is killed; says so after each commit.
fn be_killed(path: &Path) -> ! {
    let mut process = Process::start(path);
    let mut offset = process.offset();
    loop {
        process.commit_from(offset);
        offset += UPDATES_PER_COMMIT;
        println!("committed {offset}");
    }
}

#[test]
fn a_killed_process_leaves_the_state_of_one_of_its_commits() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        be_killed(Path::new(&directory));
    }
    let directory = TempDir::new().unwrap();
    let mut before = 0;
    for commits in [45, 120, 200] {
        // This test again, in a process of its own.
        let test = "conformance::crash::a_killed_process_leaves_the_state_of_one_of_its_commits";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let commits = lines.map(Result::unwrap).filter(|line| line.contains("committed")).take(commits);
        assert!(commits.count() > 0);
        child.kill().unwrap();
        child.wait().unwrap();

        let mut process = Process::start(directory.path());
        let offset = process.offset();
        assert!(offset > before, "nothing of {commits:?} commits was flushed", commits = offset - before);
        process.check(offset);
        before = offset;
    }
}

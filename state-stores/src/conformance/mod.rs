//! One suite for every engine, with and without cache: random operations against a plain model, restarts and crashes
//! among them, by the protocol that the core follows.

mod by_time;
mod crash;
mod database;
mod headers;
mod key_value;
mod lru;
mod own;
mod session;
mod vectors;
mod versioned;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_oneof};
use tempfile::TempDir;

use crate::testing::{Logged, RecordedChangelog};
use crate::{
    CacheBudget, ChangelogId, RecordContext, RocksDbResources, RocksDbSettings, Serde, SerdeError,
    StateStore, StoreContext, StoreEnvironment, StoreSpec, TaskBackend, TaskDb, UncommittedBudget,
};

/// A number of random cases, unless `PROPTEST_CASES` says another; a failure prints its case.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

/// Keys of a few bytes, the least and the greatest among them: some are the beginning of others, and the empty one of all.
pub(crate) fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0u8, b'a', 0xff]);
    prop::collection::vec(byte, 0..3)
}

/// Where the stores of a test live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Rocks,
    Memory,
    /// In a store of the user's own, which follows the rules of those in memory.
    Own,
}

impl Engine {
    pub(crate) fn is_in_memory(self) -> bool {
        self != Engine::Rocks
    }
}

/// The builder, told where the store is kept.
macro_rules! on_engine {
    ($builder:expr, $engine:expr) => {
        match $engine {
            $crate::conformance::Engine::Rocks => $builder,
            $crate::conformance::Engine::Memory => $builder.in_memory(),
            $crate::conformance::Engine::Own => {
                $builder.with_bytes_store(|_| $crate::conformance::own::Sorted::default())
            }
        }
    };
}
pub(crate) use on_engine;

/// Sizes of cache that matter: off, too small for anything, room for one entry, for some, for all.
pub(crate) const CACHES: [Option<usize>; 5] = [None, Some(1), Some(70), Some(400), Some(1 << 20)];

pub(crate) const TOPIC: &str = "app-store-changelog";

/// What happens to a task, whatever its store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    FlushCache,
    FlushMemtables,
    Commit,
    Abort,
    Restart,
    Crash,
}

impl Event {
    /// Whether what was not committed is gone after it.
    pub(crate) fn goes_back(self) -> bool {
        self == Event::Abort || self.reopens()
    }

    /// Whether the store is another one after it, restored from the changelog.
    pub(crate) fn reopens(self) -> bool {
        matches!(self, Event::Restart | Event::Crash)
    }

    /// What it does to a model of the store: `committed` is what it was at the last commit.
    pub(crate) fn settle<M: Clone>(self, current: &mut M, committed: &mut M) {
        if self == Event::Commit {
            *committed = current.clone();
        }
        if self.goes_back() {
            *current = committed.clone();
        }
    }
}

/// Any of them, commits more often than others.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::FlushCache),
        1 => Just(Event::FlushMemtables),
        3 => Just(Event::Commit),
        1 => Just(Event::Abort),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ]
}

/// A task with one store: what the core does with it, done by hand.
pub(crate) struct Task<S> {
    engine: Engine,
    build: Box<dyn Fn(&StoreEnvironment) -> S>,
    spec: StoreSpec,
    generation: u32,
    resources: Arc<RocksDbResources>,
    cache_bytes: usize,
    pub(crate) backend: TaskBackend,
    pub(crate) store: Option<S>,
    /// The changelog topic; records from `committed` on are of the running transaction.
    pub(crate) changelog: RecordedChangelog,
    committed: usize,
    pub(crate) record: RecordContext,
    /// Last, so that it is deleted when the database is closed.
    directory: TempDir,
}

impl<S: StateStore> Task<S> {
    pub(crate) fn new(
        engine: Engine,
        cache_bytes: usize,
        spec: StoreSpec,
        build: impl Fn(&StoreEnvironment) -> S + 'static,
    ) -> Self {
        let settings = RocksDbSettings { memory_bytes: 4 << 20, ..RocksDbSettings::default() };
        let mut task = Task {
            engine,
            build: Box::new(build),
            spec,
            directory: TempDir::new().unwrap(),
            generation: 0,
            resources: RocksDbResources::new(settings),
            cache_bytes,
            backend: TaskBackend::Memory,
            store: None,
            changelog: RecordedChangelog::default(),
            committed: 0,
            record: RecordContext::default(),
        };
        task.open();
        task
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(self.generation.to_string())
    }

    pub(crate) fn db(&self) -> Option<&Arc<TaskDb>> {
        self.backend.db()
    }

    fn open(&mut self) {
        self.backend = match self.engine {
            Engine::Rocks => {
                let stores = std::slice::from_ref(&self.spec);
                let db = TaskDb::open(self.path(), stores, &self.resources, None).unwrap();
                TaskBackend::Rocks(Arc::new(db))
            }
            Engine::Memory | Engine::Own => TaskBackend::Memory,
        };
        let env = StoreEnvironment {
            backend: self.backend.clone(),
            cache: CacheBudget::new(self.cache_bytes),
            uncommitted: UncommittedBudget::new(usize::MAX),
            changelog: Some(ChangelogId(0)),
            changelog_topic: TOPIC.to_owned(),
        };
        self.store = Some((self.build)(&env));
    }

    /// The store, and the context for a call.
    pub(crate) fn access(&mut self) -> (&mut S, StoreContext<'_>) {
        let cx = StoreContext { record: &self.record, changelog: &mut self.changelog };
        (self.store.as_mut().unwrap(), cx)
    }

    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::FlushCache => self.flush_cache(),
            Event::FlushMemtables => self.flush_memtables(),
            Event::Commit => self.commit(),
            Event::Abort => self.abort(),
            Event::Restart => self.restart(),
            Event::Crash => self.crash(),
        }
    }

    fn flush_cache(&mut self) {
        let (store, mut cx) = self.access();
        store.flush_cache(&mut cx).unwrap();
    }

    pub(crate) fn commit(&mut self) {
        self.flush_cache();
        self.committed = self.changelog.records.len();
        let mut batch = self.backend.new_batch();
        batch.set_changelog_offset(TOPIC, 0, self.committed as i64).unwrap();
        let store = self.store.as_mut().unwrap();
        store.write_commit(&mut batch).unwrap();
        self.backend.write(batch).unwrap();
        store.committed();
        assert_eq!(store.uncommitted_bytes(), 0);
    }

    /// The transaction is aborted: its changelog records are, and the store forgets them.
    pub(crate) fn abort(&mut self) {
        self.changelog.records.truncate(self.committed);
        self.store.as_mut().unwrap().discard_uncommitted();
    }

    /// The task is closed in an orderly way, without a commit, and opened again.
    pub(crate) fn restart(&mut self) {
        if let Some(db) = self.db() {
            db.flush().unwrap();
        }
        self.reopen();
    }

    /// The process dies: what is on disk at this moment is opened as another database.
    pub(crate) fn crash(&mut self) {
        let from = self.path();
        self.generation += 1;
        if let Some(db) = self.db() {
            // Files that go while the copy is made would make an image that no moment had.
            db.db.disable_file_deletions().unwrap();
            copy_directory(&from, &self.path());
        }
        self.reopen();
    }

    pub(crate) fn flush_memtables(&mut self) {
        if let Some(db) = self.db() {
            db.flush().unwrap();
        }
    }

    fn reopen(&mut self) {
        self.changelog.records.truncate(self.committed);
        self.store = None;
        self.backend = TaskBackend::Memory;
        self.open();
        let offsets = self.db().map(|db| db.changelog_offsets().unwrap()).unwrap_or_default();
        let offset = offsets.get(&(TOPIC.to_owned(), 0)).map_or(0, |&offset| offset as usize);
        assert!(offset <= self.committed, "the database is ahead of the changelog");
        let tail = self.changelog.records[offset..].to_vec();
        self.store.as_mut().unwrap().restore(&mut tail.iter().map(Logged::restore)).unwrap();
        self.commit();
    }
}

/// The list of files first: what it names stays, while a newer list would name files that were not copied.
fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for lists in [true, false] {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_list = name == "CURRENT" || name.starts_with("MANIFEST");
            if is_list != lists || name == "LOCK" || !entry.path().is_file() {
                continue;
            }
            // Temporary files come and go all the same.
            match std::fs::copy(entry.path(), to.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// A value whose serde loses half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lossy {
    pub(crate) kept: u16,
    pub(crate) lost: u16,
}

impl Lossy {
    pub(crate) fn after_a_round_trip(self) -> Self {
        Lossy { lost: 0, ..self }
    }
}

#[derive(Clone, Default)]
pub(crate) struct LossySerde;

impl Serde for LossySerde {
    type Target = Lossy;

    fn serialize(&self, value: &Lossy, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        // Of changing length, so that values are overwritten in place and not.
        out.extend(std::iter::repeat_n(0, usize::from(value.kept % 3)));
        out.extend_from_slice(&value.kept.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Lossy, SerdeError> {
        let kept = bytes.last_chunk().ok_or_else(|| SerdeError::other("too short"))?;
        Ok(Lossy { kept: u16::from_be_bytes(*kept), lost: 0 })
    }
}

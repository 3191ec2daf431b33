//! Query: typed reads of local stores from other threads.
//!
//! A read is a message to the processing thread that owns the task. It runs between two records, so it sees everything
//! processed so far, committed or not, through cache and uncommitted layer; it is never half a record. The owning thread
//! only looks a key up, or makes a view: a copy of what is cached and uncommitted in the range, and a snapshot of the
//! database. The caller iterates over the view on its own thread, so that long scans don't slow the task.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use kstreams_state_stores::{
    KeyValueStore, ReadView, SessionStore, StateStore, StoreError, VersionedKeyValueStore, VersionedRecord,
    WindowStore, Windowed,
};

use qcell::QCellOwner;

use super::error::RuntimeError;
use super::instance::{Instance, TaskEntry, ThreadCommand};
use crate::error::StreamsError;
use crate::task::{TaskId, open_reader};

/// How long a read waits for the owning thread, which may be in the middle of a round or a commit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A type of store that can be read from outside.
pub trait QueryableStore: StateStore + 'static {}

impl<K: Send + 'static, V: Send + 'static> QueryableStore for KeyValueStore<K, V> where
    KeyValueStore<K, V>: StateStore
{
}
impl<K: Send + 'static, V: Send + 'static> QueryableStore for WindowStore<K, V> where
    WindowStore<K, V>: StateStore
{
}

impl<K: Send + 'static, V: Send + 'static> QueryableStore for VersionedKeyValueStore<K, V> where
    VersionedKeyValueStore<K, V>: StateStore
{
}
impl<K: Send + 'static, V: Send + 'static> QueryableStore for SessionStore<K, V> where
    SessionStore<K, V>: StateStore
{
}

/// A store of this instance, over all its local partitions, for reading (`ReadOnlyKeyValueStore`,
/// `ReadOnlyWindowStore`, `ReadOnlySessionStore`). Each read sees what is processed at that moment; two reads may see different states.
pub struct ReadOnlyStore<S> {
    instance: Arc<Instance>,
    name: Arc<str>,
    store: PhantomData<fn() -> S>,
}

impl<S> Clone for ReadOnlyStore<S> {
    fn clone(&self) -> Self {
        ReadOnlyStore { instance: self.instance.clone(), name: self.name.clone(), store: PhantomData }
    }
}

impl<S> std::fmt::Debug for ReadOnlyStore<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyStore").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: QueryableStore> ReadOnlyStore<S> {
    pub(crate) fn new(instance: Arc<Instance>, name: &str) -> Result<Self, StreamsError> {
        let Some((name, _)) = instance.topology.stores.get_key_value(name) else {
            let known: Vec<&str> = instance.topology.stores.keys().map(|name| &**name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(RuntimeError::UnknownStore { store: name.to_owned(), known }.into());
        };
        let name = name.clone();
        Ok(ReadOnlyStore { instance, name, store: PhantomData })
    }

    /// The local tasks that have this store.
    fn tasks(&self) -> Result<Vec<Arc<TaskEntry>>, StreamsError> {
        let users = self
            .instance
            .topology
            .stores
            .get(&self.name)
            .map(|store| store.users.clone())
            .unwrap_or_default();
        let has = |id: TaskId| {
            let part = self.instance.part_of(id);
            part.is_ok_and(|part| users.iter().any(|user| part.nodes.contains(user)))
        };
        let entries: Vec<_> =
            self.instance.tasks.read().values().filter(|entry| has(entry.id)).cloned().collect();
        if let Some(entry) = entries.iter().find(|entry| !entry.running.load(Ordering::Acquire)) {
            return Err(self.unavailable(format!("task {} is being restored", entry.id)));
        }
        if !self.instance.state.get().is_running_or_rebalancing() {
            return Err(self.unavailable(format!("the state is {}", self.instance.state.get())));
        }
        Ok(entries)
    }

    fn unavailable(&self, why: String) -> StreamsError {
        RuntimeError::StoreNotAvailable { store: self.name.to_string(), why }.into()
    }

    /// Runs `f` on a view of a global store, on this thread: nothing is asked of anybody.
    fn on_global<T>(&self, f: impl FnOnce(&mut S) -> Result<T, StoreError>) -> Result<T, StreamsError> {
        let stores = self.instance.global.read().clone();
        let stores = stores.ok_or_else(|| self.unavailable("global state is being restored".to_owned()))?;
        let Some(entry) = self.instance.topology.stores.get(&self.name) else {
            return Err(self.unavailable("it is not in the topology".to_owned()));
        };
        let mut owner = QCellOwner::new();
        let store = open_reader(&self.name, entry, &stores, &owner)?;
        let task = TaskId::GLOBAL.to_string();
        store.with(&mut owner, f)?.map_err(|source| StreamsError::Store { task, source })
    }

    fn is_global(&self) -> bool {
        self.instance.topology.stores.get(&self.name).is_some_and(|store| store.global.is_some())
    }

    /// Runs `f` on this store in every local task that has it, each on its owning thread, and answers in the order of
    /// the tasks.
    fn on_each<T, F>(&self, f: F) -> Result<Vec<T>, StreamsError>
    where
        T: Send + 'static,
        F: Fn(&mut S) -> Result<T, StoreError> + Clone + Send + 'static,
    {
        if self.is_global() {
            return Ok(vec![self.on_global(|store| f(store))?]);
        }
        let mut answers = Vec::new();
        // All tasks are asked before the first answer is waited for.
        for entry in self.tasks()? {
            let (sender, answer) = channel();
            let (name, f) = (self.name.clone(), f.clone());
            let query = Box::new(move |task: &mut crate::task::Task| {
                let id = task.id();
                let result = task.query::<S, _>(&name, |store| f(store)).and_then(|found| {
                    found.transpose().map_err(|source| StreamsError::Store { task: id.to_string(), source })
                });
                // The caller may have given up.
                let _ = sender.send(result);
            });
            let sent = self
                .instance
                .thread(entry.thread)
                .is_some_and(|thread| thread.mailbox.send(ThreadCommand::Query(entry.id, query)));
            if sent {
                answers.push((entry.id, answer));
            }
        }
        let mut results = Vec::new();
        for (id, answer) in answers {
            match answer.recv_timeout(ANSWER_TIMEOUT) {
                Ok(result) => results.extend(result?),
                Err(_) => return Err(self.unavailable(format!("task {id} has moved, or its thread is busy"))),
            }
        }
        Ok(results)
    }
}

/// Entries of several partitions, one after another. Within a partition they are in the store's order.
pub struct QueryIterator<T> {
    views: std::vec::IntoIter<ReadView<T>>,
    current: Option<ReadView<T>>,
}

impl<T> QueryIterator<T> {
    fn new(views: Vec<ReadView<T>>) -> Self {
        QueryIterator { views: views.into_iter(), current: None }
    }
}

impl<T> Iterator for QueryIterator<T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.current.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            self.current = Some(self.views.next()?);
        }
    }
}

impl<K, V> ReadOnlyStore<KeyValueStore<K, V>>
where
    K: Clone + Send + 'static,
    V: Send + 'static,
    KeyValueStore<K, V>: QueryableStore,
{
    /// The value of a key, wherever among the local partitions it is; `None` also when the key is another instance's.
    ///
    /// # Errors
    /// When the store is being restored or moves, `V` or `K` aren't its types, or reading fails.
    pub fn get(&self, key: &K) -> Result<Option<V>, StreamsError>
    where
        K: Sync,
    {
        let key = key.clone();
        let found = self.on_each(move |store: &mut KeyValueStore<K, V>| store.get(&key))?;
        Ok(found.into_iter().flatten().next())
    }

    /// Entries from `from` to `to`, both included; `None` is open.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range(&self, from: Option<&K>, to: Option<&K>) -> Result<QueryIterator<(K, V)>, StreamsError> {
        let (from, to) = (from.cloned(), to.cloned());
        self.on_each(move |store: &mut KeyValueStore<K, V>| store.read_view(from.as_ref(), to.as_ref()))
            .map(QueryIterator::new)
    }

    /// Every entry of the local partitions.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn all(&self) -> Result<QueryIterator<(K, V)>, StreamsError> {
        self.range(None, None)
    }

    /// The number of entries of the local partitions; not exact (`approximateNumEntries`).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn approximate_num_entries(&self) -> Result<u64, StreamsError> {
        let counts = self.on_each(|store: &mut KeyValueStore<K, V>| Ok(store.approximate_entries()))?;
        Ok(counts.into_iter().sum())
    }
}

impl<K, V> ReadOnlyStore<WindowStore<K, V>>
where
    K: Clone + Send + 'static,
    V: Send + 'static,
    WindowStore<K, V>: QueryableStore,
{
    /// The windows of a key that start from `from` to `to` (ms since the epoch, both included): start and value.
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn fetch(&self, key: &K, from: i64, to: i64) -> Result<QueryIterator<(i64, V)>, StreamsError> {
        let key = key.clone();
        self.on_each(move |store: &mut WindowStore<K, V>| store.fetch_view(&key, from, to))
            .map(QueryIterator::new)
    }

    /// The windows of keys from `low` to `high` (both included, `None` is open) that start from `from` to `to` (ms).
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn fetch_range(
        &self,
        low: Option<&K>,
        high: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<QueryIterator<(Windowed<K>, V)>, StreamsError> {
        let (low, high) = (low.cloned(), high.cloned());
        self.on_each(move |store: &mut WindowStore<K, V>| {
            store.fetch_range_view(low.as_ref(), high.as_ref(), from, to)
        })
        .map(QueryIterator::new)
    }
}

impl<K, V> ReadOnlyStore<VersionedKeyValueStore<K, V>>
where
    K: Clone + Send + 'static,
    V: Send + 'static,
    VersionedKeyValueStore<K, V>: QueryableStore,
{
    /// The latest version of a key (`VersionedKeyQuery`).
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn get(&self, key: &K) -> Result<Option<VersionedRecord<V>>, StreamsError> {
        let key = key.clone();
        let found = self.on_each(move |store: &mut VersionedKeyValueStore<K, V>| store.get(&key))?;
        Ok(found.into_iter().flatten().next())
    }

    /// The version of a key that counted at `time` (ms since the epoch).
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn get_as_of(&self, key: &K, time: i64) -> Result<Option<VersionedRecord<V>>, StreamsError> {
        let key = key.clone();
        let found =
            self.on_each(move |store: &mut VersionedKeyValueStore<K, V>| store.get_as_of(&key, time))?;
        Ok(found.into_iter().flatten().next())
    }

    /// The versions of a key that counted at some time from `from` to `to` (ms since the epoch), the latest first
    /// (`MultiVersionedKeyQuery`).
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn versions(&self, key: &K, from: i64, to: i64) -> Result<Vec<VersionedRecord<V>>, StreamsError> {
        let key = key.clone();
        let found =
            self.on_each(move |store: &mut VersionedKeyValueStore<K, V>| store.versions(&key, from, to))?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl<K, V> ReadOnlyStore<SessionStore<K, V>>
where
    K: Clone + Send + 'static,
    V: Send + 'static,
    SessionStore<K, V>: QueryableStore,
{
    /// All sessions of a key, by end and start, each with its value.
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn fetch(&self, key: &K) -> Result<QueryIterator<(Windowed<K>, V)>, StreamsError> {
        self.find_sessions(key, 0, i64::MAX)
    }

    /// Sessions of a key that end at `earliest_end` or later and start at `latest_start` or earlier (ms).
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn find_sessions(
        &self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<QueryIterator<(Windowed<K>, V)>, StreamsError> {
        let key = key.clone();
        self.on_each(move |store: &mut SessionStore<K, V>| {
            store.find_sessions_view(&key, earliest_end, latest_start)
        })
        .map(QueryIterator::new)
    }

    /// The value of one session.
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn fetch_session(&self, key: &K, start: i64, end: i64) -> Result<Option<V>, StreamsError> {
        let key = key.clone();
        let found =
            self.on_each(move |store: &mut SessionStore<K, V>| store.fetch_session(&key, start, end))?;
        Ok(found.into_iter().flatten().next())
    }

    /// Sessions of the keys from `from` to `to`, both included; `None` is open.
    ///
    /// # Errors
    /// As for key-value stores.
    pub fn fetch_range(
        &self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<QueryIterator<(Windowed<K>, V)>, StreamsError> {
        let (from, to) = (from.cloned(), to.cloned());
        self.on_each(move |store: &mut SessionStore<K, V>| store.fetch_range_view(from.as_ref(), to.as_ref()))
            .map(QueryIterator::new)
    }
}

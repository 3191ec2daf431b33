//! Session stores, as processors use them.

use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::contract::{
    CacheStats, Flushed, RestoreRecord, StateStore, StoreContext, StoreEnvironment, StoreSpec,
};
use crate::engine::Engine;
use crate::key_value::Serdes;
use crate::keys::TimedKey;
use crate::rocks::BulkRestored;
use crate::time_index::TimePages;
use crate::timed::{TimedStore, timed_reads, timed_store_methods};
use crate::view::{ReadView, StoreIterator};
use crate::windowed::{Window, Windowed};
use crate::{DynSerde, StoreError};

/// A store of values by key and session (`org.apache.kafka.streams.state.SessionStore`). Both ends of a session are
/// included. Sessions expire by their end: those older than the retention, counted from the latest end put, are refused
/// and counted as dropped, by segment in RocksDB, strictly in memory.
///
/// Iteration is in the JVM's order: in RocksDB segment by segment, then by key, end and start; in memory by end, then
/// key and start.
///
/// ```
/// use kstreams_state_stores::{StoreBuilder, StoreEnvironment, Stores, Window, Windowed, testing};
///
/// let mut visits = Stores::session::<String, i64>("visits", 60_000).build(&StoreEnvironment::in_memory())?;
/// let (record, mut changelog) = (Default::default(), testing::NoChangelog);
/// let mut cx = kstreams_state_stores::StoreContext { record: &record, changelog: &mut changelog };
/// let session = Windowed::new("a".to_owned(), Window { start: 10, end: 20 });
/// visits.put(&mut cx, &session, Some(&2))?;
/// assert_eq!(visits.find_sessions(&session.key, 15, 30)?.count(), 1, "those that end at 15 or later");
/// # Ok::<(), kstreams_state_stores::StoreError>(())
/// ```
pub struct SessionStore<K, V> {
    timed: TimedStore<K, V>,
}

/// Keys with their sessions and values, borrowed from a store.
pub type SessionIterator<'a, K, V> = StoreIterator<'a, (Windowed<K>, V)>;

impl<K: 'static, V: 'static> SessionStore<K, V> {
    pub(crate) fn new(
        spec: StoreSpec,
        engine: Box<dyn Engine>,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        Ok(SessionStore { timed: TimedStore::new(spec, engine, key, value, env)? })
    }

    /// Sets the value of a session; `None` deletes it.
    ///
    /// # Errors
    /// [`StoreError::Serde`], and those of the changelog and the database. A late put is no error.
    pub fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        session: &Windowed<K>,
        value: Option<&V>,
    ) -> Result<(), StoreError> {
        let Window { start, end } = session.window;
        self.timed.put(cx, &session.key, end, start.cast_unsigned(), value)
    }

    /// Deletes a session. Unlike a put of `None` it is not counted as dropped where the session has expired.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn remove(&mut self, cx: &mut StoreContext<'_>, session: &Windowed<K>) -> Result<(), StoreError> {
        let Window { start, end } = session.window;
        self.timed.remove(cx, &session.key, end, start.cast_unsigned())
    }

    /// The value of one session.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database.
    pub fn fetch_session(&mut self, key: &K, start: i64, end: i64) -> Result<Option<V>, StoreError> {
        self.timed.get(key, end, start.cast_unsigned())
    }

    /// All sessions of a key, by end and start.
    ///
    /// # Errors
    /// [`StoreError::Serde`] and those of the database, also in the iterator.
    pub fn fetch(&mut self, key: &K) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.find_sessions(key, 0, i64::MAX)
    }

    /// As [`fetch`](Self::fetch), in reverse.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch(&mut self, key: &K) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.backward_find_sessions(key, 0, i64::MAX)
    }

    /// All sessions of the keys from `from` to `to` (both included; `None`: no bound).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.find_sessions_range(from, to, 0, i64::MAX)
    }

    /// As [`fetch_range`](Self::fetch_range), in reverse.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_range(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<SessionIterator<'_, K, V>, StoreError> {
        self.backward_find_sessions_range(from, to, 0, i64::MAX)
    }

    timed_reads! {
        /// Sessions of a key that end at `earliest_end` or later and start at `latest_start` or earlier (ms): those that
        /// overlap the time between the two, by end and start.
        ///
        /// # Errors
        /// As [`fetch`](Self::fetch).
        pub fn find_sessions, backward_find_sessions(
            key: &K,
            earliest_end: i64,
            latest_start: i64,
        ) -> SessionIterator<'_, K, V>,
        |store| store.timed.of_key(key, earliest_end, i64::MAX).map(|query| query.started_by(latest_start)) => session;

        /// As [`find_sessions`](Self::find_sessions), of the keys from `from` to `to`.
        ///
        /// # Errors
        /// As [`fetch`](Self::fetch).
        pub fn find_sessions_range, backward_find_sessions_range(
            from: Option<&K>,
            to: Option<&K>,
            earliest_end: i64,
            latest_start: i64,
        ) -> SessionIterator<'_, K, V>,
        |store| {
            let query = store.timed.of_keys(from, to, earliest_end, i64::MAX);
            query.map(|query| query.started_by(latest_start))
        } => session;
    }

    /// The sessions of all keys that end from `earliest_end` to `latest_end`, in the order of time that the JVM's stores
    /// for final results have: in RocksDB by end, start and key, in memory by end, key and start; to be read with
    /// [`next_page_by_time`](Self::next_page_by_time). In RocksDB sessions that have expired are among them as long as
    /// their segment lives. A store that was built
    /// [for final results](crate::SessionStoreBuilder::for_final_results) reads no more than these.
    pub fn by_time(&self, earliest_end: i64, latest_end: i64) -> TimePages {
        TimePages::new(earliest_end, latest_end)
    }

    /// The next sessions, about `limit` of them: none where `pages` has ended. The store may change in between.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn next_page_by_time(
        &mut self,
        pages: &mut TimePages,
        limit: usize,
    ) -> Result<Vec<(Windowed<K>, V)>, StoreError> {
        self.timed.next_page_by_time(pages, limit, true, session)
    }

    timed_store_methods!();

    /// Whether the store is of the format with headers (`dsl.store.format=HEADERS`).
    pub fn has_headers_format(&self) -> bool {
        self.timed.layers.spec().logs_headers == crate::LoggedHeaders::OfDeletions
    }

    /// See [`KeyValueStore::pop_flushed`](crate::KeyValueStore::pop_flushed).
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn pop_flushed(&mut self) -> Result<Option<Flushed<Windowed<K>, V>>, StoreError> {
        self.timed.pop_flushed(window_of)
    }

    /// [`find_sessions`](Self::find_sessions) for another thread, of the entries as they are now; see
    /// [`KeyValueStore::read_view`](crate::KeyValueStore::read_view).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn find_sessions_view(
        &mut self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<ReadView<(Windowed<K>, V)>, StoreError> {
        let query = self.timed.of_key(key, earliest_end, i64::MAX)?.started_by(latest_start);
        self.timed.view(&query, session)
    }

    /// [`fetch_range`](Self::fetch_range) for another thread, of the entries as they are now.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range_view(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<ReadView<(Windowed<K>, V)>, StoreError> {
        let query = self.timed.of_keys(from, to, 0, i64::MAX)?;
        self.timed.view(&query, session)
    }
}

fn window_of(found: TimedKey<'_>) -> Window {
    Window { start: found.rest.cast_signed(), end: found.time }
}

/// Key, session and value.
fn session<K: 'static, V: 'static>(
    serdes: &Serdes<K, V>,
    found: TimedKey<'_>,
    value: &[u8],
) -> Result<(Windowed<K>, V), StoreError> {
    Ok((Windowed::new(serdes.read_key(found.key)?, window_of(found)), serdes.read_value(value)?))
}

impl<K: 'static, V: 'static> StateStore for SessionStore<K, V> {
    crate::layers::state_store_by_layers!(timed.layers);
}

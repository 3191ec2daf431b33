//! What window and session stores share: keys that carry a time, and reads of a range of times.

use std::sync::Arc;

use crate::building::layout_of;
use crate::contract::{Flushed, StoreContext, StoreEnvironment, StoreSpec};
use crate::engine::Engine;
use crate::key_value::Serdes;
use crate::keys::TimedKey;
use crate::layers::Layers;
use crate::time_index::TimePages;
use crate::timings::StoreOperation;
use crate::view::{Decode, Entries, ReadView, StoreIterator};
use crate::window_query::{Keys, WindowQuery};
use crate::windowed::{Window, Windowed};
use crate::{DynSerde, StoreError};

/// See the module. What the time and the rest of a key are is told by its layout's schema.
pub(crate) struct TimedStore<K, V> {
    pub(crate) layers: Layers,
    serdes: Serdes<K, V>,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

impl<K: 'static, V: 'static> TimedStore<K, V> {
    pub(crate) fn new(
        spec: StoreSpec,
        engine: Box<dyn Engine>,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let serdes = Serdes::new(&spec, key, value, &env.changelog_topic);
        let layout = layout_of(&spec);
        let layers = Layers::new(Arc::new(spec), layout, engine, env)?;
        Ok(TimedStore { layers, serdes, key_buffer: Vec::new(), value_buffer: Vec::new() })
    }

    fn write_key(&mut self, key: &K, time: i64, rest: u64) -> Result<(), StoreError> {
        let layout = self.layers.layout();
        self.key_buffer.clear();
        layout.begin_timed_key(time, &mut self.key_buffer);
        self.serdes.write_key(key, &mut self.key_buffer)?;
        layout.end_timed_key(time, rest, &mut self.key_buffer);
        Ok(())
    }

    /// Sets a value; `None` deletes it, or, in a store that retains duplicates, is only logged.
    pub(crate) fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        time: i64,
        rest: u64,
        value: Option<&V>,
    ) -> Result<(), StoreError> {
        let _timer = self.layers.time(StoreOperation::Put);
        self.write_key(key, time, rest)?;
        let value = self.serdes.write_value(value, &mut self.value_buffer)?;
        match value {
            None if self.layers.spec().retain_duplicates => self.layers.put_nothing(cx, &self.key_buffer),
            value => self.layers.put(cx, &self.key_buffer, value),
        }
    }

    pub(crate) fn remove(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &K,
        time: i64,
        rest: u64,
    ) -> Result<(), StoreError> {
        let _timer = self.layers.time(StoreOperation::Remove);
        self.write_key(key, time, rest)?;
        self.layers.remove(cx, &self.key_buffer)
    }

    pub(crate) fn get(&mut self, key: &K, time: i64, rest: u64) -> Result<Option<V>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Fetch);
        self.write_key(key, time, rest)?;
        let value = self.layers.get(&self.key_buffer)?;
        value.map(|bytes| self.serdes.read_value(bytes)).transpose()
    }

    /// Times of one key from `from` to `to`, both included.
    pub(crate) fn of_key(&self, key: &K, from: i64, to: i64) -> Result<WindowQuery, StoreError> {
        let mut bytes = Vec::new();
        self.serdes.write_key(key, &mut bytes)?;
        Ok(WindowQuery::new(self.layers.layout(), Keys::One(bytes), from, to))
    }

    /// The same of a range of keys, both included; `None`: no bound.
    pub(crate) fn of_keys(
        &self,
        key_from: Option<&K>,
        key_to: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<WindowQuery, StoreError> {
        let bytes = |key: Option<&K>| {
            let Some(key) = key else { return Ok(None) };
            let mut bytes = Vec::new();
            self.serdes.write_key(key, &mut bytes).map(|()| Some(bytes))
        };
        let keys = Keys::Range(bytes(key_from)?, bytes(key_to)?);
        Ok(WindowQuery::new(self.layers.layout(), keys, from, to))
    }

    /// The entries of a query in the store's order, each as what `item` makes of it.
    pub(crate) fn scan<T>(
        &mut self,
        query: &WindowQuery,
        reverse: bool,
        item: impl Fn(&Serdes<K, V>, TimedKey<'_>, &[u8]) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<StoreIterator<'_, T>, StoreError>
    where
        T: 'static,
    {
        if query.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let (timer, decode) = (self.layers.time(StoreOperation::Fetch), self.decode(item));
        let cursor = self.layers.scan(&query.range(), reverse, Some(&|time| query.starting_from(time)))?;
        Ok(Box::new(Entries::new(cursor, decode).timed(timer)))
    }

    /// The next entries in the order of time, about `limit` of them; with `expired` those too that are only kept on.
    pub(crate) fn next_page_by_time<T>(
        &mut self,
        pages: &mut TimePages,
        limit: usize,
        expired: bool,
        item: impl Fn(&Serdes<K, V>, TimedKey<'_>, &[u8]) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        let _timer = self.layers.time(StoreOperation::Fetch);
        let seen_from = self.layers.seen_from(expired);
        let rows = self.layers.next_page_by_time(pages, limit, seen_from)?;
        let decode = self.decode(item);
        rows.iter().map(|(key, value)| decode(key, value)).collect()
    }

    /// As [`scan`](Self::scan), of the entries as they are now, for another thread.
    pub(crate) fn view<T>(
        &mut self,
        query: &WindowQuery,
        item: impl Fn(&Serdes<K, V>, TimedKey<'_>, &[u8]) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<ReadView<T>, StoreError> {
        let decode = self.decode(item);
        let cursor = self.layers.view(&query.range(), false, Some(&|time| query.starting_from(time)))?;
        Ok(ReadView::new(cursor, decode))
    }

    fn decode<T>(
        &self,
        item: impl Fn(&Serdes<K, V>, TimedKey<'_>, &[u8]) -> Result<T, StoreError> + Send + 'static,
    ) -> Decode<T> {
        let (serdes, layout) = (self.serdes.clone(), self.layers.layout());
        Box::new(move |key, value| {
            let found = layout.timed_key(key).ok_or_else(|| StoreError::BadChangelogRecord {
                store: serdes.store.to_string(),
                reason: format!("a key of {} bytes is too short for a windowed store", key.len()),
            })?;
            item(&serdes, found, value)
        })
    }

    /// The next entry that left the cache; `window` makes the window of a key.
    pub(crate) fn pop_flushed(
        &mut self,
        window: impl Fn(TimedKey<'_>) -> Window,
    ) -> Result<Option<Flushed<Windowed<K>, V>>, StoreError> {
        let Some(flushed) = self.layers.pop_flushed() else { return Ok(None) };
        let Some(found) = self.layers.layout().timed_key(&flushed.key) else { return Ok(None) };
        let value = |bytes: Option<&[u8]>| bytes.map(|bytes| self.serdes.read_value(bytes)).transpose();
        Ok(Some(Flushed {
            key: Windowed::new(self.serdes.read_key(found.key)?, window(found)),
            new: value(flushed.new.as_deref())?,
            old: value(flushed.old.as_deref())?,
            context: flushed.context,
        }))
    }
}

/// Reads of a typed store over a [`TimedStore`], each with its form in reverse: `$query` is what it asks for, `$item` what it
/// makes of each entry, both of the store `$store`.
macro_rules! timed_reads {
    ($(
        $(#[$doc:meta])*
        pub fn $read:ident, $backward:ident($($argument:ident: $type:ty),+ $(,)?) -> $iterator:ty,
        |$store:ident| $query:expr => $item:expr;
    )+) => {$(
        $(#[$doc])*
        pub fn $read(&mut self, $($argument: $type),+) -> Result<$iterator, StoreError> {
            let $store = self;
            let (query, item) = ($query?, $item);
            $store.timed.scan(&query, false, item)
        }

        #[doc = concat!("As [`", stringify!($read), "`](Self::", stringify!($read), "), in reverse.")]
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($read), "`](Self::", stringify!($read), ").")]
        pub fn $backward(&mut self, $($argument: $type),+) -> Result<$iterator, StoreError> {
            let $store = self;
            let (query, item) = ($query?, $item);
            $store.timed.scan(&query, true, item)
        }
    )+};
}
pub(crate) use timed_reads;

/// What window and session stores tell of themselves; their [`TimedStore`] is in a field `timed`.
macro_rules! timed_store_methods {
    () => {
        /// Greatest window start, or session end, that reached the layers below the cache, in ms; -1 before the first.
        pub fn observed_stream_time(&self) -> i64 {
            self.timed.layers.observed_stream_time()
        }

        /// Number of entries, as
        /// [`KeyValueStore::approximate_num_entries`](crate::KeyValueStore::approximate_num_entries).
        pub fn approximate_num_entries(&self) -> u64 {
            self.timed.layers.approximate_entries()
        }

        /// Whether a record cache stands before the store. A store that retains duplicates is never cached.
        pub fn is_cached(&self) -> bool {
            self.timed.layers.is_cached()
        }

        /// See [`KeyValueStore::forward_flushed`](crate::KeyValueStore::forward_flushed).
        pub fn forward_flushed(&mut self, old_values: bool) {
            self.timed.layers.forward_flushed(old_values);
        }
    };
}
pub(crate) use timed_store_methods;

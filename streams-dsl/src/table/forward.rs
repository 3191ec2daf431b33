//! A stored table and its children: what they are told of an update, and when.
//!
//! Without a record cache a change is forwarded as it is put (`TimestampedTupleForwarder`). With one it waits in the
//! cache, and what leaves the cache, at a commit or because it is full, is forwarded then: the last value of each key,
//! with the old value as it was told last, under the context of the key's last update
//! (`TimestampedCacheFlushListener`). Entries leave the cache inside the store; they are forwarded after the store was
//! let go, so that a node below may read the same store.

use kstreams_core::processor::{InitContext, ProcessResult, ProcessorContext, StoreHandle};
use kstreams_state_stores::{
    Flushed, Headers, KeyValueStore, Record, RecordContext, SessionStore, StateStore, StoreError,
    TimestampedKeyValueStore, TimestampedWindowStore, ValueAndTimestamp, VersionedPut, WindowStore, Windowed,
};

use super::Change;
use super::getter::KeyValueTable;

/// A store of a table with keys `K` and values `V`, as far as forwarding goes.
pub(crate) trait TableBacking<K, V>: StateStore {
    fn is_cached(&self) -> bool;
    fn forward_flushed(&mut self, old_values: bool);
    /// The next row that left the cache.
    fn pop_flushed(&mut self) -> Result<Option<FlushedRow<K, V>>, StoreError>;
}

/// A row that left the cache, as it is to be forwarded, and the context of its last update.
pub(crate) struct FlushedRow<K, V> {
    record: Record<K, Change<V>>,
    context: RecordContext,
}

impl<K, V> FlushedRow<K, V> {
    fn new(key: K, value: Change<V>, timestamp: i64, context: RecordContext) -> Self {
        let record = Record { key, value, timestamp, headers: context.headers.clone() };
        FlushedRow { record, context }
    }

    /// A deleted row has the time of the update that deleted it.
    fn of_timestamped(flushed: Flushed<K, ValueAndTimestamp<V>>) -> Self {
        let Flushed { key, new, old, context } = flushed;
        let timestamp = new.as_ref().map_or(context.timestamp, |new| new.timestamp);
        let value = Change::new(new.map(|new| new.value), old.map(|old| old.value));
        FlushedRow::new(key, value, timestamp, context)
    }
}

impl<K: 'static, V: 'static> TableBacking<K, V> for TimestampedKeyValueStore<K, V> {
    fn is_cached(&self) -> bool {
        KeyValueStore::is_cached(self)
    }
    fn forward_flushed(&mut self, old_values: bool) {
        KeyValueStore::forward_flushed(self, old_values);
    }
    fn pop_flushed(&mut self) -> Result<Option<FlushedRow<K, V>>, StoreError> {
        Ok(KeyValueStore::pop_flushed(self)?.map(FlushedRow::of_timestamped))
    }
}

impl<K: 'static, V: 'static> TableBacking<Windowed<K>, V> for TimestampedWindowStore<K, V> {
    fn is_cached(&self) -> bool {
        WindowStore::is_cached(self)
    }
    fn forward_flushed(&mut self, old_values: bool) {
        WindowStore::forward_flushed(self, old_values);
    }
    fn pop_flushed(&mut self) -> Result<Option<FlushedRow<Windowed<K>, V>>, StoreError> {
        Ok(WindowStore::pop_flushed(self)?.map(FlushedRow::of_timestamped))
    }
}

impl<K: 'static, V: 'static> TableBacking<Windowed<K>, V> for SessionStore<K, V> {
    fn is_cached(&self) -> bool {
        SessionStore::is_cached(self)
    }
    fn forward_flushed(&mut self, old_values: bool) {
        SessionStore::forward_flushed(self, old_values);
    }
    /// A session's time is its end.
    /// Its headers are those that the store keeps, where it keeps some (`dsl.store.format=HEADERS`): none.
    fn pop_flushed(&mut self) -> Result<Option<FlushedRow<Windowed<K>, V>>, StoreError> {
        let keeps_headers = self.has_headers_format();
        let Some(Flushed { key, new, old, context }) = SessionStore::pop_flushed(self)? else {
            return Ok(None);
        };
        let timestamp = key.window.end;
        let mut row = FlushedRow::new(key, Change::new(new, old), timestamp, context);
        if keeps_headers {
            row.record.headers = Headers::new();
        }
        Ok(Some(row))
    }
}

/// Forwards the changes of a stored table.
pub(crate) struct Forwarder<S> {
    pub(crate) store: StoreHandle<S>,
    cached: bool,
    /// Somebody below asked for old values.
    old_values: bool,
}

impl<S: StateStore + 'static> Forwarder<S> {
    /// For the store `name`, which the calling node owns.
    pub(crate) fn open<K, V>(name: &str, old_values: bool, ctx: &mut InitContext<'_>) -> ProcessResult<Self>
    where
        S: TableBacking<K, V>,
    {
        let store = ctx.state_store::<S>(name)?;
        let access = ctx.store(&store);
        let cached = access.store.is_cached();
        if cached {
            access.store.forward_flushed(old_values);
        }
        Ok(Forwarder { store, cached, old_values })
    }

    /// For the store `name` of a node that forwards no changes: what leaves its cache is only written down.
    pub(crate) fn silent(name: &str, ctx: &mut InitContext<'_>) -> ProcessResult<Self> {
        Ok(Forwarder { store: ctx.state_store::<S>(name)?, cached: false, old_values: false })
    }

    /// After a put: forwards the change, or whatever the put drove out of the cache.
    pub(crate) fn forward<K, V>(
        &self,
        mut record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult
    where
        S: TableBacking<K, V>,
        K: Clone,
        V: Clone,
    {
        if self.cached {
            return self.forward_flushed(ctx);
        }
        if !self.old_values {
            record.value.old = None;
        }
        ctx.forward(record)
    }

    /// Forwards what left the cache.
    pub(crate) fn forward_flushed<K, V>(&self, ctx: &mut ProcessorContext<'_, K, Change<V>>) -> ProcessResult
    where
        S: TableBacking<K, V>,
        K: Clone,
        V: Clone,
    {
        if !self.cached {
            return Ok(());
        }
        loop {
            let flushed = ctx.store(&self.store).store.pop_flushed()?;
            let Some(FlushedRow { mut record, context }) = flushed else { return Ok(()) };
            if !self.old_values {
                record.value.old = None;
            }
            ctx.with_record_context(context, |ctx| ctx.forward(record))?;
        }
    }
}

/// The key-value store of a table, within the node that owns it. A versioned one has no cache, and tells of late updates
/// that they are not the latest.
pub(crate) struct TableStore<K, V> {
    store: KeyValueTable<K, V>,
    /// Of a store without versions.
    forwarder: Option<Forwarder<TimestampedKeyValueStore<K, V>>>,
    old_values: bool,
}

impl<K: Clone + 'static, V: Clone + 'static> TableStore<K, V> {
    pub(crate) fn open(name: &str, old_values: bool, ctx: &mut InitContext<'_>) -> ProcessResult<Self> {
        let store = KeyValueTable::open(name, ctx)?;
        let forwarder = match &store {
            KeyValueTable::Timestamped(_) => Some(Forwarder::open(name, old_values, ctx)?),
            KeyValueTable::Versioned(_) => None,
        };
        Ok(TableStore { store, forwarder, old_values })
    }

    /// Whether an operator below asked for old values.
    pub(crate) fn old_values(&self) -> bool {
        self.old_values
    }

    pub(crate) fn get(
        &self,
        key: &K,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        self.store.get(key, &mut ctx.stores())
    }

    /// Stores the new value of `record` with its timestamp, and forwards the change. A deletion is logged with the time
    /// of the record in process, which may be another one than `record`'s.
    pub(crate) fn update(
        &self,
        mut record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        let timestamp = record.timestamp;
        match (&self.store, &self.forwarder) {
            (KeyValueTable::Versioned(store), _) => {
                let put = ctx.store(store).put(&record.key, record.value.new.as_ref(), timestamp)?;
                if put == VersionedPut::TooOld {
                    return Ok(());
                }
                record.value.is_latest = put == VersionedPut::Latest;
                record.value.old = record.value.old.filter(|_| self.old_values);
                ctx.forward(record)
            }
            (KeyValueTable::Timestamped(store), Some(forwarder)) => {
                let new = record.value.new.take().map(|value| ValueAndTimestamp { value, timestamp });
                ctx.store(store).put_nullable(&record.key, new.as_ref())?;
                record.value = Change::new(new.map(|new| new.value), record.value.old);
                forwarder.forward(record, ctx)
            }
            (KeyValueTable::Timestamped(_), None) => Ok(()),
        }
    }

    pub(crate) fn forward_flushed(&self, ctx: &mut ProcessorContext<'_, K, Change<V>>) -> ProcessResult {
        self.forwarder.as_ref().map_or(Ok(()), |forwarder| forwarder.forward_flushed(ctx))
    }
}

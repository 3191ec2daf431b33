//! The current value of a key of a table (`KTableValueGetter`): read from its store, or, where the table has none,
//! computed from the tables that it is made of.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, StoreHandle, StoreScope};
use kstreams_state_stores::{
    SessionStore, TimestampedKeyValueStore, TimestampedWindowStore, ValueAndTimestamp,
    VersionedKeyValueStore, VersionedRecord, Windowed,
};

/// The value of a key from those of both sides of a join; `None`: there is none.
pub(crate) type Combine<K, A, B, V> = Arc<dyn Fn(&K, Option<A>, Option<B>) -> Option<V> + Send + Sync>;

/// Looks up values of a table, within one node of one task.
pub(crate) trait ValueGetter<K, V>: Send {
    /// Finds the stores, which are connected to the node.
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult;

    /// The value of a key and the time of its last update.
    fn get(&mut self, key: &K, stores: &mut StoreScope<'_>) -> ProcessResult<Option<ValueAndTimestamp<V>>>;

    /// Whether [`get_as_of`](Self::get_as_of) knows earlier values: the table is, or is computed from, a versioned one.
    fn is_versioned(&self) -> bool {
        false
    }

    /// The value of a key at a time, and since when it counted; of a table without versions, the value now.
    fn get_as_of(
        &mut self,
        key: &K,
        _time: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        self.get(key, stores)
    }
}

/// Makes getters, and names the stores that their nodes must be connected to.
pub(crate) struct GetterSupplier<K, V> {
    pub(crate) stores: Vec<String>,
    pub(crate) make: Arc<dyn Fn() -> Box<dyn ValueGetter<K, V>> + Send + Sync>,
}

impl<K, V> Clone for GetterSupplier<K, V> {
    fn clone(&self) -> Self {
        GetterSupplier { stores: self.stores.clone(), make: Arc::clone(&self.make) }
    }
}

impl<K: Send + 'static, V: Send + 'static> GetterSupplier<K, V> {
    /// Reads the key-value store `name`.
    pub(crate) fn of_store(name: &str) -> Self {
        let store = name.to_owned();
        GetterSupplier {
            stores: vec![store.clone()],
            make: Arc::new(move || Box::new(StoreGetter::<K, V> { name: store.clone(), store: None })),
        }
    }

    /// Computes values from those of two parents; the time is the later of the two.
    pub(crate) fn joined<A: Send + 'static, B: Send + 'static>(
        left: GetterSupplier<K, A>,
        right: GetterSupplier<K, B>,
        f: Combine<K, A, B, V>,
    ) -> Self {
        let mut stores = left.stores.clone();
        stores.extend(right.stores.iter().filter(|store| !left.stores.contains(store)).cloned());
        let make = move || -> Box<dyn ValueGetter<K, V>> {
            Box::new(JoinedGetter { left: (left.make)(), right: (right.make)(), f: Arc::clone(&f) })
        };
        GetterSupplier { stores, make: Arc::new(make) }
    }
}

impl<K: Send + 'static, V: Send + 'static> GetterSupplier<Windowed<K>, V> {
    /// Reads the window store `name`.
    pub(crate) fn of_window_store(name: &str) -> Self {
        let store = name.to_owned();
        GetterSupplier {
            stores: vec![store.clone()],
            make: Arc::new(move || Box::new(WindowGetter::<K, V> { name: store.clone(), store: None })),
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> GetterSupplier<Windowed<K>, V> {
    /// Reads the session store `name`.
    pub(crate) fn of_session_store(name: &str) -> Self {
        let store = name.to_owned();
        GetterSupplier {
            stores: vec![store.clone()],
            make: Arc::new(move || Box::new(SessionGetter::<K, V> { name: store.clone(), store: None })),
        }
    }
}

struct StoreGetter<K, V> {
    name: String,
    store: Option<KeyValueTable<K, V>>,
}

/// The store of a table by key: with the last values, or with versions.
pub(crate) enum KeyValueTable<K, V> {
    Timestamped(StoreHandle<TimestampedKeyValueStore<K, V>>),
    Versioned(StoreHandle<VersionedKeyValueStore<K, V>>),
}

impl<K: 'static, V: 'static> KeyValueTable<K, V> {
    /// The store `name`, whichever it is.
    pub(crate) fn open(name: &str, ctx: &InitContext<'_>) -> ProcessResult<Self> {
        match ctx.state_store(name) {
            Ok(store) => Ok(KeyValueTable::Versioned(store)),
            Err(_) => Ok(KeyValueTable::Timestamped(ctx.state_store(name)?)),
        }
    }

    pub(crate) fn get(
        &self,
        key: &K,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        Ok(match self {
            KeyValueTable::Timestamped(store) => stores.open(store).get(key)?,
            KeyValueTable::Versioned(store) => stores.open(store).get(key)?.map(without_end),
        })
    }
}

fn without_end<V>(version: VersionedRecord<V>) -> ValueAndTimestamp<V> {
    ValueAndTimestamp { value: version.value, timestamp: version.timestamp }
}

impl<K: Send + 'static, V: Send + 'static> ValueGetter<K, V> for StoreGetter<K, V> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(KeyValueTable::open(&self.name, ctx)?);
        Ok(())
    }

    fn get(&mut self, key: &K, stores: &mut StoreScope<'_>) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        self.store.as_ref().map_or(Ok(None), |store| store.get(key, stores))
    }

    fn is_versioned(&self) -> bool {
        matches!(self.store, Some(KeyValueTable::Versioned(_)))
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        match &self.store {
            Some(KeyValueTable::Versioned(store)) => {
                Ok(stores.open(store).get_as_of(key, time)?.map(without_end))
            }
            _ => self.get(key, stores),
        }
    }
}

struct WindowGetter<K, V> {
    name: String,
    store: Option<StoreHandle<TimestampedWindowStore<K, V>>>,
}

impl<K: 'static, V: 'static> ValueGetter<Windowed<K>, V> for WindowGetter<K, V> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.name)?);
        Ok(())
    }

    fn get(
        &mut self,
        key: &Windowed<K>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        let Some(store) = &self.store else { return Ok(None) };
        Ok(stores.open(store).fetch_one(&key.key, key.window.start)?)
    }
}

struct SessionGetter<K, V> {
    name: String,
    store: Option<StoreHandle<SessionStore<K, V>>>,
}

impl<K: 'static, V: 'static> ValueGetter<Windowed<K>, V> for SessionGetter<K, V> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.name)?);
        Ok(())
    }

    fn get(
        &mut self,
        key: &Windowed<K>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        let Some(store) = &self.store else { return Ok(None) };
        let timestamp = key.window.end;
        let found = stores.open(store).fetch_session(&key.key, key.window.start, timestamp)?;
        Ok(found.map(|value| ValueAndTimestamp { value, timestamp }))
    }
}

struct JoinedGetter<K, A, B, V> {
    left: Box<dyn ValueGetter<K, A>>,
    right: Box<dyn ValueGetter<K, B>>,
    f: Combine<K, A, B, V>,
}

impl<K, A, B, V> ValueGetter<K, V> for JoinedGetter<K, A, B, V> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.left.init(ctx)?;
        self.right.init(ctx)
    }

    fn get(&mut self, key: &K, stores: &mut StoreScope<'_>) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        let left = self.left.get(key, stores)?;
        let right = self.right.get(key, stores)?;
        let times = [left.as_ref().map(|left| left.timestamp), right.as_ref().map(|right| right.timestamp)];
        let Some(timestamp) = times.into_iter().flatten().max() else { return Ok(None) };
        let value = (self.f)(key, left.map(|left| left.value), right.map(|right| right.value));
        Ok(value.map(|value| ValueAndTimestamp { value, timestamp }))
    }
}

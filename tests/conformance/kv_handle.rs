//! A key-value store of a program, whatever its flavour, as the catalogue's processors use it.

use kstreams::processor::{InitContext, ProcessError, ProcessResult, StoreHandle, StoreScope};
use kstreams::state::{
    KeyValueStore, TimestampedKeyValueStore, ValueAndTimestamp, VersionedKeyValueStore, VersionedRecord,
};

use super::types::{AsVal, OK, OL, OV};
use super::value::Val;

/// See the module.
pub(super) type KvHandle = Box<dyn KeyValues>;

pub(super) trait KeyValues: Send {
    /// The plain value.
    fn get(&self, key: &OK, stores: &mut StoreScope<'_>) -> ProcessResult<OV>;

    /// Sets or deletes, with the time where the store has one.
    fn put(&self, key: &OK, value: OV, timestamp: i64, stores: &mut StoreScope<'_>) -> ProcessResult;

    /// All entries with their plain values, in the store's order.
    fn all(&self, stores: &mut StoreScope<'_>) -> ProcessResult<Vec<(OK, OV)>>;

    /// The value that counted at a time, and since when.
    fn get_as_of(
        &self,
        _key: &OK,
        _time: i64,
        _stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<(OV, i64)>> {
        Err(ProcessError::msg("the store keeps no versions"))
    }
}

/// Opens the store of that name, which is of one of the types that programs make.
pub(super) fn open(name: &str, ctx: &InitContext<'_>) -> ProcessResult<KvHandle> {
    if let Ok(store) = ctx.state_store::<KeyValueStore<OK, Val>>(name) {
        return Ok(Box::new(Plain(store)));
    }
    if let Ok(store) = ctx.state_store::<TimestampedKeyValueStore<OK, OL>>(name) {
        return Ok(Box::new(Timestamped(store)));
    }
    if let Ok(store) = ctx.state_store::<TimestampedKeyValueStore<OK, i64>>(name) {
        return Ok(Box::new(Timestamped(store)));
    }
    if let Ok(store) = ctx.state_store::<VersionedKeyValueStore<OK, Val>>(name) {
        return Ok(Box::new(Versioned(store)));
    }
    if let Ok(store) = ctx.state_store::<VersionedKeyValueStore<OK, OV>>(name) {
        return Ok(Box::new(Versioned(store)));
    }
    if let Ok(store) = ctx.state_store::<VersionedKeyValueStore<OK, OL>>(name) {
        return Ok(Box::new(Versioned(store)));
    }
    if let Ok(store) = ctx.state_store::<VersionedKeyValueStore<OK, i64>>(name) {
        return Ok(Box::new(Versioned(store)));
    }
    Ok(Box::new(Timestamped(ctx.state_store::<TimestampedKeyValueStore<OK, OV>>(name)?)))
}

/// The value as the store has it; `None`: null, which deletes.
fn stored<V: AsVal>(value: OV) -> ProcessResult<Option<V>> {
    let Some(value) = value else { return Ok(None) };
    let wrong = || ProcessError::msg(format!("{value:?} is no value of this store"));
    V::from_val(Some(value.clone())).map(Some).ok_or_else(wrong)
}

struct Plain(StoreHandle<KeyValueStore<OK, Val>>);

impl KeyValues for Plain {
    fn get(&self, key: &OK, stores: &mut StoreScope<'_>) -> ProcessResult<OV> {
        Ok(stores.open(&self.0).get(key)?)
    }

    fn put(&self, key: &OK, value: OV, _timestamp: i64, stores: &mut StoreScope<'_>) -> ProcessResult {
        Ok(stores.open(&self.0).put_nullable(key, value.as_ref())?)
    }

    fn all(&self, stores: &mut StoreScope<'_>) -> ProcessResult<Vec<(OK, OV)>> {
        let entries = stores.open(&self.0).all()?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.into_iter().map(|(key, value)| (key, Some(value))).collect())
    }
}

struct Timestamped<V>(StoreHandle<TimestampedKeyValueStore<OK, V>>);

impl<V: AsVal> KeyValues for Timestamped<V> {
    fn get(&self, key: &OK, stores: &mut StoreScope<'_>) -> ProcessResult<OV> {
        Ok(stores.open(&self.0).get(key)?.and_then(|found| found.value.val()))
    }

    fn put(&self, key: &OK, value: OV, timestamp: i64, stores: &mut StoreScope<'_>) -> ProcessResult {
        let value = stored::<V>(value)?.map(|value| ValueAndTimestamp { value, timestamp });
        Ok(stores.open(&self.0).put_nullable(key, value.as_ref())?)
    }

    fn all(&self, stores: &mut StoreScope<'_>) -> ProcessResult<Vec<(OK, OV)>> {
        let entries = stores.open(&self.0).all()?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.into_iter().map(|(key, found)| (key, found.value.val())).collect())
    }
}

struct Versioned<V>(StoreHandle<VersionedKeyValueStore<OK, V>>);

impl<V: AsVal> KeyValues for Versioned<V> {
    fn get(&self, key: &OK, stores: &mut StoreScope<'_>) -> ProcessResult<OV> {
        Ok(stores.open(&self.0).get(key)?.and_then(|found| found.value.val()))
    }

    fn put(&self, key: &OK, value: OV, timestamp: i64, stores: &mut StoreScope<'_>) -> ProcessResult {
        stores.open(&self.0).put(key, stored::<V>(value)?.as_ref(), timestamp)?;
        Ok(())
    }

    fn all(&self, _stores: &mut StoreScope<'_>) -> ProcessResult<Vec<(OK, OV)>> {
        Err(ProcessError::msg("a versioned store cannot be listed"))
    }

    fn get_as_of(
        &self,
        key: &OK,
        time: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<(OV, i64)>> {
        let found = stores.open(&self.0).get_as_of(key, time)?;
        Ok(found.map(|VersionedRecord { value, timestamp, .. }| (value.val(), timestamp)))
    }
}

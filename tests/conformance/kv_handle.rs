//! A key-value store of a program, whatever its flavour, as the catalogue's processors use it.

use kstreams::processor::{InitContext, ProcessError, ProcessResult, StoreHandle, StoreScope};
use kstreams::state::{KeyValueStore, TimestampedKeyValueStore, ValueAndTimestamp, VersionedKeyValueStore};

use super::types::{OK, OV};
use super::value::Val;

/// See the module.
pub(super) enum KvHandle {
    Plain(StoreHandle<KeyValueStore<OK, Val>>),
    Texts(StoreHandle<TimestampedKeyValueStore<OK, OV>>),
    Longs(StoreHandle<TimestampedKeyValueStore<OK, i64>>),
    Versioned(StoreHandle<VersionedKeyValueStore<OK, Val>>),
    /// Of a table.
    VersionedTexts(StoreHandle<VersionedKeyValueStore<OK, OV>>),
}

impl KvHandle {
    pub(super) fn open(name: &str, ctx: &InitContext<'_>) -> ProcessResult<Self> {
        if let Ok(store) = ctx.state_store(name) {
            return Ok(KvHandle::Plain(store));
        }
        if let Ok(store) = ctx.state_store(name) {
            return Ok(KvHandle::Longs(store));
        }
        if let Ok(store) = ctx.state_store(name) {
            return Ok(KvHandle::Versioned(store));
        }
        if let Ok(store) = ctx.state_store(name) {
            return Ok(KvHandle::VersionedTexts(store));
        }
        Ok(KvHandle::Texts(ctx.state_store(name)?))
    }

    /// The plain value.
    pub(super) fn get(&self, key: &OK, stores: &mut StoreScope<'_>) -> ProcessResult<OV> {
        Ok(match self {
            KvHandle::Plain(store) => stores.open(store).get(key)?,
            KvHandle::Texts(store) => stores.open(store).get(key)?.and_then(|found| found.value),
            KvHandle::Longs(store) => stores.open(store).get(key)?.map(|found| Val::Long(found.value)),
            KvHandle::Versioned(store) => stores.open(store).get(key)?.map(|found| found.value),
            KvHandle::VersionedTexts(store) => stores.open(store).get(key)?.and_then(|found| found.value),
        })
    }

    /// Sets or deletes, with the time where the store has one.
    pub(super) fn put(
        &self,
        key: &OK,
        value: OV,
        timestamp: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult {
        match (self, value) {
            (KvHandle::Plain(store), value) => stores.open(store).put_nullable(key, value.as_ref())?,
            (KvHandle::Texts(store), value) => {
                let value = value.map(|value| ValueAndTimestamp { value: Some(value), timestamp });
                stores.open(store).put_nullable(key, value.as_ref())?;
            }
            (KvHandle::Longs(store), Some(Val::Long(value))) => {
                stores.open(store).put(key, &ValueAndTimestamp { value, timestamp })?;
            }
            (KvHandle::Longs(store), None) => stores.open(store).put_nullable(key, None)?,
            (KvHandle::Versioned(store), value) => {
                stores.open(store).put(key, value.as_ref(), timestamp)?;
            }
            (KvHandle::VersionedTexts(store), value) => {
                stores.open(store).put(key, value.map(Some).as_ref(), timestamp)?;
            }
            (KvHandle::Longs(_), Some(value)) => {
                return Err(ProcessError::msg(format!("{value:?} is no value of a store of longs")));
            }
        }
        Ok(())
    }

    /// All entries with their plain values, in the store's order.
    pub(super) fn all(&self, stores: &mut StoreScope<'_>) -> ProcessResult<Vec<(OK, OV)>> {
        Ok(match self {
            KvHandle::Plain(store) => {
                let entries = stores.open(store).all()?.collect::<Result<Vec<_>, _>>()?;
                entries.into_iter().map(|(key, value)| (key, Some(value))).collect()
            }
            KvHandle::Texts(store) => {
                let entries = stores.open(store).all()?.collect::<Result<Vec<_>, _>>()?;
                entries.into_iter().map(|(key, found)| (key, found.value)).collect()
            }
            KvHandle::Longs(store) => {
                let entries = stores.open(store).all()?.collect::<Result<Vec<_>, _>>()?;
                entries.into_iter().map(|(key, found)| (key, Some(Val::Long(found.value)))).collect()
            }
            KvHandle::Versioned(_) | KvHandle::VersionedTexts(_) => {
                return Err(ProcessError::msg("a versioned store cannot be listed"));
            }
        })
    }

    /// The value that counted at a time, and since when.
    pub(super) fn get_as_of(
        &self,
        key: &OK,
        time: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<(OV, i64)>> {
        match self {
            KvHandle::Versioned(store) => {
                let found = stores.open(store).get_as_of(key, time)?;
                Ok(found.map(|found| (Some(found.value), found.timestamp)))
            }
            KvHandle::VersionedTexts(store) => {
                let found = stores.open(store).get_as_of(key, time)?;
                Ok(found.map(|found| (found.value, found.timestamp)))
            }
            _ => Err(ProcessError::msg("the store keeps no versions")),
        }
    }
}

//! The buffer of a stream-table join with grace: a record waits until stream time has passed its own by the grace, so that
//! the table's updates up to its time are there (KIP-923).

use kstreams_core::processor::{InitContext, ProcessResult, ProcessorContext, StoreHandle};
use kstreams_state_stores::{BufferedRecord, Record, TimeOrderedBuffer, TimeOrderedKey};

/// See the module. Stream time is that of the buffered records; it begins anew at each start.
pub(super) struct JoinBuffer<K, V> {
    store_name: String,
    grace_ms: i64,
    store: Option<StoreHandle<TimeOrderedBuffer<K, V>>>,
    /// The highest timestamp that was buffered; -1 before the first.
    stream_time: i64,
    /// No record that waits is older; `i64::MIN`: not known.
    earliest: i64,
    number: u32,
}

/// Largest number of a record: the JVM masks its counter with it.
const MAX_NUMBER: u32 = 0x7fff_ffff;

impl<K: Clone + 'static, V: 'static> JoinBuffer<K, V> {
    pub(super) fn new(store: &str, grace_ms: i64) -> Self {
        let (stream_time, earliest) = (-1, i64::MIN);
        JoinBuffer { store_name: store.to_owned(), grace_ms, store: None, stream_time, earliest, number: 0 }
    }

    pub(super) fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.store_name)?);
        Ok(())
    }

    /// Lets a record wait. One that is late by more than the grace comes back, to be joined at once.
    pub(super) fn keep<KO, VO>(
        &mut self,
        record: Record<K, V>,
        ctx: &mut ProcessorContext<'_, KO, VO>,
    ) -> ProcessResult<Option<Record<K, V>>> {
        let Some(store) = &self.store else { return Ok(Some(record)) };
        if self.stream_time.saturating_sub(self.grace_ms) > record.timestamp {
            return Ok(Some(record));
        }
        let Record { key, value, timestamp, .. } = record;
        self.number = self.number.wrapping_add(1) & MAX_NUMBER;
        let key = TimeOrderedKey { timestamp, key, number: self.number };
        let mut store = ctx.store(store);
        let context = store.cx.record.clone();
        store.put(&key, &BufferedRecord { value, context })?;
        self.stream_time = self.stream_time.max(timestamp);
        self.earliest = self.earliest.min(timestamp);
        Ok(None)
    }

    /// The records that have waited long enough, in the order of their time. Each has to be removed once it is joined.
    pub(super) fn due<KO, VO>(
        &mut self,
        ctx: &mut ProcessorContext<'_, KO, VO>,
    ) -> ProcessResult<Vec<(TimeOrderedKey<K>, BufferedRecord<V>)>> {
        let bound = self.stream_time.saturating_sub(self.grace_ms);
        let mut due = Vec::new();
        let Some(store) = self.store.as_ref().filter(|_| self.earliest <= bound) else { return Ok(due) };
        self.earliest = i64::MAX;
        for entry in ctx.store(store).all()? {
            let (key, record) = entry?;
            if key.timestamp > bound {
                self.earliest = key.timestamp;
                break;
            }
            due.push((key, record));
        }
        Ok(due)
    }

    pub(super) fn remove<KO, VO>(
        &self,
        key: &TimeOrderedKey<K>,
        ctx: &mut ProcessorContext<'_, KO, VO>,
    ) -> ProcessResult {
        match &self.store {
            Some(store) => Ok(ctx.store(store).put_nullable(key, None)?),
            None => Ok(()),
        }
    }
}

//! The buffer in which suppress holds updates of a table back, ordered by time
//! (`InMemoryTimeOrderedKeyValueChangeBuffer`).
//!
//! It lives in memory and is restored from its changelog, which has the last state of each key (`buffer_entry` tells how).
//! *Prior* is the value that was known downstream before the key was first buffered. Updates are logged at a commit, one
//! record per changed key, in the order of a Java set; their time is the producer's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
use crate::buffer_entry::{Entry, VERSION_HEADER};
use crate::building::default_spec;
use crate::contract::{
    CacheStats, ChangelogId, RecordContext, RestoreRecord, StateStore, StoreBuilder, StoreContext,
    StoreEnvironment, StoreSpec,
};
use crate::cursor::KeyRange;
use crate::java_set::JavaSet;
use crate::key_value::Serdes;
use crate::keys::KeyLayout;
use crate::layers::Layers;
use crate::memory::MemoryEngine;
use crate::rocks::BulkRestored;
use crate::shared_bytes::SharedBytes;
use crate::{DynSerde, Headers, StoreError, StoreKind};

/// An update that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffered<K, V> {
    /// The key.
    pub key: K,
    /// The value now; `None`: deleted.
    pub new: Option<V>,
    /// The value before the last update.
    pub old: Option<V>,
    /// Context of the last update.
    pub context: RecordContext,
}

/// See the module.
pub struct ChangeBuffer<K, V> {
    /// The last state of each key as the changelog has it; nothing is logged from there.
    layers: Layers,
    serdes: Serdes<K, V>,
    changelog: Option<ChangelogId>,
    changelog_topic: String,
    version: Headers,
    /// Buffer time by key, and the other way round.
    times: BTreeMap<SharedBytes, i64>,
    order: BTreeSet<(i64, SharedBytes)>,
    /// Keys that changed since the last flush.
    dirty: JavaSet,
    bytes: u64,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

impl<K: 'static, V: 'static> ChangeBuffer<K, V> {
    fn new(
        spec: StoreSpec,
        key: &DynSerde<K>,
        value: &DynSerde<V>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let serdes = Serdes::new(&spec, key, value, &env.changelog_topic);
        let changelog = env.changelog.filter(|_| spec.logging.is_some());
        let unlogged = StoreEnvironment { changelog: None, ..env.clone() };
        let layers =
            Layers::new(Arc::new(spec), KeyLayout::Plain, Box::new(MemoryEngine::default()), &unlogged)?;
        let mut version = Headers::new();
        version.add(VERSION_HEADER, Some(&[3]));
        Ok(ChangeBuffer {
            layers,
            serdes,
            changelog,
            changelog_topic: env.changelog_topic.clone(),
            version,
            times: BTreeMap::new(),
            order: BTreeSet::new(),
            dirty: JavaSet::default(),
            bytes: 0,
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        })
    }

    /// Buffers an update under the context of the record being processed. A key that is buffered already keeps its time.
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        time: i64,
        key: &K,
        new: Option<&V>,
        old: Option<&V>,
    ) -> Result<(), StoreError> {
        let mut key_bytes = std::mem::take(&mut self.key_buffer);
        key_bytes.clear();
        self.serdes.write_key(key, &mut key_bytes)?;
        let (mut old_bytes, mut new_bytes) = (Vec::new(), Vec::new());
        let old = self.serdes.write_value(old, &mut old_bytes)?;
        let new = self.serdes.write_value(new, &mut new_bytes)?;
        let before = self.layers.get(&key_bytes)?.map(<[u8]>::to_vec);
        let before = before.as_deref().and_then(Entry::read);
        let time = before.as_ref().map_or(time, |before| before.time);
        let prior = before.as_ref().map_or(old, |before| before.prior);
        let entry = Entry { context: None, prior, old, new, time };
        if let Some(before) = &before {
            self.bytes -= before.size(&key_bytes);
        } else {
            let key: SharedBytes = (*key_bytes).into();
            self.times.insert(key.clone(), time);
            self.order.insert((time, key));
        }
        self.bytes += entry.size_with(&key_bytes, cx.record);
        self.value_buffer.clear();
        entry.write(cx.record, &mut self.value_buffer);
        self.layers.put(cx, &key_bytes, Some(&self.value_buffer))?;
        self.dirty.insert(&key_bytes);
        self.key_buffer = key_bytes;
        Ok(())
    }

    /// The buffer time of the first entry, in ms; `None`: the buffer is empty.
    pub fn min_time(&self) -> Option<i64> {
        self.order.first().map(|(time, _)| *time)
    }

    /// The entry with the lowest buffer time, of equal ones the one with the lowest key.
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn first(&mut self) -> Result<Option<Buffered<K, V>>, StoreError> {
        let Some((_, key)) = self.order.first() else { return Ok(None) };
        let Some(bytes) = self.layers.get(key)? else { return Ok(None) };
        let Some(entry) = Entry::read(bytes) else { return Ok(None) };
        let value = |bytes: Option<&[u8]>| bytes.map(|bytes| self.serdes.read_value(bytes)).transpose();
        Ok(Some(Buffered {
            key: self.serdes.read_key(key)?,
            new: value(entry.new)?,
            old: value(entry.old)?,
            context: entry.context.unwrap_or_default(),
        }))
    }

    /// Removes the entry that [`first`](Self::first) answers.
    ///
    /// # Errors
    /// None while the store is open.
    pub fn remove_first(&mut self, cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
        let Some((_, key)) = self.order.first().cloned() else { return Ok(()) };
        self.forget(&key)?;
        self.dirty.insert(&key);
        self.layers.put(cx, &key, None)
    }

    /// The value that was known downstream before the key was buffered: `Some` (of that value, if there was one) where
    /// the key is buffered.
    ///
    /// # Errors
    /// [`StoreError::Serde`].
    pub fn prior_value(&mut self, key: &K) -> Result<Option<Option<V>>, StoreError> {
        self.key_buffer.clear();
        self.serdes.write_key(key, &mut self.key_buffer)?;
        let Some(entry) = self.layers.get(&self.key_buffer)?.and_then(Entry::read) else { return Ok(None) };
        entry.prior.map(|bytes| self.serdes.read_value(bytes)).transpose().map(Some)
    }

    /// Number of keys in the buffer.
    pub fn num_records(&self) -> u64 {
        self.times.len() as u64
    }

    /// Bytes of the buffer, by the JVM's count.
    pub fn buffer_size(&self) -> u64 {
        self.bytes
    }

    /// Takes a key out of order, times and size.
    fn forget(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let Some((key, time)) = self.times.remove_entry(key) else { return Ok(()) };
        if let Some(entry) = self.layers.get(&key)?.and_then(Entry::read) {
            self.bytes -= entry.size(&key);
        }
        self.order.remove(&(time, key));
        Ok(())
    }

    /// Takes a record of the changelog, of whatever version, and keeps it as the newest one would have it.
    fn restore_one(&mut self, record: RestoreRecord<'_>) -> Result<(), StoreError> {
        if record.value.is_none() {
            self.forget(record.key)?;
            return self.layers.restore(&mut std::iter::once(record));
        }
        let buffered = self.layers.get(record.key)?.and_then(Entry::read);
        let prior = buffered.and_then(|before| before.prior.map(<[u8]>::to_vec));
        let Some(entry) = Entry::of_changelog(&record, &self.changelog_topic, prior.as_deref()) else {
            return Err(StoreError::BadChangelogRecord {
                store: self.layers.spec().name.clone(),
                reason: "it is no update that suppress buffered, or one of a later version".to_owned(),
            });
        };
        self.forget(record.key)?;
        self.bytes += entry.size(record.key);
        self.times.insert(record.key.into(), entry.time);
        self.order.insert((entry.time, record.key.into()));
        self.value_buffer.clear();
        entry.write(entry.context.as_ref().unwrap_or(&RecordContext::default()), &mut self.value_buffer);
        let record = RestoreRecord { value: Some(&self.value_buffer), ..record };
        self.layers.restore(&mut std::iter::once(record))
    }

    /// Reads order, times and size anew from the layers.
    fn rebuild(&mut self) -> Result<(), StoreError> {
        self.times.clear();
        self.order.clear();
        self.bytes = 0;
        let mut cursor = self.layers.scan::<Everything>(&KeyRange::default(), false, None)?;
        while let Some((key, value)) = cursor.entry() {
            if let Some(entry) = value.and_then(Entry::read) {
                let shared: SharedBytes = key.into();
                self.bytes += entry.size(key);
                self.times.insert(shared.clone(), entry.time);
                self.order.insert((entry.time, shared));
            }
            cursor.advance()?;
        }
        Ok(())
    }
}

/// Takes every key.
struct Everything;

impl crate::cursor::Selection for Everything {
    fn judge(&self, _key: &[u8], _reverse: bool) -> crate::cursor::Verdict {
        crate::cursor::Verdict::Take
    }
}

impl<K: 'static, V: 'static> StateStore for ChangeBuffer<K, V> {
    fn spec(&self) -> &StoreSpec {
        self.layers.spec()
    }

    fn flush_cache(&mut self, _cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Logs the keys that changed.
    fn flush(&mut self, cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
        let Some(changelog) = self.changelog else {
            self.dirty.clear();
            return Ok(());
        };
        for key in self.dirty.drain() {
            match self.layers.get(&key)? {
                Some(value) => cx.changelog.log(changelog, &key, Some(value), None, &self.version)?,
                None => cx.changelog.log(changelog, &key, None, None, &Headers::new())?,
            }
        }
        Ok(())
    }

    fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StoreError> {
        self.layers.write_commit(batch)
    }

    fn committed(&mut self) {
        self.layers.committed();
    }

    fn discard_uncommitted(&mut self) {
        self.layers.discard_uncommitted();
        self.dirty.clear();
        if let Err(error) = self.rebuild() {
            // The store is closed: nothing reads it any more.
            tracing::debug!(store = self.layers.spec().name, %error, "a buffer was not read anew");
        }
    }

    fn restore(&mut self, records: &mut dyn Iterator<Item = RestoreRecord<'_>>) -> Result<(), StoreError> {
        for record in records {
            self.restore_one(record)?;
        }
        Ok(())
    }

    fn bulk_restored(&mut self, _restored: &BulkRestored) {}

    fn uncommitted_bytes(&self) -> usize {
        self.layers.uncommitted_bytes()
    }

    fn approximate_entries(&self) -> u64 {
        self.num_records()
    }

    fn held_back(&self) -> Option<(u64, u64)> {
        Some((self.num_records(), self.buffer_size()))
    }

    fn move_cache(&mut self, _budget: &Arc<CacheBudget>) {}

    fn cache_stats(&self) -> CacheStats {
        CacheStats::default()
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.layers.close();
        Ok(())
    }
}

/// Builds [`ChangeBuffer`]s.
pub struct ChangeBufferBuilder<K, V> {
    spec: StoreSpec,
    key: DynSerde<K>,
    value: DynSerde<V>,
}

impl<K, V> Clone for ChangeBufferBuilder<K, V> {
    fn clone(&self) -> Self {
        ChangeBufferBuilder { spec: self.spec.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> ChangeBufferBuilder<K, V> {
    /// A buffer; `logging` has the configs of its changelog topic beyond the defaults, `None` is no changelog.
    pub fn new(
        name: impl Into<String>,
        key: DynSerde<K>,
        value: DynSerde<V>,
        logging: Option<BTreeMap<String, String>>,
    ) -> Self {
        let spec = default_spec(name, StoreKind::KeyValue);
        let spec = StoreSpec { persistent: false, logging, logs_time: false, ..spec };
        ChangeBufferBuilder { spec, key, value }
    }
}

impl<K: 'static, V: 'static> StoreBuilder for ChangeBufferBuilder<K, V> {
    type Store = ChangeBuffer<K, V>;

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn spec(&self) -> StoreSpec {
        self.spec.clone()
    }

    fn build(&self, env: &StoreEnvironment) -> Result<Self::Store, StoreError> {
        ChangeBuffer::new(self.spec.clone(), &self.key, &self.value, env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Logged, NoChangelog, RecordedChangelog};

    fn drained(buffer: &mut ChangeBuffer<String, i64>, record: &RecordContext) -> Vec<Buffered<String, i64>> {
        let mut changelog = NoChangelog;
        let mut cx = StoreContext { record, changelog: &mut changelog };
        let mut all = Vec::new();
        while let Some(first) = buffer.first().unwrap() {
            all.push(first);
            buffer.remove_first(&mut cx).unwrap();
        }
        assert_eq!((buffer.num_records(), buffer.buffer_size()), (0, 0));
        all
    }

    #[test]
    fn a_buffer_is_restored_from_what_it_logged() {
        let env = StoreEnvironment { changelog: Some(ChangelogId(0)), ..StoreEnvironment::in_memory() };
        let builder = || {
            let (key, value) = (DynSerde::new(String::new()), DynSerde::new(0_i64));
            ChangeBufferBuilder::new("buffer", key, value, Some(BTreeMap::new()))
        };
        let mut buffer = builder().build(&env).unwrap();
        let mut changelog = RecordedChangelog::default();
        let record =
            RecordContext { timestamp: 7, topic: Some("in".into()), offset: 3, ..Default::default() };
        for round in [
            vec![("b", 5, Some(1), None), ("a", 5, Some(2), None), ("c", 1, Some(3), Some(9))],
            vec![("a", 8, Some(4), Some(2)), ("b", 8, None, Some(1))],
        ] {
            let mut cx = StoreContext { record: &record, changelog: &mut changelog };
            for (key, time, new, old) in round {
                buffer.put(&mut cx, time, &key.to_owned(), new.as_ref(), old.as_ref()).unwrap();
            }
            if buffer.min_time() == Some(1) {
                buffer.remove_first(&mut cx).unwrap();
            }
            buffer.flush_cache(&mut cx).unwrap();
            buffer.flush(&mut cx).unwrap();
        }
        assert_eq!(buffer.prior_value(&"b".to_owned()).unwrap(), Some(None));
        let mut restored = builder().build(&env).unwrap();
        let mut records = changelog.records.iter().map(Logged::restore);
        restored.restore(&mut records).unwrap();
        assert_eq!(
            (restored.num_records(), restored.buffer_size()),
            (buffer.num_records(), buffer.buffer_size())
        );
        let kept = drained(&mut buffer, &record);
        let keys: Vec<&str> = kept.iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["a", "b"], "by time, then key; an update keeps its first time");
        assert_eq!(drained(&mut restored, &record), kept);
    }
}

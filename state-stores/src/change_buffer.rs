//! The buffer in which suppress holds updates of a table back, ordered by time
//! (`InMemoryTimeOrderedKeyValueChangeBuffer`).
//!
//! It lives in memory and is restored from its changelog, which has the last state of each key:
//!
//! ```text
//! context     timestamp i64 | offset i64 | length i32, topic | partition i32
//!             | header count i32 | (length i32, name | length i32 or -1, value)*
//! value       context | prior | old | new | buffer time i64         each value: length i32 (-1: null), bytes
//!                                                                   old: -2 where it is the same as prior
//! ```
//!
//! This is version 3, which Kafka Streams writes since 2.4.2 and marks by the header `v`; older ones are not read. *Prior*
//! is the value that was known downstream before the key was first buffered. Updates are logged at a
//! commit, one record per changed key, in the order of a Java set; their time is the producer's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::CommitBatch;
use crate::budget::CacheBudget;
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
use crate::stores::default_spec;
use crate::{DynSerde, Header, Headers, StoreError, StoreKind};

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
        version.add("v", Some(&[3]));
        Ok(ChangeBuffer {
            layers,
            serdes,
            changelog,
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
            self.forget(record.key)?;
            if let Some(entry) = record.value.and_then(Entry::read) {
                self.bytes += entry.size(record.key);
                self.times.insert(record.key.into(), entry.time);
                self.order.insert((entry.time, record.key.into()));
            } else if record.value.is_some() {
                return Err(StoreError::BadChangelogRecord {
                    store: self.layers.spec().name.clone(),
                    reason: "it is no update that suppress buffered, or one of Kafka Streams before 2.4.2"
                        .to_owned(),
                });
            }
            self.layers.restore(&mut std::iter::once(record))?;
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

    fn move_cache(&mut self, _budget: &Arc<CacheBudget>) {}

    fn cache_stats(&self) -> CacheStats {
        CacheStats::default()
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.layers.close();
        Ok(())
    }
}

/// What is kept of a key, with values in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    /// `None` where it is the record being processed.
    context: Option<RecordContext>,
    prior: Option<&'a [u8]>,
    old: Option<&'a [u8]>,
    new: Option<&'a [u8]>,
    time: i64,
}

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;

impl<'a> Entry<'a> {
    /// Reads what `write` wrote; `None` for anything else.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let context = read_context(&mut rest)?;
        let prior = take_nullable(&mut rest)?;
        let old = match take_i32(&mut rest)? {
            SAME_AS_PRIOR => prior,
            NULL => None,
            length => Some(take(&mut rest, length)?),
        };
        let new = take_nullable(&mut rest)?;
        let time = take_i64(&mut rest)?;
        rest.is_empty().then_some(Entry { context: Some(context), prior, old, new, time })
    }

    fn write(&self, context: &RecordContext, out: &mut Vec<u8>) {
        write_context(context, out);
        write_nullable(self.prior, out);
        match self.old {
            Some(_) if self.old == self.prior => out.extend_from_slice(&SAME_AS_PRIOR.to_be_bytes()),
            old => write_nullable(old, out),
        }
        write_nullable(self.new, out);
        out.extend_from_slice(&self.time.to_be_bytes());
    }

    fn size(&self, key: &[u8]) -> u64 {
        self.size_with(key, self.context.as_ref().unwrap_or(&RecordContext::default()))
    }

    /// Bytes by the JVM's count: buffer time, key, values, context.
    fn size_with(&self, key: &[u8], context: &RecordContext) -> u64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let old = if self.old == self.prior { None } else { self.old };
        let mut size = 8 + key.len() + length(self.prior) + length(old) + length(self.new);
        size += 8 + 8 + 4 + context.topic.as_ref().map_or(0, |topic| topic.encode_utf16().count());
        for header in &context.headers {
            size += header.key.encode_utf16().count() + length(header.value.as_deref());
        }
        size as u64
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    // Kafka's records are far below this length.
    out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
}

pub(crate) fn write_nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => out.extend_from_slice(&NULL.to_be_bytes()),
        Some(bytes) => {
            write_length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
    }
}

/// `ProcessorRecordContext.serialize`.
pub(crate) fn write_context(context: &RecordContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&context.timestamp.to_be_bytes());
    out.extend_from_slice(&context.offset.to_be_bytes());
    write_nullable(Some(context.topic.as_deref().unwrap_or_default().as_bytes()), out);
    out.extend_from_slice(&context.partition.to_be_bytes());
    write_length(context.headers.len(), out);
    for header in &context.headers {
        write_nullable(Some(header.key.as_bytes()), out);
        write_nullable(header.value.as_deref(), out);
    }
}

pub(crate) fn read_context(rest: &mut &[u8]) -> Option<RecordContext> {
    let (timestamp, offset) = (take_i64(rest)?, take_i64(rest)?);
    let topic = std::str::from_utf8(take_nullable(rest)??).ok()?;
    let topic = (!topic.is_empty()).then(|| Arc::from(topic));
    let partition = take_i32(rest)?;
    let count = take_i32(rest)?;
    // Each header takes bytes from what is there: a false count ends the loop, it allocates nothing.
    let headers = (0..count).map(|_| {
        let key = std::str::from_utf8(take_nullable(rest)??).ok()?;
        Some(Header { key: key.into(), value: take_nullable(rest)?.map(Into::into) })
    });
    let headers = headers.collect::<Option<Headers>>()?;
    Some(RecordContext { timestamp, headers, topic, partition, offset })
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(i32::from_be_bytes(*number))
}

pub(crate) fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(i64::from_be_bytes(*number))
}

fn take<'a>(rest: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(taken)
}

pub(crate) fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_i32(rest)? {
        NULL => Some(None),
        length => take(rest, length).map(Some),
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
        let spec = StoreSpec { persistent: false, logging, ..default_spec(name, StoreKind::KeyValue) };
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
    use serde_json::Value;

    use super::*;
    use crate::testing::{NoChangelog, RecordedChangelog};

    fn text(value: &Value) -> Option<&[u8]> {
        value.as_str().map(str::as_bytes)
    }

    fn context(case: &Value) -> RecordContext {
        let mut headers = Headers::new();
        for header in case["headers"].as_array().unwrap() {
            let value = header["value"].as_str().map(|hex| u8::from_str_radix(hex, 16).unwrap());
            headers.add(header["key"].as_str().unwrap(), value.as_ref().map(std::slice::from_ref));
        }
        RecordContext {
            timestamp: case["timestamp"].as_i64().unwrap(),
            offset: case["offset"].as_i64().unwrap(),
            partition: i32::try_from(case["partition"].as_i64().unwrap()).unwrap(),
            topic: Some(case["topic"].as_str().unwrap().into()),
            headers,
        }
    }

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
        let mut records = changelog.records.iter().map(|logged| RestoreRecord {
            key: &logged.key,
            value: logged.value.as_deref(),
            timestamp: 0,
        });
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

    #[test]
    fn entries_are_those_of_the_jvm() {
        let file: Value =
            serde_json::from_str(include_str!("../tests/vectors/suppress_buffer.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let context = context(&case["context"]);
            let (prior, old) = (text(&case["priorValue"]), text(&case["oldValue"]));
            let time = case["bufferTime"].as_i64().unwrap();
            let entry = Entry { context: None, prior, old, new: text(&case["newValue"]), time };
            let mut bytes = Vec::new();
            entry.write(&context, &mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, case["changelogValue_v3"].as_str().unwrap());
            assert_eq!(Entry::read(&bytes), Some(Entry { context: Some(context), ..entry }));
            assert_eq!(Entry::read(&bytes[1..]), None);
        }
    }
}

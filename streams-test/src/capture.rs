//! Where a driver's task sends its output: memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kstreams_core::StreamsError;
use kstreams_core::task::{Origin, OutputRecord, RecordCollector};
use kstreams_state_stores::{ChangelogId, ChangelogSink, Headers, StoreError};

/// A record that the topology wrote, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch; `None` where the topology leaves it to the producer.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: Headers,
}

/// A record that the topology wrote, as bytes; `None` is null.
pub type RawProducedRecord = ProducedRecord<Option<Vec<u8>>, Option<Vec<u8>>>;

/// What was produced, per topic and in the order in which it came.
#[derive(Default)]
pub(crate) struct Produced {
    pub(crate) topics: BTreeMap<Arc<str>, VecDeque<RawProducedRecord>>,
    /// Produced since the driver last looked: to be piped where the topology reads it.
    pub(crate) fresh: Vec<(Arc<str>, RawProducedRecord)>,
    /// Full names of the task's changelogs, by `ChangelogId`.
    pub(crate) changelogs: Vec<Arc<str>>,
    /// Puts that stores refused.
    expired_puts: u64,
}

/// The driver's and the collector's common view of what was produced.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Produced>>);

impl Capture {
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Produced) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, topic: &Arc<str>, record: RawProducedRecord) {
        self.with(|produced| produced.fresh.push((Arc::clone(topic), record)));
    }
}

impl ChangelogSink for Capture {
    fn log(
        &mut self,
        changelog: ChangelogId,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<i64>,
        headers: &Headers,
    ) -> Result<(), StoreError> {
        let index = usize::try_from(changelog.0).unwrap_or(usize::MAX);
        if let Some(topic) = self.with(|produced| produced.changelogs.get(index).cloned()) {
            let (key, value) = (Some(key.to_vec()), value.map(<[u8]>::to_vec));
            self.add(&topic, ProducedRecord { key, value, timestamp, headers: headers.clone() });
        }
        Ok(())
    }

    fn record_dropped(&mut self, _store: &str) {
        self.with(|produced| produced.expired_puts += 1);
    }
}

impl RecordCollector for Capture {
    fn send(&mut self, record: OutputRecord<'_>, _: Origin<'_>) -> Result<(), StreamsError> {
        let OutputRecord { topic, key, value, timestamp, headers, .. } = record;
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        self.add(topic, ProducedRecord { key, value, timestamp, headers: headers.clone() });
        Ok(())
    }

    /// Every topic of the driver has one partition.
    fn partition_count(&mut self, _topic: &str) -> Result<i32, StreamsError> {
        Ok(1)
    }

    fn expired_puts(&self) -> u64 {
        self.with(|produced| produced.expired_puts)
    }

    fn as_changelog(&mut self) -> &mut dyn ChangelogSink {
        self
    }
}

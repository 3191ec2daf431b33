//! Produce: a task's output and changelog records on their way to the producer of its thread.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kstreams_state_stores::{ChangelogId, ChangelogSink, Headers, RecordContext, StoreError};
use rdkafka::error::RDKafkaErrorCode;
use rustc_hash::FxHashMap;

use super::delivery;
use super::error::RuntimeError;
use super::instance::{Heartbeat, Instance, TaskEntry, ThreadHandle};
use super::refused::{Refused, Verdict};
use crate::client::{
    AckSlot, FailedDelivery, OriginTag, Outgoing, OutputOrigin, ProduceError, Producer, TopicHandle,
};
use crate::error::StreamsError;
use crate::handlers::ProductionExceptionHandler;
use crate::murmur2::partition_for_key;
use crate::task::{Activity, Origin, OutputRecord, RecordCollector, TaskId, TopicPartition};

/// Delivery reports (of failures) are served at least once per this many records.
const POLL_EVERY: u32 = 1_000;

/// Where one changelog's records go.
pub(crate) struct ChangelogTarget {
    pub(crate) store: Arc<str>,
    pub(crate) topic_name: Arc<str>,
    pub(crate) topic: TopicHandle,
    pub(crate) partition: i32,
    /// The last acknowledged offset.
    pub(crate) acknowledged: Arc<AckSlot>,
    /// Its offsets are kept with the task's data: the store is in RocksDB.
    pub(crate) persistent: bool,
    /// The changelog is the store's source topic: never written to, its offset is that of this input.
    pub(crate) source_input: Option<usize>,
}

struct SinkTopic {
    handle: TopicHandle,
    partitions: Option<i32>,
}

/// The collector of one task.
pub(crate) struct Collector {
    task: TaskId,
    activity: Arc<Activity>,
    producer: Producer,
    heartbeat: Arc<Heartbeat>,
    /// How long to wait for a topic's metadata (`max.block.ms`).
    max_block: Duration,
    /// How long to wait for room in the client's queue: as the JVM does, again and again until `task.timeout.ms`.
    room_timeout: Duration,
    handler: Arc<dyn ProductionExceptionHandler>,
    dead_letter_topic: Option<String>,
    /// What was refused, and how long to wait when one of these is sent alone.
    refused: Arc<Refused>,
    flush_limit: Duration,
    topics: FxHashMap<Arc<str>, SinkTopic>,
    /// The producer's numbers of nodes and inputs, and the last one.
    origins: FxHashMap<(Arc<str>, TopicPartition), usize>,
    last_origin: Option<(Arc<str>, TopicPartition, usize)>,
    /// Set once the task is made and its changelogs are known.
    changelogs: Arc<OnceLock<Arc<Vec<ChangelogTarget>>>>,
    since_poll: u32,
    expired_puts: u64,
}

impl Collector {
    pub(crate) fn new(
        instance: &Instance,
        entry: &TaskEntry,
        thread: &ThreadHandle,
        changelogs: Arc<OnceLock<Arc<Vec<ChangelogTarget>>>>,
    ) -> Self {
        let config = &instance.settings.config;
        Collector {
            task: entry.id,
            activity: entry.activity.clone(),
            producer: thread.producer.clone(),
            heartbeat: thread.heartbeat.clone(),
            max_block: instance.settings.max_block,
            room_timeout: instance.settings.max_block + instance.settings.task_timeout,
            handler: config.production_exception_handler.clone(),
            dead_letter_topic: config.errors_dead_letter_queue_topic_name.clone(),
            refused: instance.refused.clone(),
            flush_limit: delivery::limit(&instance.settings),
            topics: FxHashMap::default(),
            origins: FxHashMap::default(),
            last_origin: None,
            changelogs,
            since_poll: 0,
            expired_puts: 0,
        }
    }

    /// What led to a record, in a form that costs nothing to keep with it; `None` in a punctuation.
    fn tag(&mut self, origin: Origin<'_>) -> Option<OriginTag> {
        let RecordContext { topic: Some(topic), partition, offset, .. } = origin.record else { return None };
        let same = |known: &(Arc<str>, TopicPartition, usize)| {
            Arc::ptr_eq(&known.0, origin.node)
                && known.1.partition == *partition
                && Arc::ptr_eq(&known.1.topic, topic)
        };
        let known = self.last_origin.as_ref().filter(|last| same(last)).map(|(_, _, index)| *index);
        let index = known.unwrap_or_else(|| {
            let input = TopicPartition { topic: topic.clone(), partition: *partition };
            let node = origin.node.clone();
            let key = (node.clone(), input.clone());
            let index = *self.origins.entry(key).or_insert_with(|| {
                let (task, node, input) = (self.task, node.clone(), input.clone());
                self.producer.origin_index(OutputOrigin { task, node, input })
            });
            self.last_origin = Some((node, input, index));
            index
        });
        OriginTag::new(index, *offset)
    }

    /// Waits for the answers to what was sent before.
    fn flush(&self) -> Result<(), StreamsError> {
        let goes_on = || !self.activity.is_given_up();
        delivery::flush(&self.producer, &self.heartbeat, self.flush_limit, goes_on).map(drop)
    }

    /// Makes the topic's handle known.
    fn add_topic(&mut self, topic: &Arc<str>) -> Result<(), StreamsError> {
        if !self.topics.contains_key(topic) {
            let handle = self.producer.topic(topic).map_err(RuntimeError::from)?;
            self.topics.insert(topic.clone(), SinkTopic { handle, partitions: None });
        }
        Ok(())
    }

    /// The topic's partition count, from the cluster the first time. A topic that the brokers create on demand has no
    /// leader for a moment: asked again until `max_block`.
    fn partitions(&mut self, topic: &Arc<str>) -> Result<i32, StreamsError> {
        if let Some(count) = self.topics.get(topic).and_then(|topic| topic.partitions) {
            return Ok(count);
        }
        self.add_topic(topic)?;
        let deadline = Instant::now() + self.max_block;
        let count = loop {
            self.heartbeat.beat();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.partition_count(topic, left.min(Duration::from_secs(10))) {
                Ok(Some(count)) => break count,
                Ok(None) if left.is_zero() => {
                    return Err(RuntimeError::UnknownTopic { topic: topic.to_string() }.into());
                }
                Err(error) if left.is_zero() => return Err(RuntimeError::from(error).into()),
                Ok(None) | Err(_) => {
                    self.producer.poll(Duration::from_millis(50));
                }
            }
        };
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.partitions = Some(count);
        }
        Ok(count)
    }
}

/// Hands one record over, waiting for room when the client's queue is full, as long as the task is not taken away meanwhile.
fn produce(
    producer: &Producer,
    heartbeat: &Heartbeat,
    activity: &Activity,
    room_timeout: Duration,
    record: &Outgoing<'_>,
) -> Result<(), RDKafkaErrorCode> {
    let mut deadline = None;
    loop {
        match producer.produce(record) {
            Ok(()) => return Ok(()),
            Err(ProduceError::Refused(code)) => return Err(code),
            Err(ProduceError::QueueFull) if activity.is_given_up() => return Ok(()),
            Err(ProduceError::QueueFull) => {
                heartbeat.beat();
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + room_timeout);
                if Instant::now() >= deadline {
                    return Err(RDKafkaErrorCode::QueueFull);
                }
                // What waits for its batch to fill or for `linger.ms` is sent now: it is in the way. Acknowledgements make
                // room without a report, so wait a little and try again.
                producer.flush(Duration::from_millis(2));
            }
        }
    }
}

impl RecordCollector for Collector {
    fn send(&mut self, record: OutputRecord<'_>, origin: Origin<'_>) -> Result<(), StreamsError> {
        if self.activity.is_given_up() {
            // Another instance has the task by now.
            return Ok(());
        }
        let OutputRecord { topic, partition, key, value, timestamp, headers } = record;
        let verdict = match self.refused.any() {
            true => self.refused.verdict_before((origin.node, origin.record), (topic, key, value)),
            false => None,
        };
        if let Some(Verdict::Skip(letters)) = verdict {
            return letters.iter().try_for_each(|letter| delivery::send_dead_letter(&self.producer, letter));
        }
        let alone = verdict == Some(Verdict::SendAlone);
        if alone {
            self.flush()?;
        }
        let partition = match (partition, key) {
            (Some(partition), _) => Some(partition),
            (None, Some(key)) => Some(partition_for_key(key, self.partitions(topic)?)),
            (None, None) => None,
        };
        self.since_poll += 1;
        if self.since_poll >= POLL_EVERY {
            self.since_poll = 0;
            self.producer.poll(Duration::ZERO);
        }
        if !self.topics.contains_key(topic) {
            self.add_topic(topic)?;
        }
        let tag = self.tag(origin);
        let Some(SinkTopic { handle, .. }) = self.topics.get(topic) else {
            return Err(RuntimeError::UnknownTopic { topic: topic.to_string() }.into());
        };
        let record = Outgoing {
            topic: handle,
            partition,
            key,
            value,
            timestamp,
            headers,
            acknowledged: None,
            origin: tag,
        };
        let produced = produce(&self.producer, &self.heartbeat, &self.activity, self.room_timeout, &record);
        produced.or_else(|code| {
            // Refused by the client itself, because it is too large for instance.
            let failed = FailedDelivery {
                topic: topic.to_string(),
                partition: partition.unwrap_or(-1),
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                timestamp: timestamp.unwrap_or(-1),
                code,
                origin: tag,
            };
            let letters = self.dead_letter_topic.as_deref();
            delivery::decide(&*self.handler, letters, &self.producer, &failed)
        })?;
        if alone {
            self.flush()?;
        }
        Ok(())
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, StreamsError> {
        self.partitions(&Arc::from(topic))
    }

    fn expired_puts(&self) -> u64 {
        self.expired_puts
    }

    fn as_changelog(&mut self) -> &mut dyn ChangelogSink {
        self
    }
}

impl ChangelogSink for Collector {
    fn log(
        &mut self,
        changelog: ChangelogId,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<i64>,
        headers: &Headers,
    ) -> Result<(), StoreError> {
        if self.activity.is_given_up() {
            return Ok(());
        }
        let index = usize::try_from(changelog.0).unwrap_or(usize::MAX);
        let Some(target) = self.changelogs.get().and_then(|changelogs| changelogs.get(index)) else {
            let source = format!("task {} has no changelog number {index}", self.task).into();
            return Err(StoreError::Changelog { store: String::new(), source });
        };
        self.since_poll += 1;
        if self.since_poll >= POLL_EVERY {
            self.since_poll = 0;
            self.producer.poll(Duration::ZERO);
        }
        let record = Outgoing {
            topic: &target.topic,
            partition: Some(target.partition),
            key: Some(key),
            value,
            timestamp,
            headers,
            acknowledged: Some(&target.acknowledged),
            origin: None,
        };
        produce(&self.producer, &self.heartbeat, &self.activity, self.room_timeout, &record).map_err(|code| {
            let source = RuntimeError::Produce {
                task: self.task.to_string(),
                topic: target.topic_name.to_string(),
                partition: target.partition,
                code,
            };
            StoreError::Changelog { store: target.store.to_string(), source: Box::new(source) }
        })
    }

    fn record_dropped(&mut self, store: &str) {
        self.expired_puts += 1;
        tracing::debug!(task = %self.task, store, "dropped a late record");
    }
}

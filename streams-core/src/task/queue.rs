//! Decode and buffer: the records of one input partition between the consumer and the source node (`RecordQueue`).
//!
//! Only the head is decoded, because its timestamp decides which partition is next. It moves on when the head is taken,
//! before that record is processed, as in the JVM: a record that cannot be read is reported then.

use std::collections::VecDeque;
use std::sync::Arc;

use kstreams_state_stores::{Record, RecordContext, Serde};

use super::context::TaskContext;
use super::{RawRecord, TopicPartition};
use crate::config::DefaultTimestampExtractor;
use crate::error::StreamsError;
use crate::processor::ProcessError;
use crate::topology::{Child, Extracted, ExtractorRecord, SourceOptions, give_all};

/// An input partition whatever its types.
pub(crate) trait InputQueue: Send {
    fn partition(&self) -> &TopicPartition;
    fn push(&mut self, record: RawRecord);
    /// Records that wait, the head included.
    fn len(&self) -> usize;
    /// Decodes the head, if that was not done yet; unreadable records before it go to their handler. The head's
    /// timestamp, or `None` when nothing is left.
    fn head(&mut self, cx: &mut TaskContext) -> Result<Option<i64>, StreamsError>;
    /// Takes the head as the record to process and decodes the next. The new head's timestamp.
    fn advance(&mut self, cx: &mut TaskContext) -> Result<Option<i64>, StreamsError>;
    /// Sends the record taken by `advance` through the topology.
    fn process(&mut self, cx: &mut TaskContext) -> Result<(), StreamsError>;
    /// Offset of the next record to process: of the head, else behind the last one seen. `None` before the first record.
    fn position(&self) -> Option<i64>;
    /// Highest timestamp taken from the partition; -1 at first.
    fn partition_time(&self) -> i64;
    fn set_partition_time(&mut self, time: i64);
    fn clear(&mut self);
}

struct Decoded<K, V> {
    record: Record<K, V>,
    raw: RawRecord,
}

/// The queue of one partition of a source of these types.
pub(crate) struct RecordQueue<K, V> {
    node: usize,
    partition: TopicPartition,
    options: SourceOptions<K, V>,
    children: Arc<[Child<K, V>]>,
    waiting: VecDeque<RawRecord>,
    head: Option<Decoded<K, V>>,
    current: Option<Decoded<K, V>>,
    partition_time: i64,
    /// Behind the last record that left `waiting`.
    next_offset: Option<i64>,
}

impl<K, V> RecordQueue<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    pub(crate) fn new(
        node: usize,
        partition: TopicPartition,
        mut options: SourceOptions<K, V>,
        children: Arc<[Child<K, V>]>,
    ) -> Self {
        options.key_serde = options.key_serde.for_topic(&partition.topic, true);
        options.value_serde = options.value_serde.for_topic(&partition.topic, false);
        RecordQueue {
            node,
            partition,
            options,
            children,
            waiting: VecDeque::new(),
            head: None,
            current: None,
            partition_time: -1,
            next_offset: None,
        }
    }

    /// Decodes one record; `None` when it is skipped.
    fn decode(
        &mut self,
        raw: RawRecord,
        cx: &mut TaskContext,
    ) -> Result<Option<Decoded<K, V>>, StreamsError> {
        let offset = raw.offset();
        self.next_offset = Some(offset + 1);
        let failed = |part, source| StreamsError::Deserialization {
            part,
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            offset,
            source,
        };
        let decoded = self
            .options
            .key_serde
            .deserialize_nullable(raw.key())
            .map_err(|source| failed("key", source))
            .and_then(|key| {
                let value = self.options.value_serde.deserialize_nullable(raw.value());
                value.map(|value| (key, value)).map_err(|source| failed("value", source))
            });
        let (key, value) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                cx.deserialization_failed(self.node, &self.partition, &raw, error)?;
                return Ok(None);
            }
        };
        let extracted = self.extract(&raw, &key, &value, cx);
        match extracted {
            Extracted::Timestamp(timestamp) if timestamp >= 0 => {
                let record = Record { key, value, timestamp, headers: raw.headers() };
                Ok(Some(Decoded { record, raw }))
            }
            Extracted::Timestamp(_) => {
                cx.drop_record(self.node, "negative timestamp");
                Ok(None)
            }
            Extracted::Invalid(timestamp) => Err(StreamsError::InvalidTimestamp {
                topic: self.partition.topic.to_string(),
                partition: self.partition.partition,
                offset,
                timestamp,
            }),
        }
    }

    fn extract(&self, raw: &RawRecord, key: &K, value: &V, cx: &TaskContext) -> Extracted {
        let timestamp = raw.timestamp();
        let Some(extractor) = &self.options.timestamp_extractor else {
            return match cx.handlers.timestamp_extractor {
                DefaultTimestampExtractor::WallclockTimestampExtractor => {
                    Extracted::Timestamp(cx.clock.now_ms())
                }
                _ if timestamp >= 0 => Extracted::Timestamp(timestamp),
                DefaultTimestampExtractor::LogAndSkipOnInvalidTimestamp => Extracted::Timestamp(timestamp),
                // Before the first record there is no partition time to use either.
                DefaultTimestampExtractor::UsePartitionTimeOnInvalidTimestamp if self.partition_time >= 0 => {
                    Extracted::Timestamp(self.partition_time)
                }
                _ => Extracted::Invalid(timestamp),
            };
        };
        let record = ExtractorRecord {
            key,
            value,
            timestamp,
            topic: &self.partition.topic,
            partition: self.partition.partition,
            offset: raw.offset(),
        };
        extractor(&record, self.partition_time)
    }
}

impl<K, V> InputQueue for RecordQueue<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    fn push(&mut self, record: RawRecord) {
        self.waiting.push_back(record);
    }

    fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.head.is_some())
    }

    fn head(&mut self, cx: &mut TaskContext) -> Result<Option<i64>, StreamsError> {
        while self.head.is_none() {
            let Some(raw) = self.waiting.pop_front() else { return Ok(None) };
            self.head = self.decode(raw, cx)?;
        }
        Ok(self.head.as_ref().map(|head| head.record.timestamp))
    }

    fn advance(&mut self, cx: &mut TaskContext) -> Result<Option<i64>, StreamsError> {
        self.current = self.head.take();
        if let Some(current) = &self.current {
            self.partition_time = self.partition_time.max(current.record.timestamp);
        }
        self.head(cx)
    }

    fn process(&mut self, cx: &mut TaskContext) -> Result<(), StreamsError> {
        let Some(Decoded { record, raw }) = self.current.take() else { return Ok(()) };
        cx.stream_time = cx.stream_time.max(record.timestamp);
        cx.lateness.add(cx.stream_time - record.timestamp);
        cx.count(self.node, record.timestamp, true);
        cx.record = RecordContext {
            timestamp: record.timestamp,
            headers: record.headers.clone(),
            topic: Some(Arc::clone(&self.partition.topic)),
            partition: self.partition.partition,
            offset: raw.offset(),
        };
        cx.activity.at_offset(raw.offset());
        cx.raw = Some(raw);
        let result = give_all(&self.children, record, cx);
        result.map_err(|error: ProcessError| error.into_streams_error(cx.node_name(self.node)))
    }

    fn position(&self) -> Option<i64> {
        let head = self.head.as_ref().map(|head| head.raw.offset());
        head.or_else(|| self.waiting.front().map(RawRecord::offset)).or(self.next_offset)
    }

    fn partition_time(&self) -> i64 {
        self.partition_time
    }

    fn set_partition_time(&mut self, time: i64) {
        self.partition_time = time;
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.head = None;
        self.current = None;
    }
}

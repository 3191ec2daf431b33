//! Sinks: the nodes that write to topics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kstreams_state_stores::{DynSerde, Record, Serde};
use qcell::{QCell, QCellOwner};
use sync_wrapper::SyncWrapper;

use super::node::{Receiver, panic_error};
use crate::processor::{ProcessError, ProcessResult, RecordMetadata};
use crate::task::{OutputRecord, TaskContext};

/// Chooses the topic of each record (`TopicNameExtractor`).
pub type TopicNameExtractor<K, V> = Arc<dyn Fn(&K, &V, &RecordMetadata) -> String + Send + Sync>;

/// Chooses the partitions of a record among `partition_count` of them (`StreamPartitioner`): `None` means by the key's
/// murmur2 hash (the client's choice for a null key); several get a copy each; none drops the record (KIP-837).
pub type StreamPartitioner<K, V> =
    Arc<dyn Fn(&str, &K, &V, /* partition_count */ i32) -> Option<Vec<i32>> + Send + Sync>;

/// Where a sink writes.
pub enum SinkTopic<K, V> {
    /// Always this topic.
    Name(String),
    /// A topic per record. The text stands for the function in `describe()`.
    Extractor(TopicNameExtractor<K, V>, String),
}

impl<K, V> Clone for SinkTopic<K, V> {
    fn clone(&self) -> Self {
        match self {
            SinkTopic::Name(name) => SinkTopic::Name(name.clone()),
            SinkTopic::Extractor(extractor, text) => {
                SinkTopic::Extractor(Arc::clone(extractor), text.clone())
            }
        }
    }
}

impl<K, V> SinkTopic<K, V> {
    /// A topic per record: `choose` gives its name, of key, value and where the record came from. The topics must exist.
    pub fn chosen_by<F>(choose: F) -> Self
    where
        F: Fn(&K, &V, &RecordMetadata) -> String + Send + Sync + 'static,
    {
        SinkTopic::Extractor(Arc::new(choose), std::any::type_name::<F>().to_owned())
    }
}

impl<K, V> From<String> for SinkTopic<K, V> {
    fn from(topic: String) -> Self {
        SinkTopic::Name(topic)
    }
}

impl<K, V> From<&str> for SinkTopic<K, V> {
    fn from(topic: &str) -> Self {
        SinkTopic::Name(topic.to_owned())
    }
}

/// How a sink writes.
pub struct SinkOptions<K, V> {
    /// Where.
    pub topic: SinkTopic<K, V>,
    /// The keys' serde.
    pub key_serde: DynSerde<K>,
    /// The values' serde.
    pub value_serde: DynSerde<V>,
    /// Which partition; `None`: by the key's hash.
    pub partitioner: Option<StreamPartitioner<K, V>>,
}

impl<K, V> Clone for SinkOptions<K, V> {
    fn clone(&self) -> Self {
        SinkOptions {
            topic: self.topic.clone(),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            partitioner: self.partitioner.clone(),
        }
    }
}

/// Buffers that keep their memory from record to record.
#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A sink within its task.
pub(crate) struct SinkNode<K, V> {
    node: usize,
    /// The topic with the application's prefix where it is internal; empty with an extractor.
    fixed_topic: Arc<str>,
    options: SinkOptions<K, V>,
    scratch: QCell<SyncWrapper<Scratch>>,
}

impl<K: 'static, V: 'static> SinkNode<K, V> {
    pub(crate) fn new(
        owner: &QCellOwner,
        node: usize,
        fixed_topic: Arc<str>,
        options: &SinkOptions<K, V>,
    ) -> Self {
        let mut options = options.clone();
        options.key_serde = options.key_serde.for_topic(&fixed_topic, true);
        options.value_serde = options.value_serde.for_topic(&fixed_topic, false);
        SinkNode { node, fixed_topic, options, scratch: QCell::new(owner, SyncWrapper::default()) }
    }

    /// Serializes and hands over to the collector; the buffers are the caller's.
    fn write(&self, record: &Record<K, V>, scratch: &mut Scratch, cx: &mut TaskContext) -> ProcessResult {
        let extracted: Arc<str>;
        let topic = match &self.options.topic {
            SinkTopic::Name(_) => &self.fixed_topic,
            SinkTopic::Extractor(extractor, _) => {
                let metadata = cx.record_metadata();
                // As a processor's failure it is that of the node above: a sink has no handler of its own.
                let choose = || extractor(&record.key, &record.value, &metadata);
                extracted =
                    catch_unwind(AssertUnwindSafe(choose)).map_err(|panic| panic_error(&*panic))?.into();
                &extracted
            }
        };
        scratch.key.clear();
        scratch.value.clear();
        let key_present = match self.options.key_serde.serialize_nullable(&record.key, &mut scratch.key) {
            Ok(present) => present,
            Err(source) => return cx.serialization_failed(self.node, topic, "key", source),
        };
        let value_present =
            match self.options.value_serde.serialize_nullable(&record.value, &mut scratch.value) {
                Ok(present) => present,
                Err(source) => return cx.serialization_failed(self.node, topic, "value", source),
            };
        let key = key_present.then_some(scratch.key.as_slice());
        let value = value_present.then_some(scratch.value.as_slice());
        let chosen = match &self.options.partitioner {
            None => None,
            Some(partitioner) => {
                let count = cx.collector.partition_count(topic).map_err(ProcessError::fatal)?;
                let choose = || partitioner(topic, &record.key, &record.value, count);
                catch_unwind(AssertUnwindSafe(choose)).map_err(|panic| panic_error(&*panic))?
            }
        };
        let (timestamp, headers) = (Some(record.timestamp), &record.headers);
        let output = OutputRecord { topic, partition: None, key, value, timestamp, headers };
        let Some(partitions) = chosen else {
            return cx.send(self.node, output).map_err(ProcessError::fatal);
        };
        if partitions.is_empty() {
            cx.drop_record(self.node, "the partitioner chose no partition");
        }
        for partition in partitions {
            let output = OutputRecord { partition: Some(partition), ..output };
            cx.send(self.node, output).map_err(ProcessError::fatal)?;
        }
        Ok(())
    }
}

impl<K: Send + 'static, V: Send + 'static> Receiver<K, V> for SinkNode<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> ProcessResult {
        cx.count(self.node, record.timestamp, true);
        let mut scratch = std::mem::take(self.scratch.rw(&mut cx.owner).get_mut());
        let result = self.write(&record, &mut scratch, cx);
        *self.scratch.rw(&mut cx.owner).get_mut() = scratch;
        result
    }
}

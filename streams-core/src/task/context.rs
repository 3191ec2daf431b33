//! What the nodes of a task share while a record is on its way: the owner token, the current record, time, output.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use kstreams_state_stores::{ChangelogSink, Headers, RecordContext, StoreAccess, StoreContext};
use qcell::{QCell, QCellOwner};
use sync_wrapper::SyncWrapper;

use super::punctuation::Punctuations;
use super::{Activity, Lateness, NodeCounts, RawRecord, TaskCalls, TaskHandlers, TaskId};
use crate::clock::Clock;
use crate::config::EmitIntervals;
use crate::error::StreamsError;
use crate::processor::{RecordMetadata, StoreHandle};

/// A record on its way out of a task.
#[derive(Debug, Clone, Copy)]
pub struct OutputRecord<'a> {
    /// The topic's full name.
    pub topic: &'a Arc<str>,
    /// `None`: by murmur2 of the key, or as the client chooses where the key is null.
    pub partition: Option<i32>,
    /// The key's bytes; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is null.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the epoch; `None`: the producer's clock.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: &'a Headers,
}

/// What led to an output record, for the production exception handler.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The node that sends it.
    pub node: &'a Arc<str>,
    /// The record that the task is processing.
    pub record: &'a RecordContext,
}

/// Where a task's output goes: a producer, or a test.
pub trait RecordCollector: ChangelogSink + Send {
    /// Sends one record; key and value are copied before it returns.
    ///
    /// # Errors
    /// When the record cannot be sent and the production exception handler does not let that pass.
    fn send(&mut self, record: OutputRecord<'_>, origin: Origin<'_>) -> Result<(), StreamsError>;

    /// The number of partitions of a topic.
    ///
    /// # Errors
    /// When the topic does not exist or the cluster does not answer.
    fn partition_count(&mut self, topic: &str) -> Result<i32, StreamsError>;

    /// Puts that stores refused because their windows had expired, so far: part of the task's dropped records.
    fn expired_puts(&self) -> u64;

    /// This collector as what stores log to.
    fn as_changelog(&mut self) -> &mut dyn ChangelogSink;
}

/// The state that all nodes of one task share. Nodes reach it through their contexts only.
pub struct TaskContext {
    pub(crate) owner: QCellOwner,
    pub(crate) task_id: TaskId,
    pub(crate) application_id: Arc<str>,
    /// Names of the topology's nodes, by index.
    pub(crate) names: Arc<[Arc<str>]>,
    /// The name of a node that is none.
    pub(crate) unnamed: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) emit_intervals: EmitIntervals,
    /// What nodes share beside stores, by name; handles of any type.
    pub(crate) shared: BTreeMap<String, Box<dyn Any + Send + Sync>>,
    /// What nodes commit beside the offsets of the inputs: times by the name of a store.
    pub(crate) processor_metadata: BTreeMap<String, i64>,
    /// It changed since the last commit: every input's offset carries it.
    pub(crate) processor_metadata_changed: bool,
    pub(crate) collector: Box<dyn RecordCollector>,
    pub(crate) punctuations: Punctuations,
    /// Of asynchronous steps.
    pub(crate) calls: TaskCalls,
    /// What the task is doing, for other threads.
    pub(crate) activity: Arc<Activity>,
    /// The record that is being processed.
    pub(crate) record: RecordContext,
    /// Its bytes, for dead letters.
    pub(crate) raw: Option<RawRecord>,
    /// The highest timestamp taken up; -1 before the first.
    pub(crate) stream_time: i64,
    pub(crate) commit_requested: bool,
    pub(crate) handlers: TaskHandlers,
    /// Records dropped so far (`dropped-records-total`).
    pub(crate) dropped: u64,
    /// Since metrics looked last.
    pub(crate) lateness: Lateness,
    /// By node, since metrics looked last; empty where nobody looks.
    pub(crate) node_counts: Box<[NodeCounts]>,
}

impl TaskContext {
    pub(crate) fn node_name(&self, node: usize) -> &str {
        self.names.get(node).map_or("?", |name| name)
    }

    pub(crate) fn record_metadata(&self) -> RecordMetadata {
        let record = &self.record;
        RecordMetadata { topic: record.topic.clone(), partition: record.partition, offset: record.offset }
    }

    #[inline]
    pub(crate) fn open_store<'a, S>(&'a mut self, handle: &'a StoreHandle<S>) -> StoreAccess<'a, S> {
        let TaskContext { owner, record, collector, .. } = self;
        StoreAccess {
            store: handle.0.rw(owner).get_mut(),
            cx: StoreContext { record, changelog: collector.as_changelog() },
        }
    }

    /// The handle of what nodes share under `name`; made with the first that asks. `None`: another type is there.
    pub(crate) fn shared<T: Default + Send + 'static>(&mut self, name: &str) -> Option<StoreHandle<T>> {
        let TaskContext { owner, shared, .. } = self;
        let handle = shared.entry(name.to_owned()).or_insert_with(|| {
            Box::new(StoreHandle(Arc::new(QCell::new(&*owner, SyncWrapper::new(T::default())))))
        });
        handle.downcast_ref::<StoreHandle<T>>().cloned()
    }

    /// Sends a record of `node`.
    pub(crate) fn send(&mut self, node: usize, record: OutputRecord<'_>) -> Result<(), StreamsError> {
        let TaskContext { collector, names, record: source, unnamed, .. } = self;
        collector.send(record, Origin { node: names.get(node).unwrap_or(unnamed), record: source })
    }

    /// Runs `f` with the timestamp and headers of a forwarded record as those of the current one: what lies downstream
    /// logs and looks at them (`ProcessorContextImpl.forward`). `shares_headers`: it is the current record itself, so
    /// that changes of its headers stay.
    #[inline]
    pub(crate) fn as_record<T>(
        &mut self,
        timestamp: i64,
        headers: Headers,
        shares_headers: bool,
        f: impl FnOnce(&mut TaskContext) -> T,
    ) -> T {
        let outer_time = std::mem::replace(&mut self.record.timestamp, timestamp);
        let outer_headers = std::mem::replace(&mut self.record.headers, headers);
        let result = f(self);
        self.record.timestamp = outer_time;
        if !shares_headers {
            self.record.headers = outer_headers;
        }
        result
    }

    /// A node is given a record. `is_end`: it is where records enter or leave the task, and their age counts.
    #[inline]
    pub(crate) fn count(&mut self, node: usize, timestamp: i64, is_end: bool) {
        if let Some(counts) = self.node_counts.get_mut(node) {
            counts.records += 1;
            if is_end {
                counts.end_to_end.add(self.clock.now_ms().saturating_sub(timestamp));
            }
        }
    }

    /// Counts and reports a record that is dropped on purpose.
    pub(crate) fn drop_record(&mut self, node: usize, why: &'static str) {
        self.dropped += 1;
        tracing::debug!(
            task = %self.task_id, node = self.node_name(node), topic = self.record.topic.as_deref(),
            partition = self.record.partition, offset = self.record.offset, why, "dropped a record"
        );
    }
}

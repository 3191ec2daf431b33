//! A task: the part of a topology that works on one partition of its inputs, with the stores that belong to it.
//!
//! The task knows no threads and no client. The runtime (or a test driver) gives it raw records and decides when to
//! process, to punctuate and to commit; output goes to its [`RecordCollector`]. It is one value that moves between
//! threads. `create` builds it, `process` takes records through it, `commit` ends what was done since the last commit.

mod activity;
mod calls;
mod commit;
mod context;
mod counts;
mod create;
mod failures;
mod global;
mod heap;
mod id;
mod process;
mod punctuation;
mod queue;
mod raw;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use activity::Activity;
pub(crate) use calls::TaskCalls;
pub use context::{Origin, OutputRecord, RecordCollector, TaskContext};
pub(crate) use counts::{EndToEnd, Lateness, NodeCounts};
pub(crate) use create::open_reader;
pub use create::{TaskEnvironment, TaskScope};
pub use failures::TaskHandlers;
pub use global::{GlobalEnvironment, GlobalTask};
pub use id::{InvalidTaskId, TaskId};
pub(crate) use queue::{InputQueue, RecordQueue};
pub use raw::{OwnedRecord, RawRecord, TopicPartition};
pub(crate) use stores::TaskStore;

use crate::error::StreamsError;
use crate::topology::{NodeLifecycle, QueueFactory};
use heap::JavaHeap;

/// The changelog of one store of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogPartition {
    /// The store.
    pub store: Arc<str>,
    /// Where it is logged.
    pub partition: TopicPartition,
    /// The topic is the store's source topic: read to the committed offset, never written.
    pub is_source: bool,
}

/// How far an input was processed: what to commit for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedOffset {
    /// The input's number in [`Task::inputs`].
    pub input: usize,
    /// The offset of the next record to process.
    pub offset: i64,
    /// Highest timestamp taken from the partition (ms); goes into the commit's metadata.
    pub partition_time: i64,
}

/// One task of a topology. See the module's documentation.
pub struct Task {
    cx: TaskContext,
    queues: Vec<Box<dyn InputQueue>>,
    /// Inputs as the outside knows them, by number.
    inputs: Vec<TopicPartition>,
    /// Non-empty inputs by the timestamp of their heads.
    order: JavaHeap,
    /// Inputs from which something was taken since the last commit.
    consumed: Vec<bool>,
    /// The numbers of the task's nodes, ascending.
    included: Vec<usize>,
    nodes: Vec<Option<Arc<dyn NodeLifecycle>>>,
    /// What makes the input queues of each source, for topics that are added later.
    sources: BTreeMap<usize, QueueFactory>,
    stores: Vec<TaskStore>,
    /// The task's views of the global stores.
    readers: Vec<TaskStore>,
    changelogs: Vec<ChangelogPartition>,
    /// Something was processed or punctuated since the last commit.
    commit_needed: bool,
}

impl Task {
    /// The task's name.
    pub fn id(&self) -> TaskId {
        self.cx.task_id
    }

    /// The partitions that the task reads; an index into this list is an input's number.
    pub fn inputs(&self) -> &[TopicPartition] {
        &self.inputs
    }

    /// The changelogs of its logged stores, by [`ChangelogId`](kstreams_state_stores::ChangelogId).
    pub fn changelogs(&self) -> &[ChangelogPartition] {
        &self.changelogs
    }

    /// Names of the task's stores, in the topology's order.
    pub fn store_names(&self) -> impl Iterator<Item = &str> {
        self.stores.iter().map(|store| &*store.name)
    }

    /// The names of the topology's nodes by number; `None` for those that are not in this task.
    pub(crate) fn node_names(&self) -> impl Iterator<Item = Option<&str>> {
        let included = |node: usize| self.included.binary_search(&node).is_ok();
        self.cx.names.iter().enumerate().map(move |(node, name)| included(node).then_some(&**name))
    }

    /// The highest timestamp of any record taken up (ms), -1 before the first.
    pub fn stream_time(&self) -> i64 {
        self.cx.stream_time
    }

    /// Records that were dropped so far.
    pub fn dropped_records(&self) -> u64 {
        self.cx.dropped + self.cx.collector.expired_puts()
    }

    /// Begins to count what each node does.
    pub(crate) fn count_per_node(&mut self) {
        self.cx.node_counts = vec![NodeCounts::default(); self.cx.names.len()].into();
    }

    /// What each node did since the last call, where it is counted.
    pub(crate) fn take_node_counts(&mut self, mut f: impl FnMut(usize, NodeCounts)) {
        for (node, counts) in self.cx.node_counts.iter_mut().enumerate() {
            f(node, std::mem::take(counts));
        }
    }

    /// How late the records were that were processed since the last call.
    pub(crate) fn take_lateness(&mut self) -> Lateness {
        std::mem::take(&mut self.cx.lateness)
    }

    /// The collector that the task was given.
    pub fn collector(&mut self) -> &mut dyn RecordCollector {
        &mut *self.cx.collector
    }

    /// Sets what was committed as partition time of an input (ms).
    pub fn set_partition_time(&mut self, input: usize, time: i64) {
        self.queues[input].set_partition_time(time);
        self.cx.stream_time = self.cx.stream_time.max(time);
    }

    /// What nodes commit beside the offsets: times in ms, by the name of a store.
    pub fn processor_metadata(&self) -> &BTreeMap<String, i64> {
        &self.cx.processor_metadata
    }

    /// Takes over what was committed beside the offset of one input, before the task is initialized. Of one store's
    /// values the greatest counts.
    pub fn add_processor_metadata(&mut self, committed: &BTreeMap<String, i64>) {
        for (name, &value) in committed {
            let ours = self.cx.processor_metadata.entry(name.clone()).or_insert(value);
            *ours = (*ours).max(value);
        }
    }

    /// Records that wait in an input's queue.
    pub fn buffered(&self, input: usize) -> usize {
        self.queues[input].len()
    }

    /// The offset of the next record of an input to process; `None` before the first came.
    pub(crate) fn next_to_process(&self, input: usize) -> Option<i64> {
        self.queues[input].position()
    }

    /// The highest timestamp taken from an input (ms); -1 at first.
    pub(crate) fn partition_time(&self, input: usize) -> i64 {
        self.queues[input].partition_time()
    }

    /// Whether every input has a record, so that the lowest timestamp is known for sure.
    pub fn all_buffered(&self) -> bool {
        self.queues.iter().all(|queue| queue.len() > 0)
    }

    /// Whether some input has a record.
    pub fn any_buffered(&self) -> bool {
        self.order.peek().is_some()
    }

    /// A processor asked for a commit.
    pub fn commit_requested(&self) -> bool {
        self.cx.commit_requested
    }

    /// Something happened since the last commit.
    pub fn commit_needed(&self) -> bool {
        self.commit_needed
    }

    /// Closes the processors, then the stores. Commit before, unless the task is given up.
    ///
    /// # Errors
    /// When a store cannot be closed.
    pub fn close(&mut self) -> Result<(), StreamsError> {
        for node in self.nodes.iter().flatten() {
            node.close(&mut self.cx);
        }
        for queue in &mut self.queues {
            queue.clear();
        }
        self.order.clear();
        self.each_store(|store| store.close())
    }
}

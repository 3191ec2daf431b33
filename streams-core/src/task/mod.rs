//! A task: the part of a topology that works on one partition of its inputs, with the stores that belong to it.
//!
//! The task knows no threads and no client. The runtime (or a test driver) gives it raw records and decides when to
//! process, to punctuate and to commit; output goes to its [`RecordCollector`]. It is one value that moves between
//! threads.

mod activity;
mod calls;
mod context;
mod counts;
mod create;
mod failures;
mod global;
mod heap;
mod id;
mod punctuation;
mod queue;
mod raw;

use std::collections::BTreeMap;
use std::sync::Arc;

use kstreams_state_stores::{
    BulkRestored, CacheStats, ChangelogId, CommitBatch, Headers, RecordContext, RestoreRecord, StateStore,
    StoreContext, StoreError,
};

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

use qcell::QCellOwner;

use crate::error::StreamsError;
use crate::processor::{ErasedStoreCell, PunctuationType, StoreHandle};
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

/// A store of a task, with what the task needs to manage it.
pub(crate) struct TaskStore {
    name: Arc<str>,
    cell: Arc<dyn ErasedStoreCell>,
    handle: Box<dyn Fn() -> Box<dyn std::any::Any + Send + Sync> + Send + Sync>,
    /// The nodes that are connected to it.
    users: Vec<usize>,
}

impl TaskStore {
    /// Runs `f` on the store as one of type `S`.
    pub(crate) fn with<S: StateStore + 'static, T>(
        &self,
        owner: &mut QCellOwner,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<T, StreamsError> {
        let handle = (self.handle)();
        let Some(StoreHandle(cell)) = handle.downcast_ref::<StoreHandle<S>>() else {
            let asked = std::any::type_name::<S>();
            return Err(StreamsError::StoreType { store: self.name.to_string(), asked });
        };
        Ok(f(cell.rw(owner).get_mut()))
    }
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

    /// The changelogs of its logged stores, by [`ChangelogId`].
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

    /// How well the caches of the stores do that have one.
    pub(crate) fn cache_stats(&mut self, mut f: impl FnMut(&str, CacheStats)) {
        for store in &self.stores {
            let cell = store.cell.get(&mut self.cx.owner);
            if cell.spec().caching {
                f(&store.name, cell.cache_stats());
            }
        }
    }

    /// Visits the task's stores, in the topology's order.
    pub(crate) fn visit_stores(&mut self, mut f: impl FnMut(&mut dyn StateStore)) {
        for store in &self.stores {
            f(store.cell.get(&mut self.cx.owner));
        }
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

    /// Puts records of a changelog into their store.
    ///
    /// # Errors
    /// When the store cannot take them.
    pub fn restore(
        &mut self,
        changelog: ChangelogId,
        records: &mut dyn Iterator<Item = RestoreRecord<'_>>,
    ) -> Result<(), StreamsError> {
        let Some(name) = self.changelog_store(changelog) else { return Ok(()) };
        self.with_store(&name, |store| store.restore(records)).unwrap_or(Ok(()))
    }

    /// The store of a changelog was rebuilt in bulk, beside the task: it takes over the stream time that its records had.
    pub fn bulk_restored(&mut self, changelog: ChangelogId, restored: &BulkRestored) {
        if let Some(name) = self.changelog_store(changelog) {
            // There is nothing in it that could fail.
            let _told = self.with_store(&name, |store| {
                store.bulk_restored(restored);
                Ok(())
            });
        }
    }

    fn changelog_store(&self, changelog: ChangelogId) -> Option<Arc<str>> {
        let index = usize::try_from(changelog.0).unwrap_or(usize::MAX);
        self.changelogs.get(index).map(|changelog| Arc::clone(&changelog.store))
    }

    /// Calls the processors' `init`, in the topology's order. Once, after the restore.
    ///
    /// # Errors
    /// When a processor's `init` fails.
    pub fn initialize(&mut self) -> Result<(), StreamsError> {
        self.cx.record = dummy_record(self.cx.clock.now_ms());
        for node in self.nodes.iter().flatten() {
            node.init(&mut self.cx)?;
        }
        Ok(())
    }

    /// Adds a record at the end of an input's queue.
    ///
    /// # Errors
    /// When the record becomes the head and cannot be decoded, and its handler says fail.
    pub fn enqueue(&mut self, input: usize, record: RawRecord) -> Result<(), StreamsError> {
        let queue = &mut self.queues[input];
        let was_empty = queue.len() == 0;
        queue.push(record);
        if was_empty && let Some(timestamp) = queue.head(&mut self.cx)? {
            self.order.push(timestamp, input);
        }
        if was_empty && self.queues[input].len() == 0 {
            // The record was skipped: its offset still counts as consumed.
            self.consumed[input] = true;
            self.commit_needed = true;
        }
        Ok(())
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

    /// Processes the record with the lowest timestamp and everything it leads to, and fires stream-time punctuations
    /// that are due then. `false` when no record waits.
    ///
    /// # Errors
    /// When a node or the output fails and no handler lets that pass: the task cannot go on.
    pub fn process_one(&mut self) -> Result<bool, StreamsError> {
        let Some((_, input)) = self.order.pop() else { return Ok(false) };
        self.cx.activity.take_up(input);
        let queue = &mut self.queues[input];
        self.consumed[input] = true;
        self.commit_needed = true;
        if let Some(next) = queue.advance(&mut self.cx)? {
            self.order.push(next, input);
        }
        queue.process(&mut self.cx)?;
        Ok(true)
    }

    /// Processes up to `max_records` records; how many it were.
    ///
    /// # Errors
    /// As [`process_one`](Task::process_one).
    pub fn process(&mut self, max_records: usize) -> Result<usize, StreamsError> {
        let mut processed = 0;
        while processed < max_records && self.may_take_another() && self.process_one()? {
            processed += 1;
            if !self.cx.punctuations.is_empty() {
                self.punctuate_stream_time()?;
            }
        }
        Ok(processed)
    }

    /// Whether nothing has come up that goes before the next record.
    #[inline]
    pub(crate) fn may_take_another(&self) -> bool {
        !self.cx.commit_requested && !self.cx.activity.is_given_up() && self.cx.calls.have_room()
    }

    /// Fires the stream-time schedules that are due.
    ///
    /// # Errors
    /// When a punctuation fails and no handler lets that pass.
    pub fn punctuate_stream_time(&mut self) -> Result<bool, StreamsError> {
        if self.cx.stream_time < 0 {
            return Ok(false);
        }
        self.punctuate(PunctuationType::StreamTime, self.cx.stream_time)
    }

    /// Fires the wall-clock schedules that are due by the task's clock.
    ///
    /// # Errors
    /// When a punctuation fails and no handler lets that pass.
    pub fn punctuate_wall_clock(&mut self) -> Result<bool, StreamsError> {
        self.punctuate(PunctuationType::WallClockTime, self.cx.clock.now_ms())
    }

    /// Whether a processor has a schedule.
    fn has_schedules(&self) -> bool {
        !self.cx.punctuations.is_empty()
    }

    /// When the next wall-clock schedule is due, in ms since the epoch.
    pub fn next_wall_clock_punctuation(&self) -> Option<i64> {
        self.cx.punctuations.next_wall_clock()
    }

    fn punctuate(&mut self, kind: PunctuationType, now: i64) -> Result<bool, StreamsError> {
        let mut fired = false;
        while let Some(due) = self.cx.punctuations.take_due(kind, now) {
            fired = true;
            self.commit_needed = true;
            self.cx.record = dummy_record(now);
            self.cx.raw = None;
            self.cx.activity.without_record();
            if let Some(Some(node)) = self.nodes.get(due.node) {
                let node = Arc::clone(node);
                node.punctuate(due.id, now, &mut self.cx)
                    .map_err(|error| error.into_streams_error(self.cx.node_name(due.node)))?;
            }
        }
        Ok(fired)
    }

    /// A processor asked for a commit.
    pub fn commit_requested(&self) -> bool {
        self.cx.commit_requested
    }

    /// Something happened since the last commit.
    pub fn commit_needed(&self) -> bool {
        self.commit_needed
    }

    /// First step of a commit: waits for asynchronous steps ([`drain`](Self::drain) does so without blocking), flushes the
    /// store caches, in the stores' order, and forwards what they set free. What was consumed up to here may be committed
    /// once the collector has delivered everything.
    ///
    /// # Errors
    /// When a store or a node fails.
    pub fn prepare_commit(&mut self) -> Result<Vec<ConsumedOffset>, StreamsError> {
        self.finish_calls()?;
        self.flush_caches()?;
        self.flush_stores()?;
        let all = self.cx.processor_metadata_changed;
        let offsets = self.queues.iter().enumerate().filter(|&(input, _)| all || self.consumed[input]);
        let offsets = offsets.filter_map(|(input, queue)| {
            let partition_time = queue.partition_time();
            queue.position().map(|offset| ConsumedOffset { input, offset, partition_time })
        });
        Ok(offsets.collect())
    }

    /// Flushes the store caches without a commit (`flushCache`).
    ///
    /// # Errors
    /// When a store or a node fails.
    pub fn flush_caches(&mut self) -> Result<(), StreamsError> {
        self.cx.activity.without_record();
        for index in 0..self.stores.len() {
            let TaskContext { owner, record, collector, .. } = &mut self.cx;
            let mut cx = StoreContext { record, changelog: collector.as_changelog() };
            let flushed = self.stores[index].cell.get(owner).flush_cache(&mut cx);
            flushed.map_err(|source| self.store_failed(source))?;
            self.forward_flushed(index)?;
        }
        Ok(())
    }

    /// Lets stores log what they kept from their changelogs until now.
    fn flush_stores(&mut self) -> Result<(), StreamsError> {
        for index in 0..self.stores.len() {
            let TaskContext { owner, record, collector, .. } = &mut self.cx;
            let mut cx = StoreContext { record, changelog: collector.as_changelog() };
            let flushed = self.stores[index].cell.get(owner).flush(&mut cx);
            flushed.map_err(|source| self.store_failed(source))?;
        }
        Ok(())
    }

    fn forward_flushed(&mut self, store: usize) -> Result<(), StreamsError> {
        let Task { stores, nodes, cx, .. } = self;
        for &node in &stores[store].users {
            if let Some(Some(lifecycle)) = nodes.get(node) {
                let flushed = lifecycle.forward_flushed(cx);
                flushed.map_err(|error| error.into_streams_error(cx.node_name(node)))?;
            }
        }
        Ok(())
    }

    /// Last step of a commit: moves every store's uncommitted layer into `batch`, which the runtime completes with the
    /// changelog offsets and writes at once.
    ///
    /// # Errors
    /// When a store fails.
    pub fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StreamsError> {
        self.each_store(|store| store.write_commit(batch))
    }

    /// The batch is written: forget what it held, and what was consumed.
    pub fn committed(&mut self) {
        for store in &self.stores {
            store.cell.get(&mut self.cx.owner).committed();
        }
        self.consumed.fill(false);
        self.commit_needed = false;
        self.cx.processor_metadata_changed = false;
        self.cx.commit_requested = false;
        self.end_drain();
    }

    /// Bytes in the uncommitted layers of all stores.
    pub fn uncommitted_bytes(&mut self) -> usize {
        let owner = &mut self.cx.owner;
        self.stores.iter().map(|store| store.cell.get(owner).uncommitted_bytes()).sum()
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

    /// Forgets everything since the last commit: caches, uncommitted layers, queues.
    pub fn discard_uncommitted(&mut self) {
        self.cancel_calls();
        for store in &self.stores {
            store.cell.get(&mut self.cx.owner).discard_uncommitted();
        }
        for queue in &mut self.queues {
            queue.clear();
        }
        self.order.clear();
        self.consumed.fill(false);
        self.commit_needed = false;
    }

    /// Runs `f` on a store of the given type: a query from outside, between records.
    ///
    /// # Errors
    /// When the store has another type than asked for. `Ok(None)`: the task has no store of that name.
    pub fn query<S: StateStore + 'static, T>(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<Option<T>, StreamsError> {
        let store = self.stores.iter().chain(&self.readers).find(|store| &*store.name == name);
        store.map(|store| store.with(&mut self.cx.owner, f)).transpose()
    }

    fn each_store(
        &mut self,
        mut f: impl FnMut(&mut dyn StateStore) -> Result<(), StoreError>,
    ) -> Result<(), StreamsError> {
        for store in &self.stores {
            let result = f(store.cell.get(&mut self.cx.owner));
            result.map_err(|source| self.store_failed(source))?;
        }
        Ok(())
    }

    fn with_store(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut dyn StateStore) -> Result<(), StoreError>,
    ) -> Option<Result<(), StreamsError>> {
        let store = self.stores.iter().find(|store| &*store.name == name)?;
        let result = f(store.cell.get(&mut self.cx.owner));
        Some(result.map_err(|source| self.store_failed(source)))
    }

    /// A store's error as one of this task.
    pub fn store_failed(&self, source: StoreError) -> StreamsError {
        StreamsError::Store { task: self.cx.task_id.to_string(), source }
    }
}

/// The context of a punctuation and of `init`: the time, but no topic, offset or headers.
fn dummy_record(timestamp: i64) -> RecordContext {
    RecordContext { timestamp, headers: Headers::new(), topic: None, partition: -1, offset: -1 }
}

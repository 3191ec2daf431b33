//! The task that keeps the global stores up to date. It has no output, no changelog and no partition of its own: each of
//! its stores is made of all partitions of one topic, and says itself how far it has read them.

use std::sync::Arc;

use kstreams_state_stores::{
    CacheBudget, ChangelogId, ChangelogSink, Headers, SharedStores, StoreError, TaskBackend,
    UncommittedBudget,
};

use super::{
    Origin, OutputRecord, RawRecord, RecordCollector, Task, TaskEnvironment, TaskHandlers, TaskId, TaskScope,
    TopicPartition,
};
use crate::clock::Clock;
use crate::config::EmitIntervals;
use crate::error::{StreamsError, TopologyError};
use crate::topology::Topology;

/// What the global task is given by its surroundings.
pub struct GlobalEnvironment {
    /// The application id.
    pub application_id: Arc<str>,
    /// All partitions of the topics of global stores.
    pub inputs: Vec<TopicPartition>,
    /// The stores that it writes.
    pub stores: SharedStores,
    /// The budget of uncommitted data, shared by the instance.
    pub uncommitted: Arc<UncommittedBudget>,
    /// What to do about failures.
    pub handlers: TaskHandlers,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// What keeps the global stores of an instance (or of a test) up to date (`GlobalStateUpdateTask`).
pub struct GlobalTask {
    task: Task,
    backend: TaskBackend,
    inputs: Vec<GlobalInput>,
}

struct GlobalInput {
    /// Whether its store outlives the process, so that the offset is worth to be kept with it.
    persistent: bool,
    /// Behind the last record taken; `None` before the first.
    next: Option<i64>,
}

impl GlobalTask {
    /// Opens the stores for writing and starts their processors.
    ///
    /// # Errors
    /// When a store can't be opened, a processor's `init` fails, or a processor schedules something.
    pub fn create(topology: &Topology, environment: GlobalEnvironment) -> Result<Self, StreamsError> {
        let GlobalEnvironment { application_id, inputs, stores, uncommitted, handlers, clock } = environment;
        let backend = stores.writer();
        let environment = TaskEnvironment {
            task_id: TaskId::GLOBAL,
            scope: TaskScope::Global,
            application_id,
            inputs,
            backend: backend.clone(),
            global_stores: None,
            // Other tasks read what is committed: a cache would only hide it.
            cache: CacheBudget::new(0),
            uncommitted,
            collector: Box::new(NoOutput),
            handlers,
            emit_intervals: EmitIntervals::default(),
            clock,
            asynchronous: None,
            activity: Arc::default(),
        };
        let mut task = Task::create(topology, environment)?;
        task.initialize()?;
        if task.has_schedules() {
            let what = "a processor of a global store schedules a punctuation: it can only follow its topic";
            return Err(TopologyError::Invalid(what.to_owned()).into());
        }
        let global = topology.global_stores();
        let persistent =
            |topic: &str| global.iter().any(|store| store.topic == topic && store.spec.persistent);
        let inputs = task.inputs().iter();
        let inputs =
            inputs.map(|input| GlobalInput { persistent: persistent(&input.topic), next: None }).collect();
        Ok(GlobalTask { task, backend, inputs })
    }

    /// The partitions that it reads; an index into this list is an input's number.
    pub fn inputs(&self) -> &[TopicPartition] {
        self.task.inputs()
    }

    /// Records that were dropped so far.
    pub fn dropped_records(&self) -> u64 {
        self.task.dropped_records()
    }

    /// Takes up one record. Readers see it after the next [`commit`](Self::commit).
    ///
    /// # Errors
    /// When the record can't be read, or its processor fails, and no handler lets that pass.
    pub fn update(&mut self, input: usize, record: RawRecord) -> Result<(), StreamsError> {
        let next = record.offset() + 1;
        self.task.enqueue(input, record)?;
        self.task.process_one()?;
        self.inputs[input].next = Some(next);
        Ok(())
    }

    /// Writes what was taken up, with the offsets that it reaches to, and shows it to the readers.
    ///
    /// # Errors
    /// Those of the stores.
    pub fn commit(&mut self) -> Result<(), StreamsError> {
        let mut batch = self.backend.new_batch();
        self.task.write_commit(&mut batch)?;
        for (partition, input) in self.task.inputs().iter().zip(&self.inputs) {
            if let Some(next) = input.next.filter(|_| input.persistent) {
                batch
                    .set_changelog_offset(&partition.topic, partition.partition, next)
                    .map_err(|source| self.task.store_failed(source))?;
            }
        }
        self.backend.write(batch).map_err(|source| self.task.store_failed(source))?;
        self.task.committed();
        Ok(())
    }

    /// Makes what is committed safe against a crash: at the end.
    ///
    /// # Errors
    /// Those of the database.
    pub fn flush(&self) -> Result<(), StreamsError> {
        let flushed = self.backend.db().filter(|db| db.has_unflushed()).map_or(Ok(()), |db| db.flush());
        flushed.map_err(|source| self.task.store_failed(source))
    }

    /// Closes the processors, then the stores.
    ///
    /// # Errors
    /// When a store can't be closed.
    pub fn close(&mut self) -> Result<(), StreamsError> {
        self.task.close()
    }
}

/// Global processors have no children, and global stores no changelogs. What remains are dead letters of a user's handler.
struct NoOutput;

impl ChangelogSink for NoOutput {
    fn log(
        &mut self,
        _: ChangelogId,
        _: &[u8],
        _: Option<&[u8]>,
        _: Option<i64>,
        _: &Headers,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn record_dropped(&mut self, store: &str) {
        tracing::debug!(store, "a record came too late for a global store");
    }
}

impl RecordCollector for NoOutput {
    fn send(&mut self, record: OutputRecord<'_>, origin: Origin<'_>) -> Result<(), StreamsError> {
        let (topic, node) = (&**record.topic, &**origin.node);
        tracing::warn!(topic, node, "a dead letter of a global store is dropped: it has no producer");
        Ok(())
    }

    fn partition_count(&mut self, _: &str) -> Result<i32, StreamsError> {
        Ok(1)
    }

    fn expired_puts(&self) -> u64 {
        0
    }

    fn as_changelog(&mut self) -> &mut dyn ChangelogSink {
        self
    }
}

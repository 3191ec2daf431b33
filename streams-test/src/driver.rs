//! The driver: one task with everything in it, a clock that stands still, a commit after each record. Asynchronous steps
//! run on threads of their own, and the commit waits for them; their results go on in the order of their records.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use kstreams_core::clock::{Clock, ManualClock};
use kstreams_core::config::StreamsConfig;
use kstreams_core::handlers::LogAndContinue;
use kstreams_core::processor::AsyncEnvironment;
use kstreams_core::task::{
    GlobalEnvironment, GlobalTask, OwnedRecord, RawRecord, Task, TaskEnvironment, TaskHandlers, TaskScope,
    TopicPartition,
};
use kstreams_core::{StreamsError, TaskId, Topology};
use kstreams_state_stores::{
    CacheBudget, Serde, SerdeError, SharedStores, StateStore, TaskBackend, UncommittedBudget,
};

use crate::capture::{Capture, RawProducedRecord};
use crate::topics::{TestInputTopic, TestOutputTopic};

/// What a driver or one of its topics can answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The topology failed on a record, at start or in a punctuation.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// The topology reads no such topic.
    #[error("the topology has no source for topic {0}: pipe into one of its source topics")]
    UnknownTopic(String),
    /// The topology has no such store.
    #[error("the topology has no state store {0}")]
    UnknownStore(String),
    /// A key or value does not fit its serde.
    #[error("the {part} does not fit the serde of topic {topic}")]
    Serde {
        /// `key` or `value`.
        part: &'static str,
        /// The topic.
        topic: String,
        /// What the serde said.
        source: SerdeError,
    },
}

/// Runs a topology in the thread of a test. See the crate's documentation.
pub struct TopologyTestDriver {
    inner: Rc<RefCell<Inner>>,
}

impl TopologyTestDriver {
    /// Starts `topology` as application `test-app` with default settings, at wall clock 0.
    ///
    /// # Errors
    /// When a store cannot be opened or a processor's `init` fails.
    pub fn new(topology: Topology) -> Result<Self, DriverError> {
        Self::with_config(topology, &StreamsConfig::new("test-app", "none:1"), 0)
    }

    /// Starts `topology` with the settings of `config` that mean something without a broker, and the wall clock at
    /// `start_wall_clock_ms` (ms since the epoch).
    ///
    /// # Errors
    /// As [`new`](TopologyTestDriver::new).
    pub fn with_config(
        topology: Topology,
        config: &StreamsConfig,
        start_wall_clock_ms: i64,
    ) -> Result<Self, DriverError> {
        let inner = Inner::start(topology, config, start_wall_clock_ms)?;
        Ok(TopologyTestDriver { inner: Rc::new(RefCell::new(inner)) })
    }

    /// A topic to pipe records into, with the serdes named as type arguments.
    pub fn create_input_topic<KS, VS>(&self, topic: &str) -> TestInputTopic<KS::Target, VS::Target>
    where
        KS: Serde + Default,
        VS: Serde + Default,
    {
        TestInputTopic::new(Rc::clone(&self.inner), topic, KS::default(), VS::default())
    }

    /// A topic to read what the topology wrote, with the serdes named as type arguments.
    pub fn create_output_topic<KS, VS>(&self, topic: &str) -> TestOutputTopic<KS::Target, VS::Target>
    where
        KS: Serde + Default,
        VS: Serde + Default,
    {
        TestOutputTopic::new(Rc::clone(&self.inner), topic, KS::default(), VS::default())
    }

    /// Pipes a record given as bytes.
    ///
    /// # Errors
    /// When the topology does not read the topic, or fails on the record.
    pub fn pipe_raw(&self, topic: &str, record: OwnedRecord) -> Result<(), DriverError> {
        self.inner.borrow_mut().pipe(topic, record)
    }

    /// Takes what was written to `topic` since the last call, as bytes.
    pub fn take_raw(&self, topic: &str) -> Vec<RawProducedRecord> {
        self.inner.borrow_mut().take_all(topic)
    }

    /// The topics that were written to so far, internal ones included.
    pub fn produced_topics(&self) -> Vec<Arc<str>> {
        self.inner.borrow().capture.with(|produced| produced.topics.keys().cloned().collect())
    }

    /// Moves the wall clock and fires the punctuations that are due then.
    ///
    /// # Errors
    /// When a punctuation fails.
    pub fn advance_wall_clock_time(&self, by: std::time::Duration) -> Result<(), DriverError> {
        self.inner.borrow_mut().advance_wall_clock(by)
    }

    /// Runs `f` on a state store, named with its type, `KeyValueStore<String, i64>` for instance.
    ///
    /// # Errors
    /// When there is no store of that name or it has another type.
    pub fn with_store<S: StateStore + 'static, T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<T, DriverError> {
        let mut inner = self.inner.borrow_mut();
        inner.task.query(name, f)?.ok_or_else(|| DriverError::UnknownStore(name.to_owned()))
    }

    /// `dropped-records-total` of the task and of the global stores.
    pub fn dropped_records(&self) -> u64 {
        let inner = self.inner.borrow();
        inner.task.dropped_records() + inner.global.as_ref().map_or(0, GlobalTask::dropped_records)
    }

    /// Closes the processors and stores.
    ///
    /// # Errors
    /// When a store cannot be closed.
    pub fn close(self) -> Result<(), DriverError> {
        let mut inner = self.inner.borrow_mut();
        if let Some(global) = &mut inner.global {
            global.close()?;
        }
        Ok(inner.task.close()?)
    }
}

pub(crate) struct Inner {
    topology: Topology,
    task: Task,
    /// Keeps the global stores up to date, of a topology that has some.
    global: Option<GlobalTask>,
    backend: TaskBackend,
    capture: Capture,
    clock: Arc<ManualClock>,
    /// Next offset per piped topic.
    offsets: BTreeMap<Arc<str>, i64>,
}

impl Inner {
    fn start(topology: Topology, config: &StreamsConfig, start_ms: i64) -> Result<Inner, DriverError> {
        let application_id: Arc<str> = config.application_id.as_str().into();
        let cache_bytes = usize::try_from(config.statestore_cache_max_bytes).unwrap_or(usize::MAX);
        let inputs = topology.all_source_topics(&application_id);
        let capture = Capture::default();
        let clock = Arc::new(ManualClock::new(start_ms));
        let (backend, global_stores) = (TaskBackend::Memory, SharedStores::new(None));
        let global = start_global(&topology, config, &global_stores, &clock)?;
        let environment = TaskEnvironment {
            task_id: TaskId::new(0, 0),
            scope: TaskScope::All,
            application_id,
            inputs: inputs.into_iter().map(|topic| TopicPartition::new(topic, 0)).collect(),
            backend: backend.clone(),
            global_stores: Some(global_stores),
            cache: CacheBudget::new(cache_bytes),
            uncommitted: UncommittedBudget::new(usize::MAX),
            collector: Box::new(capture.clone()),
            handlers: TaskHandlers::from(config),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            emit_intervals: config.emit_intervals.or_zero(),
            asynchronous: Some(AsyncEnvironment::in_order(config.async_runtime.clone())),
            activity: Arc::default(),
        };
        let task = Task::create(&topology, environment)?;
        let changelogs = task.changelogs().iter().map(|changelog| Arc::clone(&changelog.partition.topic));
        capture.with(|produced| produced.changelogs = changelogs.collect());
        let mut inner = Inner { topology, task, global, backend, capture, clock, offsets: BTreeMap::new() };
        inner.task.initialize()?;
        inner.capture_and_pipe_on()?;
        inner.run()?;
        Ok(inner)
    }

    pub(crate) fn pipe(&mut self, topic: &str, record: OwnedRecord) -> Result<(), DriverError> {
        // A pattern of the tasks' sources may match a global topic: it is for both then, first for them.
        let global = self.global_input(topic).filter(|_| self.topology.reads(topic));
        let for_global = global.map(|input| (input, record.clone()));
        self.enqueue(topic, record)?;
        // What an unreadable record led to (a dead letter) is there without anything to process.
        self.capture_and_pipe_on()?;
        self.run()?;
        match for_global {
            Some((input, record)) => self.update_global(input, record),
            None => Ok(()),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn take_one(&mut self, topic: &str) -> Option<RawProducedRecord> {
        self.capture.with(|produced| produced.topics.get_mut(topic).and_then(VecDeque::pop_front))
    }

    fn take_all(&mut self, topic: &str) -> Vec<RawProducedRecord> {
        self.capture
            .with(|produced| produced.topics.get_mut(topic).map(std::mem::take))
            .unwrap_or_default()
            .into()
    }

    pub(crate) fn size(&self, topic: &str) -> usize {
        self.capture.with(|produced| produced.topics.get(topic).map_or(0, VecDeque::len))
    }

    fn enqueue(&mut self, topic: &str, mut record: OwnedRecord) -> Result<(), DriverError> {
        if let Some(input) = self.global_input(topic).filter(|_| !self.topology.reads(topic)) {
            record.offset = self.next_offset(topic);
            return self.update_global(input, record);
        }
        let input = match self.input(topic) {
            Some(input) => input,
            None => {
                // A topic that a pattern matches shows up when something is first written to it.
                let added = self.task.add_input(&self.topology, TopicPartition::new(topic, 0));
                added.ok_or_else(|| DriverError::UnknownTopic(topic.to_owned()))?
            }
        };
        record.offset = self.next_offset(topic);
        self.task.enqueue(input, RawRecord::Owned(record))?;
        Ok(())
    }

    fn next_offset(&mut self, topic: &str) -> i64 {
        let next = self.offsets.entry(topic.into()).or_insert(0);
        *next += 1;
        *next - 1
    }

    fn global_input(&self, topic: &str) -> Option<usize> {
        self.global.as_ref()?.inputs().iter().position(|input| &*input.topic == topic)
    }

    /// Global stores are up to date at once: they are no part of the task.
    fn update_global(&mut self, input: usize, record: OwnedRecord) -> Result<(), DriverError> {
        if let Some(global) = &mut self.global {
            global.update(input, RawRecord::Owned(record))?;
            global.commit()?;
        }
        Ok(())
    }

    fn input(&self, topic: &str) -> Option<usize> {
        self.task.inputs().iter().position(|input| &*input.topic == topic)
    }

    /// Takes one record after the other through the topology, with a commit after each.
    fn run(&mut self) -> Result<(), DriverError> {
        while self.task.process_one()? {
            self.task.punctuate_stream_time()?;
            self.commit()?;
            self.capture_and_pipe_on()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DriverError> {
        self.task.prepare_commit()?;
        let mut batch = self.backend.new_batch();
        self.task.write_commit(&mut batch)?;
        self.backend.write(batch).map_err(|source| self.task.store_failed(source))?;
        self.task.committed();
        Ok(())
    }

    /// Files what was produced under its topic, and queues what went to a topic that the topology reads.
    fn capture_and_pipe_on(&mut self) -> Result<(), DriverError> {
        let fresh = self.capture.with(|produced| std::mem::take(&mut produced.fresh));
        for (topic, record) in fresh {
            let is_read = self.input(&topic).is_some() || self.global_input(&topic).is_some();
            if is_read || self.topology.reads(&topic) {
                let piped = OwnedRecord {
                    key: record.key.clone(),
                    value: record.value.clone(),
                    timestamp: record.timestamp.unwrap_or_else(|| self.clock.now_ms()),
                    offset: 0,
                    headers: record.headers.clone(),
                };
                self.file(&topic, record);
                self.enqueue(&topic, piped)?;
            } else {
                self.file(&topic, record);
            }
        }
        Ok(())
    }

    fn file(&mut self, topic: &Arc<str>, record: RawProducedRecord) {
        self.capture.with(|produced| produced.topics.entry(Arc::clone(topic)).or_default().push_back(record));
    }

    fn advance_wall_clock(&mut self, by: std::time::Duration) -> Result<(), DriverError> {
        self.clock.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        self.task.punctuate_wall_clock()?;
        self.commit()?;
        self.capture_and_pipe_on()?;
        self.run()
    }
}

fn start_global(
    topology: &Topology,
    config: &StreamsConfig,
    stores: &SharedStores,
    clock: &Arc<ManualClock>,
) -> Result<Option<GlobalTask>, DriverError> {
    let topics = topology.global_topics();
    if topics.is_empty() {
        return Ok(None);
    }
    let environment = GlobalEnvironment {
        application_id: config.application_id.as_str().into(),
        inputs: topics.into_iter().map(|topic| TopicPartition::new(topic, 0)).collect(),
        stores: stores.clone(),
        uncommitted: UncommittedBudget::new(usize::MAX),
        // As the JVM's driver: what a global store cannot read is skipped and counted, whatever the settings say.
        handlers: TaskHandlers {
            deserialization: Arc::new(LogAndContinue),
            ..TaskHandlers::of_global(config)
        },
        clock: Arc::clone(clock) as Arc<dyn Clock>,
    };
    Ok(Some(GlobalTask::create(topology, environment)?))
}

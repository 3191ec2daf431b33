//! Asynchronous steps in a task: what they hold, in which order they send on, what failures and commits do to them.

mod commits;
mod failures;
mod order;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstreams_state_stores::{
    CacheBudget, ChangelogId, ChangelogSink, Headers, Record, StoreError, TaskBackend, UncommittedBudget,
};
use parking_lot::Mutex;

use super::*;
use crate::StreamsError;
use crate::clock::ManualClock;
use crate::config::EmitIntervals;
use crate::handlers::LogAndContinue;
use crate::processor::Processor;
use crate::task::{
    ConsumedOffset, Origin, OutputRecord, OwnedRecord, RawRecord, RecordCollector, Task, TaskEnvironment,
    TaskHandlers, TaskScope, TopicPartition,
};
use crate::{TaskId, Topology};

/// No wait of these tests may reach it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A record that left the task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    topic: String,
    key: String,
    value: String,
    /// Of the input record that was being processed.
    offset: i64,
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<Sent>>>);

impl ChangelogSink for Output {
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

    fn record_dropped(&mut self, _: &str) {}
}

impl RecordCollector for Output {
    fn send(&mut self, record: OutputRecord<'_>, origin: Origin<'_>) -> Result<(), StreamsError> {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let (key, value, offset) = (text(record.key), text(record.value), origin.record.offset);
        self.0.lock().push(Sent { topic: record.topic.to_string(), key, value, offset });
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

/// A task `in -> steps -> out` of texts, driven by hand.
struct Driven {
    task: Task,
    output: Output,
    next_offset: i64,
}

type Step = Box<dyn Processor<String, String, String, String>>;

/// Makes a step from an asynchronous function of key and value.
fn step<F, Fut>(f: F, options: AsyncOptions) -> impl Fn() -> Step
where
    F: Fn(String, String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ProcessResult<String>> + Send + 'static,
{
    let processor = Arc::new(move |record: Record<String, String>, _: RecordMetadata| {
        let value = f(record.key.clone(), record.value.clone());
        async move { Ok(vec![record.with_value(value.await?)]) }
    });
    move || Box::new(AsyncAdapter::new(Arc::clone(&processor), options.clone()))
}

fn runtime() -> AsyncEnvironment {
    AsyncEnvironment::new(AsyncRuntime::new(None), Arc::default())
}

impl Driven {
    /// A task with one step.
    fn new<F, Fut>(options: AsyncOptions, f: F) -> Self
    where
        F: Fn(String, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ProcessResult<String>> + Send + 'static,
    {
        Self::with(TaskHandlers::default(), options, f)
    }

    fn with<F, Fut>(handlers: TaskHandlers, options: AsyncOptions, f: F) -> Self
    where
        F: Fn(String, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ProcessResult<String>> + Send + 'static,
    {
        let mut topology = Topology::new();
        topology.add_source::<String, String>("source", "in").unwrap();
        topology.add_processor("step", step(f, options), &["source"]).unwrap();
        topology.add_sink::<String, String>("sink", "out", &["step"]).unwrap();
        Self::of(&topology, handlers, runtime())
    }

    fn of(topology: &Topology, handlers: TaskHandlers, asynchronous: AsyncEnvironment) -> Self {
        let output = Output::default();
        let environment = TaskEnvironment {
            task_id: TaskId::new(0, 0),
            scope: TaskScope::All,
            application_id: "app".into(),
            inputs: vec![TopicPartition::new("in", 0)],
            backend: TaskBackend::Memory,
            global_stores: None,
            cache: CacheBudget::new(0),
            uncommitted: UncommittedBudget::new(usize::MAX),
            collector: Box::new(output.clone()),
            handlers,
            clock: Arc::new(ManualClock::default()),
            emit_intervals: EmitIntervals::default(),
            asynchronous: Some(asynchronous),
            activity: Arc::default(),
        };
        let mut task = Task::create(topology, environment).unwrap();
        task.initialize().unwrap();
        Driven { task, output, next_offset: 0 }
    }

    /// Puts records into the input.
    fn feed<'a>(&mut self, records: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (key, value) in records {
            let record = OwnedRecord {
                key: Some(key.into()),
                value: Some(value.into()),
                timestamp: self.next_offset,
                offset: self.next_offset,
                ..OwnedRecord::default()
            };
            self.next_offset += 1;
            self.task.enqueue(0, RawRecord::Owned(record)).unwrap();
        }
    }

    /// Rounds as a thread makes them, until `done`.
    fn rounds(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), StreamsError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let work = self.task.resume()? + self.task.process(10)?;
            if done(self) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "takes too long; sent: {:?}", self.sent());
            if work == 0 {
                self.task.wait_for_calls();
            }
        }
    }

    /// Processes everything.
    fn finish(&mut self) -> Result<(), StreamsError> {
        self.rounds(|driven| !driven.task.any_buffered() && driven.held() == 0)
    }

    /// A commit, as far as the task has to do with it.
    fn commit(&mut self) -> Result<Vec<ConsumedOffset>, StreamsError> {
        let offsets = self.task.prepare_commit()?;
        self.task.committed();
        Ok(offsets)
    }

    fn held(&self) -> usize {
        self.task.records_in_flight().unwrap()
    }

    fn sent(&self) -> Vec<Sent> {
        self.output.0.lock().clone()
    }

    /// Values that were sent, in their order.
    fn values(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.value).collect()
    }
}

/// Drops what fails, and writes a dead letter.
fn continuing() -> TaskHandlers {
    TaskHandlers {
        processing: Arc::new(LogAndContinue),
        dead_letter_topic: Some("dead".into()),
        ..TaskHandlers::default()
    }
}

/// Counts down when it is dropped: whether a future still lives.
struct Alive(Arc<std::sync::atomic::AtomicUsize>);

impl Alive {
    fn new(count: &Arc<std::sync::atomic::AtomicUsize>) -> Self {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Looks until it holds: what another thread does is not announced everywhere.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::yield_now();
    }
}

//! Threads that hang in user code: where they are, and what becomes of their tasks.
//!
//! The member polls and sends heartbeats on the group thread, so a slow record costs no membership. A task that has to
//! leave is waited for until `give_up_timeout`; then it is fenced: its commit can't land any more, what it produces is
//! dropped, and a warning names the node and the record. A thread that hangs longer than `task.timeout.ms` can't be
//! replaced, because its code is still running: the instance stops with an error, and its tasks go elsewhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::RuntimeError;
use super::instance::{Instance, TaskEntry, ThreadHandle};
use super::rebalance::{GroupThread, list};
use crate::error::StreamsError;
use crate::task::{TaskId, TopicPartition};

/// Threads are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A thread that is busy with one round for so long is told of.
const WARN_AFTER: Duration = Duration::from_secs(30);
/// A commit that is being answered holds the lock; it is bounded by the client, and this by a shorter time.
const GATE_TIMEOUT: Duration = Duration::from_secs(10);

/// When threads are looked at, and which were told of.
#[derive(Debug)]
pub(super) struct StuckWatch {
    next: Instant,
    told: Vec<String>,
}

impl StuckWatch {
    pub(super) fn new() -> Self {
        StuckWatch { next: Instant::now() + LOOK_EVERY, told: Vec::new() }
    }
}

/// Where a thread is at the moment.
pub(super) struct Place {
    node: Option<Arc<str>>,
    task: Option<TaskId>,
    record: Option<(TopicPartition, i64)>,
}

impl Place {
    pub(super) fn of(instance: &Instance, thread: &ThreadHandle) -> Place {
        let Some(entry) = thread.heartbeat.task() else {
            return Place { node: None, task: None, record: None };
        };
        let node = entry.activity.node().and_then(|node| instance.topology.nodes.get(node));
        let record = entry.activity.record().and_then(|(input, offset)| {
            let partition = entry.inputs.get(input)?;
            Some((partition.clone(), offset))
        });
        Place { node: node.map(|node| node.name.clone()), task: Some(entry.id), record }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(task) = &self.task else { return f.write_str("outside of any task") };
        match &self.node {
            Some(node) => write!(f, "in node {node} of task {task}")?,
            None => write!(f, "in task {task}")?,
        }
        match &self.record {
            Some((partition, offset)) => write!(f, ", with the record of {partition} at offset {offset}"),
            None => f.write_str(", in a punctuation or a flush"),
        }
    }
}

impl GroupThread {
    /// Any queue's poll resets librdkafka's own timer, so a thread that hangs in user code is ours to notice.
    pub(super) fn watch_threads(&mut self) -> Result<(), StreamsError> {
        if Instant::now() < self.stuck.next {
            return Ok(());
        }
        self.stuck.next = Instant::now() + LOOK_EVERY;
        let settings = &self.instance.settings;
        // Zero means that nothing is tried twice; code that takes its time is no second try.
        let limit =
            if settings.task_timeout.is_zero() { settings.max_poll_interval } else { settings.task_timeout };
        let mut told = Vec::new();
        for thread in self.instance.threads.read().iter() {
            let busy = thread.heartbeat.busy();
            if busy > limit {
                let (place, thread) = (Place::of(&self.instance, thread).to_string(), thread.name.clone());
                return Err(RuntimeError::Stuck { thread, busy, place }.into());
            }
            if busy < WARN_AFTER {
                continue;
            }
            if !self.stuck.told.contains(&thread.name) {
                tracing::warn!(
                    thread = thread.name, ?busy, place = %Place::of(&self.instance, thread),
                    "user code takes long; the instance keeps its membership, but the thread's tasks wait"
                );
            }
            told.push(thread.name.clone());
        }
        self.stuck.told = told;
        Ok(())
    }

    /// Takes tasks from threads that did not give them up in time: they commit nothing more, and what they still
    /// produce is dropped.
    pub(super) fn fence(&self, tasks: &[Arc<TaskEntry>]) {
        // A commit that is on its way holds the gate. None may follow before results are dropped, which it would leave out.
        let gate = self.instance.commit_gate.try_write_for(GATE_TIMEOUT);
        for entry in tasks {
            entry.owned.store(false, Ordering::SeqCst);
        }
        drop(gate);
        for entry in tasks {
            entry.activity.give_up();
        }
        for (index, thread) in self.instance.threads.read().iter().enumerate() {
            let held: Vec<&TaskId> =
                tasks.iter().filter(|entry| entry.thread == index).map(|entry| &entry.id).collect();
            if !held.is_empty() {
                tracing::warn!(
                    tasks = %list(held), thread = thread.name, busy = ?thread.heartbeat.busy(),
                    place = %Place::of(&self.instance, thread),
                    "tasks were not given up in time; their results since the last commit are dropped and done again elsewhere"
                );
            }
        }
    }
}

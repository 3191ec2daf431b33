//! What this instance has: threads, tasks, offsets, lags.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::instance::{Instance, TaskEntry};
use crate::task::{TaskId, TopicPartition};

/// A processing thread (`org.apache.kafka.streams.ThreadMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadMetadata {
    /// The thread's name.
    pub thread_name: String,
    /// Its tasks, those that are still restored included.
    pub active_tasks: Vec<TaskMetadata>,
}

/// A task (`org.apache.kafka.streams.TaskMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetadata {
    /// The task.
    pub task_id: TaskId,
    /// Whether it processes; else its stores are being restored.
    pub running: bool,
    /// Its inputs.
    pub inputs: Vec<InputMetadata>,
}

/// An input partition of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputMetadata {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read by the last commit; `None`: nothing was committed.
    pub committed_offset: Option<i64>,
    /// The end of the partition (high watermark) as of the last fetch, about a second ago; `None` before the first.
    pub end_offset: Option<i64>,
}

/// How far a store is behind its changelog (`org.apache.kafka.streams.LagInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LagInfo {
    /// The store.
    pub store: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to restore.
    pub current_offset_position: i64,
    /// Where the changelog ended when the restore began.
    pub end_offset_position: i64,
    /// The difference; 0 for a task that runs.
    pub offset_lag: i64,
}

fn known(offset: &AtomicI64) -> Option<i64> {
    let offset = offset.load(Ordering::Relaxed);
    (offset >= 0).then_some(offset)
}

/// The threads and their tasks.
pub(crate) fn threads(instance: &Instance) -> Vec<ThreadMetadata> {
    let entries: Vec<Arc<TaskEntry>> = instance.tasks.read().values().cloned().collect();
    let threads = instance.threads.read();
    let metadata = threads.iter().enumerate().map(|(index, thread)| ThreadMetadata {
        thread_name: thread.name.clone(),
        active_tasks: entries.iter().filter(|entry| entry.thread == index).map(|entry| task(entry)).collect(),
    });
    metadata.collect()
}

fn task(entry: &TaskEntry) -> TaskMetadata {
    let inputs = entry.inputs.iter().zip(entry.committed.iter().zip(&entry.ends));
    TaskMetadata {
        task_id: entry.id,
        running: entry.running.load(Ordering::Acquire),
        inputs: inputs
            .map(|(partition, (committed, end))| InputMetadata {
                partition: partition.clone(),
                committed_offset: known(committed),
                end_offset: known(end),
            })
            .collect(),
    }
}

/// The stores' lags.
pub(crate) fn lags(instance: &Instance) -> Vec<LagInfo> {
    let mut lags = Vec::new();
    for entry in instance.tasks.read().values() {
        let running = entry.running.load(Ordering::Acquire);
        for changelog in entry.restore.read().iter() {
            let end = changelog.end.load(Ordering::Relaxed);
            let position = if running { end } else { changelog.position.load(Ordering::Relaxed) };
            lags.push(LagInfo {
                store: changelog.store.to_string(),
                partition: changelog.partition.partition,
                current_offset_position: position,
                end_offset_position: end,
                offset_lag: (end - position).max(0),
            });
        }
    }
    lags
}

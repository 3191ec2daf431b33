//! A task with everything that goes with it from thread to thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kstreams_state_stores::TaskBackend;

use super::database;
use super::instance::TaskEntry;
use super::produce::ChangelogTarget;
use crate::client::{Committed, PartitionQueue};
use crate::metrics::TaskMetrics;
use crate::state_dir::TaskDirectory;
use crate::task::{Task, TopicPartition};
use crate::topology::AutoOffsetReset;

/// An input partition of a task.
pub(crate) struct Input {
    pub(crate) partition: TopicPartition,
    pub(crate) queue: PartitionQueue,
    /// Where to go on when the committed offset is not there any more.
    pub(crate) reset: AutoOffsetReset,
    /// What was committed last; committed again before it can expire.
    pub(crate) committed: Committed,
    /// The offset behind the last record that was put into the task's buffer, at first that of the start. A rebalance
    /// makes librdkafka fetch again what was read at that moment: what is below comes a second time.
    pub(crate) next_offset: i64,
    /// Since when (wall clock, ms) the task waits for this input although it is caught up (`max.task.idle.ms`).
    pub(crate) idle_since_ms: Option<i64>,
}

/// A task, its inputs, its database and its changelogs.
pub(crate) struct TaskBundle {
    pub(crate) entry: Arc<TaskEntry>,
    pub(crate) task: Task,
    pub(crate) backend: TaskBackend,
    /// Its folder, held as long as the task lives; `None` where nothing is kept on disk.
    pub(crate) directory: Option<TaskDirectory>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) metrics: TaskMetrics,
    /// Records dropped when the metrics were handed on last.
    pub(crate) dropped_before: u64,
    /// By changelog number; the last acknowledged offsets are found here.
    pub(crate) changelogs: Arc<Vec<ChangelogTarget>>,
}

impl TaskBundle {
    /// Hands the task's metrics on.
    pub(crate) fn flush_metrics(&mut self, now_ms: i64) {
        let dropped = self.task.dropped_records();
        self.metrics.dropped_records.add(dropped.saturating_sub(self.dropped_before));
        self.dropped_before = dropped;
        let buffered = (0..self.inputs.len()).map(|input| self.task.buffered(input)).sum();
        let ends = self.entry.ends.iter().zip(&self.entry.committed);
        let lags = ends.map(|(end, committed)| {
            let (end, committed) = (end.load(Ordering::Relaxed), committed.load(Ordering::Relaxed));
            (end >= 0 && committed >= 0).then(|| (end - committed).max(0))
        });
        self.metrics.waiting(buffered, lags.sum());
        self.metrics.flush(now_ms);
    }

    /// Closes the task and forgets what was not committed.
    pub(crate) fn close_dirty(mut self, now_ms: i64) {
        self.task.discard_uncommitted();
        self.close(now_ms);
    }

    /// Closes the task; commit before.
    pub(crate) fn close(self, now_ms: i64) {
        let TaskBundle { entry, mut task, backend, directory, .. } = self;
        // Without it the next start would replay what was committed since the last flush.
        if let Err(error) = database::flush(&backend) {
            tracing::warn!(task = %entry.id, %error, "the task's state could not be flushed; its changelogs are replayed");
        }
        if let Err(error) = task.close() {
            tracing::warn!(task = %entry.id, %error, "closing a task's stores failed");
        }
        // The folder is given back when nobody has the database open any more.
        drop((task, backend));
        if let Some(directory) = directory {
            directory.release(now_ms);
        }
    }
}

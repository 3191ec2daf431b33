//! A task with everything that goes with it from thread to thread.

use std::sync::Arc;

use kstreams_state_stores::TaskBackend;

use super::instance::TaskEntry;
use super::produce::ChangelogTarget;
use crate::client::{Committed, PartitionQueue};
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
    /// The partition's end was reached, and nothing came since.
    pub(crate) caught_up: bool,
    /// Since when (wall clock, ms) the task waits for this input although it is caught up (`max.task.idle.ms`).
    pub(crate) idle_since_ms: Option<i64>,
}

/// A task, its inputs, its database and its changelogs.
pub(crate) struct TaskBundle {
    pub(crate) entry: Arc<TaskEntry>,
    pub(crate) task: Task,
    pub(crate) backend: TaskBackend,
    /// Its folder, held as long as the task lives; `None` where nothing is kept on disk. After the database in this
    /// order, so that the folder is given back last.
    pub(crate) directory: Option<TaskDirectory>,
    pub(crate) inputs: Vec<Input>,
    /// By changelog number; the last acknowledged offsets are found here.
    pub(crate) changelogs: Arc<Vec<ChangelogTarget>>,
}

impl TaskBundle {
    /// Closes the task and forgets what was not committed.
    pub(crate) fn close_dirty(mut self) {
        self.task.discard_uncommitted();
        self.close();
    }

    /// Closes the task; commit before.
    pub(crate) fn close(mut self) {
        if let Err(error) = self.task.close() {
            tracing::warn!(task = %self.entry.id, %error, "closing a task's stores failed");
        }
    }
}

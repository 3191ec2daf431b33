//! Tasks that fail, perhaps again and again: each is closed alone, told of, and tried again after a pause that grows as long
//! as it gets nowhere. The other tasks of its thread go on.
//!
//! What the uncaught exception handler calls replacing the thread is, for a task whose failure is its own, making the task
//! anew from its last commit. Under exactly-once the tasks of a thread share a transaction, so one that fails takes the
//! others back to their last commit with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::Chain;
use super::instance::{Event, TaskEntry};
use super::launch;
use super::rebalance::GroupThread;
use super::release::SETTLE;
use super::thread::ProcessingThread;
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::task::TaskId;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause after so many failures in a row.
pub(super) fn pause_after(failures: u32, longest: Duration) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest)
}

/// What is known of tasks that have failed.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<TaskId, Failures>);

#[derive(Debug)]
struct Failures {
    /// In a row, without a commit of something new between them.
    count: u32,
    /// The committed offsets at the last one.
    committed: Vec<i64>,
}

impl Failing {
    /// One more failure: how many it were in a row, and how long to wait.
    fn again(&mut self, entry: &TaskEntry) -> (u32, Duration) {
        let committed: Vec<i64> =
            entry.committed.iter().map(|offset| offset.load(Ordering::Relaxed)).collect();
        let failures = self.0.entry(entry.id).or_insert(Failures { count: 0, committed: Vec::new() });
        // It got further than the last time: this is another failure, not the same again.
        failures.count = if failures.committed == committed { failures.count + 1 } else { 1 };
        failures.committed = committed;
        (failures.count, pause_after(failures.count, LONGEST_PAUSE))
    }

    /// Tasks that are not this instance's any more.
    pub(super) fn forget<'a>(&mut self, tasks: impl IntoIterator<Item = &'a TaskId>) {
        for task in tasks {
            self.0.remove(task);
        }
    }
}

impl ProcessingThread {
    /// What becomes of an error of one task: the task alone goes, where it can.
    pub(super) fn on_task_error(&mut self, id: TaskId, error: StreamsError) -> Result<(), StreamsError> {
        let Some(at) = self.tasks.iter().position(|bundle| bundle.entry.id == id) else { return Err(error) };
        if self.instance.settings.config.processing_guarantee == ProcessingGuarantee::ExactlyOnceV2 {
            return Err(error);
        }
        let bundle = self.tasks.remove(at);
        let entry = bundle.entry.clone();
        let settled = self.settle(false, Instant::now() + SETTLE);
        bundle.close_dirty(self.instance.clock.now_ms());
        self.instance.events.send(Event::TaskFailed(entry, error));
        settled
    }
}

impl GroupThread {
    /// A thread has closed a task that failed: the handler decides, and the task is tried again after a pause.
    pub(super) fn on_task_failed(
        &mut self,
        entry: &Arc<TaskEntry>,
        error: StreamsError,
    ) -> Result<(), StreamsError> {
        let pause = self.pause_before(entry, &error);
        let entry = entry.clone();
        self.on_failure(error, |group| group.relaunch_failed(&entry, pause))
    }

    /// A thread has failed with all its tasks, which share the producer: the pause of the one that failed most often.
    pub(super) fn pause_of_thread(&mut self, index: usize, error: &StreamsError) -> Duration {
        let entries: Vec<_> = self.instance.tasks.read().values().cloned().collect();
        let entries = entries.iter().filter(|entry| entry.thread == index);
        let pause = entries.map(|entry| self.failing.again(entry).1).max().unwrap_or_default();
        let name = self.instance.thread(index).map(|thread| thread.name.clone());
        tracing::error!(
            thread = name.unwrap_or_default(), error = %Chain(error),
            "a processing thread failed; if the uncaught exception handler says replace, another takes over its tasks after a pause of {pause:?}"
        );
        pause
    }

    /// Tells of a failure; how long to wait before the task is made anew.
    pub(super) fn pause_before(&mut self, entry: &TaskEntry, error: &StreamsError) -> Duration {
        let (failures, pause) = self.failing.again(entry);
        tracing::error!(
            task = %entry.id, failures, error = %Chain(error),
            "a task failed; if the uncaught exception handler says replace, it is made anew from its last commit after a pause of {pause:?}"
        );
        pause
    }

    /// Makes a task anew, unless it is leaving, has come again meanwhile, or is to be made anew anyway.
    fn relaunch_failed(&mut self, entry: &Arc<TaskEntry>, pause: Duration) -> Result<(), StreamsError> {
        let id = entry.id;
        let leaving = self.revocation.as_ref().is_some_and(|revocation| revocation.tasks.contains(&id));
        let same = self.instance.tasks.read().get(&id).is_some_and(|now| Arc::ptr_eq(now, entry));
        if leaving || !same || self.reopening.contains(&id) {
            return Ok(());
        }
        launch::relaunch(self, &[id], pause)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::task::TopicPartition;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_with_progress() {
        let entry = TaskEntry::new(TaskId::new(0, 1), 0, vec![TopicPartition::new("in", 1)], vec![0]);
        let mut failing = Failing::default();
        let pauses: Vec<_> = (0..11).map(|_| failing.again(&entry).1.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        entry.committed[0].store(7, Ordering::Relaxed);
        assert_eq!(failing.again(&entry), (1, FIRST_PAUSE), "it got further");
        assert_eq!(failing.again(&entry).0, 2);
        failing.forget([&entry.id]);
        assert_eq!(failing.again(&entry).0, 1);
        assert_eq!(pause_after(u32::MAX, LONGEST_PAUSE), LONGEST_PAUSE);
    }
}

//! Failures of threads and tasks: the uncaught exception handler decides, a new thread takes over from the last commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::instance::TaskEntry;
use super::launch;
use super::rebalance::GroupThread;
use super::state::State;
use crate::error::StreamsError;
use crate::handlers::StreamThreadExceptionResponse;
use crate::task::TaskId;

impl GroupThread {
    /// A failed thread has closed its tasks: nobody waits for their release.
    pub(super) fn release_tasks_of(&mut self, index: usize) {
        let tasks = self.instance.tasks.read();
        for entry in tasks.values().filter(|entry| entry.thread == index) {
            if let Some(revocation) = &mut self.revocation {
                revocation.waiting.remove(&entry.id);
            }
        }
    }

    /// Asks the uncaught exception handler.
    pub(super) fn on_failure(
        &mut self,
        error: StreamsError,
        go_on: impl FnOnce(&mut Self) -> Result<(), StreamsError>,
    ) -> Result<(), StreamsError> {
        self.instance.metrics.lock().thread_failed(self.instance.clock.now_ms());
        match self.instance.settings.uncaught(&error) {
            StreamThreadExceptionResponse::ReplaceThread => {
                self.instance.transition(State::Rebalancing);
                go_on(self)
            }
            StreamThreadExceptionResponse::ShutdownClient => Err(error),
            StreamThreadExceptionResponse::ShutdownApplication => {
                // The other instances are told when this one's threads have stopped.
                self.ask_all_to_stop = true;
                Err(error)
            }
        }
    }

    /// A thread has closed tasks because their transaction was aborted: they are made anew, those that are still ours.
    pub(super) fn on_aborted(
        &mut self,
        entries: &[Arc<TaskEntry>],
        pause: Duration,
    ) -> Result<(), StreamsError> {
        let ours: Vec<TaskId> = {
            let tasks = self.instance.tasks.read();
            // Neither those that came again meanwhile, nor those whose thread was told to release them: it answers that.
            let is_same = |entry: &&Arc<TaskEntry>| {
                tasks.get(&entry.id).is_some_and(|now| Arc::ptr_eq(now, entry))
                    && !self.reopening.contains(&entry.id)
            };
            entries.iter().filter(is_same).map(|entry| entry.id).collect()
        };
        if ours.is_empty() {
            return Ok(());
        }
        self.instance.transition(State::Rebalancing);
        launch::relaunch(self, &ours, pause)
    }

    /// Starts a new thread in the place of a failed one; it gets the same tasks, from their last commit, after a pause.
    pub(super) fn replace_thread(&mut self, index: usize, pause: Duration) -> Result<(), StreamsError> {
        self.threads.replace(&self.instance, &self.consumer, index)?;
        let (mut closed, mut restoring) = (Vec::new(), BTreeSet::new());
        for entry in self.instance.tasks.read().values().filter(|entry| entry.thread == index) {
            if self.revocation.as_ref().is_some_and(|revocation| revocation.tasks.contains(&entry.id)) {
                continue;
            }
            if entry.handed_over.load(Ordering::Acquire) {
                closed.push(entry.id);
            } else {
                // It was made with the producer of the failed thread, so it is made again.
                entry.owned.store(false, Ordering::Release);
                restoring.insert(entry.id);
            }
        }
        for id in restoring {
            self.reopening.insert(id);
            self.restorers.drop_task(id);
        }
        launch::relaunch(self, &closed, pause)
    }
}

//! Revoke: tasks that leave this instance are committed and closed before their partitions are given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::error::RuntimeError;
use super::instance::ThreadCommand;
use super::rebalance::{GroupThread, list};
use super::state::State;
use crate::error::StreamsError;
use crate::task::{TaskId, TopicPartition};

/// Partitions that are being given up.
pub(super) struct Revocation {
    /// The group's partitions, which are answered for.
    pub(super) partitions: Vec<TopicPartition>,
    /// Tasks whose release is waited for.
    pub(super) waiting: BTreeSet<TaskId>,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) deadline: Instant,
    /// Whether the member is given up with them: another client takes its place.
    pub(super) renews: bool,
}

impl GroupThread {
    /// Partitions are taken away: their tasks commit and close first, unless it is too late for that.
    pub(super) fn on_revoked(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        let _span = tracing::info_span!("rebalance", revoked = partitions.len(), lost).entered();
        self.instance.transition(State::Rebalancing);
        let tasks: BTreeSet<TaskId> = {
            let plan = self.instance.plan.read();
            partitions.iter().filter_map(|partition| plan.task_of(partition)).collect()
        };
        tracing::info!(tasks = %list(&tasks), lost, "tasks revoked");
        self.reopening.retain(|id| !tasks.contains(id));
        self.failing.forget(&tasks);
        let deadline = Instant::now() + self.instance.settings.give_up_timeout;
        let waiting = self.take_back(&tasks, !lost, deadline);
        match &mut self.revocation {
            // Losing the membership while tasks are given up: all of it is answered together.
            Some(revocation) => {
                revocation.partitions.extend(partitions);
                revocation.waiting.extend(waiting);
                revocation.tasks.extend(tasks);
            }
            None => {
                self.revocation = Some(Revocation { partitions, waiting, tasks, deadline, renews: false })
            }
        }
    }

    /// Tells the owners of these tasks to give them up; answers those that are to be waited for.
    pub(super) fn take_back(
        &mut self,
        tasks: &BTreeSet<TaskId>,
        commit: bool,
        deadline: Instant,
    ) -> BTreeSet<TaskId> {
        let entries = self.instance.tasks.read();
        let mut waiting = BTreeSet::new();
        let mut by_thread: BTreeMap<usize, Vec<TaskId>> = BTreeMap::new();
        for id in tasks {
            let Some(entry) = entries.get(id) else { continue };
            if !commit {
                // Somebody else may have them already: not even the record that is being processed may write any more. No commit
                // first: none may leave out what is dropped.
                entry.owned.store(false, Ordering::SeqCst);
                entry.activity.give_up();
            }
            waiting.insert(*id);
            if entry.handed_over.load(Ordering::Acquire) {
                by_thread.entry(entry.thread).or_default().push(*id);
            } else {
                self.restorers.drop_task(*id);
            }
        }
        drop(entries);
        for (thread, tasks) in by_thread {
            let told = self.instance.thread(thread).is_some_and(|thread| {
                thread.mailbox.send(ThreadCommand::GiveUp { tasks: tasks.clone(), commit, deadline })
            });
            if !told {
                // The thread has failed, and with it closed its tasks.
                for id in tasks {
                    waiting.remove(&id);
                }
            }
        }
        waiting
    }

    /// Answers a revocation when every task was released, or it has waited long enough.
    pub(super) fn check_revocation(&mut self) -> Result<(), StreamsError> {
        let done = |revocation: &mut Revocation| {
            revocation.waiting.is_empty() || Instant::now() >= revocation.deadline
        };
        let Some(revocation) = self.revocation.take_if(done) else { return Ok(()) };
        if !revocation.waiting.is_empty() {
            let entries = self.instance.tasks.read();
            let held: Vec<_> = revocation.waiting.iter().filter_map(|id| entries.get(id).cloned()).collect();
            drop(entries);
            self.fence(&held);
        }
        let mut inputs: BTreeSet<TopicPartition> = revocation.partitions.iter().cloned().collect();
        for id in &revocation.tasks {
            if let Some(entry) = self.instance.tasks.write().remove(id) {
                inputs.extend(entry.inputs.iter().cloned());
            }
        }
        if revocation.renews {
            self.renew_client()?;
        } else {
            let inputs: Vec<_> = inputs.into_iter().collect();
            self.consumer.unassign(&inputs).map_err(RuntimeError::from)?;
        }
        for partitions in std::mem::take(&mut self.assigned) {
            self.on_assigned(&partitions)?;
        }
        for event in std::mem::take(&mut self.deferred) {
            self.instance.events.send(event);
        }
        Ok(())
    }

    /// For the shutdown: answers a revocation whose tasks are closed by now.
    pub(super) fn finish_revocation(&mut self) {
        let Some(revocation) = self.revocation.take() else { return };
        if let Err(error) = self.consumer.unassign(&revocation.partitions) {
            tracing::debug!(%error, "cannot answer the group");
        }
    }
}

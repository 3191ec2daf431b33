//! Release: tasks leave a processing thread, with a last commit or without.
//!
//! Whoever has a task next restores its stores up to the ends of its changelogs as they are then. So of a task that is reported as
//! released nothing may come to a changelog any more: with the commit everything is acknowledged, without one it is
//! [settled](ProcessingThread::settle). Only what another process has sent already can't be held back by anybody: under exactly-once
//! the broker refuses it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::calls;
use super::commit::{self, CommitOutcome, Committer};
use super::error::RuntimeError;
use super::instance::Event;
use super::task_bundle::TaskBundle;
use super::thread::ProcessingThread;
use crate::client::TransactionState;
use crate::error::StreamsError;
use crate::task::TaskId;

/// How long acknowledgements of records of tasks without a commit are waited for.
pub(super) const SETTLE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl ProcessingThread {
    /// Commits (unless lost) and closes tasks, and reports each as released.
    pub(super) fn give_up(
        &mut self,
        ids: &[TaskId],
        commit: bool,
        deadline: Instant,
    ) -> Result<(), StreamsError> {
        let leaves = |bundle: &TaskBundle| ids.contains(&bundle.entry.id);
        let any_leaves = self.tasks.iter().any(leaves);
        // It took too long: whoever asked has fenced them and gone on.
        let owned = |bundle: &TaskBundle| bundle.entry.owned.load(Ordering::Acquire);
        let commit = commit && self.tasks.iter().filter(|bundle| leaves(bundle)).all(owned);
        let outcome = if commit && any_leaves { self.commit_last(ids, deadline) } else { Ok(false) };
        let clean = matches!(outcome, Ok(true));
        // Nobody may go on from what the leaving tasks did before it is decided; those that stay are in the same transaction.
        let failed = self.handle.producer.transaction() == Some(TransactionState::Failed);
        let aborted = !clean && any_leaves && self.in_transaction() && self.abort();
        let (leaving, staying): (Vec<_>, Vec<_>) = self.tasks.drain(..).partition(leaves);
        self.tasks = staying;
        // A lost member has lost everything: then nothing that is still here may be sent.
        let settled = if clean || !any_leaves {
            Ok(())
        } else {
            self.settle(!commit && self.tasks.is_empty(), deadline)
        };
        let now_ms = self.instance.clock.now_ms();
        for bundle in leaving {
            let id = bundle.entry.id;
            self.meter.metrics.task_closed.add(1);
            if clean {
                bundle.close(now_ms)
            } else {
                bundle.close_dirty(now_ms)
            }
            tracing::info!(task = %id, clean, "task closed");
        }
        // Also those that this thread never had: the group thread waits for each.
        for id in ids {
            self.instance.events.send(Event::Released(*id));
        }
        match outcome {
            // With the abort the failure of a transaction is over.
            Err(error) if !(aborted && failed) => Err(error),
            _ => {
                if aborted {
                    self.make_tasks_anew(Duration::ZERO);
                }
                settled
            }
        }
    }

    /// Before tasks that go without a commit are reported as released: waits until everything produced is acknowledged, so that nothing of
    /// theirs comes to a changelog after its next owner has read it to the end. What must not be sent any more, or is not acknowledged in
    /// time, is thrown away. Under exactly-once the abort has done so.
    ///
    /// # Errors
    /// `ProducerLost` when records were thrown away: the thread needs another producer.
    pub(super) fn settle(&self, discard: bool, deadline: Instant) -> Result<(), StreamsError> {
        let producer = &self.handle.producer;
        if producer.transaction().is_some() {
            return Ok(());
        }
        let (start, mut records) = (Instant::now(), 0);
        let until = deadline.min(start + SETTLE);
        while producer.in_flight() > 0 {
            self.handle.heartbeat.beat();
            let late = Instant::now() >= until;
            if discard || late {
                records = records.max(producer.in_flight());
                // What was sent may still be answered; what the client would send again is thrown away with the rest.
                producer.discard(late);
                producer.poll(LOOK_AGAIN);
            } else {
                producer.flush(LOOK_AGAIN);
            }
            if start.elapsed() > SETTLE * 2 {
                break;
            }
        }
        if records == 0 {
            return Ok(());
        }
        producer.take_failed();
        let source = Box::new(RuntimeError::RecordsDiscarded { records }.into());
        Err(RuntimeError::ProducerLost { pause: Duration::ZERO, source }.into())
    }

    /// The last commit of tasks, and of those that share a transaction with them; whether it was made.
    fn commit_last(&mut self, ids: &[TaskId], deadline: Instant) -> Result<bool, StreamsError> {
        let together = self.in_transaction();
        let due = |bundle: &&mut TaskBundle| {
            ids.contains(&bundle.entry.id) || together && bundle.task.commit_needed()
        };
        let committer = Committer::new(&self.instance, &self.handle, &self.consumer, deadline);
        let committer = Committer { last: true, ..committer };
        let mut bundles: Vec<&mut TaskBundle> = self.tasks.iter_mut().filter(due).collect();
        let drained = calls::drain_until(&committer, &mut bundles);
        let outcome = match drained {
            Ok(true) if !bundles.is_empty() => commit::commit(&committer, &mut bundles),
            _ => Ok(CommitOutcome::Done),
        };
        self.tasks.iter_mut().for_each(|bundle| bundle.task.end_drain());
        if !drained? {
            tracing::warn!(
                "tasks are given up while asynchronous steps are at work; what came after their last commit is processed again"
            );
            return Ok(false);
        }
        if let Ok(CommitOutcome::Postponed(error)) = &outcome {
            tracing::warn!(%error, "tasks are given up without their last commit; what came after the one before is processed again");
        }
        Ok(matches!(outcome?, CommitOutcome::Done))
    }
}

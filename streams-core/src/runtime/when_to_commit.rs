//! When a processing thread commits, which of its tasks, and what it does about a commit that was not made. How a commit
//! is made is the business of [`commit`](super::commit).

use std::time::{Duration, Instant};

use super::calls;
use super::commit::{self, CommitOutcome, Committer};
use super::task_bundle::TaskBundle;
use super::thread::ProcessingThread;
use super::thread_meter::Step;
use crate::error::StreamsError;

/// For one `commit.interval.ms` after a task came, commits are this many times as frequent: whoever starts or takes over
/// shows results soon, and repeats little if it dies at once.
const EARLY_COMMITS: u32 = 10;
/// A commit by interval doesn't insist while the group rebalances: processing goes on, and the commit comes a little
/// later.
pub(super) const POSTPONE: Duration = Duration::from_millis(200);

impl ProcessingThread {
    /// Step 5.
    pub(super) fn commit_if_due(&mut self) -> Result<(), StreamsError> {
        let now = Instant::now();
        let by_interval = now >= self.next_commit;
        let over_budget = self.instance.uncommitted.is_exceeded();
        let recommit = now >= self.next_recommit;
        let requested = self.tasks.iter().any(|bundle| bundle.task.wants_commit());
        if !by_interval && !over_budget && !recommit && !requested {
            return Ok(());
        }
        let _span = tracing::debug_span!("commit").entered();
        // Threads commit all their tasks or those that asked for it, as in the JVM; what is in one transaction goes together.
        let one = self.handle.producer.transaction().is_some();
        let all = by_interval || over_budget || recommit || one;
        // Also what was written when a task began, without anything processed.
        let whole =
            recommit || !self.tasks.iter().any(|bundle| bundle.task.commit_needed()) && self.in_transaction();
        let committer = Committer::new(&self.instance, &self.handle, &self.consumer, now);
        let committer = Committer { all_offsets: recommit, ..committer };
        let is_due = |bundle: &&mut TaskBundle| {
            whole || bundle.task.wants_commit() || all && bundle.task.commit_needed()
        };
        let mut due: Vec<&mut TaskBundle> = self.tasks.iter_mut().filter(is_due).collect();
        if !calls::drain(&mut due)? {
            // Asked again each round; the thread goes on with its other tasks meanwhile.
            return Ok(());
        }
        let committed = due.len();
        let outcome = match due.is_empty() {
            false => commit::commit(&committer, &mut due),
            true => Ok(CommitOutcome::Done),
        };
        self.tasks.iter_mut().for_each(|bundle| bundle.task.end_drain());
        self.meter.done(Step::Commit, now, committed);
        match outcome? {
            CommitOutcome::Done => {
                if by_interval {
                    self.next_commit = now + self.commit_interval(now);
                }
                if recommit {
                    self.next_recommit = now + self.instance.settings.recommit_interval;
                }
                if committed > 0 {
                    self.handle.attempts.succeeded();
                }
            }
            outcome => self.not_committed(&outcome),
        }
        Ok(())
    }

    /// The broker, or the group thread, would not have the commit.
    fn not_committed(&mut self, outcome: &CommitOutcome) {
        if let CommitOutcome::Postponed(error) = outcome {
            tracing::debug!(%error, "commit postponed");
        } else if self.in_transaction() {
            // The group thread has taken a task away and says so next. What it did is in the transaction of all.
            if self.abort() {
                self.make_tasks_anew(Duration::ZERO);
            }
            return;
        }
        self.next_commit = Instant::now() + POSTPONE;
    }

    /// The time from one commit to the next.
    pub(super) fn commit_interval(&self, now: Instant) -> Duration {
        let interval = self.instance.settings.commit_interval;
        if now < self.early_until { interval / EARLY_COMMITS } else { interval }
    }
}

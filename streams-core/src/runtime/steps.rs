//! Steps 2 to 4 of a round of a processing thread: what it does for each of its tasks in turn.

use std::time::{Duration, Instant};

use super::choose;
use super::commit::{self, CommitOutcome, Committer};
use super::database;
use super::poll;
use super::task_bundle::TaskBundle;
use super::thread::ProcessingThread;
use super::thread_meter::Step;
use super::when_to_commit::POSTPONE;
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::task::TaskId;

/// A round should not take longer: commands wait for it. The batch shrinks and grows to meet it.
const ROUND_TARGET: Duration = Duration::from_millis(100);
/// All queues are looked at this often even if none reported a record: a bound should a wake-up ever be missed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// At-most-once: inputs are read, and offsets committed ahead, not more often.
const READ_EVERY: Duration = Duration::from_millis(5);

/// What a step did for the tasks, one after the other.
struct Turns {
    /// How much, in what the step counts.
    count: usize,
    /// The task that failed. Those behind it have their turn in the next round.
    failed: Option<(TaskId, StreamsError)>,
}

/// Gives each task its turn, until one fails.
fn in_turn(
    tasks: &mut [TaskBundle],
    mut work: impl FnMut(&mut TaskBundle) -> Result<usize, StreamsError>,
) -> Turns {
    let mut count = 0;
    for bundle in tasks {
        match work(bundle) {
            Ok(done) => count += done,
            Err(error) => return Turns { count, failed: Some((bundle.entry.id, error)) },
        }
    }
    Turns { count, failed: None }
}

impl ProcessingThread {
    /// Ends a step: how much was done, and what becomes of the task that failed.
    fn after_turns(&mut self, step: Step, start: Instant, turns: Turns) -> Result<usize, StreamsError> {
        self.meter.done(step, start, turns.count);
        match turns.failed {
            None => Ok(turns.count),
            Some((id, error)) => {
                self.on_task_error(id, error)?;
                // The next round comes at once, for those that had no turn.
                Ok(turns.count + 1)
            }
        }
    }

    /// Step 2.
    pub(super) fn poll(&mut self) -> Result<usize, StreamsError> {
        if self.instance.settings.guarantee == ProcessingGuarantee::AtMostOnce {
            return self.poll_ahead();
        }
        self.fill()
    }

    /// At-most-once: what was read may be processed when the offsets behind it are committed. Not for each record: a little later there
    /// may be more of them for one commit.
    fn poll_ahead(&mut self) -> Result<usize, StreamsError> {
        let now = Instant::now();
        if now < self.next_read {
            return Ok(0);
        }
        let mut count = if self.held { 0 } else { self.fill()? };
        if count > 0 || self.held {
            self.next_read = now + READ_EVERY;
            let committer = Committer::new(&self.instance, &self.handle, &self.consumer, now);
            let mut bundles: Vec<&mut TaskBundle> = self.tasks.iter_mut().collect();
            let outcome = commit::commit_ahead(&committer, &mut bundles)?;
            let was_held = self.held;
            self.held = !matches!(outcome, CommitOutcome::Done);
            if self.held {
                self.next_read = Instant::now() + POSTPONE;
            }
            count += usize::from(was_held && !self.held);
        }
        Ok(count)
    }

    fn fill(&mut self) -> Result<usize, StreamsError> {
        let start = Instant::now();
        let sweep = start >= self.next_sweep;
        if sweep {
            self.next_sweep = start + SWEEP_EVERY;
        }
        let limit = self.instance.settings.buffered_records_per_partition;
        let turns = in_turn(&mut self.tasks, |bundle| {
            let records = poll::fill(bundle, &self.instance, limit, sweep)?;
            if sweep {
                let id = bundle.entry.id;
                database::flush_if_due(&bundle.backend)
                    .map_err(|source| StreamsError::Store { task: id.to_string(), source })?;
                poll::note_ends(bundle);
            }
            Ok(records)
        });
        self.after_turns(Step::Poll, start, turns)
    }

    /// Step 3.
    pub(super) fn process(&mut self) -> Result<usize, StreamsError> {
        if self.held {
            return Ok(0);
        }
        let start = Instant::now();
        let idle_ms = self.instance.settings.max_task_idle_ms;
        let now_ms = self.instance.clock.now_ms();
        let mut resumed = 0;
        let turns = in_turn(&mut self.tasks, |bundle| {
            let began = Instant::now();
            self.handle.heartbeat.works_for(&bundle.entry);
            resumed += bundle.task.resume()?;
            let processed = choose::process(bundle, self.batch, idle_ms, now_ms)?;
            if processed > 0 {
                let late = bundle.task.take_lateness();
                let records = u64::try_from(processed).unwrap_or(u64::MAX);
                bundle.metrics.processed(records, nanos(began), late.sum_ms, late.max_ms);
            }
            Ok(processed)
        });
        let processed = turns.count;
        let count = self.after_turns(Step::Process, start, turns)?;
        let spent = start.elapsed();
        if spent > ROUND_TARGET {
            self.batch = (self.batch / 2).max(1);
        } else if spent < ROUND_TARGET / 4 && processed >= self.batch {
            self.batch = (self.batch * 2).min(self.instance.settings.max_batch);
        }
        Ok(count + resumed)
    }

    /// Step 4.
    pub(super) fn punctuate(&mut self) -> Result<usize, StreamsError> {
        let (start, now_ms) = (Instant::now(), self.instance.clock.now_ms());
        let turns = in_turn(&mut self.tasks, |bundle| {
            // While a commit waits for asynchronous steps, punctuations could give them more to do for ever.
            let waits = bundle.task.is_draining();
            if waits || bundle.task.next_wall_clock_punctuation().is_none_or(|due| due > now_ms) {
                return Ok(0);
            }
            let began = Instant::now();
            self.handle.heartbeat.works_for(&bundle.entry);
            let fired = bundle.task.punctuate_wall_clock()?;
            bundle.metrics.punctuated(nanos(began));
            Ok(usize::from(fired))
        });
        self.after_turns(Step::Punctuate, start, turns)
    }
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

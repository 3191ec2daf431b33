//! A processing thread: owns tasks and takes their records from queue to commit.
//!
//! One round of the loop ([`ProcessingThread::round`]):
//! 1. **Commands**: tasks that come or go, queries of local stores, stop.
//! 2. **Poll**: what librdkafka has fetched for each task moves into its buffers.
//! 3. **Process**: what asynchronous steps have finished, then up to `batch` records of each task, smallest timestamp
//!    first.
//! 4. **Punctuate**: wall-clock schedules that are due.
//! 5. **Commit**: by interval, when a processor asks for it, or when uncommitted updates outgrow their budget.
//! 6. **Wait**, if there was nothing to do: until a queue gets a record, a command comes, or something is due.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::calls;
use super::choose;
use super::commit::{self, CommitOutcome, Committer};
use super::database;
use super::delivery;
use super::error::RuntimeError;
use super::instance::{Event, Instance, ThreadCommand, ThreadHandle, panic_message};
use super::poll;
use super::release::SETTLE;
use super::task_bundle::TaskBundle;
use super::thread_meter::{Step, ThreadMeter};
use crate::client::GroupConsumer;
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::task::TaskId;

/// Records of one task in the first round.
const FIRST_BATCH: usize = 100;
/// A round should not take longer: commands wait for it. The batch shrinks and grows to meet it.
const ROUND_TARGET: Duration = Duration::from_millis(100);
/// All queues are looked at this often even if none reported a record: a bound should a wake-up ever be missed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The longest wait while some task waits for another input (`max.task.idle.ms`).
const IDLE_CHECK: Duration = Duration::from_millis(10);
/// For one `commit.interval.ms` after a task came, commits are this many times as frequent: whoever starts or takes over
/// shows results soon, and repeats little if it dies at once.
const EARLY_COMMITS: u32 = 10;
/// A commit by interval doesn't insist while the group rebalances: processing goes on, and the commit comes a little
/// later.
const POSTPONE: Duration = Duration::from_millis(200);

/// A commit of unchanged offsets, where they are not committed again when a task comes.
const RECOMMIT_AFTER: Duration = Duration::from_secs(60);
/// At-most-once: inputs are read, and offsets committed ahead, not more often.
const READ_EVERY: Duration = Duration::from_millis(5);

/// The state of one processing thread.
pub(crate) struct ProcessingThread {
    pub(super) instance: Arc<Instance>,
    pub(super) handle: Arc<ThreadHandle>,
    consumer: Arc<GroupConsumer>,
    commands: Receiver<ThreadCommand>,
    pub(super) tasks: Vec<TaskBundle>,
    pub(super) meter: ThreadMeter,
    batch: usize,
    next_commit: Instant,
    /// Until when commits are more frequent, because tasks came.
    early_until: Instant,
    next_recommit: Instant,
    next_sweep: Instant,
    /// At-most-once: when inputs may be read again, and whether what was read has to wait for its offsets.
    next_read: Instant,
    held: bool,
}

/// Whether the loop goes on.
enum Next {
    Round,
    Stop,
}

impl ProcessingThread {
    pub(crate) fn new(
        instance: Arc<Instance>,
        handle: Arc<ThreadHandle>,
        consumer: Arc<GroupConsumer>,
        commands: Receiver<ThreadCommand>,
    ) -> Self {
        let now = Instant::now();
        let settings = &instance.settings;
        let (next_commit, next_recommit) = (now + settings.commit_interval, now + settings.recommit_interval);
        let meter = ThreadMeter::new(&handle.name, settings.config.log_summary_interval);
        let batch = FIRST_BATCH.min(settings.max_batch);
        ProcessingThread {
            instance,
            handle,
            consumer,
            commands,
            tasks: Vec::new(),
            meter,
            batch,
            next_commit,
            early_until: now,
            next_recommit,
            next_sweep: now,
            next_read: now,
            held: false,
        }
    }

    /// Runs until told to stop or until a task fails; tells the group thread which of the two.
    pub(crate) fn run(mut self, index: usize) {
        let _span = tracing::info_span!("thread", name = %self.handle.name).entered();
        let result = catch_unwind(AssertUnwindSafe(|| self.rounds())).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Err(RuntimeError::Panic { thread: self.handle.name.clone(), message }.into())
        });
        // What is open would keep readers waiting until it times out.
        self.abort();
        if result.is_err() && !self.tasks.is_empty() {
            // Its tasks go on elsewhere, or here with another producer, which a thread in its place gets anyway.
            let _ = self.settle(false, Instant::now() + SETTLE);
        }
        self.handle.heartbeat.rest();
        let now_ms = self.instance.clock.now_ms();
        for bundle in self.tasks.drain(..) {
            bundle.entry.running.store(false, Ordering::Release);
            bundle.close_dirty(now_ms);
        }
        let event = match result {
            Ok(()) => Event::ThreadStopped(index),
            Err(error) => Event::ThreadFailed(index, error),
        };
        let events = self.instance.events.clone();
        // Everything of this thread, its queues above all, is gone before the group thread hears of it.
        drop(self);
        events.send(event);
    }

    fn rounds(&mut self) -> Result<(), StreamsError> {
        self.prepare_producer()?;
        loop {
            match self.round() {
                Ok(Next::Round) => {}
                Ok(Next::Stop) => return Ok(()),
                Err(error) => self.recover(error)?,
            }
        }
    }

    fn round(&mut self) -> Result<Next, StreamsError> {
        self.handle.heartbeat.beat();
        if let Next::Stop = self.obey()? {
            return Ok(Next::Stop);
        }
        let mut work = self.poll()?;
        work += self.process()?;
        work += self.punctuate()?;
        self.commit_if_due()?;
        delivery::check(&self.instance, &self.handle.producer)?;
        if self.meter.is_due() {
            let now_ms = self.instance.clock.now_ms();
            self.meter.metrics.blocked_time_ns(self.handle.heartbeat.blocked_ns());
            self.meter.flush(now_ms);
            self.tasks.iter_mut().for_each(|bundle| bundle.flush_metrics(now_ms));
        }
        if work == 0 {
            self.wait();
        }
        Ok(Next::Round)
    }

    /// Step 1.
    fn obey(&mut self) -> Result<Next, StreamsError> {
        loop {
            match self.commands.try_recv() {
                Ok(ThreadCommand::Run(bundle)) => self.run_task(*bundle)?,
                Ok(ThreadCommand::GiveUp { tasks, commit, deadline }) => {
                    self.give_up(&tasks, commit, deadline)?
                }
                Ok(ThreadCommand::Query(id, query)) => {
                    if let Some(bundle) = self.tasks.iter_mut().find(|bundle| bundle.entry.id == id) {
                        query(&mut bundle.task);
                    }
                }
                Ok(ThreadCommand::Stop { deadline }) => {
                    let all: Vec<TaskId> = self.tasks.iter().map(|bundle| bundle.entry.id).collect();
                    self.give_up(&all, true, deadline)?;
                    return Ok(Next::Stop);
                }
                Err(TryRecvError::Empty) => return Ok(Next::Round),
                Err(TryRecvError::Disconnected) => return Ok(Next::Stop),
            }
        }
    }

    fn run_task(&mut self, mut bundle: TaskBundle) -> Result<(), StreamsError> {
        self.meter.metrics.task_created.add(1);
        let id = bundle.entry.id;
        self.handle.heartbeat.works_for(&bundle.entry);
        let initialized = bundle.task.initialize();
        tracing::info!(task = %bundle.entry.id, "task runs");
        bundle.entry.running.store(true, Ordering::Release);
        self.tasks.push(bundle);
        if self.instance.settings.guarantee != ProcessingGuarantee::AtLeastOnce {
            // The others' offsets are committed again when they are assigned.
            self.next_recommit = self.next_recommit.min(Instant::now() + RECOMMIT_AFTER);
        }
        let now = Instant::now();
        self.early_until = now + self.instance.settings.commit_interval;
        self.next_commit = self.next_commit.min(now + self.commit_interval(now));
        // RUNNING is the group thread's to say.
        self.instance.events.waker().wake();
        // A task is looked at in full first: its queues may have become ready before this thread had them.
        self.next_sweep = Instant::now();
        initialized.or_else(|error| self.on_task_error(id, error))
    }

    /// Step 2.
    fn poll(&mut self) -> Result<usize, StreamsError> {
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
            let mut tasks = std::mem::take(&mut self.tasks);
            let mut bundles: Vec<&mut TaskBundle> = tasks.iter_mut().collect();
            let outcome = commit::commit_ahead(&self.committer(now, false), &mut bundles);
            self.tasks = tasks;
            let was_held = self.held;
            self.held = !matches!(outcome?, CommitOutcome::Done);
            if self.held {
                self.next_read = Instant::now() + POSTPONE;
            }
            count += usize::from(was_held && !self.held);
        }
        Ok(count)
    }

    fn fill(&mut self) -> Result<usize, StreamsError> {
        let sweep = Instant::now() >= self.next_sweep;
        if sweep {
            self.next_sweep = Instant::now() + SWEEP_EVERY;
        }
        let limit = self.instance.settings.buffered_records_per_partition;
        let (mut count, mut failed) = (0, None);
        let start = Instant::now();
        for bundle in &mut self.tasks {
            match poll::fill(bundle, &self.instance, limit, sweep) {
                Ok(records) => count += records,
                Err(error) => {
                    failed = Some((bundle.entry.id, error));
                    break;
                }
            }
            if sweep {
                let id = bundle.entry.id;
                database::flush_if_due(&bundle.backend)
                    .map_err(|source| StreamsError::Store { task: id.to_string(), source })?;
                poll::note_ends(bundle);
            }
        }
        self.meter.done(Step::Poll, start, count);
        if let Some((id, error)) = failed {
            self.on_task_error(id, error)?;
        }
        Ok(count)
    }

    /// Step 3.
    fn process(&mut self) -> Result<usize, StreamsError> {
        if self.held {
            return Ok(0);
        }
        let start = Instant::now();
        let idle_ms = self.instance.settings.max_task_idle_ms;
        let now_ms = self.instance.clock.now_ms();
        let (mut count, mut resumed, mut failed) = (0, 0, None);
        for bundle in &mut self.tasks {
            let began = Instant::now();
            self.handle.heartbeat.works_for(&bundle.entry);
            let processed = bundle.task.resume().and_then(|finished| {
                resumed += finished;
                process_task(bundle, self.batch, idle_ms, now_ms)
            });
            let processed = match processed {
                Ok(processed) => processed,
                Err(error) => {
                    // The others have their turn in the next round, which comes at once.
                    failed = Some((bundle.entry.id, error));
                    break;
                }
            };
            if processed > 0 {
                let late = bundle.task.take_lateness();
                let records = u64::try_from(processed).unwrap_or(u64::MAX);
                bundle.metrics.processed(records, nanos(began), late.sum_ms, late.max_ms);
                count += processed;
            }
        }
        if let Some((id, error)) = failed {
            self.on_task_error(id, error)?;
            count += 1;
        }
        self.meter.done(Step::Process, start, count);
        let spent = start.elapsed();
        if spent > ROUND_TARGET {
            self.batch = (self.batch / 2).max(1);
        } else if spent < ROUND_TARGET / 4 && count >= self.batch {
            self.batch = (self.batch * 2).min(self.instance.settings.max_batch);
        }
        Ok(count + resumed)
    }

    /// Step 4.
    fn punctuate(&mut self) -> Result<usize, StreamsError> {
        let (start, now_ms) = (Instant::now(), self.instance.clock.now_ms());
        let (mut count, mut failed) = (0, None);
        for bundle in &mut self.tasks {
            // While a commit waits for asynchronous steps, punctuations could give them more to do for ever.
            let waits = bundle.task.is_draining();
            if !waits && bundle.task.next_wall_clock_punctuation().is_some_and(|due| due <= now_ms) {
                let began = Instant::now();
                self.handle.heartbeat.works_for(&bundle.entry);
                match bundle.task.punctuate_wall_clock() {
                    Ok(fired) => count += usize::from(fired),
                    Err(error) => {
                        failed = Some((bundle.entry.id, error));
                        break;
                    }
                }
                bundle.metrics.punctuated(nanos(began));
            }
        }
        self.meter.done(Step::Punctuate, start, count);
        if let Some((id, error)) = failed {
            self.on_task_error(id, error)?;
        }
        Ok(count)
    }

    /// Step 5.
    fn commit_if_due(&mut self) -> Result<(), StreamsError> {
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
        let mut tasks = std::mem::take(&mut self.tasks);
        let committer = self.committer(now, recommit);
        let mut due: Vec<&mut TaskBundle> = tasks
            .iter_mut()
            .filter(|bundle| whole || bundle.task.wants_commit() || all && bundle.task.commit_needed())
            .collect();
        let drained = calls::drain(&mut due);
        let outcome = match drained {
            Ok(true) if !due.is_empty() => commit::commit(&committer, &mut due),
            _ => Ok(CommitOutcome::Done),
        };
        let committed = due.len();
        self.tasks = tasks;
        if !drained? {
            // Asked again each round; the thread goes on with its other tasks meanwhile.
            return Ok(());
        }
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
            CommitOutcome::Postponed(error) => {
                tracing::debug!(%error, "commit postponed");
                self.next_commit = Instant::now() + POSTPONE;
            }
            // The group thread has taken a task away and says so next. What it did is in the transaction of all.
            CommitOutcome::NotOwned if self.in_transaction() => {
                if self.abort() {
                    self.make_tasks_anew(Duration::ZERO);
                }
            }
            CommitOutcome::NotOwned => self.next_commit = Instant::now() + POSTPONE,
        }
        Ok(())
    }

    fn commit_interval(&self, now: Instant) -> Duration {
        let interval = self.instance.settings.commit_interval;
        if now < self.early_until { interval / EARLY_COMMITS } else { interval }
    }

    pub(super) fn committer(&self, deadline: Instant, all_offsets: bool) -> Committer<'_> {
        Committer {
            instance: &self.instance,
            consumer: &self.consumer,
            producer: &self.handle.producer,
            heartbeat: &self.handle.heartbeat,
            deadline,
            all_offsets,
            last: false,
        }
    }

    /// Step 6.
    fn wait(&mut self) {
        let now = Instant::now();
        let mut until = self.next_sweep;
        if self.tasks.iter().any(|bundle| bundle.task.is_draining()) {
            // A commit that is due waits; the clock ends calls that take too long.
            until = until.min(now + IDLE_CHECK);
        } else if self.in_transaction() || self.tasks.iter().any(|bundle| bundle.task.commit_needed()) {
            until = until.min(self.next_commit);
        }
        if self.instance.settings.guarantee == ProcessingGuarantee::AtMostOnce
            && self.tasks.iter().any(|bundle| bundle.inputs.iter().any(|input| input.queue.is_ready()))
        {
            until = until.min(self.next_read);
        }
        let now_ms = self.instance.clock.now_ms();
        for bundle in &self.tasks {
            if bundle.task.is_draining() {
                continue;
            }
            if bundle.task.any_buffered() && bundle.task.takes_records() {
                until = until.min(now + IDLE_CHECK);
            }
            if let Some(due) = bundle.task.next_wall_clock_punctuation() {
                let left = u64::try_from(due.saturating_sub(now_ms)).unwrap_or(0);
                until = until.min(now + Duration::from_millis(left.max(1)));
            }
        }
        self.handle.heartbeat.rest();
        self.handle.mailbox.waker().wait(until.saturating_duration_since(now));
    }
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Processes up to `max` records of one task.
fn process_task(
    bundle: &mut TaskBundle,
    max: usize,
    idle_ms: i64,
    now_ms: i64,
) -> Result<usize, StreamsError> {
    if bundle.inputs.len() == 1 {
        return bundle.task.process(max);
    }
    let mut count = 0;
    // With several inputs each record can empty one, and then the next may have to wait.
    while count < max && bundle.task.may_take_another() && choose::is_processable(bundle, idle_ms, now_ms) {
        if !bundle.task.process_one()? {
            break;
        }
        bundle.task.punctuate_stream_time()?;
        count += 1;
    }
    Ok(count)
}

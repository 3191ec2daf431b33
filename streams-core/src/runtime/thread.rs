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
//!
//! Before step 2 a thread that was away for long waits for news of its group (`absence`).
//! Steps 2 to 4 are in `steps`, step 5 in `when_to_commit`; `release` has what happens to tasks that go, `transaction` and
//! `failing` what errors do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::absence::Absence;
use super::delivery;
use super::error::RuntimeError;
use super::instance::{Event, Instance, ThreadCommand, ThreadHandle, panic_message};
use super::release::SETTLE;
use super::task_bundle::TaskBundle;
use super::thread_meter::ThreadMeter;
use crate::client::GroupConsumer;
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::task::TaskId;

/// Records of one task in the first round.
const FIRST_BATCH: usize = 100;
/// The longest wait while some task waits for another input (`max.task.idle.ms`).
const IDLE_CHECK: Duration = Duration::from_millis(10);
/// A commit of unchanged offsets, where they are not committed again when a task comes.
const RECOMMIT_AFTER: Duration = Duration::from_secs(60);

/// The state of one processing thread.
pub(crate) struct ProcessingThread {
    pub(super) instance: Arc<Instance>,
    pub(super) handle: Arc<ThreadHandle>,
    pub(super) consumer: Arc<GroupConsumer>,
    commands: Receiver<ThreadCommand>,
    pub(super) tasks: Vec<TaskBundle>,
    pub(super) meter: ThreadMeter,
    pub(super) batch: usize,
    pub(super) next_commit: Instant,
    /// Until when commits are more frequent, because tasks came.
    pub(super) early_until: Instant,
    pub(super) next_recommit: Instant,
    pub(super) next_sweep: Instant,
    /// At-most-once: when inputs may be read again, and whether what was read has to wait for its offsets.
    pub(super) next_read: Instant,
    pub(super) held: bool,
    absence: Absence,
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
        let absence = Absence::new(settings.session_timeout, now);
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
            absence,
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
        self.tasks.drain(..).for_each(|bundle| bundle.close_dirty(now_ms));
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
        let news = self.absence.look(Instant::now());
        if !news.is_zero() {
            self.handle.mailbox.waker().wait(news);
            return Ok(Next::Round);
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

    /// Takes a task up.
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

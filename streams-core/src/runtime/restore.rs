//! Restore: a thread that makes tasks and brings their stores up to the end of their changelogs, so that a long restore
//! never stops running tasks. There may be several ([`restorers`](super::restorers)), each with tasks of its own; where processors are
//! scarce they give way to the processing threads.
//!
//! For each task that this instance was given:
//! 1. open its database and build it ([`create`](super::create));
//! 2. of each changelog learn where the local state stands and where the changelog ends: an empty store is rebuilt in
//!    bulk, else the tail is replayed; an offset that the changelog doesn't have (any more) means a rebuild, with a
//!    warning;
//! 3. read all of them at once through one consumer;
//! 4. when every changelog is at the end it had in step 2, hand the task over. Nobody else writes to it meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::create::{self, NotMade, TaskSeed};
use super::error::{Chain, RuntimeError};
use super::failing;
use super::instance::{Event, Instance};
use super::restore_task::{Restoring, Step};
use crate::client::{GroupConsumer, Waker};
use crate::error::StreamsError;
use crate::state_dir::StateDirError;
use crate::task::TaskId;

/// A line tells of the progress of a restore this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// The longest wait; commands and records end it at once.
const WAIT: Duration = Duration::from_secs(1);
/// The longest wait after an error that may pass: the brokers may come back, a slow thread may let go of the database.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A store that is rebuilt in bulk gets at least this many bytes to sort in; more stores than that allows wait.
const MIN_CHUNK_BYTES: usize = 4 * 1_024 * 1_024;

/// What the restore thread is told.
pub(crate) enum RestoreCommand {
    /// Make this task and restore it.
    Add(Box<TaskSeed>),
    /// Close this task and report it as released.
    Drop(TaskId),
    /// Close everything and end.
    Stop,
}

/// The restore thread's state.
pub(crate) struct RestoreThread {
    instance: Arc<Instance>,
    name: String,
    /// For sorting what stores are rebuilt from.
    budget_bytes: usize,
    consumer: GroupConsumer,
    commands: Receiver<RestoreCommand>,
    waker: Arc<Waker>,
    /// Tasks to be made, and when to try (again).
    seeds: Vec<(Box<TaskSeed>, Instant)>,
    tasks: Vec<Restoring>,
    next_progress: Instant,
}

impl RestoreThread {
    /// `name` is the thread's; it shares the memory for restores with the others of `threads`.
    pub(crate) fn new(
        instance: Arc<Instance>,
        (name, threads): (String, usize),
        consumer: GroupConsumer,
        commands: Receiver<RestoreCommand>,
        waker: Arc<Waker>,
    ) -> Self {
        let next_progress = Instant::now() + PROGRESS_EVERY;
        let budget_bytes = instance.settings.restore_bytes / threads.max(1);
        RestoreThread {
            instance,
            name,
            budget_bytes,
            consumer,
            commands,
            waker,
            seeds: Vec::new(),
            tasks: Vec::new(),
            next_progress,
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let _span = tracing::info_span!("restore").entered();
        loop {
            if !self.obey() {
                break;
            }
            self.make_tasks();
            let read = self.restore();
            self.tell_progress();
            if read == 0 {
                let retry =
                    self.seeds.iter().map(|(_, at)| at.saturating_duration_since(Instant::now())).min();
                self.waker.wait(retry.map_or(WAIT, |retry| retry.clamp(Duration::from_millis(1), WAIT)));
            }
        }
        for task in self.tasks.drain(..) {
            task.close(&self.consumer, self.instance.clock.now_ms());
        }
        self.seeds.clear();
        self.consumer.close(Duration::from_secs(5));
    }

    /// False: stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(RestoreCommand::Add(seed)) => {
                    let at = seed.not_before;
                    self.seeds.push((seed, at));
                }
                Ok(RestoreCommand::Drop(id)) => {
                    self.seeds.retain(|(seed, _)| seed.entry.id != id);
                    if let Some(at) = self.tasks.iter().position(|task| task.id() == id) {
                        self.tasks.swap_remove(at).close(&self.consumer, self.instance.clock.now_ms());
                    }
                    self.instance.events.send(Event::Released(id));
                }
                Ok(RestoreCommand::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Steps 1 and 2.
    fn make_tasks(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.seeds.drain(..).partition(|(_, at)| *at <= now);
        self.seeds = later;
        for (seed, _) in due {
            let (id, give_up) = (seed.entry.id, seed.entry.since + self.instance.settings.task_timeout);
            let Err(not_made) = self.make(seed) else { continue };
            let NotMade { seed, error } = *not_made;
            match seed {
                Some(seed) if may_pass(&error) && Instant::now() < give_up => {
                    let mut seed = seed;
                    seed.tries += 1;
                    let pause = failing::pause_after(seed.tries, LONGEST_PAUSE);
                    tracing::warn!(task = %id, error = %Chain(&error), ?pause, "cannot restore the task yet; trying again");
                    self.seeds.push((seed, Instant::now() + pause));
                }
                _ => {
                    self.instance.events.send(Event::RestoreFailed(id, error));
                }
            }
        }
    }

    fn make(&mut self, seed: Box<TaskSeed>) -> Result<(), Box<NotMade>> {
        let tries = seed.tries;
        let bundle = create::create(&self.instance, seed)?;
        let id = bundle.entry.id;
        match Restoring::start(&self.instance, &self.name, &self.consumer, bundle) {
            Ok(task) => {
                tracing::info!(task = %id, records = task.remaining(), "task made; restoring");
                self.tasks.push(task);
                Ok(())
            }
            Err(failed) => {
                let (bundle, error) = *failed;
                let seed = create::back_to_seed(bundle, &self.instance);
                let seed = seed.map(|seed| Box::new(TaskSeed { tries, ..seed }));
                Err(Box::new(NotMade { seed, error }))
            }
        }
    }

    /// Steps 3 and 4; answers how many records were read.
    fn restore(&mut self) -> usize {
        let bulks: usize = self.tasks.iter().map(Restoring::bulks_at_work).sum();
        let budget = self.budget_bytes;
        let mut room = (budget / MIN_CHUNK_BYTES).max(1).saturating_sub(bulks);
        let waiting: usize = self.tasks.iter().map(Restoring::changelogs_to_begin).sum();
        let chunk = budget / (bulks + waiting.min(room)).max(1);
        let mut read = 0;
        let mut index = 0;
        while index < self.tasks.len() {
            let task = &mut self.tasks[index];
            let step = task
                .begin(&self.consumer, &self.waker, &mut room, chunk)
                .and_then(|()| task.step(&self.consumer));
            match step {
                Ok(Step::Read(count)) => {
                    read += count;
                    index += 1;
                }
                Ok(Step::Done) => {
                    task.flush_metrics(self.instance.clock.now_ms());
                    // Hand-over counts as work: the loop looks at its commands again at once.
                    read += 1;
                    let bundle = self.tasks.swap_remove(index).finish();
                    self.instance.events.send(Event::Restored(Box::new(bundle)));
                }
                Err(error) => {
                    read += 1;
                    let task = self.tasks.swap_remove(index);
                    let id = task.id();
                    task.close(&self.consumer, self.instance.clock.now_ms());
                    self.instance.events.send(Event::RestoreFailed(id, error));
                }
            }
        }
        // The consumer has no group, but its connections and logs need to be served.
        if let Err(error) = self.consumer.poll(Duration::ZERO) {
            tracing::warn!(%error, "the restore consumer has a problem");
        }
        read
    }

    fn tell_progress(&mut self) {
        let now = Instant::now();
        if self.tasks.is_empty() {
            self.next_progress = now + PROGRESS_EVERY;
        } else if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            let restored: u64 = self.tasks.iter().map(Restoring::restored).sum();
            let remaining: i64 = self.tasks.iter().map(Restoring::remaining).sum();
            tracing::info!(tasks = self.tasks.len(), restored, remaining, "restoring state");
            let now_ms = self.instance.clock.now_ms();
            self.tasks.iter_mut().for_each(|task| task.flush_metrics(now_ms));
        }
    }
}

/// Whether trying again later may help: the brokers may be away, the database may still be held by a thread that is
/// slow to give the task up.
fn may_pass(error: &StreamsError) -> bool {
    match error {
        StreamsError::Store { source, .. } => source.is_retriable(),
        StreamsError::StateDir(StateDirError::TaskInUse { .. }) => true,
        StreamsError::Runtime(RuntimeError::Client(error)) => error.is_retriable(),
        _ => false,
    }
}

//! Rebalance: the group thread. It serves the group protocol, decides which thread and task belong together, and hears of
//! everything that happens to tasks.
//!
//! ```text
//! assigned -> launch: committed offsets, split queues, assign -> restore thread -> Restored -> processing thread
//! revoked  -> the owning threads commit and close -> Released (each) -> unassign
//!             later than `give_up_timeout`: the assignment lock, unassign; their results are dropped
//! ```
//!
//! The rebalance callback only stored the event, so that polling goes on (and the member stays in the group) while threads
//! commit. Tasks leave the group's assignment only when nobody works on them any more.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::error::{Chain, RuntimeError};
use super::instance::{Event, Instance, Mailbox, ThreadCommand, panic_message};
use super::launch::{self, Start};
use super::restore::RestoreCommand;
use super::state::State;
use super::threads::Threads;
use crate::client::{GroupConsumer, GroupEvent, Waker};
use crate::error::StreamsError;
use crate::handlers::StreamThreadExceptionResponse;
use crate::task::{TaskId, TopicPartition};

/// The consumer is polled at least this often; its queue wakes the thread earlier.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Threads are checked for being stuck this often.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// Partitions that are being given up.
struct Revocation {
    /// The group's partitions, which are answered for.
    partitions: Vec<TopicPartition>,
    /// Tasks whose release is waited for.
    waiting: BTreeSet<TaskId>,
    tasks: BTreeSet<TaskId>,
    deadline: Instant,
}

/// The group thread's state.
pub(crate) struct GroupThread {
    pub(super) instance: Arc<Instance>,
    pub(super) consumer: Arc<GroupConsumer>,
    pub(super) restorer: Mailbox<RestoreCommand>,
    pub(super) threads: Threads,
    events: Receiver<Event>,
    waker: Arc<Waker>,
    revocation: Option<Revocation>,
    /// Assignments that came while tasks were being given up.
    assigned: Vec<Vec<TopicPartition>>,
    /// Whether the group has answered at all.
    joined: bool,
    /// Tasks to be made anew as soon as their present owner has released them.
    pub(super) reopening: BTreeSet<TaskId>,
    next_watch: Instant,
}

impl GroupThread {
    pub(crate) fn new(
        instance: Arc<Instance>,
        consumer: Arc<GroupConsumer>,
        restorer: Mailbox<RestoreCommand>,
        threads: Threads,
        events: Receiver<Event>,
        waker: Arc<Waker>,
    ) -> Self {
        GroupThread {
            instance,
            consumer,
            restorer,
            threads,
            events,
            waker,
            revocation: None,
            assigned: Vec::new(),
            joined: false,
            reopening: BTreeSet::new(),
            next_watch: Instant::now() + WATCH_EVERY,
        }
    }

    /// Runs until the instance is closed or fails, then takes everything down.
    pub(crate) fn run(mut self) {
        let _span = tracing::info_span!("group").entered();
        let served = catch_unwind(AssertUnwindSafe(|| self.serve())).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Err(RuntimeError::Panic { thread: "group".to_owned(), message }.into())
        });
        let (end, timeout) = match served {
            Ok(timeout) => (State::NotRunning, timeout),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the instance stops");
                *self.instance.failure.lock() = Some(Arc::new(error));
                self.instance.state.transition(State::PendingError);
                (State::Error, self.instance.settings.give_up_timeout)
            }
        };
        let instance = self.instance.clone();
        super::shutdown::shut_down(self, timeout);
        instance.state.transition(end);
    }

    /// Serves the group until `close`, whose time it answers.
    fn serve(&mut self) -> Result<Duration, StreamsError> {
        loop {
            self.waker.wait(POLL_EVERY);
            for event in self.poll()? {
                self.on_group_event(event)?;
            }
            while let Ok(event) = self.events.try_recv() {
                if let Some(timeout) = self.on_event(event)? {
                    return Ok(timeout);
                }
            }
            self.check_revocation()?;
            self.check_running();
            self.watch_threads()?;
        }
    }

    /// Polls until there is nothing left: the queue only reports when it was empty.
    pub(super) fn poll(&mut self) -> Result<Vec<GroupEvent>, StreamsError> {
        let mut events = Vec::new();
        loop {
            let start = Instant::now();
            events.extend(self.consumer.poll(Duration::from_millis(1)).map_err(RuntimeError::from)?);
            if start.elapsed() >= Duration::from_millis(1) || !events.is_empty() {
                return Ok(events);
            }
        }
    }

    fn on_group_event(&mut self, event: GroupEvent) -> Result<(), StreamsError> {
        match event {
            GroupEvent::Assigned(partitions) if self.revocation.is_some() => {
                self.assigned.push(partitions);
                Ok(())
            }
            GroupEvent::Assigned(partitions) => self.on_assigned(&partitions),
            GroupEvent::Revoked { partitions, lost } => {
                self.on_revoked(partitions, lost);
                Ok(())
            }
        }
    }

    fn on_assigned(&mut self, partitions: &[TopicPartition]) -> Result<(), StreamsError> {
        let _span = tracing::info_span!("rebalance", assigned = partitions.len()).entered();
        self.joined = true;
        self.instance.state.transition(State::Rebalancing);
        let tasks: Vec<TaskId> = {
            let plan = self.instance.plan.read();
            partitions.iter().filter_map(|partition| plan.task_of(partition)).collect()
        };
        tracing::info!(tasks = %list(&tasks), "tasks assigned");
        launch::launch(self, &tasks, &Start::Assign)
    }

    fn on_revoked(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        let _span = tracing::info_span!("rebalance", revoked = partitions.len(), lost).entered();
        self.instance.state.transition(State::Rebalancing);
        let tasks: BTreeSet<TaskId> = {
            let plan = self.instance.plan.read();
            partitions.iter().filter_map(|partition| plan.task_of(partition)).collect()
        };
        tracing::info!(tasks = %list(&tasks), lost, "tasks revoked");
        self.reopening.retain(|id| !tasks.contains(id));
        let deadline = Instant::now() + self.instance.settings.give_up_timeout;
        let waiting = self.take_back(&tasks, !lost, deadline);
        match &mut self.revocation {
            // Losing the membership while tasks are given up: all of it is answered together.
            Some(revocation) => {
                revocation.partitions.extend(partitions);
                revocation.waiting.extend(waiting);
                revocation.tasks.extend(tasks);
            }
            None => self.revocation = Some(Revocation { partitions, waiting, tasks, deadline }),
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
                entry.owned.store(false, Ordering::Release);
            }
            waiting.insert(*id);
            if entry.handed_over.load(Ordering::Acquire) {
                by_thread.entry(entry.thread).or_default().push(*id);
            } else {
                self.restorer.send(RestoreCommand::Drop(*id));
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
    fn check_revocation(&mut self) -> Result<(), StreamsError> {
        let done = |revocation: &mut Revocation| {
            revocation.waiting.is_empty() || Instant::now() >= revocation.deadline
        };
        let Some(revocation) = self.revocation.take_if(done) else { return Ok(()) };
        if !revocation.waiting.is_empty() {
            tracing::warn!(
                tasks = %list(&revocation.waiting),
                "tasks were not given up in time; what they did since their last commit is done again elsewhere"
            );
            self.fence(&revocation.waiting);
        }
        let mut inputs: BTreeSet<TopicPartition> = revocation.partitions.iter().cloned().collect();
        for id in &revocation.tasks {
            if let Some(entry) = self.instance.tasks.write().remove(id) {
                inputs.extend(entry.inputs.iter().cloned());
            }
        }
        let inputs: Vec<_> = inputs.into_iter().collect();
        self.consumer.unassign(&inputs).map_err(RuntimeError::from)?;
        for partitions in std::mem::take(&mut self.assigned) {
            self.on_assigned(&partitions)?;
        }
        Ok(())
    }

    /// Makes sure that threads commit nothing more for these tasks.
    fn fence(&self, tasks: &BTreeSet<TaskId>) {
        // A commit that is being answered holds the lock; it is bounded by the client, and this by a shorter time.
        let gate = self.instance.commit_gate.try_write_for(Duration::from_secs(10));
        let entries = self.instance.tasks.read();
        for id in tasks {
            if let Some(entry) = entries.get(id) {
                entry.owned.store(false, Ordering::Release);
            }
        }
        drop(gate);
    }

    /// For the shutdown: takes events off the queue, and closes tasks that are in them.
    pub(super) fn drain_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Restored(bundle) = event {
                bundle.close_dirty();
            }
        }
    }

    /// For the shutdown: waits until something happens, at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        self.waker.wait(timeout);
    }

    /// Answers the close's time when there is one.
    fn on_event(&mut self, event: Event) -> Result<Option<Duration>, StreamsError> {
        match event {
            Event::Restored(bundle) => self.on_restored(bundle),
            Event::Released(id) => self.on_released(id)?,
            Event::RestoreFailed(id, error) => {
                tracing::error!(task = %id, error = %Chain(&error), "a task cannot be restored");
                self.on_failure(error, |group| launch::relaunch(group, &[id]))?;
            }
            Event::ThreadFailed(index, error) => {
                tracing::error!(thread = index, error = %Chain(&error), "a processing thread failed");
                self.release_tasks_of(index);
                self.on_failure(error, |group| group.replace_thread(index))?;
            }
            Event::ThreadStopped(index) => tracing::debug!(thread = index, "thread stopped"),
            Event::Metadata(counts) => super::watch::compare(self, &counts)?,
            Event::Failed(error) => return Err(error),
            Event::Close(timeout) => return Ok(Some(timeout)),
        }
        Ok(None)
    }

    fn on_restored(&mut self, bundle: Box<super::task_bundle::TaskBundle>) {
        let entry = bundle.entry.clone();
        let revoked = self.revocation.as_ref().is_some_and(|revocation| revocation.tasks.contains(&entry.id));
        if revoked || !entry.owned.load(Ordering::Acquire) {
            // The restore thread was told to drop it, and answers that it is released.
            bundle.close_dirty();
            return;
        }
        entry.handed_over.store(true, Ordering::Release);
        if let Some(thread) = self.instance.thread(entry.thread) {
            thread.mailbox.send(ThreadCommand::Run(bundle));
        }
    }

    fn on_released(&mut self, id: TaskId) -> Result<(), StreamsError> {
        let awaited = self.revocation.as_mut().is_some_and(|revocation| revocation.waiting.remove(&id));
        // Else it was given up to be made anew.
        if !awaited && self.reopening.remove(&id) { launch::relaunch(self, &[id]) } else { Ok(()) }
    }

    /// A failed thread has closed its tasks: nobody waits for their release.
    fn release_tasks_of(&mut self, index: usize) {
        let tasks = self.instance.tasks.read();
        for entry in tasks.values().filter(|entry| entry.thread == index) {
            if let Some(revocation) = &mut self.revocation {
                revocation.waiting.remove(&entry.id);
            }
        }
    }

    /// Asks the uncaught exception handler.
    fn on_failure(
        &mut self,
        error: StreamsError,
        go_on: impl FnOnce(&mut Self) -> Result<(), StreamsError>,
    ) -> Result<(), StreamsError> {
        match self.instance.settings.uncaught(&error) {
            StreamThreadExceptionResponse::ReplaceThread => {
                self.instance.state.transition(State::Rebalancing);
                go_on(self)
            }
            StreamThreadExceptionResponse::ShutdownClient => Err(error),
            StreamThreadExceptionResponse::ShutdownApplication => {
                tracing::error!(
                    "the application was asked to shut down: other instances have to be stopped by hand, the group protocol in use cannot tell them"
                );
                Err(error)
            }
        }
    }

    /// Starts a new thread in the place of a failed one; it gets the same tasks, from their last commit.
    fn replace_thread(&mut self, index: usize) -> Result<(), StreamsError> {
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
            self.restorer.send(RestoreCommand::Drop(id));
        }
        launch::relaunch(self, &closed)
    }

    /// RUNNING when every task has been handed over and nothing is being given up.
    fn check_running(&mut self) {
        if self.revocation.is_none()
            && self.joined
            && self.instance.state.get() == State::Rebalancing
            && self.instance.tasks.read().values().all(|entry| entry.running.load(Ordering::Acquire))
        {
            self.instance.state.transition(State::Running);
        }
    }

    /// Any queue's poll resets librdkafka's own timer, so a thread that hangs in user code is ours to notice.
    fn watch_threads(&mut self) -> Result<(), StreamsError> {
        if Instant::now() < self.next_watch {
            return Ok(());
        }
        self.next_watch = Instant::now() + WATCH_EVERY;
        let limit = self.instance.settings.max_poll_interval;
        let stuck =
            self.instance.threads.read().iter().find(|thread| thread.heartbeat.busy() > limit).map(
                |thread| RuntimeError::Stuck { thread: thread.name.clone(), busy: thread.heartbeat.busy() },
            );
        // The thread can't be replaced: its code is still running. The tasks go to other instances.
        stuck.map_or(Ok(()), |stuck| Err(stuck.into()))
    }
}

/// Task names for a log line.
pub(super) fn list<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> String {
    let names: Vec<String> = tasks.into_iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

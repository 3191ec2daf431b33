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

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::error::{Chain, RuntimeError};
use super::failing::Failing;
use super::global::GlobalHandle;
use super::instance::{Event, Instance, ThreadCommand, panic_message};
use super::launch::{self, Relaunch, Start};
use super::restorers::Restorers;
use super::revoke::Revocation;
use super::state::State;
use super::stuck::StuckWatch;
use super::threads::Threads;
use crate::client::{GroupConsumer, GroupEvent, Waker};
use crate::error::StreamsError;
use crate::task::{TaskId, TopicPartition};

/// The consumer is polled at least this often; its queue wakes the thread earlier.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The group thread's state.
pub(crate) struct GroupThread {
    pub(super) instance: Arc<Instance>,
    pub(super) consumer: Arc<GroupConsumer>,
    pub(super) restorers: Restorers,
    pub(super) threads: Threads,
    /// The thread of the global stores, of a topology that has some.
    pub(super) global: Option<GlobalHandle>,
    events: Receiver<Event>,
    waker: Arc<Waker>,
    pub(super) revocation: Option<Revocation>,
    /// Assignments that came while tasks were being given up.
    pub(super) assigned: Vec<Vec<TopicPartition>>,
    /// What has to wait until the revocation is answered: assigning now would be taken for the answer.
    pub(super) deferred: Vec<Event>,
    /// Whether the group has answered at all.
    joined: bool,
    /// Tasks to be made anew as soon as their present owner has released them.
    pub(super) reopening: BTreeSet<TaskId>,
    /// Tasks to be made anew as soon as the group tells their committed offsets.
    pub(super) relaunches: Vec<Relaunch>,
    pub(super) stuck: StuckWatch,
    pub(super) failing: Failing,
    /// The uncaught exception handler wants the whole application to stop.
    pub(super) ask_all_to_stop: bool,
}

impl GroupThread {
    pub(crate) fn new(
        instance: Arc<Instance>,
        consumer: Arc<GroupConsumer>,
        restorers: Restorers,
        (threads, global): (Threads, Option<GlobalHandle>),
        events: Receiver<Event>,
        waker: Arc<Waker>,
    ) -> Self {
        let joined = instance.plan.read().subscription().is_empty();
        if !joined {
            instance.membership.begin();
        }
        GroupThread {
            instance,
            consumer,
            restorers,
            threads,
            global,
            events,
            waker,
            revocation: None,
            assigned: Vec::new(),
            deferred: Vec::new(),
            // Without a subscription (patterns that match nothing yet) there is no answer to wait for.
            joined,
            reopening: BTreeSet::new(),
            relaunches: Vec::new(),
            stuck: StuckWatch::new(),
            failing: Failing::default(),
            ask_all_to_stop: false,
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
            Err(error) if self.instance.state.get() == State::PendingShutdown => {
                tracing::warn!(error = %Chain(&error), "something failed while the instance was asked to close");
                (State::NotRunning, self.time_to_close())
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the instance stops");
                *self.instance.failure.lock() = Some(Arc::new(error));
                self.instance.transition(State::PendingError);
                (State::Error, self.instance.settings.give_up_timeout)
            }
        };
        let instance = self.instance.clone();
        super::shutdown::shut_down(self, timeout);
        instance.transition(end);
    }

    /// Serves the group until `close`, whose time it answers.
    fn serve(&mut self) -> Result<Duration, StreamsError> {
        loop {
            self.waker.wait(POLL_EVERY);
            let events = self.poll()?;
            if !events.is_empty() {
                // There may be more: the queue only reports that it was empty.
                self.waker.wake();
            }
            for event in events {
                self.on_group_event(event)?;
            }
            while let Ok(event) = self.events.try_recv() {
                if let Some(timeout) = self.on_event(event)? {
                    return Ok(timeout);
                }
            }
            self.check_revocation()?;
            launch::try_relaunches(self)?;
            self.check_running();
            self.watch_threads()?;
        }
    }

    /// The time of a close that was asked for and not come to yet.
    fn time_to_close(&self) -> Duration {
        loop {
            match self.events.recv_timeout(POLL_EVERY) {
                Ok(Event::Close(timeout)) => return timeout,
                Ok(Event::Restored(bundle)) => bundle.close_dirty(self.instance.clock.now_ms()),
                Ok(_) => {}
                Err(_) => return self.instance.settings.give_up_timeout,
            }
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
        self.instance.membership.note(matches!(event, GroupEvent::Assigned(_)));
        match event {
            GroupEvent::Assigned(partitions) if self.revocation.is_some() => {
                self.assigned.push(partitions);
                Ok(())
            }
            GroupEvent::Assigned(partitions) => self.on_assigned(&partitions).inspect_err(|_| {
                // The group waits for an answer, also from a member that is about to leave.
                let _ = self.consumer.assign(&[]);
            }),
            GroupEvent::Revoked { partitions, lost } => {
                self.on_revoked(partitions, lost);
                Ok(())
            }
        }
    }

    pub(super) fn on_assigned(&mut self, partitions: &[TopicPartition]) -> Result<(), StreamsError> {
        let _span = tracing::info_span!("rebalance", assigned = partitions.len()).entered();
        self.joined = true;
        self.instance.transition(State::Rebalancing);
        let tasks: Vec<TaskId> = {
            let plan = self.instance.plan.read();
            partitions.iter().filter_map(|partition| plan.task_of(partition)).collect()
        };
        tracing::info!(tasks = %list(&tasks), "tasks assigned");
        launch::launch(self, &tasks, &Start::Assign)
    }

    /// For the shutdown: takes what the group assigns for nothing. What it takes away is answered for when the tasks are closed
    /// ([`finish_revocation`](Self::finish_revocation)), so that nobody has them before. Lost tasks somebody may have already: this member
    /// may be back in the group before its threads have ended, and must not commit over the offsets of another.
    pub(super) fn answer_group(&mut self) {
        for event in self.poll().unwrap_or_default() {
            match event {
                GroupEvent::Assigned(_) => {
                    if let Err(error) = self.consumer.assign(&[]) {
                        tracing::debug!(%error, "cannot answer the group");
                    }
                }
                GroupEvent::Revoked { partitions, lost } => self.on_revoked(partitions, lost),
            }
        }
    }

    /// For the shutdown: takes events off the queue, and closes tasks that are in them.
    pub(super) fn drain_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Restored(bundle) = event {
                bundle.close_dirty(self.instance.clock.now_ms());
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
                let entry = self.instance.tasks.read().get(&id).cloned();
                let pause = entry.map_or(Duration::ZERO, |entry| self.pause_before(&entry, &error));
                self.on_failure(error, |group| launch::relaunch(group, &[id], pause))?;
            }
            Event::ThreadFailed(
                index,
                StreamsError::Runtime(RuntimeError::ProducerLost { pause, source }),
            ) => {
                tracing::warn!(thread = index, error = %Chain(&*source), ?pause, "a producer can't go on; its thread is replaced");
                self.release_tasks_of(index);
                self.instance.transition(State::Rebalancing);
                self.replace_thread(index, pause)?;
            }
            Event::TaskFailed(entry, error) => self.on_task_failed(&entry, error)?,
            Event::ThreadFailed(index, error) => {
                self.release_tasks_of(index);
                let pause = self.pause_of_thread(index, &error);
                self.on_failure(error, |group| group.replace_thread(index, pause))?;
            }
            Event::ThreadStopped(index) => tracing::debug!(thread = index, "thread stopped"),
            Event::Metadata(counts) => super::watch::compare(self, &counts)?,
            event @ (Event::OffsetGone { .. } | Event::Aborted(..)) if self.revocation.is_some() => {
                self.deferred.push(event)
            }
            Event::OffsetGone { partition, policy, was } => {
                launch::on_offset_gone(self, partition, policy, was)?
            }
            Event::Aborted(entries, pause) => self.on_aborted(&entries, pause)?,
            Event::Stranded => self.join_anew(),
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
            bundle.close_dirty(self.instance.clock.now_ms());
            return;
        }
        entry.handed_over.store(true, Ordering::Release);
        if let Some(thread) = self.instance.thread(entry.thread) {
            thread.mailbox.send(ThreadCommand::Run(bundle));
        }
    }

    fn on_released(&mut self, id: TaskId) -> Result<(), StreamsError> {
        let awaited = self.revocation.as_mut().is_some_and(|revocation| revocation.waiting.remove(&id));
        if awaited || !self.reopening.contains(&id) {
            return Ok(());
        }
        // It was given up to be made anew.
        if self.revocation.is_some() {
            self.deferred.push(Event::Released(id));
            return Ok(());
        }
        self.reopening.remove(&id);
        launch::relaunch(self, &[id], Duration::ZERO)
    }

    /// RUNNING when every task has been handed over and nothing is being given up.
    fn check_running(&mut self) {
        if self.revocation.is_none()
            && self.joined
            && self.instance.state.get() == State::Rebalancing
            && self.instance.tasks.read().values().all(|entry| entry.running.load(Ordering::Acquire))
        {
            self.instance.transition(State::Running);
        }
    }
}

/// Task names for a log line.
pub(super) fn list<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> String {
    let names: Vec<String> = tasks.into_iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

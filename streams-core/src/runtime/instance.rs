//! What the threads of one instance share.
//!
//! ```text
//! group thread (rebalance)   --ThreadCommand-->  processing threads
//!        ^   \--RestoreCommand-->  restore thread    |
//!        '------------- Event ----------'------------'
//! ```
//!
//! The group thread alone decides who has which task; the others report to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kstreams_state_stores::{SharedStores, UncommittedBudget};
use parking_lot::{Mutex, RwLock};

use super::assignment::{FoundInputs, Plan};
use super::database::Databases;
use super::error::RuntimeError;
use super::membership::Membership;
use super::refused::Refused;
use super::restore_listener::Listener;
use super::settings::Settings;
use super::stable_end::StableEnds;
use super::state::{State, StateCell};
use super::task_bundle::TaskBundle;
use super::transaction::Attempts;
use crate::client::{Producer, Waker};
use crate::clock::Clock;
use crate::error::{StreamsError, TopologyError};
use crate::metrics::ClientMetrics;
use crate::processor::AsyncRuntime;
use crate::state_dir::StateDirectory;
use crate::task::{Activity, Task, TaskId, TopicPartition};
use crate::topology::{AutoOffsetReset, SubTopology, Topology};

/// What the group thread is told.
pub(crate) enum Event {
    /// A task's state is complete.
    Restored(Box<TaskBundle>),
    /// A task's state can't be restored.
    RestoreFailed(TaskId, StreamsError),
    /// A task that was to be given up is closed.
    Released(TaskId),
    /// A task failed, and its processing thread has closed it without commit.
    TaskFailed(Arc<TaskEntry>, StreamsError),
    /// A processing thread failed; its tasks are closed without commit.
    ThreadFailed(usize, StreamsError),
    /// A processing thread closed these tasks without commit, because its transaction was aborted: to be made anew from their last
    /// commit, after this time.
    Aborted(Vec<Arc<TaskEntry>>, Duration),
    /// A processing thread stopped because it was told to.
    ThreadStopped(usize),
    /// The partition counts of every sub-topology's inputs, as the cluster has them now.
    Metadata(Vec<FoundInputs>),
    /// The next record of an input is not in its topic any more; where to go on is the source's policy.
    OffsetGone {
        /// The input.
        partition: TopicPartition,
        /// The policy.
        policy: AutoOffsetReset,
        /// The next record's offset.
        was: i64,
    },
    /// The client has lost its group and does not find it again.
    Stranded,
    /// Something that concerns the instance as a whole.
    Failed(StreamsError),
    /// Close, within this time.
    Close(Duration),
}

/// What a processing thread is told.
pub(crate) enum ThreadCommand {
    /// Process this task.
    Run(Box<TaskBundle>),
    /// Close these tasks, after a commit unless they are lost, and report each as released.
    GiveUp {
        /// The tasks.
        tasks: Vec<TaskId>,
        /// Whether to commit before.
        commit: bool,
        /// When to have done so.
        deadline: Instant,
    },
    /// Run this on a task, between two records.
    Query(TaskId, Box<dyn FnOnce(&mut Task) + Send>),
    /// Commit, close every task, end.
    Stop {
        /// When to have done so.
        deadline: Instant,
    },
}

/// A channel's end that also wakes the receiver.
pub(crate) struct Mailbox<T> {
    sender: Sender<T>,
    waker: Arc<Waker>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn new(sender: Sender<T>, waker: Arc<Waker>) -> Self {
        Mailbox { sender, waker }
    }

    /// Sends and wakes; false when the receiver is gone.
    pub(crate) fn send(&self, message: T) -> bool {
        let sent = self.sender.send(message).is_ok();
        self.waker.wake();
        sent
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }
}

/// A processing thread as the others see it.
pub(crate) struct ThreadHandle {
    /// Its name, as the JVM names threads.
    pub(crate) name: String,
    pub(crate) mailbox: Mailbox<ThreadCommand>,
    pub(crate) producer: Producer,
    pub(crate) cache: Arc<kstreams_state_stores::CacheBudget>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// Transactions that failed since the last one that didn't.
    pub(crate) attempts: Arc<Attempts>,
}

/// Since when a thread is busy with one round of its loop.
pub(crate) struct Heartbeat {
    start: Instant,
    /// Milliseconds after `start`; `IDLE` while the thread waits.
    busy_since_ms: AtomicU64,
    /// Time that the thread has spent waiting for brokers, in ns.
    blocked_ns: AtomicU64,
    /// The task that it works for.
    task: Mutex<Option<Arc<TaskEntry>>>,
}

const IDLE: u64 = u64::MAX;

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Heartbeat {
            start: Instant::now(),
            busy_since_ms: AtomicU64::new(IDLE),
            blocked_ns: AtomicU64::new(0),
            task: Mutex::default(),
        }
    }

    /// A round begins, or shows that it goes on.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(IDLE - 1);
        self.busy_since_ms.store(now, Ordering::Relaxed);
    }

    /// The thread goes to work for a task. Once per task and round.
    pub(crate) fn works_for(&self, task: &Arc<TaskEntry>) {
        *self.task.lock() = Some(task.clone());
    }

    /// The task that the thread works for, or worked for last.
    pub(crate) fn task(&self) -> Option<Arc<TaskEntry>> {
        self.task.lock().clone()
    }

    /// The thread waited for brokers since `start`.
    pub(crate) fn was_blocked(&self, start: Instant) {
        let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.blocked_ns.fetch_add(waited, Ordering::Relaxed);
    }

    /// How long the thread has waited for brokers, in ns.
    pub(crate) fn blocked_ns(&self) -> u64 {
        self.blocked_ns.load(Ordering::Relaxed)
    }

    /// The thread waits for something to do.
    pub(crate) fn rest(&self) {
        self.busy_since_ms.store(IDLE, Ordering::Relaxed);
    }

    /// For how long the thread has been in one round.
    pub(crate) fn busy(&self) -> Duration {
        match self.busy_since_ms.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since => self.start.elapsed().saturating_sub(Duration::from_millis(since)),
        }
    }
}

/// A changelog as far as it is restored.
#[derive(Debug)]
pub(crate) struct RestoreProgress {
    pub(crate) store: Arc<str>,
    pub(crate) partition: TopicPartition,
    /// The next offset to restore; -1: not known yet.
    pub(crate) position: AtomicI64,
    /// Where the changelog ends; -1: not known yet.
    pub(crate) end: AtomicI64,
}

/// A task of this instance, from its assignment to its release.
pub(crate) struct TaskEntry {
    pub(crate) id: TaskId,
    /// Since when it is this instance's.
    pub(crate) since: Instant,
    /// The processing thread it belongs to.
    pub(crate) thread: usize,
    pub(crate) inputs: Vec<TopicPartition>,
    /// Per input: the offset that it was read from first.
    pub(crate) starts: Vec<i64>,
    /// Whether this instance may still commit for it. Changed and read under `Instance::commit_gate`.
    pub(crate) owned: AtomicBool,
    /// What it does.
    pub(crate) activity: Arc<Activity>,
    /// Whether it was sent to its processing thread; before, the restore thread has it.
    pub(crate) handed_over: AtomicBool,
    /// Whether its processing thread processes it.
    pub(crate) running: AtomicBool,
    /// Per input: the committed offset, -1 for none.
    pub(crate) committed: Vec<AtomicI64>,
    /// Per input: the high watermark as last seen, -1 for none.
    pub(crate) ends: Vec<AtomicI64>,
    /// Per changelog, once the task is made.
    pub(crate) restore: RwLock<Vec<Arc<RestoreProgress>>>,
}

impl TaskEntry {
    pub(crate) fn new(id: TaskId, thread: usize, inputs: Vec<TopicPartition>, starts: Vec<i64>) -> Self {
        let none = || inputs.iter().map(|_| AtomicI64::new(-1)).collect();
        TaskEntry {
            id,
            since: Instant::now(),
            thread,
            committed: none(),
            ends: none(),
            inputs,
            starts,
            owned: AtomicBool::new(true),
            activity: Arc::default(),
            handed_over: AtomicBool::new(false),
            running: AtomicBool::new(false),
            restore: RwLock::default(),
        }
    }
}

/// One instance of an application: what its threads share.
pub(crate) struct Instance {
    pub(crate) settings: Settings,
    pub(crate) topology: Arc<Topology>,
    /// Its parts, by number.
    pub(crate) parts: Vec<Arc<SubTopology>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: StateCell,
    /// Which partitions make which task.
    pub(crate) plan: RwLock<Plan>,
    /// The tasks of this instance.
    pub(crate) tasks: RwLock<BTreeMap<TaskId, Arc<TaskEntry>>>,
    /// The processing threads, by index.
    pub(crate) threads: RwLock<Vec<Arc<ThreadHandle>>>,
    /// The assignment lock: held (shared) from the check that every task of a commit is owned until the commit is
    /// answered, and (alone) while a task is taken from a thread that did not give it up in time.
    pub(crate) commit_gate: RwLock<()>,
    /// Updates that are not committed yet, over all stores.
    pub(crate) uncommitted: Arc<UncommittedBudget>,
    /// Whether the group has this instance as a member.
    pub(crate) membership: Membership,
    /// To the group thread.
    pub(crate) events: Mailbox<Event>,
    /// What processing threads want to know of inputs that they wait for.
    pub(crate) stable_ends: Arc<StableEnds>,
    /// Hears of restores.
    pub(crate) restore_listener: Listener,
    /// The application's folder, locked for this instance until it has stopped; `None` where nothing is kept on disk.
    pub(crate) state_dir: Mutex<Option<StateDirectory>>,
    /// The global stores, once they are restored and until the instance stops.
    pub(crate) global: RwLock<Option<SharedStores>>,
    /// Where asynchronous steps make their calls.
    pub(crate) async_runtime: AsyncRuntime,
    /// What all databases share: caches and write buffers.
    pub(crate) databases: Databases,
    /// Of the instance as a whole.
    pub(crate) metrics: Mutex<ClientMetrics>,
    /// Committed offsets of repartition topics, to be purged up to.
    pub(crate) purgeable: Mutex<BTreeMap<TopicPartition, i64>>,
    /// Records that brokers refused, and what is to become of them.
    pub(crate) refused: Arc<Refused>,
    /// The application's internal topics, and whether this instance has made them.
    pub(crate) internal_topics: Mutex<BTreeMap<String, bool>>,
    /// Requests to stop the application that are older than this instance.
    pub(crate) known_requests: RwLock<BTreeSet<i64>>,
    /// The error that ended the instance.
    pub(crate) failure: Mutex<Option<Arc<StreamsError>>>,
}

impl Instance {
    /// The part of the topology that a task runs.
    ///
    /// # Errors
    /// When the topology has no part of this number: the task's name is not of this topology.
    pub(crate) fn part_of(&self, task: TaskId) -> Result<Arc<SubTopology>, StreamsError> {
        let part = self.parts.iter().find(|part| part.id == task.sub_topology).cloned();
        part.ok_or_else(|| TopologyError::Invalid(format!("task {task} is no part of the topology")).into())
    }

    /// The thread with fewest tasks, of equal ones the first.
    pub(crate) fn least_loaded_thread(&self) -> usize {
        let tasks = self.tasks.read();
        let load = |thread: usize| tasks.values().filter(|task| task.thread == thread).count();
        (0..self.threads.read().len()).min_by_key(|thread| load(*thread)).unwrap_or(0)
    }

    /// A thread's handle.
    pub(crate) fn thread(&self, index: usize) -> Option<Arc<ThreadHandle>> {
        self.threads.read().get(index).cloned()
    }

    /// Changes the state, if that is legal; answers whether it was.
    pub(crate) fn transition(&self, next: State) -> bool {
        let changed = self.state.transition(next);
        if changed {
            self.metrics.lock().state(next.number());
        }
        changed
    }

    /// Whether the instance is stopping, so that nothing should be waited for.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.get().is_stopping()
    }

    /// Starts a thread of the operating system whose panic is reported like an error.
    pub(crate) fn spawn(
        &self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<std::thread::JoinHandle<()>, RuntimeError> {
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(body)
            .map_err(|source| RuntimeError::Spawn { thread: name, source })
    }
}

/// What a caught panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

//! The application's handle: [`KafkaStreams`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kstreams_state_stores::UncommittedBudget;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};

use super::assignment::Plan;
use super::database::{self, Databases};
use super::error::{Chain, RuntimeError};
use super::instance::{Event, Instance, Mailbox};
use super::local_metadata::{self, LagInfo, ThreadMetadata};
use super::membership::Membership;
use super::query::{QueryableStore, ReadOnlyStore};
use super::restore_listener::{Listener, StateRestoreListener};
use super::settings::Settings;
use super::stable_end::StableEnds;
use super::startup;
use super::state::{State, StateCell, StateListener};
use super::watch::WatchHandle;
use crate::client::Waker;
use crate::clock::{Clock, SystemClock};
use crate::config::StreamsConfig;
use crate::error::StreamsError;
use crate::handlers::StreamsUncaughtExceptionHandler;
use crate::metrics::ClientMetrics;
use crate::processor::AsyncRuntime;
use crate::state_dir::{StateDirError, StateDirectory};
use crate::topology::Topology;

/// One instance of a streams application (`org.apache.kafka.streams.KafkaStreams`).
///
/// Instances with the same `application.id`, in one process or many, share the tasks of the topology. An instance runs
/// one group member, `num.stream.threads` processing threads and a restore thread, all threads of the operating system;
/// its methods may be called from anywhere, `start` and `close` from any async runtime.
///
/// Dropping an instance that runs closes it, without waiting.
pub struct KafkaStreams {
    instance: Arc<Instance>,
    /// Taken by `start`.
    events: Mutex<Option<Receiver<Event>>>,
    watch: Arc<Mutex<Option<WatchHandle>>>,
}

impl std::fmt::Debug for KafkaStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaStreams")
            .field("application_id", &self.instance.settings.application_id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl KafkaStreams {
    /// An instance that runs `topology`, in state [`State::Created`]. Nothing is contacted yet.
    ///
    /// # Errors
    /// Every fault of the configuration; a state directory that can't be written or that another instance uses.
    pub fn new(topology: Topology, config: StreamsConfig) -> Result<Self, StreamsError> {
        Self::with_clock(topology, config, Arc::new(SystemClock))
    }

    /// As [`new`](Self::new), with another wall clock.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(
        topology: Topology,
        config: StreamsConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StreamsError> {
        let memory = config.memory_plan();
        config.validate()?;
        topology.check_settings(&config)?;
        let state_dir = database::has_local_state(&topology).then(|| open_state(&config)).transpose()?;
        if let (Some(state), Some(age)) = (&state_dir, config.state_cleanup_dir_max_age) {
            state.clean_obsolete(clock.now_ms(), age)?;
        }
        let process_id = state_dir.as_ref().map_or_else(uuid::Uuid::new_v4, StateDirectory::process_id);
        let settings = Settings::new(config, process_id.to_string())?;
        let metrics = ClientMetrics::new(&settings.client_id);
        let (sender, events) = channel();
        let uncommitted =
            UncommittedBudget::new(usize::try_from(memory.uncommitted_bytes).unwrap_or(usize::MAX));
        let async_runtime = AsyncRuntime::new(settings.config.async_runtime.clone());
        if let Some(timeout) = settings.transaction_timeout {
            async_runtime.in_transactions(timeout);
        }
        let (setter, level) =
            (settings.config.rocksdb_config_setter.clone(), settings.config.metrics_recording_level);
        let databases = Databases::new(memory, setter, level);
        let instance = Instance {
            settings,
            parts: topology.sub_topologies().into_iter().map(Arc::new).collect(),
            topology: Arc::new(topology),
            clock,
            state: StateCell::new(),
            plan: RwLock::new(Plan::default()),
            tasks: RwLock::default(),
            threads: RwLock::default(),
            commit_gate: RwLock::new(()),
            uncommitted,
            membership: Membership::default(),
            events: Mailbox::new(sender, Arc::new(Waker::default())),
            stable_ends: StableEnds::new(),
            restore_listener: Listener::default(),
            state_dir: Mutex::new(state_dir),
            global: RwLock::default(),
            async_runtime,
            databases,
            metrics: Mutex::new(metrics),
            purgeable: Mutex::default(),
            refused: Arc::default(),
            internal_topics: Mutex::default(),
            known_requests: RwLock::default(),
            failure: Mutex::new(None),
        };
        Ok(KafkaStreams {
            instance: Arc::new(instance),
            events: Mutex::new(Some(events)),
            watch: Arc::new(Mutex::new(None)),
        })
    }

    /// Starts the instance: checks the cluster and the topics, makes the internal ones, joins the group. Returns when the
    /// threads run; watch [`state`](Self::state) for [`State::Running`], when every task processes.
    ///
    /// # Errors
    /// When it was started before; when no broker answers, a source topic doesn't exist, internal topics can't be made or
    /// don't fit: then nothing runs, and the state is [`State::Error`].
    pub async fn start(&self) -> Result<(), StreamsError> {
        let state = self.state();
        let events = self.events.lock().take();
        let (Some(events), State::Created) = (events, state) else {
            let remedy = "an instance can be started once; make a new one to run again";
            return Err(RuntimeError::State { call: "start", state, remedy }.into());
        };
        self.instance.async_runtime.use_ambient();
        self.instance.transition(State::Rebalancing);
        let (instance, keep) = (self.instance.clone(), self.watch.clone());
        blocking(move || {
            let started = startup::start(&instance, events);
            match started {
                Ok(watch) => {
                    *keep.lock() = Some(watch);
                    Ok(())
                }
                Err(error) => {
                    *instance.global.write() = None;
                    *instance.state_dir.lock() = None;
                    instance.transition(State::PendingError);
                    instance.transition(State::Error);
                    Err(error)
                }
            }
        })
        .await
    }

    /// Stops the instance: tasks commit and close, the member leaves the group. Answers whether that was done within
    /// `timeout`; if not, it goes on in the background. The state ends as [`State::NotRunning`], or [`State::Error`]
    /// where a failure came first.
    pub async fn close(&self, timeout: Duration) -> bool {
        self.begin_close(timeout);
        let mut state = self.state_watch();
        let stopped = async move { state.wait_for(|state| state.has_stopped()).await.is_ok() };
        // Time-outs of the runtime in use are not ours to choose: a thread wakes us.
        with_timeout(stopped, timeout + Duration::from_secs(1)).await.unwrap_or(false)
    }

    fn begin_close(&self, timeout: Duration) {
        drop(self.watch.lock().take());
        let never_started = self.events.lock().take().is_some();
        if self.instance.transition(State::PendingShutdown) {
            if never_started {
                *self.instance.state_dir.lock() = None;
                self.instance.transition(State::NotRunning);
            } else {
                self.instance.events.send(Event::Close(timeout));
            }
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.instance.state.get()
    }

    /// The state, to be watched: `state_watch().wait_for(|state| *state == State::Running).await`.
    pub fn state_watch(&self) -> watch::Receiver<State> {
        self.instance.state.watch()
    }

    /// Calls `listener` with the new and the old state at each change (`setStateListener`).
    pub fn set_state_listener(&self, listener: impl Fn(State, State) + Send + Sync + 'static) {
        let listener: StateListener = Arc::new(listener);
        self.instance.state.set_listener(listener);
    }

    /// Tells `listener` of every restore (`setGlobalStateRestoreListener`).
    pub fn set_restore_listener(&self, listener: impl StateRestoreListener + 'static) {
        self.instance.restore_listener.set(Arc::new(listener));
    }

    /// Asks `handler` what to do when a processing thread fails (`setUncaughtExceptionHandler`). Without one the
    /// instance stops.
    pub fn set_uncaught_exception_handler(&self, handler: impl StreamsUncaughtExceptionHandler + 'static) {
        *self.instance.settings.uncaught.lock() = Some(Arc::new(handler));
    }

    /// The error that stopped the instance, with its causes, once the state is [`State::PendingError`] or
    /// [`State::Error`].
    pub fn failure(&self) -> Option<String> {
        self.instance.failure.lock().as_ref().map(|error| Chain(&**error).to_string())
    }

    /// The processing threads of this instance with their tasks (`metadataForLocalThreads`).
    pub fn metadata_for_local_threads(&self) -> Vec<ThreadMetadata> {
        local_metadata::threads(&self.instance)
    }

    /// How far the local stores are behind their changelogs, by store and partition (`allLocalStorePartitionLags`).
    pub fn all_local_store_partition_lags(&self) -> Vec<LagInfo> {
        local_metadata::lags(&self.instance)
    }

    /// A store of this instance, for reading: `S` is the store's type, `KeyValueStore<String, i64>` for instance.
    ///
    /// # Errors
    /// When the topology has no store of that name.
    pub fn store<S: QueryableStore>(&self, name: &str) -> Result<ReadOnlyStore<S>, StreamsError> {
        ReadOnlyStore::new(self.instance.clone(), name)
    }

    /// Deletes the local state of this application under `state.dir` (`cleanUp`). The changelogs keep everything; the
    /// next start restores from them.
    ///
    /// # Errors
    /// While the instance runs, or when the directory can't be deleted.
    pub fn clean_up(&self) -> Result<(), StreamsError> {
        let state = self.state();
        if !(state == State::Created || state.has_stopped()) {
            let remedy = "close the instance first";
            return Err(RuntimeError::State { call: "clean_up", state, remedy }.into());
        }
        let config = &self.instance.settings.config;
        let held = self.instance.state_dir.lock().clone();
        match held {
            Some(directory) => directory.clean_up()?,
            None => open_state(config)?.clean_up()?,
        }
        Ok(())
    }
}

/// The folder of the application's local state, locked for this instance.
fn open_state(config: &StreamsConfig) -> Result<StateDirectory, StateDirError> {
    let group_writes = config.allow_os_group_write_access;
    StateDirectory::open_for(&config.state_dir, &config.application_id, group_writes)
}

impl Drop for KafkaStreams {
    fn drop(&mut self) {
        self.begin_close(self.instance.settings.give_up_timeout);
    }
}

/// Runs blocking code on a thread of its own, whatever async runtime is in use.
async fn blocking(f: impl FnOnce() -> Result<(), StreamsError> + Send + 'static) -> Result<(), StreamsError> {
    let (sender, receiver) = oneshot::channel();
    let thread = "kstreams-start".to_owned();
    let spawned = std::thread::Builder::new().name(thread.clone()).spawn(move || {
        let _ = sender.send(f());
    });
    spawned.map_err(|source| RuntimeError::Spawn { thread: thread.clone(), source })?;
    receiver.await.unwrap_or_else(|_| {
        let message = "the start broke off".to_owned();
        Err(RuntimeError::Panic { thread, message }.into())
    })
}

/// Awaits `future` at most `timeout`, whatever async runtime is in use.
async fn with_timeout<T>(future: impl Future<Output = T>, timeout: Duration) -> Option<T> {
    let (sender, over) = oneshot::channel::<()>();
    let (finished, waiting) = channel::<()>();
    let timer = std::thread::Builder::new().name("kstreams-close".into()).spawn(move || {
        // Ends early when the other end is dropped.
        let _ = waiting.recv_timeout(timeout);
        drop(sender);
    });
    if timer.is_err() {
        return Some(future.await);
    }
    let _finished = finished;
    match futures::future::select(Box::pin(future), over).await {
        futures::future::Either::Left((value, _)) => Some(value),
        futures::future::Either::Right(_) => None,
    }
}

//! The global thread: keeps the global stores of the instance whole. It has a consumer of its own for all partitions of
//! their topics, and one database for all of them.
//!
//! 1. At start, before any task: read every topic from where the local state stands to where it ends now.
//! 2. From then on follow the topics, with a commit after each batch; tasks and queries read what is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kstreams_state_stores::SharedStores;
use rdkafka::error::RDKafkaErrorCode;

use super::cluster::{self, Admin};
use super::error::{Chain, RuntimeError};
use super::instance::{Event, Instance, RestoreProgress, panic_message};
use super::{database, launch};
use crate::client::{Fetched, GroupConsumer, PartitionQueue, Waker};
use crate::error::StreamsError;
use crate::state_dir::StateDirectory;
use crate::task::{GlobalEnvironment, GlobalTask, RawRecord, TaskHandlers, TopicPartition};

/// Records read from one partition at a time, and then committed.
const BATCH: usize = 5_000;
/// The longest wait; records and the end wake the thread earlier.
const WAIT: Duration = Duration::from_secs(1);
/// A line tells of the progress of a restore this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Ends the global thread when dropped.
pub(crate) struct GlobalHandle {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    join: Option<JoinHandle<()>>,
}

impl GlobalHandle {
    /// Tells the thread to end and waits for it, until `deadline`.
    pub(crate) fn stop(mut self, deadline: Instant) {
        self.tell();
        let Some(join) = self.join.take() else { return };
        while !join.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if join.is_finished() {
            // A panic was caught and reported by the thread itself.
            let _ = join.join();
        } else {
            tracing::warn!("the global thread did not stop in time");
        }
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for GlobalHandle {
    fn drop(&mut self) {
        self.tell();
    }
}

/// One partition of a global topic.
struct Input {
    progress: Arc<RestoreProgress>,
    queue: PartitionQueue,
    next: i64,
    restored: u64,
}

impl Input {
    fn is_behind(&self) -> bool {
        self.next < self.progress.end.load(Ordering::Relaxed)
    }
}

struct GlobalThread {
    instance: Arc<Instance>,
    consumer: GroupConsumer,
    task: GlobalTask,
    inputs: Vec<Input>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    /// Keeps the application's folder locked as long as the database is open.
    _directory: Option<StateDirectory>,
}

/// Restores the global stores, if the topology has some, and starts the thread that follows their topics.
///
/// # Errors
/// When the topics can't be read, a store can't be opened, or a record stops it (see the handlers).
pub(crate) fn start(instance: &Arc<Instance>, admin: &Admin) -> Result<Option<GlobalHandle>, StreamsError> {
    if instance.topology.global_stores().is_empty() {
        return Ok(None);
    }
    let _span = tracing::info_span!("global").entered();
    let (mut thread, stores) = GlobalThread::open(instance, admin)?;
    thread.restore()?;
    *instance.global.write() = Some(stores);
    let (stop, waker) = (Arc::clone(&thread.stop), Arc::clone(&thread.waker));
    let name = format!("{}-GlobalStreamThread", instance.settings.client_id);
    let join = instance.spawn(name, move || thread.run())?;
    Ok(Some(GlobalHandle { stop, waker, join: Some(join) }))
}

/// Where each partition starts and ends.
struct Bounds {
    start: i64,
    first: i64,
    end: i64,
}

impl GlobalThread {
    fn open(instance: &Arc<Instance>, admin: &Admin) -> Result<(Self, SharedStores), StreamsError> {
        let settings = &instance.settings;
        let partitions = partitions(instance, admin)?;
        let consumer = GroupConsumer::new("global-consumer", &settings.global_consumer(partitions.len())?)
            .map_err(RuntimeError::from)?;
        let (mut stores, directory) = database::open_global(instance)?;
        let mut bounds = bounds(instance, &consumer, &stores, &partitions)?;
        if bounds.iter().any(|bounds| !(bounds.first..=bounds.end).contains(&bounds.start)) {
            tracing::warn!("global state is not a part of its topics any more; it is rebuilt from them");
            drop(stores);
            if let Some(directory) = &directory {
                directory.wipe_global()?;
            }
            (stores, _) = database::open_global(instance)?;
            bounds.iter_mut().for_each(|bounds| bounds.start = bounds.first);
        }
        let environment = GlobalEnvironment {
            application_id: settings.application_id.clone(),
            inputs: partitions,
            stores: stores.clone(),
            uncommitted: instance.uncommitted.clone(),
            handlers: TaskHandlers::of_global(&settings.config),
            clock: instance.clock.clone(),
        };
        let task = GlobalTask::create(&instance.topology, environment)?;
        let waker = Arc::new(Waker::default());
        let global = instance.topology.global_stores();
        let (mut inputs, mut starts) = (Vec::new(), Vec::new());
        for (partition, bounds) in task.inputs().iter().zip(&bounds) {
            let store = global.iter().find(|store| *store.topic == *partition.topic);
            let store = store.map(|store| store.spec.name.as_str()).unwrap_or_default();
            let progress = Arc::new(RestoreProgress {
                store: store.into(),
                partition: partition.clone(),
                position: AtomicI64::new(bounds.start),
                end: AtomicI64::new(bounds.end),
            });
            let queue = consumer.split(partition, &waker).map_err(RuntimeError::from)?;
            inputs.push(Input { progress, queue, next: bounds.start, restored: 0 });
            starts.push((partition.clone(), bounds.start));
        }
        consumer.assign(&starts).map_err(RuntimeError::from)?;
        let (instance, stop) = (Arc::clone(instance), Arc::default());
        let thread = GlobalThread { instance, consumer, task, inputs, stop, waker, _directory: directory };
        Ok((thread, stores))
    }

    /// Reads every topic to the end that it had at start. A close ends it early: nothing will be processed.
    fn restore(&mut self) -> Result<(), StreamsError> {
        let listener = self.instance.restore_listener.clone();
        for input in &self.inputs {
            let end = input.progress.end.load(Ordering::Relaxed);
            listener.start(&input.progress, input.next, end);
        }
        let started = Instant::now();
        let mut next_progress = started + PROGRESS_EVERY;
        while self.inputs.iter().any(Input::is_behind) && !self.instance.is_closing() {
            if self.round()? == 0 {
                self.waker.wait(Duration::from_millis(100));
            }
            if Instant::now() >= next_progress {
                next_progress += PROGRESS_EVERY;
                tracing::info!(records = self.restored(), "restoring global state");
            }
        }
        for input in &self.inputs {
            listener.end(&input.progress, input.restored);
        }
        let waited = started.elapsed();
        tracing::info!(records = self.restored(), ?waited, "global state is restored");
        Ok(())
    }

    fn restored(&self) -> u64 {
        self.inputs.iter().map(|input| input.restored).sum()
    }

    /// Reads and commits what has been fetched; answers how many records it were.
    fn round(&mut self) -> Result<usize, StreamsError> {
        let mut read = 0;
        for index in 0..self.inputs.len() {
            read += self.read(index)?;
        }
        if read > 0 {
            self.task.commit()?;
        }
        // The consumer has no group, but its connections and logs need to be served.
        self.consumer.poll(Duration::ZERO).map_err(RuntimeError::from)?;
        Ok(read)
    }

    fn read(&mut self, index: usize) -> Result<usize, StreamsError> {
        let Input { progress, queue, next, restored } = &mut self.inputs[index];
        if !queue.is_ready() {
            return Ok(0);
        }
        let (task, mut failed, mut unreadable, mut count) = (&mut self.task, None, None, 0);
        queue.read(BATCH, |fetched| match fetched {
            Fetched::Record(message) if failed.is_none() => {
                *next = message.offset() + 1;
                count += 1;
                failed = task.update(index, RawRecord::Client(message)).err();
            }
            Fetched::Record(_) => {}
            Fetched::End(offset) => *next = offset.max(*next),
            Fetched::Error(code) => unreadable = Some(code),
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(code) = unreadable {
            on_fetch_error(&progress.partition, code)?;
        }
        progress.position.store(*next, Ordering::Relaxed);
        if count > 0 {
            *restored += u64::try_from(count).unwrap_or(u64::MAX);
            self.instance.restore_listener.batch(progress, *next, count);
        }
        Ok(count)
    }

    /// Follows the topics until it is told to stop.
    fn run(mut self) {
        let _span = tracing::info_span!("global").entered();
        let followed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.follow()));
        let followed = followed.unwrap_or_else(|panic| {
            let (thread, message) = ("global".to_owned(), panic_message(&*panic));
            Err(RuntimeError::Panic { thread, message }.into())
        });
        if let Err(error) = followed {
            tracing::error!(error = %Chain(&error), "the global thread failed");
            // It is told, but it has no choice: the thread can't be replaced, as in the JVM.
            self.instance.settings.uncaught(&error);
            self.instance.events.send(Event::Failed(error));
        }
        if let Err(error) = self.task.close() {
            tracing::warn!(error = %Chain(&error), "closing the global stores failed");
        }
        // Before the queues go: what is still in them would come through the main queue.
        if let Err(error) = self.consumer.unassign(self.task.inputs()) {
            tracing::debug!(%error, "cannot give the global topics up");
        }
        self.inputs.clear();
        self.consumer.close(Duration::from_secs(5));
    }

    fn follow(&mut self) -> Result<(), StreamsError> {
        while !self.stop.load(Ordering::Acquire) {
            if self.round()? == 0 {
                self.waker.wait(WAIT);
            }
        }
        self.task.flush()
    }
}

/// All partitions of the global topics.
fn partitions(instance: &Instance, admin: &Admin) -> Result<Vec<TopicPartition>, StreamsError> {
    let topics = cluster::all_topics(admin, instance.settings.request_timeout).map_err(RuntimeError::from)?;
    let mut partitions = Vec::new();
    for topic in instance.topology.global_topics() {
        let Some(count) = topics.get(&topic) else {
            return Err(RuntimeError::UnknownSourceTopic { topic }.into());
        };
        let name: Arc<str> = topic.into();
        partitions.extend((0..*count).map(|partition| TopicPartition::new(Arc::clone(&name), partition)));
    }
    Ok(partitions)
}

fn bounds(
    instance: &Instance,
    consumer: &GroupConsumer,
    stores: &SharedStores,
    partitions: &[TopicPartition],
) -> Result<Vec<Bounds>, StreamsError> {
    let local = database::changelog_offsets(&stores.writer())
        .map_err(|source| StreamsError::Store { task: "global".to_owned(), source })?;
    let firsts = launch::ask(instance, |timeout| consumer.first_offsets(partitions, timeout))?;
    let ends = launch::ask(instance, |timeout| consumer.end_offsets(partitions, timeout))?;
    let bounds = partitions.iter().zip(firsts.into_iter().zip(ends));
    Ok(bounds
        .map(|(partition, (first, end))| Bounds {
            start: local.get(partition).copied().unwrap_or(first),
            first,
            end,
        })
        .collect())
}

fn on_fetch_error(partition: &TopicPartition, code: RDKafkaErrorCode) -> Result<(), StreamsError> {
    use RDKafkaErrorCode as C;
    match code {
        // Nothing but a new start can rebuild the stores: tasks read them.
        C::AutoOffsetReset
        | C::OffsetOutOfRange
        | C::TopicAuthorizationFailed
        | C::UnknownTopic
        | C::UnknownTopicOrPartition
        | C::UnknownPartition => {
            let (topic, partition) = (partition.topic.to_string(), partition.partition);
            Err(RuntimeError::Fetch { topic, partition, code }.into())
        }
        code => {
            tracing::debug!(%partition, %code, "fetching has a problem; the client goes on trying");
            Ok(())
        }
    }
}

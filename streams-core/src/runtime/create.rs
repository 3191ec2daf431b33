//! From an assigned partition to a task: database, stores, nodes, collector.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kstreams_state_stores::TaskBackend;

use super::database;
use super::error::RuntimeError;
use super::instance::{Instance, TaskEntry, ThreadHandle};
use super::produce::{ChangelogTarget, Collector};
use super::task_bundle::{Details, Input, TaskBundle};
use crate::error::StreamsError;
use crate::metrics::TaskMetrics;
use crate::offset_metadata::OffsetMetadata;
use crate::processor::AsyncEnvironment;
use crate::state_dir::TaskDirectory;
use crate::task::{Task, TaskEnvironment, TaskHandlers, TaskScope};

/// What a task is made of.
pub(crate) struct TaskSeed {
    pub(crate) entry: Arc<TaskEntry>,
    /// The processing thread that will own it.
    pub(crate) thread: Arc<ThreadHandle>,
    pub(crate) inputs: Vec<Input>,
    /// Not to be made before this.
    pub(crate) not_before: Instant,
    /// How often it could not be made.
    pub(crate) tries: u32,
}

/// A task that could not be made or started: why, and what it can be made of again.
pub(crate) struct NotMade {
    pub(crate) seed: Option<Box<TaskSeed>>,
    pub(crate) error: StreamsError,
}

/// Makes the task. A failure gives the seed back.
pub(crate) fn create(instance: &Instance, seed: Box<TaskSeed>) -> Result<TaskBundle, Box<NotMade>> {
    let id = seed.entry.id;
    let _span = tracing::debug_span!("create", task = %id).entered();
    match build(instance, &seed) {
        Ok((mut task, backend, directory, changelogs)) => {
            let TaskSeed { entry, inputs, thread, .. } = *seed;
            let level = instance.settings.config.metrics_recording_level;
            let metrics = TaskMetrics::new(&thread.name, &id.to_string(), level);
            let details = Details::new(&mut task, &backend, &thread.name, level);
            let mut bundle = TaskBundle {
                entry,
                task,
                backend,
                directory,
                inputs,
                metrics,
                details,
                dropped_before: 0,
                changelogs,
            };
            for (index, input) in bundle.inputs.iter().enumerate() {
                let metadata = OffsetMetadata::decode(&input.committed.metadata);
                bundle.task.set_partition_time(index, metadata.partition_time);
                bundle.task.add_processor_metadata(&metadata.processor_metadata);
                let offset = input.committed.offset.unwrap_or(-1);
                bundle.entry.committed[index].store(offset, Ordering::Relaxed);
            }
            Ok(bundle)
        }
        Err(error) => Err(Box::new(NotMade { seed: Some(seed), error })),
    }
}

type Built = (Task, TaskBackend, Option<TaskDirectory>, Arc<Vec<ChangelogTarget>>);

fn build(instance: &Instance, seed: &TaskSeed) -> Result<Built, StreamsError> {
    let id = seed.entry.id;
    let (backend, directory) = database::open(instance, id)?;
    let changelogs = Arc::new(OnceLock::new());
    let collector = Collector::new(instance, &seed.entry, &seed.thread, changelogs.clone());
    let environment = TaskEnvironment {
        task_id: id,
        scope: TaskScope::SubTopology(instance.part_of(id)?),
        application_id: instance.settings.application_id.clone(),
        inputs: seed.inputs.iter().map(|input| input.partition.clone()).collect(),
        backend: backend.clone(),
        global_stores: instance.global.read().clone(),
        cache: seed.thread.cache.clone(),
        uncommitted: instance.uncommitted.clone(),
        collector: Box::new(collector),
        handlers: handlers(instance),
        clock: instance.clock.clone(),
        emit_intervals: instance.settings.config.emit_intervals,
        asynchronous: Some(AsyncEnvironment::new(
            instance.async_runtime.clone(),
            seed.thread.mailbox.waker().clone(),
        )),
        activity: seed.entry.activity.clone(),
    };
    let task = Task::create(&instance.topology, environment)?;
    let targets = Arc::new(targets(instance, seed, &task)?);
    // Empty until here, and nobody else sets it.
    let _ = changelogs.set(targets.clone());
    Ok((task, backend, directory, targets))
}

fn handlers(instance: &Instance) -> TaskHandlers {
    let config = &instance.settings.config;
    TaskHandlers {
        deserialization: config.deserialization_exception_handler.clone(),
        processing: config.processing_exception_handler.clone(),
        production: config.production_exception_handler.clone(),
        dead_letter_topic: config.errors_dead_letter_queue_topic_name.as_deref().map(Arc::from),
        timestamp_extractor: config.default_timestamp_extractor,
    }
}

fn targets(instance: &Instance, seed: &TaskSeed, task: &Task) -> Result<Vec<ChangelogTarget>, StreamsError> {
    let producer = &seed.thread.producer;
    let targets = task.changelogs().iter().map(|changelog| {
        let spec = instance.topology.stores.get(&changelog.store).map(|store| &store.spec);
        let source_input = seed.inputs.iter().position(|input| input.partition == changelog.partition);
        Ok(ChangelogTarget {
            store: changelog.store.clone(),
            topic: producer.topic(&changelog.partition.topic).map_err(RuntimeError::from)?,
            topic_name: changelog.partition.topic.clone(),
            partition: changelog.partition.partition,
            acknowledged: producer.slot(),
            persistent: spec.is_some_and(|spec| spec.persistent),
            source_input: source_input.filter(|_| changelog.is_source),
        })
    });
    targets.collect()
}

/// Closes a task that could not be started, and gives back what it can be made of again.
pub(crate) fn back_to_seed(bundle: TaskBundle, instance: &Instance) -> Option<TaskSeed> {
    let thread = instance.thread(bundle.entry.thread)?;
    let TaskBundle { entry, mut task, inputs, .. } = bundle;
    if let Err(error) = task.close() {
        tracing::warn!(task = %entry.id, %error, "closing a task's stores failed");
    }
    Some(TaskSeed { entry, thread, inputs, not_before: Instant::now(), tries: 0 })
}

//! From a topology to a task: stores first, then the nodes, children before parents, then the input queues.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use kstreams_state_stores::{
    CacheBudget, ChangelogId, SharedStores, StoreEnvironment, TaskBackend, UncommittedBudget,
};
use qcell::QCellOwner;

use super::process::dummy_record;
use super::punctuation::Punctuations;
use super::{
    Activity, ChangelogPartition, JavaHeap, Lateness, RecordCollector, Task, TaskCalls, TaskContext,
    TaskHandlers, TaskId, TaskStore, TopicPartition,
};
use crate::clock::Clock;
use crate::config::EmitIntervals;
use crate::error::StreamsError;
use crate::processor::AsyncEnvironment;
use crate::topology::{
    NodeKind, NodeLifecycle, QueueFactory, SourceTopics, StoreEntry, SubTopology, Topology, Wiring,
    matches_whole,
};

/// Which part of the topology the task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskScope {
    /// The sub-topology of the task's id.
    SubTopology(Arc<SubTopology>),
    /// All of it but global stores in one task, as the test driver does.
    All,
    /// Global stores and what keeps them up to date.
    Global,
}

/// What a task is given by its surroundings.
pub struct TaskEnvironment {
    /// The task's name.
    pub task_id: TaskId,
    /// Which nodes it runs.
    pub scope: TaskScope,
    /// Prefix of the internal topics.
    pub application_id: Arc<str>,
    /// The partitions it reads, in the order of their input numbers: of its source topics, with full names.
    pub inputs: Vec<TopicPartition>,
    /// Where its stores keep committed data.
    pub backend: TaskBackend,
    /// The global stores that its processors may read, of a topology that has some.
    pub global_stores: Option<SharedStores>,
    /// The record cache's budget, shared by the stores of one thread.
    pub cache: Arc<CacheBudget>,
    /// The budget of uncommitted data, shared by the instance.
    pub uncommitted: Arc<UncommittedBudget>,
    /// Where output goes.
    pub collector: Box<dyn RecordCollector>,
    /// What to do about failures.
    pub handlers: TaskHandlers,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How often joins and windows look for results that only time makes.
    pub emit_intervals: EmitIntervals,
    /// Where its asynchronous steps make their calls; `None` where it may have none.
    pub asynchronous: Option<AsyncEnvironment>,
    /// Where it tells other threads what it does.
    pub activity: Arc<Activity>,
}

impl Task {
    /// Builds the task: opens its stores and wires its nodes. Then restore, then [`initialize`](Task::initialize).
    ///
    /// # Errors
    /// When a store cannot be opened.
    pub fn create(topology: &Topology, environment: TaskEnvironment) -> Result<Task, StreamsError> {
        let included = included_nodes(topology, &environment);
        let owner = QCellOwner::new();
        let (stores, changelogs) = open_stores(topology, &environment, &owner, &included)?;
        let readers = open_readers(topology, &environment, &owner)?;
        let (nodes, sources) = wire_nodes(topology, &environment, &owner, &included, (&stores, &readers))?;
        let mut queues = Vec::with_capacity(environment.inputs.len());
        for input in &environment.inputs {
            if let Some(factory) = source_for(topology, &environment.application_id, &sources, &input.topic) {
                queues.push(factory(input.clone()));
            }
        }
        let inputs: Vec<_> = queues.iter().map(|queue| queue.partition().clone()).collect();
        let names = topology.nodes.iter().map(|node| Arc::clone(&node.name)).collect();
        let now = environment.clock.now_ms();
        let cx = TaskContext {
            owner,
            task_id: environment.task_id,
            application_id: environment.application_id,
            names,
            unnamed: Arc::from("?"),
            clock: environment.clock,
            emit_intervals: environment.emit_intervals,
            shared: BTreeMap::new(),
            processor_metadata: BTreeMap::new(),
            processor_metadata_changed: false,
            collector: environment.collector,
            punctuations: Punctuations::default(),
            calls: TaskCalls::new(environment.asynchronous),
            activity: environment.activity,
            record: dummy_record(now),
            raw: None,
            stream_time: -1,
            commit_requested: false,
            handlers: environment.handlers,
            dropped: 0,
            lateness: Lateness::default(),
            node_counts: Box::default(),
        };
        let consumed = vec![false; queues.len()];
        let order = JavaHeap::default();
        let commit_needed = false;
        Ok(Task {
            cx,
            queues,
            inputs,
            order,
            consumed,
            included,
            nodes,
            sources,
            stores,
            readers,
            changelogs,
            commit_needed,
        })
    }

    /// Adds an input while the task runs: a new topic that a source's pattern matches. Its number, or `None` when no
    /// source of the task reads the topic.
    pub fn add_input(&mut self, topology: &Topology, input: TopicPartition) -> Option<usize> {
        let factory = source_for(topology, &self.cx.application_id, &self.sources, &input.topic)?;
        self.queues.push(factory(input.clone()));
        self.inputs.push(input);
        self.consumed.push(false);
        Some(self.inputs.len() - 1)
    }
}

fn included_nodes(topology: &Topology, environment: &TaskEnvironment) -> Vec<usize> {
    let global = match &environment.scope {
        TaskScope::SubTopology(part) => return part.nodes.clone(),
        TaskScope::All => false,
        TaskScope::Global => true,
    };
    let parts = topology.sub_topologies().into_iter().filter(|part| part.global == global);
    let mut nodes: Vec<usize> = parts.flat_map(|part| part.nodes).collect();
    nodes.sort_unstable();
    nodes
}

/// Opens the stores that the task's nodes use, in the topology's order.
fn open_stores(
    topology: &Topology,
    environment: &TaskEnvironment,
    owner: &QCellOwner,
    included: &[usize],
) -> Result<(Vec<TaskStore>, Vec<ChangelogPartition>), StreamsError> {
    let mut stores = Vec::new();
    let mut changelogs = Vec::new();
    for name in &topology.store_order {
        let entry = &topology.stores[name];
        let all = environment.scope == TaskScope::All && entry.global.is_none();
        // A store that nobody uses belongs to no task.
        if entry.users.is_empty() || !all && !entry.users.iter().any(|user| included.contains(user)) {
            continue;
        }
        let topic = match entry.source_topic.as_ref().or(entry.global.as_ref()) {
            Some(topic) => topology.decorate(&environment.application_id, topic),
            None => format!("{}-{name}-changelog", environment.application_id),
        };
        let logged = entry.spec.logging.is_some() || entry.source_topic.is_some();
        let id = ChangelogId(u32::try_from(changelogs.len()).unwrap_or(u32::MAX));
        if logged {
            let partition = TopicPartition::new(topic.as_str(), environment.task_id.partition);
            let is_source = entry.source_topic.is_some();
            changelogs.push(ChangelogPartition { store: Arc::clone(name), partition, is_source });
        }
        let store_environment = StoreEnvironment {
            backend: environment.backend.clone(),
            cache: Arc::clone(&environment.cache),
            uncommitted: Arc::clone(&environment.uncommitted),
            changelog: (logged && entry.source_topic.is_none()).then_some(id),
            changelog_topic: topic,
        };
        let wired = entry
            .builder
            .build(owner, &store_environment)
            .map_err(|source| StreamsError::Store { task: environment.task_id.to_string(), source })?;
        stores.push(TaskStore {
            name: Arc::clone(name),
            cell: wired.cell,
            handle: wired.handle,
            users: entry.users.clone(),
        });
    }
    Ok((stores, changelogs))
}

/// Gives the task stores of its own over the committed entries of every global store.
fn open_readers(
    topology: &Topology,
    environment: &TaskEnvironment,
    owner: &QCellOwner,
) -> Result<Vec<TaskStore>, StreamsError> {
    let Some(shared) = environment.global_stores.as_ref() else { return Ok(Vec::new()) };
    let global = topology.stores.iter().filter(|(_, entry)| entry.global.is_some());
    global.map(|(name, entry)| open_reader(name, entry, shared, owner)).collect()
}

/// A store for reading one global store.
pub(crate) fn open_reader(
    name: &Arc<str>,
    entry: &StoreEntry,
    shared: &SharedStores,
    owner: &QCellOwner,
) -> Result<TaskStore, StreamsError> {
    let environment = StoreEnvironment {
        backend: shared.reader(),
        cache: CacheBudget::new(0),
        uncommitted: UncommittedBudget::new(usize::MAX),
        changelog: None,
        changelog_topic: entry.global.clone().unwrap_or_default(),
    };
    let wired = entry
        .builder
        .build(owner, &environment)
        .map_err(|source| StreamsError::Store { task: TaskId::GLOBAL.to_string(), source })?;
    Ok(TaskStore { name: Arc::clone(name), cell: wired.cell, handle: wired.handle, users: Vec::new() })
}

type WiredNodes = (Vec<Option<Arc<dyn NodeLifecycle>>>, BTreeMap<usize, QueueFactory>);

/// Wires the nodes, children before parents: a node is added after its parents, so from the last to the first.
fn wire_nodes(
    topology: &Topology,
    environment: &TaskEnvironment,
    owner: &QCellOwner,
    included: &[usize],
    (stores, readers): (&[TaskStore], &[TaskStore]),
) -> Result<WiredNodes, StreamsError> {
    let mut receivers: BTreeMap<usize, Box<dyn Any>> = BTreeMap::new();
    let mut lifecycles: Vec<Option<Arc<dyn NodeLifecycle>>> = vec![None; topology.nodes.len()];
    let mut sources = BTreeMap::new();
    for &index in included.iter().rev() {
        let spec = &topology.nodes[index];
        let children = spec.children.iter().filter_map(|child| {
            receivers.get(child).map(|receiver| (Arc::clone(&topology.nodes[*child].name), &**receiver))
        });
        let connected = || {
            let connected =
                spec.stores.iter().filter_map(|name| stores.iter().find(|store| store.name == *name));
            let readable = connected.chain(readers);
            readable.map(|store| (Arc::clone(&store.name), (store.handle)())).collect()
        };
        let wiring = Wiring {
            node: index,
            name: &spec.name,
            owner,
            wrapper: topology.wrapper.as_deref(),
            children: children.collect(),
            stores: &connected,
            decorate: &|topic| topology.decorate(&environment.application_id, topic).into(),
        };
        let wired = (spec.wire)(&wiring)?;
        if let Some(receiver) = wired.receiver {
            receivers.insert(index, receiver);
        }
        if let Some(queues) = wired.queues {
            sources.insert(index, queues);
        }
        lifecycles[index] = wired.lifecycle;
    }
    Ok((lifecycles, sources))
}

/// The source that reads a topic, by name or else by pattern.
fn source_for<'a>(
    topology: &Topology,
    application_id: &str,
    sources: &'a BTreeMap<usize, QueueFactory>,
    topic: &str,
) -> Option<&'a QueueFactory> {
    let reads = |by_name: bool| {
        sources.iter().find(|(index, _)| match &topology.nodes[**index].kind {
            NodeKind::Source { topics: SourceTopics::Names(names), .. } => {
                by_name && names.iter().any(|name| topology.decorate(application_id, name) == topic)
            }
            NodeKind::Source { topics: SourceTopics::Pattern(pattern), .. } => {
                !by_name && matches_whole(pattern, topic)
            }
            _ => false,
        })
    };
    reads(true).or_else(|| reads(false)).map(|(_, factory)| factory)
}

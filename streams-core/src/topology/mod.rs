//! The topology: nodes, stores and what connects them. Types are checked here, when a node is added; between here and
//! the task they are erased, and each task wires its own typed nodes once (`wiring.rs`).

mod compatibility;
mod describe;
mod global;
mod groups;
mod node;
mod settings;
mod sink;
mod source;
mod wiring;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kstreams_state_stores::{DynSerde, Serde, StoreBuilder, StoreSpec};

pub use compatibility::{MovedStore, Orphan, TopologyCompatibility};
pub use describe::{NodeDescription, NodeDescriptionKind, SubTopologyDescription, TopologyDescription};
pub(crate) use groups::matches_whole;
pub use groups::{SourceInfo, StoreInfo, SubTopology};
pub(crate) use node::{Child, NodeLifecycle, give_all, panic_error};
pub use settings::TopologySettings;
pub use sink::{SinkOptions, SinkTopic, StreamPartitioner, TopicNameExtractor};
pub use source::{Extracted, ExtractorRecord, SourceOptions, SourceTopics, TimestampExtractor};
pub(crate) use wiring::{ErasedStoreBuilder, QueueFactory, Wiring};

pub use crate::config::AutoOffsetReset;
use crate::error::TopologyError;
use crate::processor::{Processor, ProcessorWrapper};
use wiring::WireFn;

/// The types of the records on one side of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordType {
    id: TypeId,
    name: &'static str,
}

impl RecordType {
    fn of<K: 'static, V: 'static>() -> Self {
        RecordType { id: TypeId::of::<(K, V)>(), name: std::any::type_name::<(K, V)>() }
    }
}

/// What a node is; what `describe()`, the checks and the runtime need of it.
#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Source {
        topics: SourceTopics,
        offset_reset: Option<AutoOffsetReset>,
    },
    Processor,
    /// `Ok`: the topic's name. `Err`: the text that stands for the function which chooses it.
    Sink {
        topic: Result<String, String>,
    },
}

pub(crate) struct NodeSpec {
    pub(crate) name: Arc<str>,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<usize>,
    pub(crate) children: Vec<usize>,
    /// In the order in which they were connected.
    pub(crate) stores: Vec<Arc<str>>,
    pub(crate) output: Option<RecordType>,
    pub(crate) wire: WireFn,
}

pub(crate) struct StoreEntry {
    pub(crate) spec: StoreSpec,
    pub(crate) builder: Arc<dyn ErasedStoreBuilder>,
    pub(crate) users: Vec<usize>,
    /// The source topic that serves as the changelog of this store (`reuse.ktable.source.topics`).
    pub(crate) source_topic: Option<String>,
    /// A global store: restored from and kept up to date by this topic, read by every task.
    pub(crate) global: Option<String>,
}

/// What is known of an internal topic before the application runs. Names are without the application's prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepartitionTopic {
    /// A number of partitions that the user gave; else it follows from the sources.
    pub partitions: Option<i32>,
}

/// A graph of sources, processors, stores and sinks (`org.apache.kafka.streams.Topology`).
///
/// The DSL makes one by `StreamsBuilder::build`; it may also be made by hand:
///
/// ```
/// use kstreams_core::Topology;
/// use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
/// use kstreams_state_stores::Record;
///
/// struct Upper;
/// impl Processor<String, String, String, String> for Upper {
///     fn process(
///         &mut self,
///         record: Record<String, String>,
///         ctx: &mut ProcessorContext<'_, String, String>,
///     ) -> ProcessResult {
///         let value = record.value.to_uppercase();
///         ctx.forward(record.with_value(value))
///     }
/// }
///
/// let mut topology = Topology::new();
/// topology.add_source::<String, String>("lines", "input")?;
/// topology.add_processor("upper", || Upper, &["lines"])?;
/// topology.add_sink::<String, String>("out", "output", &["upper"])?;
/// # Ok::<(), kstreams_core::TopologyError>(())
/// ```
#[derive(Default)]
pub struct Topology {
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) stores: BTreeMap<Arc<str>, StoreEntry>,
    /// Names of the stores in the order in which they were added: the order of cache flushes.
    pub(crate) store_order: Vec<Arc<str>>,
    pub(crate) repartition_topics: BTreeMap<String, RepartitionTopic>,
    /// Groups of source topics whose partition counts must agree.
    pub(crate) copartition_groups: Vec<BTreeSet<String>>,
    /// Sources whose sub-topology belongs to a global store.
    pub(crate) global_nodes: BTreeSet<usize>,
    /// The application's settings that it was built with; `None`: it was made by hand.
    pub(crate) settings: Option<TopologySettings>,
    /// What processors are wrapped in.
    pub(crate) wrapper: Option<Arc<dyn ProcessorWrapper>>,
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|node| &*node.name).collect();
        f.debug_struct("Topology").field("nodes", &names).field("stores", &self.store_order).finish()
    }
}

impl Topology {
    /// An empty topology.
    pub fn new() -> Self {
        Topology::default()
    }

    /// Adds a source that reads `topics` (a name, several, or a pattern) with the serdes named as type arguments.
    ///
    /// # Errors
    /// When a node of that name exists, or another source reads one of the topics, be it by a pattern.
    pub fn add_source<KS, VS>(
        &mut self,
        name: &str,
        topics: impl Into<SourceTopics>,
    ) -> Result<&mut Self, TopologyError>
    where
        KS: Serde<Target: Clone + Send> + Default,
        VS: Serde<Target: Clone + Send> + Default,
    {
        let options = SourceOptions::new(DynSerde::new(KS::default()), DynSerde::new(VS::default()));
        self.add_source_with(name, topics, options)
    }

    /// Adds a source with all its options.
    ///
    /// # Errors
    /// As [`add_source`](Topology::add_source).
    pub fn add_source_with<K, V>(
        &mut self,
        name: &str,
        topics: impl Into<SourceTopics>,
        options: SourceOptions<K, V>,
    ) -> Result<&mut Self, TopologyError>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
    {
        let topics = topics.into();
        if let SourceTopics::Names(names) = &topics {
            if names.is_empty() {
                return Err(TopologyError::Invalid(format!(
                    "source {name} has no topic: give it at least one"
                )));
            }
            for topic in names {
                self.check_not_read(topic)?;
            }
        }
        if let SourceTopics::Pattern(pattern) = &topics
            && let Some((topic, source_node)) = self.matching(pattern)
        {
            return Err(TopologyError::TopicTwice { topic, source_node });
        }
        let kind = NodeKind::Source { topics, offset_reset: options.offset_reset };
        self.add_node(name, kind, &[], None, Some(RecordType::of::<K, V>()), wiring::source(options))?;
        Ok(self)
    }

    /// # Errors
    /// When a source reads the topic, by name or because it matches a pattern.
    pub(crate) fn check_not_read(&self, topic: &str) -> Result<(), TopologyError> {
        let by_pattern = || {
            self.nodes.iter().position(|node| match &node.kind {
                NodeKind::Source { topics: SourceTopics::Pattern(pattern), .. } => {
                    matches_whole(pattern, topic)
                }
                _ => false,
            })
        };
        match self.source_of(topic).or_else(by_pattern) {
            None => Ok(()),
            Some(reader) => {
                let source_node = Arc::clone(&self.nodes[reader].name);
                Err(TopologyError::TopicTwice { topic: topic.to_owned(), source_node })
            }
        }
    }

    /// A topic that a source of tasks reads by name and that matches the pattern, with that source.
    fn matching(&self, pattern: &regex::Regex) -> Option<(String, Arc<str>)> {
        let sources = self.nodes.iter().enumerate().filter(|(at, _)| !self.global_nodes.contains(at));
        sources.into_iter().find_map(|(_, node)| match &node.kind {
            NodeKind::Source { topics: SourceTopics::Names(names), .. } => {
                let topic = names.iter().find(|topic| matches_whole(pattern, topic))?;
                Some((topic.clone(), Arc::clone(&node.name)))
            }
            _ => None,
        })
    }

    /// Adds a processor below `parents`. Each task gets its own from `supplier`.
    ///
    /// # Errors
    /// When a node of that name exists, a parent does not, or a parent forwards records of other types.
    pub fn add_processor<KIn, VIn, KOut, VOut, P>(
        &mut self,
        name: &str,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        parents: &[&str],
    ) -> Result<&mut Self, TopologyError>
    where
        P: Processor<KIn, VIn, KOut, VOut> + 'static,
        KIn: Send + 'static,
        VIn: Send + 'static,
        KOut: Send + 'static,
        VOut: Send + 'static,
    {
        if parents.is_empty() {
            return Err(TopologyError::Invalid(format!("processor {name} has no parent: name at least one")));
        }
        let (input, output) = (RecordType::of::<KIn, VIn>(), RecordType::of::<KOut, VOut>());
        let wire = wiring::processor::<KIn, VIn, KOut, VOut, P>(supplier);
        self.add_node(name, NodeKind::Processor, parents, Some(input), Some(output), wire)?;
        Ok(self)
    }

    /// Adds a sink that writes to `topic` with the serdes named as type arguments.
    ///
    /// # Errors
    /// When a node of that name exists, a parent does not or forwards other types, or a parent is a source of `topic`.
    pub fn add_sink<KS, VS>(
        &mut self,
        name: &str,
        topic: impl Into<SinkTopic<KS::Target, VS::Target>>,
        parents: &[&str],
    ) -> Result<&mut Self, TopologyError>
    where
        KS: Serde<Target: Send> + Default,
        VS: Serde<Target: Send> + Default,
    {
        let options = SinkOptions {
            topic: topic.into(),
            key_serde: DynSerde::new(KS::default()),
            value_serde: DynSerde::new(VS::default()),
            partitioner: None,
        };
        self.add_sink_with(name, options, parents)
    }

    /// Adds a sink with all its options.
    ///
    /// # Errors
    /// As [`add_sink`](Topology::add_sink).
    pub fn add_sink_with<K, V>(
        &mut self,
        name: &str,
        options: SinkOptions<K, V>,
        parents: &[&str],
    ) -> Result<&mut Self, TopologyError>
    where
        K: Send + 'static,
        V: Send + 'static,
    {
        if parents.is_empty() {
            return Err(TopologyError::Invalid(format!("sink {name} has no parent: name at least one")));
        }
        let topic = match &options.topic {
            SinkTopic::Name(topic) => Ok(topic.clone()),
            SinkTopic::Extractor(_, text) => Err(text.clone()),
        };
        if let Ok(topic) = &topic {
            self.check_no_own_source(name, topic, parents)?;
        }
        let input = RecordType::of::<K, V>();
        self.add_node(name, NodeKind::Sink { topic }, parents, Some(input), None, wiring::sink(options))?;
        Ok(self)
    }

    /// Adds a store and connects it to `processors`.
    ///
    /// # Errors
    /// When a store of that name exists, or a processor does not.
    pub fn add_state_store(
        &mut self,
        builder: impl StoreBuilder + 'static,
        processors: &[&str],
    ) -> Result<&mut Self, TopologyError> {
        let name: Arc<str> = builder.name().into();
        if self.stores.contains_key(&name) {
            return Err(TopologyError::Duplicate { what: "state store", name: name.to_string() });
        }
        let entry = StoreEntry {
            spec: builder.spec(),
            builder: Arc::new(wiring::TypedStoreBuilder(builder)),
            users: Vec::new(),
            source_topic: None,
            global: None,
        };
        self.stores.insert(Arc::clone(&name), entry);
        self.store_order.push(Arc::clone(&name));
        for processor in processors {
            self.connect_processor_and_state_stores(processor, &[&name])?;
        }
        Ok(self)
    }

    /// Gives a processor access to stores.
    ///
    /// # Errors
    /// When one of them was not added.
    pub fn connect_processor_and_state_stores(
        &mut self,
        processor: &str,
        stores: &[&str],
    ) -> Result<&mut Self, TopologyError> {
        for &store in stores {
            let Some(node) = self.node_index(processor) else {
                return Err(unknown("processor", processor, store));
            };
            let Some((name, entry)) = self
                .stores
                .get_key_value(store)
                .map(|(name, _)| Arc::clone(name))
                .and_then(|name| self.stores.get_mut(&name).map(|entry| (name, entry)))
            else {
                return Err(unknown("state store", store, processor));
            };
            if !matches!(self.nodes[node].kind, NodeKind::Processor) {
                let text =
                    format!("{processor} is not a processor: state store {store} cannot be connected to it");
                return Err(TopologyError::Invalid(text));
            }
            if entry.global.is_some() {
                return Err(TopologyError::Invalid(format!(
                    "the global store {store} is read by every processor as it is: do not connect it to {processor}"
                )));
            }
            if !entry.users.contains(&node) {
                entry.users.push(node);
                self.nodes[node].stores.push(name);
            }
        }
        Ok(self)
    }

    /// Wraps the processors of all nodes that `wrapper` chooses, those of the DSL and of global stores included
    /// (KIP-1112; the job of `processor.wrapper.class`). The names are those of [`describe`](Self::describe).
    ///
    /// ```
    /// use kstreams_core::Topology;
    /// use kstreams_core::processor::{AroundProcessor, ProcessResult, ProcessorCall};
    ///
    /// /// Says how long each record took.
    /// struct Timed(String);
    /// impl AroundProcessor for Timed {
    ///     fn process(&mut self, call: &mut ProcessorCall<'_>) -> ProcessResult {
    ///         let start = std::time::Instant::now();
    ///         let result = call.proceed();
    ///         println!("{} took {:?}", self.0, start.elapsed());
    ///         result
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// topology.set_processor_wrapper(|node: &str| {
    ///     let timed: Box<dyn AroundProcessor> = Box::new(Timed(node.to_owned()));
    ///     node.starts_with("KSTREAM-MAP").then_some(timed)
    /// });
    /// ```
    pub fn set_processor_wrapper(&mut self, wrapper: impl ProcessorWrapper + 'static) -> &mut Self {
        self.wrapper = Some(Arc::new(wrapper));
        self
    }

    /// Declares a topic that only this application writes and reads: it gets the application's prefix, is created at
    /// start, and is purged of what was read. Sinks and sources name it without the prefix.
    pub fn add_repartition_topic(&mut self, name: &str, topic: RepartitionTopic) -> &mut Self {
        self.repartition_topics.insert(name.to_owned(), topic);
        self
    }

    /// Demands that these source topics have equally many partitions, because their records are joined by key.
    pub fn add_copartition_group(&mut self, topics: impl IntoIterator<Item = String>) -> &mut Self {
        self.copartition_groups.push(topics.into_iter().collect());
        self
    }

    /// Lets a store use the topic of its source as changelog instead of one of its own
    /// (`topology.optimization=reuse.ktable.source.topics`).
    ///
    /// # Errors
    /// When the store was not added.
    pub fn connect_source_store_and_topic(
        &mut self,
        store: &str,
        topic: &str,
    ) -> Result<&mut Self, TopologyError> {
        let entry = self.stores.get_mut(store).ok_or_else(|| unknown("state store", store, topic))?;
        entry.source_topic = Some(topic.to_owned());
        Ok(self)
    }

    pub(crate) fn node_index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.name == name)
    }

    /// The source that reads `topic` by name.
    pub(crate) fn source_of(&self, topic: &str) -> Option<usize> {
        self.nodes.iter().position(|node| match &node.kind {
            NodeKind::Source { topics: SourceTopics::Names(names), .. } => {
                names.iter().any(|name| name == topic)
            }
            _ => false,
        })
    }

    fn add_node(
        &mut self,
        name: &str,
        kind: NodeKind,
        parents: &[&str],
        input: Option<RecordType>,
        output: Option<RecordType>,
        wire: WireFn,
    ) -> Result<(), TopologyError> {
        if self.node_index(name).is_some() {
            return Err(TopologyError::Duplicate { what: "processor", name: name.to_owned() });
        }
        let mut indices = Vec::with_capacity(parents.len());
        for &parent in parents {
            let Some(index) = self.node_index(parent) else { return Err(unknown("parent", parent, name)) };
            check_types(&self.nodes[index], name, input)?;
            indices.push(index);
        }
        let index = self.nodes.len();
        for &parent in &indices {
            self.nodes[parent].children.push(index);
        }
        let (name, stores) = (name.into(), Vec::new());
        self.nodes.push(NodeSpec {
            name,
            kind,
            parents: indices,
            children: Vec::new(),
            stores,
            output,
            wire,
        });
        Ok(())
    }

    fn check_no_own_source(&self, sink: &str, topic: &str, parents: &[&str]) -> Result<(), TopologyError> {
        let own = self.source_of(topic).is_some_and(|source| parents.contains(&&*self.nodes[source].name));
        if own {
            return Err(TopologyError::SinkToOwnSource { sink: sink.to_owned(), topic: topic.to_owned() });
        }
        Ok(())
    }
}

fn unknown(what: &'static str, name: &str, by: &str) -> TopologyError {
    TopologyError::Unknown { what, name: name.to_owned(), by: by.to_owned() }
}

fn check_types(parent: &NodeSpec, child: &str, takes: Option<RecordType>) -> Result<(), TopologyError> {
    match (parent.output, takes) {
        (Some(gives), Some(takes)) if gives.id == takes.id => Ok(()),
        (Some(gives), Some(takes)) => Err(TopologyError::TypeMismatch {
            parent: parent.name.to_string(),
            gives: gives.name,
            child: child.to_owned(),
            takes: takes.name,
        }),
        _ => Err(TopologyError::Invalid(format!("{} is a sink: {child} cannot be below it", parent.name))),
    }
}

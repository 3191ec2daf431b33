//! The logical graph: what the user's calls said, before it becomes a topology (`StreamsGraphNode` of the JVM).
//!
//! A node knows its parents, how it is written into a [`Topology`], and what later rewrites need to know: whether it
//! changes keys or values. Nodes are written in the order of their priority, which is the order in which they were
//! added, each as soon as all its parents are written; so the order of a topology's nodes, and with it the numbers of
//! the sub-topologies, are the JVM's. Rewrites (merged sources, later the topology optimisations) change a copy.

mod merge_repartitions;
mod naming;
mod repartition;
mod self_join;
mod sources;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kstreams_core::config::DslStore;
use kstreams_core::topology::{SourceTopics, TopologySettings};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::StoreType;

pub(crate) use repartition::{RepartitionNode, RepartitionWriter};

use crate::names::Names;

/// A node of the graph.
pub(crate) type NodeId = usize;

/// What a node is told when it is written.
pub(crate) struct Writing<'a> {
    /// Names of the parents' topology nodes.
    pub(crate) parents: &'a [&'a str],
    /// A left join below takes records with null keys: the repartition node must let them pass (KIP-962).
    pub(crate) keep_null_keys: bool,
    /// Both sides of this join of streams are one stream, whose records are kept once.
    pub(crate) is_self_join: bool,
    /// Of each parent, whether its updates are those of a versioned table, so that there are late ones (KIP-914).
    pub(crate) versioned: &'a [bool],
    /// The application's settings.
    pub(crate) settings: &'a TopologySettings,
}

impl Writing<'_> {
    /// Where a store is kept of which nothing is said.
    pub(crate) fn store_type(&self) -> StoreType {
        match self.settings.dsl_store {
            DslStore::InMemory => StoreType::InMemory,
            _ => StoreType::RocksDb,
        }
    }

    /// Whether the updates that come in are those of a versioned table.
    pub(crate) fn is_versioned(&self) -> bool {
        self.versioned.iter().any(|versioned| *versioned)
    }
}

/// Writes one graph node as nodes of a topology.
pub(crate) type Writer = Arc<dyn Fn(&mut Topology, &Writing<'_>) -> Result<(), TopologyError> + Send + Sync>;

/// What a node is, as far as rewrites treat it differently.
#[derive(Clone)]
pub(crate) enum NodeKind {
    /// Reads topics as a stream.
    Source(SourceTopics, Writer),
    /// Goes through an internal topic.
    Repartition(RepartitionNode),
    /// Anything else.
    Operator(Writer),
}

/// A node with its place in the graph.
#[derive(Clone)]
pub(crate) struct GraphNode {
    /// The name of the topology node that its children connect to.
    pub(crate) name: String,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) kind: NodeKind,
    /// The key is another one after this node.
    pub(crate) key_changing: bool,
    /// The value is another one after this node, the key the same.
    pub(crate) value_changing: bool,
    /// Several streams meet here.
    pub(crate) merge: bool,
    /// A left join, for which a null key is no obstacle.
    pub(crate) takes_null_keys: bool,
    /// Of a join of streams: the node that keeps the records of the other side.
    other_window: Option<NodeId>,
    is_self_join: bool,
    /// A rewrite made the node needless.
    dropped: bool,
    /// How long after its end a window of this aggregation can change, in ms of stream time.
    pub(crate) grace_ms: Option<i64>,
    /// Whether the updates that go out are those of a versioned table; `None`: if all that come in are.
    versioned: Option<bool>,
    /// Takes no updates of a versioned table.
    refuses_versions: bool,
    /// A table whose earlier values are looked up: it has to be versioned.
    looks_up_versions: Option<NodeId>,
    priority: u32,
}

impl GraphNode {
    pub(crate) fn new(name: impl Into<String>, parents: impl Into<Vec<NodeId>>, kind: NodeKind) -> Self {
        GraphNode {
            name: name.into(),
            parents: parents.into(),
            kind,
            key_changing: false,
            value_changing: false,
            merge: false,
            takes_null_keys: false,
            other_window: None,
            is_self_join: false,
            dropped: false,
            grace_ms: None,
            versioned: None,
            refuses_versions: false,
            looks_up_versions: None,
            priority: 0,
        }
    }

    /// A node that is written by `writer`.
    pub(crate) fn operator(
        name: impl Into<String>,
        parents: impl Into<Vec<NodeId>>,
        writer: impl Fn(&mut Topology, &Writing<'_>) -> Result<(), TopologyError> + Send + Sync + 'static,
    ) -> Self {
        GraphNode::new(name, parents, NodeKind::Operator(Arc::new(writer)))
    }

    pub(crate) fn changes_key(mut self) -> Self {
        self.key_changing = true;
        self
    }

    pub(crate) fn changes_value(mut self) -> Self {
        self.value_changing = true;
        self
    }

    pub(crate) fn merges(mut self) -> Self {
        self.merge = true;
        self
    }

    /// A join of streams; `other_window` keeps the records of its second parent.
    pub(crate) fn joins_streams(mut self, other_window: NodeId) -> Self {
        self.other_window = Some(other_window);
        self
    }

    pub(crate) fn with_grace(mut self, grace_ms: Option<i64>) -> Self {
        self.grace_ms = grace_ms;
        self
    }

    /// A table of its own, whose updates are those of a versioned one or not.
    pub(crate) fn versioned(mut self, versioned: bool) -> Self {
        self.versioned = Some(versioned);
        self
    }

    /// suppress: an update that is not the latest would take a newer one's place.
    pub(crate) fn refuses_versions(mut self) -> Self {
        self.refuses_versions = true;
        self
    }

    /// A stream-table join with grace, of this table.
    pub(crate) fn looks_up_versions(mut self, table: Option<NodeId>) -> Self {
        self.looks_up_versions = table;
        self
    }

    pub(crate) fn takes_null_keys(mut self, takes: bool) -> Self {
        self.takes_null_keys = takes;
        self
    }
}

/// The graph of one builder.
#[derive(Default, Clone)]
pub(crate) struct Graph {
    pub(crate) names: Names,
    nodes: Vec<GraphNode>,
    priorities: u32,
    /// Topics of the source nodes of the topology, by name.
    source_topics: BTreeMap<String, Vec<String>>,
    /// Groups of source nodes, by name, whose topics must have equally many partitions.
    copartitioned: Vec<BTreeSet<String>>,
    /// What was wrong with the user's calls; `build` tells the first.
    errors: Vec<TopologyError>,
}

impl Graph {
    pub(crate) fn add(&mut self, node: GraphNode) -> NodeId {
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.add_again(id);
        id
    }

    /// Gives a node that is used again the priority of a new one, as the JVM does.
    pub(crate) fn add_again(&mut self, id: NodeId) {
        self.nodes[id].priority = self.priorities;
        self.priorities += 1;
    }

    /// Notes which topics a source of the topology reads; a pattern's are not known here.
    pub(crate) fn source_reads(&mut self, source: &str, topics: impl IntoIterator<Item = String>) {
        self.source_topics.insert(source.to_owned(), topics.into_iter().collect());
    }

    pub(crate) fn copartition(&mut self, sources: BTreeSet<String>) {
        self.copartitioned.push(sources);
    }

    pub(crate) fn fail(&mut self, error: TopologyError) {
        self.errors.push(error);
    }

    /// How long after its end a window of the table at `id` can change, in ms of stream time: the greatest grace of the
    /// windowed aggregations that it is made of. `None`: some part of it is not windowed
    /// (`GraphGraceSearchUtil.findAndVerifyWindowGrace`).
    pub(crate) fn window_grace_ms(&self, id: NodeId) -> Option<i64> {
        let node = &self.nodes[id];
        if node.grace_ms.is_some() {
            return node.grace_ms;
        }
        let graces: Option<Vec<i64>> =
            node.parents.iter().map(|&parent| self.window_grace_ms(parent)).collect();
        graces?.into_iter().max()
    }

    /// Writes the graph as a topology.
    pub(crate) fn to_topology(&self, settings: &TopologySettings) -> Result<Topology, TopologyError> {
        if let Some(error) = self.errors.first() {
            return Err(error.clone());
        }
        let mut graph = self.clone();
        graph.merge_duplicate_sources()?;
        if settings.optimization.merge_repartition_topics {
            graph.merge_repartitions()?;
        }
        if settings.optimization.single_store_self_join {
            graph.single_store_self_joins();
        }
        let mut topology = Topology::new();
        topology.built_with(*settings);
        graph.write(&mut topology, settings)?;
        for group in graph.copartition_groups() {
            topology.add_copartition_group(group);
        }
        if settings.explicit_naming {
            naming::check(&topology, &graph.names)?;
        }
        Ok(topology)
    }

    fn write(&self, topology: &mut Topology, settings: &TopologySettings) -> Result<(), TopologyError> {
        let children = self.children();
        let mut written = vec![false; self.nodes.len()];
        let mut queue: BinaryHeap<_> = (0..self.nodes.len())
            .filter(|&id| self.nodes[id].parents.is_empty() && !self.nodes[id].dropped)
            .map(|id| Reverse((self.nodes[id].priority, id)))
            .collect();
        while let Some(Reverse((_, id))) = queue.pop() {
            let node = &self.nodes[id];
            if written[id] || node.dropped || !node.parents.iter().all(|&parent| written[parent]) {
                continue;
            }
            let parents: Vec<&str> = node.parents.iter().map(|&parent| &*self.nodes[parent].name).collect();
            let versioned: Vec<bool> = node.parents.iter().map(|&parent| self.is_versioned(parent)).collect();
            let keep_null_keys = self.keeps_null_keys(id, &children);
            let writing = Writing {
                parents: &parents,
                keep_null_keys,
                is_self_join: node.is_self_join,
                versioned: &versioned,
                settings,
            };
            if node.refuses_versions && writing.is_versioned() {
                return Err(TopologyError::Invalid(format!(
                    "{} suppresses the updates of a versioned table, which is not possible: materialize the table without \
                     versions, or a table between the two",
                    node.name
                )));
            }
            if node.looks_up_versions.is_some_and(|table| !self.is_versioned(table)) {
                return Err(TopologyError::Invalid(format!(
                    "{} joins a table with grace, for which the table has to be versioned: materialize it by \
                     Materialized::named(..).versioned(..), or join without grace",
                    node.name
                )));
            }
            match &node.kind {
                NodeKind::Source(_, write) | NodeKind::Operator(write) => write(topology, &writing)?,
                NodeKind::Repartition(repartition) => repartition.write(topology, &writing)?,
            }
            written[id] = true;
            queue.extend(children[id].iter().map(|&child| Reverse((self.nodes[child].priority, child))));
        }
        Ok(())
    }

    fn children(&self) -> Vec<Vec<NodeId>> {
        let mut children = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &parent in &node.parents {
                children[parent].push(id);
            }
        }
        children
    }

    /// Whether the updates that go out of a node are those of a versioned table.
    fn is_versioned(&self, id: NodeId) -> bool {
        let node = &self.nodes[id];
        let inherits = || !node.parents.is_empty() && node.parents.iter().all(|&id| self.is_versioned(id));
        node.versioned.unwrap_or_else(inherits)
    }

    /// Whether a left join lies anywhere below a repartition node.
    fn keeps_null_keys(&self, id: NodeId, children: &[Vec<NodeId>]) -> bool {
        matches!(self.nodes[id].kind, NodeKind::Repartition(_)) && {
            let mut below = children[id].clone();
            let mut seen = BTreeSet::new();
            while let Some(next) = below.pop() {
                if self.nodes[next].takes_null_keys {
                    return true;
                }
                if seen.insert(next) {
                    below.extend(&children[next]);
                }
            }
            false
        }
    }

    /// Overlapping groups united, as topics.
    fn copartition_groups(&self) -> Vec<BTreeSet<String>> {
        let mut groups: Vec<BTreeSet<String>> = Vec::new();
        for sources in &self.copartitioned {
            let mut topics: BTreeSet<String> = sources
                .iter()
                .filter_map(|source| self.source_topics.get(source))
                .flatten()
                .cloned()
                .collect();
            groups.retain(|group| {
                let overlaps = !group.is_disjoint(&topics);
                if overlaps {
                    topics.extend(group.iter().cloned());
                }
                !overlaps
            });
            groups.push(topics);
        }
        groups.retain(|group| group.len() > 1);
        groups
    }
}

/// The builder's graph, shared by all its handles.
#[derive(Clone, Default)]
pub(crate) struct SharedGraph(Arc<Mutex<Graph>>);

impl SharedGraph {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Graph> {
        // A panic in between leaves the graph as it is: each call adds whole nodes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both are the graph of the same builder.
    pub(crate) fn is(&self, other: &SharedGraph) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

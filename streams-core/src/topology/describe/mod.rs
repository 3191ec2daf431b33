//! `describe()`: a topology as text, letter by letter as Kafka Streams on the JVM prints it (`TopologyDescription`), so
//! that tools which read or draw that text work, and so that an application moved over can be compared with its old self.
//!
//! Nodes stand in the order of their size (the number of paths downward), then of their names. The arrows between nodes
//! do not: the JVM sorts them while the sizes still grow, in the order of a hash map ([`java_order`]).

mod java_order;

use std::cmp::Reverse;
use std::fmt;

use super::{NodeKind, SourceTopics, SubTopology, Topology};
use java_order::{NodeTree, hash_map_order};

/// A topology's structure; printed, it is the JVM's text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopologyDescription {
    /// The sub-topologies by their numbers.
    pub sub_topologies: Vec<SubTopologyDescription>,
}

/// A part of a [`TopologyDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubTopologyDescription {
    /// Its number.
    pub id: u32,
    /// It keeps a global store up to date and has no tasks.
    pub global: bool,
    /// Its nodes in the order in which they are printed.
    pub nodes: Vec<NodeDescription>,
}

/// A node of a [`SubTopologyDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeDescription {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeDescriptionKind,
    /// The nodes below it.
    pub successors: Vec<String>,
    /// The nodes above it.
    pub predecessors: Vec<String>,
}

/// What a described node is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeDescriptionKind {
    /// Reads these topics, in the order in which the JVM prints them.
    Source(Vec<String>),
    /// Reads the topics that match this pattern.
    PatternSource(String),
    /// Has access to these stores, in the order in which the JVM prints them.
    Processor(Vec<String>),
    /// Writes to this topic.
    Sink(String),
    /// Writes to topics that a function chooses; its text.
    DynamicSink(String),
}

impl Topology {
    /// Describes the topology. Internal topics have no prefix here, because the application's id is not known yet.
    pub fn describe(&self) -> TopologyDescription {
        let parts = self.sub_topologies().into_iter();
        TopologyDescription { sub_topologies: parts.map(|part| self.describe_part(&part)).collect() }
    }

    fn describe_part(&self, part: &SubTopology) -> SubTopologyDescription {
        let names: Vec<&str> = part.nodes.iter().map(|&node| &*self.nodes[node].name).collect();
        // The JVM fills a set of names, then a map from the set: the order of the second decides.
        let order = hash_map_order(&names);
        let order = hash_map_order(&order.iter().map(|&at| names[at]).collect::<Vec<_>>())
            .into_iter()
            .map(|at| order[at])
            .collect::<Vec<_>>();
        let parents: Vec<Vec<usize>> = part
            .nodes
            .iter()
            .map(|&node| {
                let position = |parent: &usize| part.nodes.iter().position(|known| known == parent);
                self.nodes[node].parents.iter().filter_map(position).collect()
            })
            .collect();
        let arrows = Arrows::connect(&names, &parents, &order);
        let mut printed: Vec<usize> = (0..names.len()).collect();
        printed.sort_by_key(|&at| (Reverse(arrows.sizes[at]), names[at]));
        let named = |tree: &NodeTree| tree.in_order().map(|at| names[at].to_owned()).collect();
        let nodes = printed.into_iter().map(|at| NodeDescription {
            name: names[at].to_owned(),
            kind: self.describe_node(part.nodes[at]),
            successors: named(&arrows.successors[at]),
            predecessors: named(&arrows.predecessors[at]),
        });
        SubTopologyDescription { id: part.id, global: part.global, nodes: nodes.collect() }
    }

    fn describe_node(&self, node: usize) -> NodeDescriptionKind {
        let node = &self.nodes[node];
        match &node.kind {
            NodeKind::Source { topics: SourceTopics::Names(topics), .. } => {
                NodeDescriptionKind::Source(in_set_order(topics))
            }
            NodeKind::Source { topics: SourceTopics::Pattern(pattern), .. } => {
                NodeDescriptionKind::PatternSource(pattern.as_str().to_owned())
            }
            NodeKind::Processor => NodeDescriptionKind::Processor(in_set_order(&node.stores)),
            NodeKind::Sink { topic: Ok(topic) } => NodeDescriptionKind::Sink(topic.clone()),
            NodeKind::Sink { topic: Err(text) } => NodeDescriptionKind::DynamicSink(text.clone()),
        }
    }
}

/// The JVM keeps these in a `HashSet` and prints them as that iterates.
fn in_set_order(texts: &[impl AsRef<str>]) -> Vec<String> {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    hash_map_order(&texts).into_iter().map(|at| texts[at].to_owned()).collect()
}

/// The arrows of one sub-topology, as the JVM sorts them.
struct Arrows {
    /// Per node: the number of paths downward, the empty one included.
    sizes: Vec<u64>,
    successors: Vec<NodeTree>,
    predecessors: Vec<NodeTree>,
}

impl Arrows {
    /// Connects each node with its parents, in the given order of the nodes (`InternalTopologyBuilder.describe`).
    fn connect(names: &[&str], parents: &[Vec<usize>], order: &[usize]) -> Self {
        let trees = || names.iter().map(|_| NodeTree::default()).collect();
        let mut arrows = Arrows { sizes: vec![1; names.len()], successors: trees(), predecessors: trees() };
        for &node in order {
            for &parent in &parents[node] {
                let sizes = &arrows.sizes;
                let before =
                    |a: usize, b: usize| (Reverse(sizes[a]), names[a]) < (Reverse(sizes[b]), names[b]);
                arrows.predecessors[node].insert(parent, before);
                arrows.successors[parent].insert(node, before);
                arrows.grow(parent, arrows.sizes[node]);
            }
        }
        arrows
    }

    /// Adds to the size of a node and of all above it, once per path.
    fn grow(&mut self, node: usize, by: u64) {
        self.sizes[node] = self.sizes[node].saturating_add(by);
        let above: Vec<usize> = self.predecessors[node].in_order().collect();
        for parent in above {
            self.grow(parent, by);
        }
    }
}

impl fmt::Display for TopologyDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topologies:\n ")?;
        self.sub_topologies.iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for SubTopologyDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let global = if self.global { " for global store (will not generate tasks)" } else { "" };
        writeln!(f, "  Sub-topology: {}{global}", self.id)?;
        for node in &self.nodes {
            writeln!(f, "    {node}")?;
        }
        if self.global { Ok(()) } else { f.write_str("\n") }
    }
}

impl fmt::Display for NodeDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let (above, below) = (list(&self.predecessors), list(&self.successors));
        match &self.kind {
            NodeDescriptionKind::Source(topics) => {
                write!(f, "Source: {name} (topics: [{}])\n      --> {below}", topics.join(", "))
            }
            NodeDescriptionKind::PatternSource(pattern) => {
                write!(f, "Source: {name} (topics: {pattern})\n      --> {below}")
            }
            NodeDescriptionKind::Processor(stores) => {
                let stores = stores.join(", ");
                write!(f, "Processor: {name} (stores: [{stores}])\n      --> {below}\n      <-- {above}")
            }
            NodeDescriptionKind::Sink(topic) => {
                write!(f, "Sink: {name} (topic: {topic})\n      <-- {above}")
            }
            NodeDescriptionKind::DynamicSink(extractor) => {
                write!(f, "Sink: {name} (extractor class: {extractor})\n      <-- {above}")
            }
        }
    }
}

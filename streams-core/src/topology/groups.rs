//! Sub-topologies: the connected parts of a topology, each of which becomes one task per partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kstreams_state_stores::StoreSpec;
use regex::Regex;

use super::{AutoOffsetReset, NodeKind, RepartitionTopic, SourceTopics, Topology};

/// A source as the runtime sees it.
#[derive(Debug, Clone)]
pub struct SourceInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// What it reads.
    pub topics: SourceTopics,
    /// Where it starts when nothing is committed; `None`: as the application's default says.
    pub offset_reset: Option<AutoOffsetReset>,
}

/// A store as the runtime sees it.
#[derive(Debug, Clone)]
pub struct StoreInfo {
    /// Its description.
    pub spec: StoreSpec,
    /// The source topic that serves as its changelog; else it has one of its own where it is logged.
    pub source_topic: Option<String>,
}

/// A connected part of the topology (`InternalTopologyBuilder.nodeGroups`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubTopology {
    /// Its number, in the order in which the first node of each part was added.
    pub id: u32,
    /// Indices of its nodes, ascending.
    pub(crate) nodes: Vec<usize>,
    /// It only keeps a global store up to date; it has a number but no tasks.
    pub global: bool,
}

impl Topology {
    /// The connected parts over edges and shared stores (never over topics), numbered by their first node. A global
    /// store does not connect its readers: every task reads it.
    pub fn sub_topologies(&self) -> Vec<SubTopology> {
        let mut group: Vec<usize> = (0..self.nodes.len()).collect();
        fn root(group: &[usize], mut node: usize) -> usize {
            while group[node] != node {
                node = group[node];
            }
            node
        }
        // The smaller index wins, so that a root is always the first node of its group.
        let mut unite = |a: usize, b: usize| {
            let (a, b) = (root(&group, a), root(&group, b));
            group[a.max(b)] = a.min(b);
        };
        for (index, node) in self.nodes.iter().enumerate() {
            for &parent in &node.parents {
                unite(index, parent);
            }
        }
        for store in self.stores.values().filter(|store| store.global.is_none()) {
            for pair in store.users.windows(2) {
                unite(pair[0], pair[1]);
            }
        }
        let mut parts: Vec<SubTopology> = Vec::new();
        let mut roots: Vec<usize> = Vec::new();
        for node in 0..self.nodes.len() {
            let root = root(&group, node);
            let part = roots.iter().position(|&known| known == root).unwrap_or_else(|| {
                roots.push(root);
                let id = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                parts.push(SubTopology { id, nodes: Vec::new(), global: false });
                parts.len() - 1
            });
            parts[part].nodes.push(node);
            parts[part].global |= self.global_nodes.contains(&node);
        }
        parts
    }

    /// The topics that a part reads by name, internal ones without prefix, in the order of the nodes.
    pub fn source_topics(&self, part: &SubTopology) -> Vec<String> {
        let mut topics = Vec::new();
        for &node in &part.nodes {
            if let NodeKind::Source { topics: SourceTopics::Names(names), .. } = &self.nodes[node].kind {
                topics.extend(names.iter().cloned());
            }
        }
        topics
    }

    /// What each source of a part reads, in the order of the nodes; internal topics without prefix.
    pub fn sources(&self, part: &SubTopology) -> Vec<SourceInfo> {
        let sources = part.nodes.iter().filter_map(|&node| match &self.nodes[node].kind {
            NodeKind::Source { topics, offset_reset } => Some(SourceInfo {
                name: Arc::clone(&self.nodes[node].name),
                topics: topics.clone(),
                offset_reset: *offset_reset,
            }),
            _ => None,
        });
        sources.collect()
    }

    /// The stores that a part's nodes use, in the order in which they were added.
    pub fn stores(&self, part: &SubTopology) -> Vec<StoreInfo> {
        let used = self.store_order.iter().map(|name| &self.stores[name]);
        let used = used.filter(|store| store.users.iter().any(|user| part.nodes.contains(user)));
        used.map(|store| StoreInfo { spec: store.spec.clone(), source_topic: store.source_topic.clone() })
            .collect()
    }

    /// The description of a store that was added.
    pub fn store_spec(&self, name: &str) -> Option<&StoreSpec> {
        self.stores.get(name).map(|store| &store.spec)
    }

    /// The topics that only this application writes and reads, without prefix.
    pub fn repartition_topics(&self) -> &BTreeMap<String, RepartitionTopic> {
        &self.repartition_topics
    }

    /// Groups of source topics (internal ones without prefix) whose partition counts must agree.
    pub fn copartition_groups(&self) -> &[BTreeSet<String>] {
        &self.copartition_groups
    }

    /// The full names of all topics that sources of tasks read by name.
    pub fn all_source_topics(&self, application_id: &str) -> Vec<String> {
        let parts = self.sub_topologies();
        let topics = parts.iter().filter(|part| !part.global).flat_map(|part| self.source_topics(part));
        topics.map(|topic| self.decorate(application_id, &topic)).collect()
    }

    /// Whether a source's pattern matches this topic.
    pub fn reads(&self, topic: &str) -> bool {
        self.nodes.iter().any(|node| match &node.kind {
            NodeKind::Source { topics: SourceTopics::Pattern(pattern), .. } => matches_whole(pattern, topic),
            _ => false,
        })
    }

    /// The topics that a part writes to by name, internal ones without prefix, in the order of the nodes.
    pub fn sink_topics(&self, part: &SubTopology) -> Vec<String> {
        let sinks = part.nodes.iter().filter_map(|&node| match &self.nodes[node].kind {
            NodeKind::Sink { topic: Ok(topic) } => Some(topic.clone()),
            _ => None,
        });
        sinks.collect()
    }

    /// The name under which the application's topic exists: internal ones carry its id as prefix.
    pub fn decorate(&self, application_id: &str, topic: &str) -> String {
        if self.repartition_topics.contains_key(topic) {
            format!("{application_id}-{topic}")
        } else {
            topic.to_owned()
        }
    }
}

/// Java's `matches()`: the pattern has to take all of the topic's name.
pub(crate) fn matches_whole(pattern: &Regex, topic: &str) -> bool {
    pattern.find_iter(topic).any(|found| found.len() == topic.len())
}

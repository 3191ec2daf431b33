//! The input topics of each sub-topology: names from the topology, partition counts from the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;

use super::assignment::{FoundInputs, PartitionCounts, SharedOut};
use super::error::RuntimeError;
use crate::topology::{AutoOffsetReset, NodeKind, SourceTopics, SubTopology, Topology};

/// The cluster's topics with their partition counts.
pub(crate) type ClusterTopics = BTreeMap<String, i32>;

/// The inputs of every sub-topology that has tasks, as the cluster has them now.
///
/// # Errors
/// When a topic that is named doesn't exist.
pub(crate) fn counts(
    topology: &Topology,
    application_id: &str,
    cluster: &ClusterTopics,
) -> Result<Vec<FoundInputs>, RuntimeError> {
    let mut missing = named_topics(topology, application_id);
    missing.retain(|topic| !cluster.contains_key(topic));
    match missing.pop_first() {
        Some(topic) => Err(RuntimeError::UnknownSourceTopic { topic }),
        None => Ok(counts_known(topology, application_id, cluster)),
    }
}

/// The same, without the topics that don't exist yet.
pub(crate) fn counts_known(
    topology: &Topology,
    application_id: &str,
    cluster: &ClusterTopics,
) -> Vec<FoundInputs> {
    let named = named_topics(topology, application_id);
    let mut all = Vec::new();
    for part in topology.sub_topologies().into_iter().filter(|part| !part.global) {
        let mut topics = PartitionCounts::new();
        for &node in &part.nodes {
            let NodeKind::Source { topics: source, .. } = &topology.nodes[node].kind else { continue };
            match source {
                SourceTopics::Names(names) => {
                    for name in names {
                        let topic = topology.decorate(application_id, name);
                        if let Some(count) = cluster.get(&topic) {
                            topics.insert(Arc::from(topic), *count);
                        }
                    }
                }
                SourceTopics::Pattern(pattern) => {
                    let matching = cluster.iter().filter(|(topic, _)| matches(pattern, topic, &named));
                    topics.extend(matching.map(|(topic, count)| (Arc::from(topic.as_str()), *count)));
                }
            }
        }
        let shared_out = tasks_topic(topology, application_id, &part).map_or(SharedOut::Largest, |topic| {
            let count = cluster.get(&topic).copied();
            SharedOut::By(topic.into(), count)
        });
        all.push(FoundInputs { sub_topology: part.id, topics, shared_out });
    }
    all
}

/// The internal topic that stands for the tasks of a sub-topology that reads by pattern. It has the name of a repartition
/// topic, so that Kafka's reset tool deletes it with the others.
pub(crate) fn tasks_topic(topology: &Topology, application_id: &str, part: &SubTopology) -> Option<String> {
    let by_pattern = part.nodes.iter().find(|&&node| {
        matches!(&topology.nodes[node].kind, NodeKind::Source { topics: SourceTopics::Pattern(_), .. })
    })?;
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let node: String = topology.nodes[*by_pattern].name.chars().map(legal).collect();
    Some(format!("{application_id}-{node}-tasks-repartition"))
}

/// The topics that each sub-topology reads by pattern.
pub(crate) fn matched_topics(
    topology: &Topology,
    application_id: &str,
    cluster: &ClusterTopics,
) -> BTreeMap<u32, Vec<String>> {
    let named = named_topics(topology, application_id);
    let mut matched: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for part in topology.sub_topologies().into_iter().filter(|part| !part.global) {
        for &node in &part.nodes {
            if let NodeKind::Source { topics: SourceTopics::Pattern(pattern), .. } =
                &topology.nodes[node].kind
            {
                let topics = cluster.keys().filter(|topic| matches(pattern, topic, &named)).cloned();
                matched.entry(part.id).or_default().extend(topics);
            }
        }
    }
    matched
}

/// Whether a source reads a topic by its pattern: internal ones are left out (the consumer's `exclude.internal.topics`),
/// and those that some source reads by name.
fn matches(pattern: &Regex, topic: &str, named: &BTreeSet<String>) -> bool {
    !topic.starts_with("__")
        && !named.contains(topic)
        && pattern.find(topic).is_some_and(|found| found.len() == topic.len())
}

/// The source topics that the user has to create: named ones that aren't internal.
pub(crate) fn external_topics(topology: &Topology) -> BTreeSet<String> {
    let named = topology.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { topics: SourceTopics::Names(names), .. } => Some(names),
        _ => None,
    });
    named.flatten().filter(|name| !topology.repartition_topics.contains_key(*name)).cloned().collect()
}

/// Whether some source reads by pattern, so that every topic's metadata matters.
pub(crate) fn has_patterns(topology: &Topology) -> bool {
    topology
        .nodes
        .iter()
        .any(|node| matches!(&node.kind, NodeKind::Source { topics: SourceTopics::Pattern(_), .. }))
}

/// The reset policy of the source that reads a topic; `None`: the application's.
pub(crate) fn offset_reset(
    topology: &Topology,
    application_id: &str,
    topic: &str,
) -> Option<AutoOffsetReset> {
    let mut by_pattern = None;
    for node in &topology.nodes {
        let NodeKind::Source { topics, offset_reset } = &node.kind else { continue };
        match topics {
            SourceTopics::Names(names) => {
                if names.iter().any(|name| topology.decorate(application_id, name) == topic) {
                    // A repartition topic is read from its start whatever the application's policy is.
                    let internal = names.iter().any(|name| topology.repartition_topics.contains_key(name));
                    return if internal { Some(AutoOffsetReset::Earliest) } else { *offset_reset };
                }
            }
            SourceTopics::Pattern(pattern)
                if pattern.find(topic).is_some_and(|found| found.len() == topic.len()) =>
            {
                by_pattern = *offset_reset;
            }
            SourceTopics::Pattern(_) => {}
        }
    }
    by_pattern
}

/// The topics that sources read by name, with full names.
pub(crate) fn named_topics(topology: &Topology, application_id: &str) -> BTreeSet<String> {
    let named = topology.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { topics: SourceTopics::Names(names), .. } => Some(names),
        _ => None,
    });
    named.flatten().map(|name| topology.decorate(application_id, name)).collect()
}

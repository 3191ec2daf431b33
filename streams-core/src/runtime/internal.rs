//! Internal topics: which ones the topology needs, with how many partitions; made or checked before the group is joined.

use std::collections::{BTreeMap, BTreeSet};

use super::instance::Instance;
use super::sources::{self, ClusterTopics};
use crate::error::StreamsError;
use crate::internal_topics::{
    InternalTopicConfig, SubTopologyTopics, TopicManager, repartition_partition_counts,
};
use crate::topology::Topology;

/// Makes the internal topics that are missing and checks those that exist.
///
/// # Errors
/// When source topics are missing or don't fit each other, an internal topic has another partition count or cleanup
/// policy than it needs, or can't be made.
pub(crate) fn ensure(
    instance: &Instance,
    manager: &TopicManager,
    cluster: &ClusterTopics,
) -> Result<(), StreamsError> {
    let tasks_topics = ensure_tasks_topics(instance, manager, cluster)?;
    let needed = needed(instance, cluster, &tasks_topics)?;
    let made = manager.ensure(&needed, &instance.settings.config)?;
    if !made.is_empty() {
        tracing::info!(topics = made.join(", "), "made internal topics");
    }
    let mut known = instance.internal_topics.lock();
    known.extend(tasks_topics.into_values().map(|(topic, _)| (topic, false)));
    for topic in needed {
        let new = made.contains(&topic.name);
        *known.entry(topic.name).or_default() |= new;
    }
    Ok(())
}

/// By sub-topology: the topic that stands for its tasks, and how many these are.
type TasksTopics = BTreeMap<u32, (String, i32)>;

/// Makes the topics that stand for the tasks of sub-topologies that read by pattern: whoever is first says how many tasks
/// there are, and the others follow.
fn ensure_tasks_topics(
    instance: &Instance,
    manager: &TopicManager,
    cluster: &ClusterTopics,
) -> Result<TasksTopics, StreamsError> {
    let (topology, application_id) = (&instance.topology, &*instance.settings.application_id);
    let mut made = TasksTopics::new();
    for found in sources::counts_known(topology, application_id, cluster) {
        let Some(topic) = found.tasks_topic() else { continue };
        let Some(largest) = found.topics.values().max() else { continue };
        let tasks = manager.ensure_at_least(topic, *largest, &instance.settings.config)?;
        made.insert(found.sub_topology, (topic.to_owned(), tasks));
    }
    Ok(made)
}

/// The internal topics that the topology needs, as the cluster's topics are now.
fn needed(
    instance: &Instance,
    cluster: &ClusterTopics,
    tasks_topics: &TasksTopics,
) -> Result<Vec<InternalTopicConfig>, StreamsError> {
    let (topology, application_id) = (&instance.topology, &*instance.settings.application_id);
    let parts: Vec<_> = topology.sub_topologies().into_iter().filter(|part| !part.global).collect();
    let full =
        |topics: Vec<String>| topics.iter().map(|topic| topology.decorate(application_id, topic)).collect();
    let matched = sources::matched_topics(topology, application_id, cluster);
    let sub_topologies: Vec<SubTopologyTopics> = parts
        .iter()
        .map(|part| {
            let mut source_topics: Vec<String> = full(topology.source_topics(part));
            source_topics.extend(matched.get(&part.id).into_iter().flatten().cloned());
            SubTopologyTopics { source_topics, sink_topics: full(topology.sink_topics(part)) }
        })
        .collect();
    let counts = repartition_counts(topology, application_id, &sub_topologies, cluster)?;
    let mut needed: Vec<InternalTopicConfig> =
        counts.iter().map(|(topic, count)| InternalTopicConfig::repartition(topic, *count)).collect();
    for (part, topics) in parts.iter().zip(&sub_topologies) {
        let count = |topic: &String| counts.get(topic).or_else(|| cluster.get(topic)).copied();
        let largest = topics.source_topics.iter().filter_map(count).max().unwrap_or(0);
        let tasks = tasks_topics.get(&part.id).map_or(largest, |(_, tasks)| *tasks);
        let stores = topology.stores.values().filter(|store| {
            store.source_topic.is_none() && store.users.iter().any(|user| part.nodes.contains(user))
        });
        // A pattern that matches nothing yet has no tasks, and its stores no changelogs, until it does.
        needed.extend(
            stores
                .filter(|_| tasks > 0)
                .filter_map(|store| InternalTopicConfig::changelog(application_id, &store.spec, tasks)),
        );
    }
    Ok(needed)
}

fn repartition_counts(
    topology: &Topology,
    application_id: &str,
    sub_topologies: &[SubTopologyTopics],
    cluster: &ClusterTopics,
) -> Result<BTreeMap<String, i32>, StreamsError> {
    let repartition: BTreeMap<String, Option<i32>> = topology
        .repartition_topics
        .iter()
        .map(|(topic, spec)| (topology.decorate(application_id, topic), spec.partitions))
        .collect();
    let groups: Vec<BTreeSet<String>> = topology
        .copartition_groups
        .iter()
        .map(|group| group.iter().map(|topic| topology.decorate(application_id, topic)).collect())
        .collect();
    Ok(repartition_partition_counts(sub_topologies, &repartition, &groups, cluster)?)
}

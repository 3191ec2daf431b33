//! Which partitions make which task, and which topics the group shares out.
//!
//! The group assigns partitions of one *representative* topic per sub-topology: the one with most partitions, of equal
//! ones the first by name. Its partition p stands for task p; the other input partitions of the task are added by the
//! member that gets it. So co-partitioned topics stay together under any assignor. Every instance must choose the same
//! representative: it is fixed when the instance starts, and a change of partition counts that could make two
//! instances disagree stops the instance ([`Plan::compare`]).
//!
//! Which topics match a pattern depends on when one looks. A sub-topology that reads by pattern is therefore represented by
//! an internal topic without records, whose name follows from the topology alone and whose partition count from whoever
//! makes it first ([`SharedOut::By`]).
//!
//! This module is the seam where an own assignor (standbys, warm-up, the JVM's protocol) takes its place later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::RuntimeError;
use crate::task::{TaskId, TopicPartition};

/// Topics with their partition counts.
pub(crate) type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// What the group shares out for a sub-topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SharedOut {
    /// The largest of its inputs.
    Largest,
    /// An internal topic, and its partition count where it is there.
    By(Arc<str>, Option<i32>),
}

/// The inputs of a sub-topology as the cluster has them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundInputs {
    /// The sub-topology.
    pub(crate) sub_topology: u32,
    /// All topics that it reads by name or pattern.
    pub(crate) topics: PartitionCounts,
    /// What stands for its tasks.
    pub(crate) shared_out: SharedOut,
}

impl FoundInputs {
    /// The representative and its partition count; `None` where there are no inputs, or nothing to stand for them yet.
    fn representative(&self) -> Option<(Arc<str>, i32)> {
        // `max_by_key` keeps the last of equal ones, so the names are gone through backwards.
        let (largest, count) = self.topics.iter().rev().max_by_key(|(_, count)| **count)?;
        match &self.shared_out {
            SharedOut::Largest => Some((largest.clone(), *count)),
            SharedOut::By(topic, tasks) => tasks.map(|tasks| (topic.clone(), tasks)),
        }
    }

    /// The internal topic that stands for its tasks, if that is how they are shared out.
    pub(crate) fn tasks_topic(&self) -> Option<&str> {
        match &self.shared_out {
            SharedOut::Largest => None,
            SharedOut::By(topic, _) => Some(topic),
        }
    }

    /// Whether there are inputs, but no topic yet that stands for them.
    pub(crate) fn waits_for_representative(&self) -> bool {
        !self.topics.is_empty() && self.representative().is_none()
    }
}

/// The inputs of one sub-topology.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inputs {
    sub_topology: u32,
    topics: PartitionCounts,
    representative: Arc<str>,
    /// The partition count of the representative: the number of tasks.
    tasks: i32,
}

/// The inputs of every sub-topology that has some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    inputs: BTreeMap<u32, Inputs>,
}

/// What a look at the metadata found new: topics of a pattern that were created since.
pub(crate) type Added = FoundInputs;

impl Plan {
    /// A plan for these sub-topologies; one without topics (a pattern that matches nothing yet) has no tasks.
    pub(crate) fn new(found: impl IntoIterator<Item = FoundInputs>) -> Self {
        let mut plan = Plan::default();
        for inputs in found {
            plan.insert(inputs);
        }
        plan
    }

    fn insert(&mut self, found: FoundInputs) {
        if let Some((representative, tasks)) = found.representative() {
            let FoundInputs { sub_topology, topics, .. } = found;
            self.inputs.insert(sub_topology, Inputs { sub_topology, topics, representative, tasks });
        }
    }

    /// The topics to subscribe to, in the order of the sub-topologies.
    pub(crate) fn subscription(&self) -> Vec<Arc<str>> {
        self.inputs.values().map(|inputs| inputs.representative.clone()).collect()
    }

    /// The task that a partition of a subscribed topic stands for.
    pub(crate) fn task_of(&self, partition: &TopicPartition) -> Option<TaskId> {
        self.inputs
            .values()
            .find(|inputs| inputs.representative == partition.topic)
            .map(|inputs| TaskId { sub_topology: inputs.sub_topology, partition: partition.partition })
    }

    /// The partition that stands for a task, where it is none of the task's inputs.
    pub(crate) fn marker_of(&self, task: TaskId) -> Option<TopicPartition> {
        let inputs = self.inputs.get(&task.sub_topology)?;
        let is_input = inputs.topics.contains_key(&inputs.representative);
        (!is_input).then(|| TopicPartition::new(inputs.representative.clone(), task.partition))
    }

    /// Every input partition of a task, by topic name: partition p of each topic that has one.
    pub(crate) fn inputs_of(&self, task: TaskId) -> Vec<TopicPartition> {
        let topics = self.inputs.get(&task.sub_topology).map(|inputs| &inputs.topics).into_iter().flatten();
        topics
            .filter(|(_, count)| task.partition < **count)
            .map(|(topic, _)| TopicPartition::new(topic.clone(), task.partition))
            .collect()
    }

    /// Whether a sub-topology has any input.
    pub(crate) fn has_inputs(&self, sub_topology: u32) -> bool {
        self.inputs.contains_key(&sub_topology)
    }

    /// Every input partition of every sub-topology.
    pub(crate) fn all_inputs(&self) -> Vec<TopicPartition> {
        let topics = self.inputs.values().flat_map(|inputs| &inputs.topics);
        let partitions = topics
            .flat_map(|(topic, count)| (0..*count).map(|index| TopicPartition::new(topic.clone(), index)));
        partitions.collect()
    }

    /// Partitions of all inputs of all sub-topologies.
    pub(crate) fn input_partitions(&self) -> usize {
        let counts = self.inputs.values().flat_map(|inputs| inputs.topics.values());
        counts.map(|count| usize::try_from(*count).unwrap_or(0)).sum()
    }

    /// Compares the plan with what the cluster's metadata says now (of each sub-topology all topics that it reads by
    /// name or pattern).
    ///
    /// # Errors
    /// When a topic has vanished or its partition count has changed, or a new topic has more partitions than the
    /// representative: other instances may share out the work differently from now on.
    pub(crate) fn compare(&self, found: &FoundInputs) -> Result<Option<Added>, RuntimeError> {
        let now = &found.topics;
        let Some(inputs) = self.inputs.get(&found.sub_topology) else {
            return Ok(found.representative().map(|_| found.clone()));
        };
        for (topic, &was) in &inputs.topics {
            match now.get(topic) {
                None => return Err(RuntimeError::TopicVanished { topic: topic.to_string() }),
                Some(&now) if now != was => {
                    return Err(RuntimeError::PartitionsChanged { topic: topic.to_string(), was, now });
                }
                Some(_) => {}
            }
        }
        if let SharedOut::By(topic, Some(now)) = &found.shared_out
            && *now != inputs.tasks
        {
            let (topic, was, now) = (topic.to_string(), inputs.tasks, *now);
            return Err(RuntimeError::PartitionsChanged { topic, was, now });
        }
        let topics: PartitionCounts = now
            .iter()
            .filter(|(topic, _)| !inputs.topics.contains_key(*topic))
            .map(|(topic, count)| (topic.clone(), *count))
            .collect();
        if let Some((topic, &partitions)) = topics.iter().find(|(_, count)| **count > inputs.tasks) {
            return Err(RuntimeError::PatternTopicTooLarge {
                topic: topic.to_string(),
                partitions,
                representative: inputs.representative.to_string(),
                tasks: inputs.tasks,
            });
        }
        Ok((!topics.is_empty()).then(|| Added { topics, ..found.clone() }))
    }

    /// Takes new topics up. Answers the tasks that have a new input; when the sub-topology had no topic before, the
    /// subscription changes instead.
    pub(crate) fn add(&mut self, added: Added) -> Vec<TaskId> {
        let Some(inputs) = self.inputs.get_mut(&added.sub_topology) else {
            self.insert(added);
            return Vec::new();
        };
        let most = added.topics.values().copied().max().unwrap_or(0).min(inputs.tasks);
        inputs.topics.extend(added.topics);
        (0..most).map(|partition| TaskId { sub_topology: added.sub_topology, partition }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sub_topology: u32, topics: &[(&str, i32)]) -> FoundInputs {
        let topics = topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect();
        FoundInputs { sub_topology, topics, shared_out: SharedOut::Largest }
    }

    fn by_pattern(topics: &[(&str, i32)], tasks: Option<i32>) -> FoundInputs {
        FoundInputs { shared_out: SharedOut::By("app-in-tasks".into(), tasks), ..found(0, topics) }
    }

    fn task(sub_topology: u32, partition: i32) -> TaskId {
        TaskId { sub_topology, partition }
    }

    #[test]
    fn the_representative_has_most_partitions_then_the_first_name() {
        let plan = Plan::new([
            found(0, &[("a", 2), ("b", 4), ("c", 4)]),
            found(1, &[("app-x-repartition", 3)]),
            found(2, &[]),
        ]);
        assert_eq!(
            plan.subscription().iter().map(|topic| &**topic).collect::<Vec<_>>(),
            ["b", "app-x-repartition"]
        );
        assert_eq!(plan.task_of(&TopicPartition::new("b", 3)), Some(task(0, 3)));
        assert_eq!(plan.task_of(&TopicPartition::new("a", 1)), None, "not subscribed");
        assert_eq!(plan.inputs_of(task(0, 1)).len(), 3);
        let names: Vec<_> = plan.inputs_of(task(0, 2)).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b-2", "c-2"], "partition p of every topic that has one");
        assert_eq!(plan.input_partitions(), 13);
    }

    #[test]
    fn changed_counts_stop_the_instance_before_members_can_disagree() {
        let plan = Plan::new([found(0, &[("a", 2), ("b", 4)])]);
        assert_eq!(plan.compare(&found(0, &[("a", 2), ("b", 4)])).unwrap(), None);
        let more = plan.compare(&found(0, &[("a", 3), ("b", 4)])).unwrap_err();
        assert!(matches!(more, RuntimeError::PartitionsChanged { was: 2, now: 3, .. }), "{more}");
        let gone = plan.compare(&found(0, &[("b", 4)])).unwrap_err();
        assert!(matches!(gone, RuntimeError::TopicVanished { .. }), "{gone}");
        let large = plan.compare(&found(0, &[("a", 2), ("b", 4), ("c", 5)])).unwrap_err();
        assert!(
            matches!(large, RuntimeError::PatternTopicTooLarge { partitions: 5, tasks: 4, .. }),
            "{large}"
        );
    }

    #[test]
    fn a_smaller_topic_of_a_pattern_is_added_to_the_tasks_that_have_its_partitions() {
        let mut plan = Plan::new([found(0, &[("a", 4)]), found(1, &[])]);
        let added = plan.compare(&found(0, &[("a", 4), ("0-first-by-name", 2)])).unwrap().unwrap();
        assert_eq!(plan.add(added), [task(0, 0), task(0, 1)]);
        assert_eq!(plan.subscription(), [Arc::from("a")], "the representative stays");
        assert_eq!(plan.inputs_of(task(0, 1)).len(), 2);
        assert_eq!(plan.inputs_of(task(0, 2)).len(), 1);

        let first = plan.compare(&found(1, &[("p", 3)])).unwrap().unwrap();
        assert_eq!(plan.add(first), []);
        assert_eq!(plan.subscription(), [Arc::from("a"), Arc::from("p")]);
    }

    #[test]
    fn a_pattern_is_shared_out_by_a_topic_that_every_instance_knows() {
        let early = Plan::new([by_pattern(&[("b", 2)], Some(3))]);
        let late = Plan::new([by_pattern(&[("a", 2), ("b", 2)], Some(3))]);
        assert_eq!(early.subscription(), late.subscription());
        let marker = TopicPartition::new("app-in-tasks", 1);
        assert_eq!((early.task_of(&marker), early.marker_of(task(0, 1))), (Some(task(0, 1)), Some(marker)));
        assert_eq!(early.inputs_of(task(0, 1)).len(), 1, "it is no input");
        assert_eq!(early.inputs_of(task(0, 2)), [], "a task that waits for a larger topic");

        let mut early = early;
        let added = early.compare(&by_pattern(&[("a", 2), ("b", 2)], Some(3))).unwrap().unwrap();
        assert_eq!(early.add(added), [task(0, 0), task(0, 1)]);
        assert_eq!(early, late);
        let large = early.compare(&by_pattern(&[("a", 2), ("b", 2), ("c", 4)], Some(3))).unwrap_err();
        assert!(matches!(large, RuntimeError::PatternTopicTooLarge { tasks: 3, .. }), "{large}");
        let grown = early.compare(&by_pattern(&[("a", 2), ("b", 2)], Some(4))).unwrap_err();
        assert!(matches!(grown, RuntimeError::PartitionsChanged { was: 3, now: 4, .. }), "{grown}");
    }

    #[test]
    fn a_pattern_has_tasks_when_the_topic_that_stands_for_them_is_there() {
        let mut plan = Plan::new([by_pattern(&[], None)]);
        let waits = by_pattern(&[("a", 2)], None);
        assert!(waits.waits_for_representative());
        assert_eq!(plan.compare(&waits).unwrap(), None);
        let there = plan.compare(&by_pattern(&[("a", 2)], Some(2))).unwrap().unwrap();
        assert_eq!(plan.add(there), []);
        assert_eq!(plan.subscription(), [Arc::from("app-in-tasks")]);
    }
}

//! How many partitions repartition topics need, and whether topics that are joined fit together. No broker here.
//!
//! As Kafka Streams' `RepartitionTopics` and `CopartitionedTopicsEnforcer`: first each repartition topic takes its given number, or the
//! maximum over the sources of the sub-topologies that write it; then each copartition group is made equal.

use std::collections::{BTreeMap, BTreeSet};

use super::TopicsError;

/// The topics of one sub-topology, by full names. Topics that a pattern matches belong to the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubTopologyTopics {
    /// Topics that it reads.
    pub source_topics: Vec<String>,
    /// Topics that it writes to.
    pub sink_topics: Vec<String>,
}

/// The partition counts of all repartition topics.
///
/// `repartition`: each repartition topic and the count given for it, if one was. `existing`: partition counts of the topics that exist.
///
/// # Errors
/// `MissingSources` for sources that do not exist (all of them), `NotCopartitioned` and `RepartitionCount` for groups that cannot be
/// made equal, `UndeterminedCount` for repartition topics that no source feeds.
pub fn repartition_partition_counts(
    sub_topologies: &[SubTopologyTopics],
    repartition: &BTreeMap<String, Option<i32>>,
    copartition_groups: &[BTreeSet<String>],
    existing: &BTreeMap<String, i32>,
) -> Result<BTreeMap<String, i32>, TopicsError> {
    let sources = sub_topologies.iter().flat_map(|part| &part.source_topics);
    let missing: BTreeSet<&String> =
        sources.filter(|topic| !repartition.contains_key(*topic) && !existing.contains_key(*topic)).collect();
    if !missing.is_empty() {
        return Err(TopicsError::MissingSources { topics: missing.into_iter().cloned().collect() });
    }
    let mut counts: BTreeMap<String, i32> =
        repartition.iter().filter_map(|(topic, given)| Some((topic.clone(), (*given)?))).collect();
    // A topic may depend on one that is still unknown, so go round until a round brings nothing new. Where topics depend on
    // each other (a stream joined with a table made of itself, a foreign-key join), the known sources decide.
    let mut unknown: Vec<&String> = repartition.keys().filter(|topic| !counts.contains_key(*topic)).collect();
    let count_of = |topic: &String, counts: &BTreeMap<String, i32>, all: bool| {
        count_from_writers(topic, sub_topologies, repartition, existing, counts, all)
    };
    while !unknown.is_empty() {
        let mut found: Vec<(String, i32)> = unknown
            .iter()
            .filter_map(|topic| Some(((*topic).clone(), count_of(topic, &counts, true)?)))
            .collect();
        if found.is_empty() {
            let mut partly =
                unknown.iter().filter_map(|topic| Some(((*topic).clone(), count_of(topic, &counts, false)?)));
            found.extend(partly.next());
        }
        if found.is_empty() {
            break;
        }
        counts.extend(found);
        unknown.retain(|topic| !counts.contains_key(*topic));
    }
    let undetermined: Vec<String> =
        repartition.keys().filter(|topic| !counts.contains_key(*topic)).cloned().collect();
    if !undetermined.is_empty() {
        return Err(TopicsError::UndeterminedCount { topics: undetermined });
    }
    for group in copartition_groups {
        equalise(group, repartition, existing, &mut counts)?;
    }
    Ok(counts)
}

/// The maximum over the sources of the writers; `None` while one of them that is a repartition topic is unknown, with
/// `all` false only while all are.
fn count_from_writers(
    topic: &str,
    sub_topologies: &[SubTopologyTopics],
    repartition: &BTreeMap<String, Option<i32>>,
    existing: &BTreeMap<String, i32>,
    counts: &BTreeMap<String, i32>,
    all: bool,
) -> Option<i32> {
    let writers = sub_topologies.iter().filter(|part| part.sink_topics.iter().any(|sink| sink == topic));
    let mut most = None;
    for source in writers.flat_map(|part| &part.source_topics) {
        let known = if repartition.contains_key(source) { counts } else { existing };
        match known.get(source) {
            None if all => return None,
            count => most = most.max(count.copied()),
        }
    }
    most
}

/// Gives the repartition topics of a group the count that the others have, or the largest among themselves.
fn equalise(
    group: &BTreeSet<String>,
    repartition: &BTreeMap<String, Option<i32>>,
    existing: &BTreeMap<String, i32>,
    counts: &mut BTreeMap<String, i32>,
) -> Result<(), TopicsError> {
    let (internal, external): (Vec<&String>, Vec<&String>) =
        group.iter().partition(|topic| repartition.contains_key(*topic));
    let missing: Vec<String> = external
        .iter()
        .filter(|topic| !existing.contains_key(**topic))
        .map(|topic| (*topic).clone())
        .collect();
    if !missing.is_empty() {
        return Err(TopicsError::MissingSources { topics: missing });
    }
    let external: Vec<(String, i32)> =
        external.into_iter().map(|topic| (topic.clone(), existing[topic])).collect();
    let given: Vec<(String, i32)> =
        internal.iter().filter_map(|topic| Some(((*topic).clone(), repartition[*topic]?))).collect();
    let count = if let Some((_, first)) = external.first() {
        all_equal(&external)?;
        if let Some((topic, given)) = given.iter().find(|(_, given)| given != first) {
            return Err(TopicsError::RepartitionCount {
                topic: topic.clone(),
                given: *given,
                expected: *first,
            });
        }
        *first
    } else if let Some((_, first)) = given.first() {
        all_equal(&given)?;
        *first
    } else {
        internal.iter().filter_map(|topic| counts.get(*topic)).copied().max().unwrap_or_default()
    };
    for topic in internal {
        counts.insert(topic.clone(), count);
    }
    Ok(())
}

fn all_equal(topics: &[(String, i32)]) -> Result<(), TopicsError> {
    if topics.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        Ok(())
    } else {
        Err(TopicsError::NotCopartitioned { topics: topics.to_vec() })
    }
}

/// How many tasks a sub-topology has, and so how many partitions its changelogs need: the maximum over its source topics.
pub fn task_count<'a>(
    source_topics: impl IntoIterator<Item = &'a str>,
    counts: &BTreeMap<String, i32>,
) -> i32 {
    source_topics.into_iter().filter_map(|topic| counts.get(topic)).copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sources: &[&str], sinks: &[&str]) -> SubTopologyTopics {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        SubTopologyTopics { source_topics: owned(sources), sink_topics: owned(sinks) }
    }

    fn map<V: Copy>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn group(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_repartition_topic_takes_the_most_of_its_writers_sources() {
        let parts = [part(&["a", "b"], &["r"]), part(&["c"], &["r"]), part(&["r"], &["out"])];
        let counts = repartition_partition_counts(
            &parts,
            &map(&[("r", None)]),
            &[],
            &map(&[("a", 2), ("b", 6), ("c", 4)]),
        );
        assert_eq!(counts.unwrap(), map(&[("r", 6)]));
    }

    #[test]
    fn chains_are_followed_whatever_their_order() {
        let parts =
            [part(&["r1"], &["r2"]), part(&["r2"], &["r0"]), part(&["a"], &["r1"]), part(&["r0"], &[])];
        let repartition = map(&[("r0", None), ("r1", None), ("r2", None)]);
        let counts = repartition_partition_counts(&parts, &repartition, &[], &map(&[("a", 3)])).unwrap();
        assert_eq!(counts, map(&[("r0", 3), ("r1", 3), ("r2", 3)]));
        let given = map(&[("r0", None), ("r1", Some(7)), ("r2", None)]);
        let counts = repartition_partition_counts(&parts, &given, &[], &map(&[("a", 3)])).unwrap();
        assert_eq!(counts, map(&[("r0", 7), ("r1", 7), ("r2", 7)]));
    }

    /// A stream joined with a table that is made of itself, and a foreign-key join of tables of 2 and 5 partitions.
    #[test]
    fn in_a_ring_the_known_sources_decide() {
        let parts = [part(&["in", "counts"], &["counts", "out"])];
        let counts = repartition_partition_counts(&parts, &map(&[("counts", None)]), &[], &map(&[("in", 4)]));
        assert_eq!(counts.unwrap(), map(&[("counts", 4)]));
        let parts =
            [part(&["a", "response"], &["registration"]), part(&["b", "registration"], &["response"])];
        let repartition = map(&[("registration", None), ("response", None)]);
        let groups = [group(&["b", "registration"]), group(&["a", "response"])];
        let counts =
            repartition_partition_counts(&parts, &repartition, &groups, &map(&[("a", 2), ("b", 5)])).unwrap();
        assert_eq!(counts, map(&[("registration", 5), ("response", 2)]));
    }

    #[test]
    fn a_ring_that_nothing_feeds_is_an_error_not_a_loop() {
        let parts = [part(&["r1"], &["r2"]), part(&["r2"], &["r1"])];
        let repartition = map(&[("r1", None), ("r2", None)]);
        let error = repartition_partition_counts(&parts, &repartition, &[], &map(&[])).unwrap_err();
        assert!(
            matches!(&error, TopicsError::UndeterminedCount { topics } if topics == &["r1", "r2"]),
            "{error:?}"
        );
    }

    #[test]
    fn every_missing_source_is_named() {
        let parts = [part(&["a", "b", "r"], &[]), part(&["c"], &["r"])];
        let error =
            repartition_partition_counts(&parts, &map(&[("r", None)]), &[], &map(&[("b", 1)])).unwrap_err();
        assert!(error.to_string().contains("a, c do not exist"), "{error}");
    }

    #[test]
    fn joined_source_topics_must_agree() {
        let parts = [part(&["orders", "customers"], &[])];
        let groups = [group(&["orders", "customers"])];
        let error = repartition_partition_counts(
            &parts,
            &map(&[]),
            &groups,
            &map(&[("orders", 4), ("customers", 3)]),
        )
        .unwrap_err();
        assert!(error.to_string().contains("customers (3), orders (4)"), "{error}");
        let fine = map(&[("orders", 4), ("customers", 4)]);
        assert!(repartition_partition_counts(&parts, &map(&[]), &groups, &fine).is_ok());
    }

    #[test]
    fn a_repartition_topic_follows_the_source_it_is_joined_with() {
        let parts = [part(&["a"], &["r"]), part(&["r", "b"], &[])];
        let existing = map(&[("a", 2), ("b", 5)]);
        let groups = [group(&["r", "b"])];
        let counts = repartition_partition_counts(&parts, &map(&[("r", None)]), &groups, &existing).unwrap();
        assert_eq!(counts, map(&[("r", 5)]));
        let error =
            repartition_partition_counts(&parts, &map(&[("r", Some(4))]), &groups, &existing).unwrap_err();
        assert!(matches!(error, TopicsError::RepartitionCount { given: 4, expected: 5, .. }), "{error:?}");
    }

    #[test]
    fn among_repartition_topics_a_given_count_wins_else_the_largest() {
        let parts = [part(&["a"], &["r1"]), part(&["b"], &["r2"]), part(&["r1", "r2"], &[])];
        let existing = map(&[("a", 2), ("b", 5)]);
        let groups = [group(&["r1", "r2"])];
        let run = |r1, r2| {
            repartition_partition_counts(&parts, &map(&[("r1", r1), ("r2", r2)]), &groups, &existing)
        };
        assert_eq!(run(None, None).unwrap(), map(&[("r1", 5), ("r2", 5)]));
        assert_eq!(run(Some(3), None).unwrap(), map(&[("r1", 3), ("r2", 3)]));
        assert!(matches!(run(Some(3), Some(4)), Err(TopicsError::NotCopartitioned { .. })));
    }

    #[test]
    fn a_sub_topology_has_as_many_tasks_as_its_largest_source_has_partitions() {
        let counts = map(&[("a", 2), ("b", 5)]);
        assert_eq!(task_count(["a", "b"], &counts), 5);
        assert_eq!(task_count([], &counts), 0);
    }
}

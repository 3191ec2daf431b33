//! Internal topics on a real broker: made as they should be, left alone when they are, refused when they would lose records.
//!
//! On an embedded broker, or on the cluster that `kstreams_test_cluster` was asked for.

#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

use kstreams_core::StreamsConfig;
use kstreams_core::internal_topics::{InternalTopicConfig, InternalTopicKind, TopicManager, TopicsError};
use kstreams_test_cluster::{Cluster, DEADLINE};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::runtime::Runtime;

/// An application of its own per test.
struct Setup {
    runtime: Runtime,
    cluster: Cluster,
    config: StreamsConfig,
    manager: TopicManager,
}

fn setup() -> Setup {
    let runtime = Runtime::new().expect("runtime");
    let cluster = runtime.block_on(Cluster::start());
    let config = cluster.config("app");
    let manager = TopicManager::new(&config.admin("test").expect("settings"), DEADLINE).expect("manager");
    Setup { runtime, cluster, config, manager }
}

impl Setup {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config.admin("other").expect("settings").to_client_config().create().expect("admin client")
    }

    /// The full name of an internal topic.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.config.application_id)
    }

    fn repartition(&self, partitions: i32) -> InternalTopicConfig {
        InternalTopicConfig::repartition(self.name("words-repartition"), partitions)
    }

    fn changelog(&self, kind: InternalTopicKind, partitions: i32) -> InternalTopicConfig {
        InternalTopicConfig {
            name: self.name("counts-changelog"),
            kind,
            partitions,
            configs: BTreeMap::new(),
        }
    }

    /// Makes a topic as a user would.
    fn create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let topic = configs
            .iter()
            .fold(NewTopic::new(name, partitions, TopicReplication::Fixed(1)), |topic, (key, value)| {
                topic.set(key, value)
            });
        let made = self
            .runtime
            .block_on(self.admin().create_topics([&topic], &AdminOptions::new()))
            .expect("answer");
        assert_eq!(made, [Ok(name.to_owned())]);
    }

    fn configs(&self, name: &str) -> BTreeMap<String, String> {
        let resource = ResourceSpecifier::Topic(name);
        let answer = self
            .runtime
            .block_on(self.admin().describe_configs([&resource], &AdminOptions::new()))
            .expect("answer");
        let topic = answer.into_iter().next().expect("one topic").expect("described");
        topic.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    fn stop(self) {
        let counts = self.manager.partition_counts().expect("counts");
        let ours: Vec<&str> = counts
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(&self.config.application_id))
            .collect();
        if !ours.is_empty() {
            // A client dropped before its answer came never gives one.
            let admin = self.admin();
            self.runtime.block_on(admin.delete_topics(&ours, &AdminOptions::new())).expect("deleted");
        }
        drop(self.manager);
        self.runtime.block_on(self.cluster.stop());
    }
}

const KEY_VALUE: InternalTopicKind = InternalTopicKind::Changelog;

#[test]
fn missing_topics_are_made_with_kafka_streams_settings_and_found_the_next_time() {
    let setup = setup();
    let windows = InternalTopicKind::WindowedChangelog { retention_ms: 60_000, retain_duplicates: false };
    let mut windowed = setup.changelog(windows, 1);
    windowed.name = setup.name("windows-changelog");
    let topics = [setup.repartition(3), setup.changelog(KEY_VALUE, 2), windowed];
    let made = setup.manager.ensure(&topics, &setup.config).expect("made");
    assert_eq!(made.len(), 3, "{made:?}");
    let counts = setup.manager.partition_counts().expect("counts");
    for topic in &topics {
        assert_eq!(counts[&topic.name], topic.partitions, "{}", topic.name);
        let found = setup.configs(&topic.name);
        for (key, value) in topic.effective_configs(&setup.config) {
            assert_eq!(found.get(&key), Some(&value), "{} {key}", topic.name);
        }
    }
    assert_eq!(setup.manager.ensure(&topics, &setup.config).expect("found"), [""; 0]);
    setup.stop();
}

#[test]
fn a_changelog_with_another_number_of_partitions_stops_the_start_before_anything_is_made() {
    let setup = setup();
    setup.create(&setup.name("counts-changelog"), 5, &[("cleanup.policy", "compact")]);
    let topics = [setup.repartition(3), setup.changelog(KEY_VALUE, 2)];
    let error = setup.manager.ensure(&topics, &setup.config).expect_err("refused");
    assert!(matches!(error, TopicsError::PartitionCount { found: 5, expected: 2, .. }), "{error:?}");
    assert!(error.to_string().contains(&setup.name("counts-changelog")), "{error}");
    assert!(
        !setup.manager.partition_counts().expect("counts").contains_key(&setup.name("words-repartition"))
    );
    setup.stop();
}

#[test]
fn a_changelog_that_deletes_stops_the_start() {
    let setup = setup();
    setup.create(&setup.name("counts-changelog"), 2, &[("cleanup.policy", "delete")]);
    let error = setup.manager.ensure(&[setup.changelog(KEY_VALUE, 2)], &setup.config).expect_err("refused");
    assert!(matches!(&error, TopicsError::CleanupPolicy { found, .. } if found == "delete"), "{error:?}");
    setup.stop();
}

#[test]
fn a_name_that_kafka_refuses_is_told_with_its_cause() {
    let setup = setup();
    let topic = InternalTopicConfig::repartition("my app-words-repartition", 1);
    let error = setup.manager.ensure(&[topic], &setup.config).expect_err("refused");
    assert!(error.to_string().contains("`application.id`"), "{error}");
    setup.stop();
}

/// Two instances that start together make the same topics; both must succeed.
#[test]
fn instances_that_start_together_do_not_disturb_each_other() {
    let setup = setup();
    let topics = [setup.repartition(3), setup.changelog(KEY_VALUE, 2)];
    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..4).map(|_| scope.spawn(|| setup.manager.ensure(&topics, &setup.config))).collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect()
    });
    let made: usize = results.into_iter().map(|made| made.expect("started").len()).sum();
    assert_eq!(made, 2);
    setup.stop();
}

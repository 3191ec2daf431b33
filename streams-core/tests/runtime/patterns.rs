//! Sources by pattern, and topics that come later.

use kstreams_core::topology::SourceTopics;
use kstreams_core::{KafkaStreams, State, Topology};
use kstreams_test_cluster::{Cluster, close, failure_of, run, wait_for, wait_for_state};
use regex::Regex;

fn copy(pattern: &str, output: &str) -> Topology {
    let mut topology = Topology::new();
    let topics: SourceTopics = Regex::new(pattern).unwrap().into();
    topology.add_source::<(), String>("in", topics).unwrap();
    topology.add_sink::<(), String>("out", output, &["in"]).unwrap();
    topology
}

async fn wait_for_records(cluster: &Cluster, topic: &str, count: usize) {
    wait_for("the number of results", count, || cluster.read_all(topic).len()).await;
}

/// A topic created later that is no larger than those there is added to the tasks; a larger one stops the instance
/// before instances could disagree about tasks.
#[tokio::test(flavor = "multi_thread")]
async fn later_topics_are_added_and_too_large_ones_stop_the_instance() {
    let cluster = Cluster::start().await;
    let output = cluster.name("out");
    let (first, later, large) = (cluster.name("in-a"), cluster.name("in-b"), cluster.name("in-c"));
    cluster.create_topic(&first, 3).await;
    cluster.create_topic(&output, 1).await;
    let config = cluster.config("app");
    let streams = run(copy(&format!("{}.*", cluster.name("in-")), &output), config).await;
    cluster.produce_lines(&first, ["1", "2", "3"]);
    wait_for_records(&cluster, &output, 3).await;

    cluster.create_topic(&later, 2).await;
    cluster.produce_lines(&later, ["4", "5"]);
    wait_for_records(&cluster, &output, 5).await;
    cluster.produce_lines(&first, ["6", "7", "8"]);
    wait_for_records(&cluster, &output, 8).await;

    cluster.create_topic(&large, 4).await;
    let failure = failure_of(&streams).await;
    assert!(failure.contains(&large) && failure.contains("restart"), "{failure}");
    cluster.stop().await;
}

/// A pattern that matches nothing at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_without_topics_waits_for_them() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in-a"), cluster.name("out"));
    cluster.create_topic(&output, 1).await;
    let config = cluster.config("app");
    let streams = run(copy(&format!("{}.*", cluster.name("in-")), &output), config).await;
    cluster.create_topic(&input, 2).await;
    cluster.produce_lines(&input, ["1", "2", "3"]);
    wait_for_records(&cluster, &output, 3).await;
    close(&streams).await;
    cluster.stop().await;
}

/// What an instance sees of a pattern depends on when it looks. One that starts when there are more topics, the first of which
/// would come first by name, must share out the tasks as those before it do.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_begin_with_different_topics_share_the_tasks() {
    let cluster = Cluster::start().await;
    let output = cluster.topic("out", 1).await;
    let topology = || copy(&format!("{}.*", cluster.name("in-")), &output);
    let first = run(topology(), cluster.config_in("app", "first")).await;
    let late = cluster.topic("in-b", 2).await;
    cluster.produce_lines(&late, ["1", "2"]);
    wait_for_records(&cluster, &output, 2).await;
    let early = cluster.topic("in-a", 2).await;
    cluster.produce_lines(&early, ["3", "4"]);
    wait_for_records(&cluster, &output, 4).await;

    let second = run(topology(), cluster.config_in("app", "second")).await;
    let tasks = |streams: &KafkaStreams| -> usize {
        streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum()
    };
    wait_for("one task each", (1, 1), || (tasks(&first), tasks(&second))).await;
    wait_for_state(&first, State::Running).await;
    for topic in [&late, &early] {
        cluster.produce_lines(topic, (0..20).map(|number| ["5", "6"][number % 2]));
    }
    wait_for_records(&cluster, &output, 44).await;
    close(&first).await;
    wait_for("both tasks", 2, || tasks(&second)).await;
    cluster.produce_lines(&early, ["7", "8"]);
    wait_for_records(&cluster, &output, 46).await;
    close(&second).await;
    assert_eq!(cluster.read_all(&output).len(), 46, "each record once");
    cluster.stop().await;
}

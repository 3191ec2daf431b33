//! Sources by pattern, and topics that come later.

use kstreams_core::Topology;
use kstreams_core::topology::SourceTopics;
use kstreams_test_cluster::{Cluster, close, failure_of, run, wait_for};
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

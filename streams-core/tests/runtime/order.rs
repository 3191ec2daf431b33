//! The order in which a task takes records of several inputs.

use kstreams_core::Topology;
use kstreams_test_cluster::{Cluster, close, run, wait_for};

/// Records of two topics that are there before the start are processed by timestamp, although they arrive from the
/// brokers in any order: `max.task.idle.ms` 0 waits for what the brokers have.
#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_merged_by_timestamp() {
    let cluster = Cluster::start().await;
    let (left, right, output) = (cluster.name("left"), cluster.name("right"), cluster.name("out"));
    for topic in [&left, &right, &output] {
        cluster.create_topic(topic, 1).await;
    }
    let records = |first: i64| -> Vec<(String, i64)> {
        (0..3_000).map(|n| ((n * 2 + first).to_string(), 1_000 + n * 2 + first)).collect()
    };
    for (topic, first) in [(&left, 0), (&right, 1)] {
        let records = records(first);
        let records: Vec<_> = records.iter().map(|(value, time)| ("k", value.as_str(), *time)).collect();
        cluster.produce_to(topic, 0, &records);
    }
    let mut topology = Topology::new();
    topology.add_source::<String, String>("in", [left.as_str(), right.as_str()]).unwrap();
    topology.add_sink::<String, String>("out", output.as_str(), &["in"]).unwrap();
    let streams = run(topology, cluster.config("app")).await;
    wait_for("the number of results", 6_000, || cluster.read_all(&output).len()).await;
    let values: Vec<i64> = cluster.values(&output).iter().map(|value| value.parse().unwrap()).collect();
    assert!(values.is_sorted(), "by timestamp");
    close(&streams).await;
    cluster.stop().await;
}

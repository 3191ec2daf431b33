//! A source by pattern, and a topic that is created while the application runs.

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, start, value, wait_for_state, wait_until};
use regex::Regex;

/// The new topic's records arrive without a restart, and keep arriving after one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_later_is_read() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in-a", 2).await, cluster.topic("out", 1).await);
    let topology = || {
        let builder = StreamsBuilder::new();
        let pattern = Regex::new(&format!("{}.*", regex::escape(&cluster.name("in-")))).unwrap();
        builder.stream::<String, String>(pattern).to(output.as_str());
        builder.build().unwrap()
    };
    let mut expected = Vec::new();
    let produce = |topic: &str, key: &str, expected: &mut Vec<(String, String)>| {
        cluster.produce(topic, &[(key, topic, 1)]);
        expected.push((key.to_owned(), topic.to_owned()));
    };
    let streams = start(topology(), cluster.config("app")).await;
    wait_for_state(&streams, State::Running).await;
    produce(&input, "first", &mut expected);
    wait_until("record of the first topic", || cluster.texts(&output) == expected).await;
    let later = cluster.topic("in-b", 1).await;
    produce(&later, "second", &mut expected);
    wait_until("record of the later topic", || cluster.texts(&output) == expected).await;
    close(&streams).await;

    produce(&later, "third", &mut expected);
    let streams = start(topology(), cluster.config("app")).await;
    wait_until("record after the restart", || cluster.texts(&output).len() >= expected.len()).await;
    close(&streams).await;
    assert_eq!(cluster.texts(&output), expected, "each once");
    cluster.stop().await;
}

/// Two instances that learn of a new topic at different times, the second some seconds later: until both know it they don't
/// disagree about tasks, and in the end each record was read once.
#[tokio::test(flavor = "multi_thread")]
async fn instances_see_a_new_topic_at_different_times() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in-a", 4).await, cluster.topic("out", 1).await);
    let topology = || {
        let builder = StreamsBuilder::new();
        let pattern = Regex::new(&format!("{}.*", regex::escape(&cluster.name("in-")))).unwrap();
        builder.stream::<(), String>(pattern).to(output.as_str());
        builder.build().unwrap()
    };
    let first = start(topology(), cluster.config_in("app", "first")).await;
    let late = cluster.config_in("app", "second").set("metadata.max.age.ms", "5000");
    let second = start(topology(), late).await;
    let tasks = |streams: &KafkaStreams| -> usize {
        streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum()
    };
    wait_until("even share of the tasks", || tasks(&first) == 2 && tasks(&second) == 2).await;
    let later = cluster.topic("in-b", 4).await;
    let records: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    for (topic, part) in [(&input, &records[..100]), (&later, &records[100..])] {
        cluster.produce_lines(topic, part);
    }
    wait_until("record of each partition", || cluster.read_all(&output).len() >= records.len()).await;
    close(&first).await;
    close(&second).await;
    let mut seen: Vec<usize> =
        cluster.read_all(&output).iter().map(|record| value(record).parse().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..records.len()), "{seen:?}");
    cluster.stop().await;
}

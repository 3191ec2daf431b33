//! Tasks move between instances under load, and nothing is lost or counted twice when all of them close cleanly.

use kstreams_core::{KafkaStreams, State};
use kstreams_test_cluster::{Cluster, Counts, close, run, wait_for_state, wait_until};

use crate::topologies::word_count;

fn tasks(streams: &KafkaStreams) -> usize {
    streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum()
}

/// A second instance joins in the middle, with two threads, and leaves again: a graceful hand-over commits before the
/// partitions move, so the counts are exact, not only at least right.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_takes_over_tasks_and_gives_them_back() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 4).await;
    cluster.create_topic(&output, 1).await;
    let lines: Vec<String> = (0..2_000).map(|n| format!("w{} w{} every", n % 7, n % 11)).collect();
    let mut expected: Counts = Counts::new();
    for word in lines.iter().flat_map(|line| line.split(' ')) {
        *expected.entry(word.to_owned()).or_insert(0) += 4;
    }
    let produce = || cluster.produce_lines(&input, lines.iter().map(String::as_str));

    let first = run(word_count(&input, &output), cluster.config("app")).await;
    produce();
    let other_state = tempfile::tempdir().unwrap();
    let config = cluster.config_in("app", other_state.path()).num_stream_threads(2);
    let second = KafkaStreams::new(word_count(&input, &output), config).unwrap();
    second.start().await.unwrap();
    produce();
    wait_until("sharing", || tasks(&first) == 4 && tasks(&second) == 4).await;
    wait_for_state(&first, State::Running).await;
    wait_for_state(&second, State::Running).await;
    assert!(second.metadata_for_local_threads().iter().all(|thread| thread.active_tasks.len() == 2));
    produce();
    close(&second).await;
    assert_eq!(second.state(), State::NotRunning);
    produce();
    wait_until("taking back", || tasks(&first) == 8).await;
    wait_for_state(&first, State::Running).await;
    cluster.wait_for_counts(&output, &expected).await;
    close(&first).await;
    cluster.stop().await;
}

/// Every rebalance makes librdkafka pause, drop what it had fetched and fetch again; records that arrive meanwhile must
/// come once. The topology has no store that would hide a repeated record.
#[tokio::test(flavor = "multi_thread")]
async fn rebalances_neither_skip_nor_repeat_records() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in"), cluster.name("out"));
    cluster.create_topic(&input, 3).await;
    cluster.create_topic(&output, 1).await;
    let topology = || {
        let mut topology = kstreams_core::Topology::new();
        topology.add_source::<(), String>("source", input.as_str()).unwrap();
        topology.add_sink::<(), String>("sink", output.as_str(), &["source"]).unwrap();
        topology
    };
    let first = run(topology(), cluster.config("app")).await;
    let mut produced = 0;
    let mut produce = |count: usize| {
        let lines: Vec<String> = (produced..produced + count).map(|number| number.to_string()).collect();
        produced += count;
        cluster.produce_lines(&input, lines.iter().map(String::as_str));
    };
    for _ in 0..4 {
        // Ends of partitions are reached between these, which is when a rebalance finds them.
        produce(301);
        let second = run(topology(), cluster.config("app")).await;
        for _ in 0..20 {
            produce(17);
        }
        close(&second).await;
        for _ in 0..20 {
            produce(17);
        }
    }
    let total = produced;
    wait_until("copying", || cluster.read_all(&output).len() >= total).await;
    close(&first).await;
    let mut seen: Vec<usize> = cluster.values(&output).iter().map(|value| value.parse().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..total), "{} records for {total}", seen.len());
    cluster.stop().await;
}

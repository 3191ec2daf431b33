//! At-most-once: nothing is done twice, and what ends cleanly loses nothing.

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, run, start, wait_for, wait_until};

use crate::topologies::{lines, plain_count, word_count, word_count_with};

/// Offsets are committed ahead of processing; at a clean end, and when a task moves to another instance, those of records that were
/// not processed are taken back. So the counts are exact through restarts and rebalances.
#[tokio::test(flavor = "multi_thread")]
async fn clean_restarts_and_rebalances_lose_nothing() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 4).await;
    let output = cluster.topic("counts", 1).await;
    let part = lines(2_000);
    let config = |state: &str| {
        let config = cluster.config_in("app", state).set("processing.guarantee", "at_most_once");
        config.statestore_cache_max_bytes(0).num_stream_threads(2)
    };
    // Slow enough that there is always something read and not processed.
    let slow = |_: &str| std::thread::sleep(std::time::Duration::from_micros(300));
    let tasks = |streams: &KafkaStreams| {
        streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum::<usize>()
    };
    for round in 1..=3 {
        let first = run(word_count_with(&input, &output, slow), config("first")).await;
        cluster.produce_lines(&input, &part);
        let some = |streams: &KafkaStreams| tasks(streams) > 0;
        let second = start(word_count_with(&input, &output, slow), config("second")).await;
        wait_until("tasks of the second instance", || some(&second)).await;
        if round % 2 == 0 {
            close(&second).await;
            wait_for("tasks of the first instance", 8, || tasks(&first)).await;
            close(&first).await;
        } else {
            close(&first).await;
            close(&second).await;
        }
    }
    let streams = run(word_count(&input, &output), config("first")).await;
    let mut expected = plain_count(&part);
    expected.values_mut().for_each(|count| *count *= 3);
    cluster.wait_for_counts(&output, &expected).await;
    cluster.each_count_once(&output, true);
    close(&streams).await;
    cluster.stop().await;
}

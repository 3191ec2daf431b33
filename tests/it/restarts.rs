//! One instance of the word count: counting, and going on after a restart with its state and without.

use kstreams_test_cluster::{Cluster, close, start};

use crate::topologies::{lines, plain_count, word_count};

/// Counts, then twice restarts and counts more. Between the runs `forget` may do away with the state directory.
async fn three_runs(forget: impl Fn(&std::path::Path)) {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 3).await;
    let output = cluster.topic("counts", 2).await;
    let all = lines(3_000);
    for (run, part) in all.chunks(1_000).enumerate() {
        let streams = start(word_count(&input, &output), cluster.config("app")).await;
        cluster.produce_lines(&input, part);
        cluster.settled("app", &input).await;
        close(&streams).await;
        let expected = plain_count(&all[..(run + 1) * 1_000]);
        assert_eq!(cluster.counts(&output), expected, "after run {run}");
        drop(streams);
        forget(&cluster.dir("state"));
    }
    // The changelog tells the same: its values are the counts alone, their time is the record's.
    assert_eq!(cluster.counts(&cluster.name("app-counts-changelog")), plain_count(&all));
    cluster.stop().await;
}

/// From the state directory: counts go on, and no line is counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn word_count_continues_with_its_state() {
    three_runs(|_| {}).await;
}

/// From the changelog alone.
#[tokio::test(flavor = "multi_thread")]
async fn word_count_restores_state_that_is_lost() {
    three_runs(|state| {
        assert!(state.exists(), "the state is where the settings say");
        std::fs::remove_dir_all(state).unwrap();
    })
    .await;
}

/// Lines that arrive while nobody runs are counted by the next run, once.
#[tokio::test(flavor = "multi_thread")]
async fn lines_written_between_two_runs_are_counted() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 2).await;
    let output = cluster.topic("counts", 1).await;
    let all = lines(600);
    cluster.produce_lines(&input, &all[..200]);
    for part in [200..400, 400..600] {
        let streams = start(word_count(&input, &output), cluster.config("app")).await;
        cluster.settled("app", &input).await;
        close(&streams).await;
        assert_eq!(cluster.counts(&output), plain_count(&all[..part.start]));
        cluster.produce_lines(&input, &all[part]);
    }
    let streams = start(word_count(&input, &output), cluster.config("app")).await;
    cluster.settled("app", &input).await;
    close(&streams).await;
    assert_eq!(cluster.counts(&output), plain_count(&all));
    cluster.stop().await;
}

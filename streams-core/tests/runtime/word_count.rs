//! Word count through the Processor API: repartition and changelog topics, restart, restore.

use kstreams_test_cluster::{Cluster, Counts, close, end, failure_of, run, start};

use crate::topologies::word_count;

const LINES: [&str; 6] = [
    "the quick brown fox jumps over the lazy dog",
    "the dog sleeps",
    "a fox is a fox",
    "over the hills and far away",
    "brown dog and brown fox",
    "the end",
];

fn plain_count<'a>(lines: impl IntoIterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::new();
    for word in lines.into_iter().flat_map(str::split_whitespace) {
        *counts.entry(word.to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Counts are right, go on after a restart with local state, and after a restart without.
#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_after_a_restart_and_after_the_state_is_lost() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 3).await;
    cluster.create_topic(&output, 2).await;

    let mut expected = Vec::new();
    for round in 0..3 {
        let state = if round == 2 { "another" } else { "state" };
        let config = cluster.config_in("app", state);
        let streams = run(word_count(&input, &output), config).await;
        for _ in 0..=round {
            cluster.produce_lines(&input, LINES);
            expected.extend(LINES);
        }
        cluster.wait_for_counts(&output, &plain_count(expected.iter().copied())).await;
        close(&streams).await;
    }
    cluster.stop().await;
}

/// The changelog is the truth: when somebody deletes it, local state that isn't a part of it any more is not used. That it is lost is
/// the user's to accept.
#[tokio::test(flavor = "multi_thread")]
async fn local_state_that_its_changelog_does_not_know_is_not_used() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let streams = run(word_count(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["a a b"]);
    cluster.wait_for_counts(&output, &[("a".to_owned(), 2), ("b".to_owned(), 1)].into()).await;
    close(&streams).await;
    let changelog = format!("{}-counts-changelog", cluster.name("app"));
    cluster.delete_topic(&changelog).await;
    drop(streams);
    let streams = start(word_count(&input, &output), cluster.config("app")).await;
    let failure = failure_of(&streams).await;
    assert!(failure.contains(&changelog) && failure.contains("was deleted or cut"), "{failure}");
    end(&streams).await;
    streams.clean_up().unwrap();
    drop(streams);
    let streams = run(word_count(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["a c"]);
    cluster
        .wait_for_counts(&output, &[("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 1)].into())
        .await;
    close(&streams).await;
    cluster.stop().await;
}

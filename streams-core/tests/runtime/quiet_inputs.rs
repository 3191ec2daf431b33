//! Topics on which little happens: offsets that must not expire, repartition topics that must not grow.

use std::sync::Arc;
use std::time::Duration;

use kstreams_core::Topology;
use kstreams_embedded_broker::{BrokerConfig, Clock, ManualClock, SystemClock};
use kstreams_test_cluster::{Cluster, close, run, wait_for};

use crate::topologies::word_count;

/// Brokers forget offsets of topics outside a group's subscription by age, even while the group lives. Those of a quiet
/// topic that isn't its sub-topology's representative are committed again before that.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_quiet_topic_do_not_expire() {
    let clock = Arc::new(ManualClock::new(SystemClock.now_ms()));
    let config = BrokerConfig::new()
        .clock(clock.clone())
        .set("offsets.retention.minutes", "10")
        .unwrap()
        .set("offsets.retention.check.interval.ms", "50")
        .unwrap();
    // Needs a broker whose clock can be moved.
    let Some(cluster) = Cluster::owned("offsets of a quiet topic do not expire", config).await else {
        return;
    };
    let (busy, quiet, output) = (cluster.name("a-busy"), cluster.name("b-quiet"), cluster.name("out"));
    cluster.create_topic(&busy, 2).await;
    cluster.create_topic(&quiet, 1).await;
    cluster.create_topic(&output, 1).await;
    cluster.produce_lines(&quiet, ["once"]);
    let mut topology = Topology::new();
    topology.add_source::<(), String>("in", [busy.as_str(), quiet.as_str()]).unwrap();
    topology.add_sink::<(), String>("out", output.as_str(), &["in"]).unwrap();
    let recommit = Duration::from_millis(200);
    let config = cluster.config("app").offsets_recommit_interval(recommit);
    let streams = run(topology, config).await;
    let commit = async |topic: &str, offset| {
        wait_for("the committed offset", Some(offset), || cluster.committed("app", topic, 0)).await;
    };
    commit(&quiet, 1).await;
    // Four times the retention passes, in steps below it, each with a commit of unchanged offsets in between: when the
    // interval has passed, the next commit, here of the busy input, is one.
    for step in 1..=8 {
        clock.advance(5 * 60_000);
        tokio::time::sleep(recommit).await;
        cluster.produce_to(&busy, 0, &[("key", "again", step)]);
        commit(&busy, step).await;
        assert_eq!(cluster.committed("app", &quiet, 0), Some(1));
    }
    close(&streams).await;
    cluster.stop().await;
}

/// Committed records of repartition topics are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn repartition_topics_are_purged_of_committed_records() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let config = cluster.config("app").repartition_purge_interval(Duration::from_millis(200));
    let streams = run(word_count(&input, &output), config).await;
    cluster.produce_lines(&input, ["a b c"]);
    let repartition = format!("{}-words-repartition", cluster.name("app"));
    wait_for("start and end", (3, 3), || cluster.watermarks(&repartition, 0)).await;
    cluster
        .wait_for_counts(&output, &[("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 1)].into())
        .await;
    close(&streams).await;
    cluster.stop().await;
}

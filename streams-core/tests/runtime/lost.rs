//! Topics that lose what the application relies on: each has its message and its remedy, and nothing is lost in silence.

use kstreams_core::Topology;
use kstreams_core::config::AutoOffsetReset;
use kstreams_state_stores::Stores;
use kstreams_test_cluster::{Cluster, close, end, failure_of, run, start, wait_for, wait_until, warned};
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::topologies::{Count, Split, word_count};

async fn delete_records(cluster: &Cluster, topic: &str, before: i64) {
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(topic, 0, Offset::Offset(before)).unwrap();
    cluster.admin().delete_records(&gone, &AdminOptions::new()).await.unwrap();
}

fn copy(input: &str, output: &str) -> Topology {
    let mut topology = Topology::new();
    topology.add_source::<(), String>("in", input).unwrap();
    topology.add_sink::<(), String>("out", output, &["in"]).unwrap();
    topology
}

async fn wait_for_values(cluster: &Cluster, topic: &str, values: &[&str]) {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    wait_for("the output", values, || cluster.values(topic)).await;
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// Deleted while it runs: it stops and says so. Started again it doesn't go on with half of its state either.
#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_deleted_under_the_application() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("lines", 1).await, cluster.topic("counts", 1).await);
    let changelog = cluster.name("app-counts-changelog");
    let streams = run(word_count(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["a b a"]);
    cluster.wait_for_counts(&output, &[("a".to_owned(), 2), ("b".to_owned(), 1)].into()).await;
    wait_until("commit", || cluster.lag("app", &input) == 0).await;
    wait_until("changelog", || cluster.watermarks(&changelog, 0).1 > 0).await;
    cluster.delete_topic(&changelog).await;
    // A broker that makes topics on demand may be faster than the look at the metadata; then the next write tells.
    cluster.produce_lines(&input, ["a"]);
    let failure = failure_of(&streams).await;
    says(&failure, &[&changelog, "reset the application", "clean_up()"]);
    assert!(failure.contains("has vanished") || failure.contains("begun anew"), "{failure}");
    end(&streams).await;
    drop(streams);
    if cluster.partitions(&changelog) > 0 {
        // Made again on demand, while the instance closed: without its settings a start refuses it for that.
        cluster.delete_topic(&changelog).await;
    }

    let streams = start(word_count(&input, &output), cluster.config("app")).await;
    says(&failure_of(&streams).await, &[&changelog, "ends at offset 0", "was deleted or cut", "clean_up()"]);
    end(&streams).await;

    // The remedy for who can do without: what is counted from now on.
    streams.clean_up().unwrap();
    drop(streams);
    let streams = run(word_count(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["b"]);
    wait_until("commit", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    cluster.stop().await;
}

/// Deleted, and made again by a broker that creates topics on demand, between two looks at the metadata.
#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_that_begins_anew_under_the_application() {
    let Some(cluster) =
        Cluster::owned("a changelog that begins anew", kstreams_embedded_broker::BrokerConfig::new()).await
    else {
        return;
    };
    let (input, output) = (cluster.topic("lines", 1).await, cluster.topic("counts", 1).await);
    let changelog = cluster.name("app-counts-changelog");
    let config = cluster.config("app").set("metadata.max.age.ms", "300000");
    let streams = run(word_count(&input, &output), config).await;
    cluster.produce_lines(&input, ["a b a c d e f"]);
    wait_until("commit", || cluster.watermarks(&changelog, 0).1 >= 6).await;
    wait_until("commit", || cluster.lag("app", &cluster.name("app-words-repartition")) == 0).await;
    cluster.delete_topic(&changelog).await;
    cluster.produce_lines(&input, ["a"]);
    says(&failure_of(&streams).await, &[&changelog, "begun anew", "reset the application"]);
    end(&streams).await;
    cluster.stop().await;
}

/// Nobody knows any more how much was in it: the log says that a store begins empty that may not be new.
#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_deleted_together_with_the_local_state() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("lines", 1).await, cluster.topic("counts", 1).await);
    let changelog = cluster.name("app-counts-changelog");
    let streams = run(word_count(&input, &output), cluster.config_in("app", "first")).await;
    cluster.produce_lines(&input, ["a"]);
    cluster.wait_for_counts(&output, &[("a".to_owned(), 1)].into()).await;
    close(&streams).await;
    assert!(!warned(&[&changelog, "begins empty"]), "a new application is no reason to warn");
    cluster.delete_topic(&changelog).await;
    let streams = run(word_count(&input, &output), cluster.config_in("app", "second")).await;
    wait_until("warning", || warned(&[&changelog, "begins empty", "reset the application"])).await;
    close(&streams).await;
    cluster.stop().await;
}

/// Records deleted before they were processed, and a source that must not skip any.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_input_without_a_reset_policy() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let streams = run(copy(&input, &output), cluster.config("app")).await;
    cluster.produce_lines(&input, ["one"]);
    wait_for_values(&cluster, &output, &["one"]).await;
    close(&streams).await;
    drop(streams);
    cluster.produce_lines(&input, ["two", "three"]);
    delete_records(&cluster, &input, 2).await;
    let config = || cluster.config("app").auto_offset_reset(AutoOffsetReset::None);
    let streams = start(copy(&input, &output), config()).await;
    let failure = failure_of(&streams).await;
    says(&failure, &[&format!("{input}-0"), "auto.offset.reset", "none", "choose earliest or latest"]);
    end(&streams).await;
    drop(streams);
    assert_eq!(cluster.committed("app", &input, 0), Some(1), "nothing was skipped");

    // The remedy.
    let streams = run(copy(&input, &output), cluster.config("app")).await;
    wait_for_values(&cluster, &output, &["one", "three"]).await;
    close(&streams).await;
    cluster.stop().await;
}

/// A committed offset beyond the end: the topic was made anew, or the offset was set by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_committed_offset_beyond_the_end() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    cluster.produce_lines(&input, ["one", "two"]);
    let group: BaseConsumer = cluster.client().set("group.id", cluster.name("app")).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&input, 0, Offset::Offset(100)).unwrap();
    group.commit(&offsets, CommitMode::Sync).unwrap();
    drop(group);
    let streams = run(copy(&input, &output), cluster.config("app")).await;
    wait_for_values(&cluster, &output, &["one", "two"]).await;
    assert!(warned(&[&input, "committed=100", "ends before the offset that was committed"]));
    wait_until("commit", || cluster.committed("app", &input, 0) == Some(2)).await;
    close(&streams).await;
    cluster.stop().await;
}

/// Words of `input` counted in a store of the given name.
fn count_in(store: &str, input: &str, output: &str) -> Topology {
    let mut topology = Topology::new();
    topology.add_source::<(), String>("lines", input).unwrap();
    topology.add_processor("split", || Split, &["lines"]).unwrap();
    let name = store.to_owned();
    topology.add_processor("count", move || Count::in_store(&name), &["split"]).unwrap();
    topology.add_state_store(Stores::key_value::<String, i64>(store), &["count"]).unwrap();
    topology.add_sink::<String, i64>("to-counts", output, &["count"]).unwrap();
    topology
}

/// A store that the topology has no more is kept, one that is new begins empty, and both are told; back at the old topology
/// the old store goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_topology_with_other_stores_than_the_state_directory() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("lines", 1).await, cluster.topic("counts", 1).await);
    let state = cluster.dir("state").display().to_string();
    for (store, count) in [("old", 1), ("new", 1), ("old", 2)] {
        let streams = run(count_in(store, &input, &output), cluster.config("app")).await;
        cluster.produce_lines(&input, ["a"]);
        cluster.wait_for_counts(&output, &[("a".to_owned(), count)].into()).await;
        wait_until("commit", || cluster.lag("app", &input) == 0).await;
        close(&streams).await;
    }
    assert!(warned(&[&state, "old", "stores that the topology does not have"]));
    assert!(warned(&[&cluster.name("app-new-changelog"), "begins empty"]));
    cluster.stop().await;
}

//! Topics that are missing or not as the application needs them.

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, DEADLINE, end, failure_of, message_of, run, wait_until};
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};

use crate::topologies::{says, word_count};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_source_topic() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lnies"), cluster.name("counts"));
    let streams =
        KafkaStreams::new(word_count(&input, &output), cluster.config_in("app", state.path())).unwrap();
    let error = streams.start().await.unwrap_err();
    says(&message_of(&error), &[&format!("source topic {input} does not exist"), "create it"]);
    assert_eq!(streams.state(), State::Error);
    end(&streams).await;
    assert_eq!(cluster.partitions(&input), 0, "looking for it must not create it");

    // The remedy.
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    cluster.produce_lines(&input, ["a b a"]);
    let streams = run(word_count(&input, &output), cluster.config_in("app", state.path())).await;
    wait_until("the words are counted", || cluster.counts(&output).get("a") == Some(&2)).await;
    end(&streams).await;
    cluster.stop().await;
}

/// Tasks and stores are made by partition: going on would count one word in two places.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_under_a_running_application() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    cluster.create_topic(&output, 1).await;
    cluster.produce_lines(&input, ["a b a"]);
    let streams = run(word_count(&input, &output), cluster.config_in("app", state.path())).await;
    let more = NewPartitions::new(&input, 3);
    cluster.admin().create_partitions(&[more], &AdminOptions::new()).await.unwrap();
    let failure = failure_of(&streams).await;
    says(
        &failure,
        &[&input, "had 2 partitions and now has 3", "stop every instance", "reset the application"],
    );
    end(&streams).await;

    // Started again it doesn't go on in silence either: its internal topics have the old count.
    let streams =
        KafkaStreams::new(word_count(&input, &output), cluster.config_in("app", state.path())).unwrap();
    let error = streams.start().await.unwrap_err();
    says(&message_of(&error), &["has 2 partitions, the application needs 3", "clean_up()", "delete"]);
    end(&streams).await;
    let (counted, committed) = (cluster.counts(&output), cluster.committed("app", &input, 0));
    assert!(
        counted.get("a") == Some(&2) || committed.is_none(),
        "committed {committed:?}, counted {counted:?}"
    );
    assert_eq!(cluster.read_all(&input).len(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_with_the_wrong_partition_count() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    let changelog = cluster.name("app-counts-changelog");
    cluster.create_topic_with(&changelog, 3, &[("cleanup.policy", "compact")]).await;
    cluster.produce_values(&changelog, [(Some("kept".to_owned()), "value")]);
    let streams =
        KafkaStreams::new(word_count(&input, &output), cluster.config_in("app", state.path())).unwrap();
    let error = streams.start().await.unwrap_err();
    says(
        &message_of(&error),
        &[&format!("internal topic {changelog} has 3 partitions, the application needs 2"), "clean_up()"],
    );
    end(&streams).await;
    assert_eq!(cluster.partitions(&changelog), 3);
    assert_eq!(cluster.read_all(&changelog).len(), 1, "what is in it stays");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_with_the_wrong_cleanup_policy() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    cluster.produce_lines(&input, ["a b a"]);
    let changelog = cluster.name("app-counts-changelog");
    cluster.create_topic_with(&changelog, 1, &[("cleanup.policy", "delete")]).await;
    let streams =
        KafkaStreams::new(word_count(&input, &output), cluster.config_in("app", state.path())).unwrap();
    let error = streams.start().await.unwrap_err();
    let remedy = format!("kafka-configs --alter --entity-type topics --entity-name {changelog}");
    says(
        &message_of(&error),
        &[&format!("internal topic {changelog} has cleanup.policy=delete, expected compact"), &remedy],
    );
    end(&streams).await;

    // The remedy.
    let alter = AlterConfig::new(ResourceSpecifier::Topic(&changelog)).set("cleanup.policy", "compact");
    for answer in cluster.admin().alter_configs(&[alter], &AdminOptions::new()).await.unwrap() {
        answer.unwrap();
    }
    let streams = run(word_count(&input, &output), cluster.config_in("app", state.path())).await;
    wait_until("the words are counted", || cluster.counts(&output).get("a") == Some(&2)).await;
    end(&streams).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_topic_deleted_under_a_running_application() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let streams = run(word_count(&input, &output), cluster.config_in("app", state.path())).await;
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    cluster.admin().delete_topics(&[&input], &options).await.unwrap();
    says(&failure_of(&streams).await, &[&input, "create it again"]);
    end(&streams).await;
    cluster.stop().await;
}

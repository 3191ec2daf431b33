//! What a user gets for what is wrong: a message that names it and the remedy, in a bounded time.

use std::time::{Duration, Instant};

use kstreams_core::{KafkaStreams, State, StreamsConfig};
use kstreams_test_cluster::{Cluster, DEADLINE, close, failure_of, message_of, run};
use rdkafka::admin::{AdminOptions, NewPartitions};

use crate::topologies::word_count;

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_at_the_address() {
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::new("app", "127.0.0.1:1")
        .state_dir(state.path())
        .default_api_timeout(Duration::from_secs(2));
    let streams = KafkaStreams::new(word_count("in", "out"), config).unwrap();
    let start = Instant::now();
    let error = streams.start().await.unwrap_err();
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    assert!(
        message_of(&error).contains("127.0.0.1:1") && message_of(&error).contains("bootstrap.servers"),
        "{}",
        message_of(&error)
    );
    assert_eq!(streams.state(), State::Error);
    assert!(streams.close(DEADLINE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_source_topic() {
    let cluster = Cluster::start().await;
    let input = cluster.name("misspelt");
    let streams = KafkaStreams::new(word_count(&input, "out"), cluster.config("app")).unwrap();
    let error = streams.start().await.unwrap_err();
    assert!(error.to_string().contains(&input) && error.to_string().contains("create it"), "{error}");
    assert_eq!(streams.state(), State::Error);
    assert_eq!(cluster.partitions(&input), 0, "asking for it must not create it");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_with_the_wrong_partition_count() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    let changelog = format!("{}-counts-changelog", cluster.name("app"));
    cluster.create_topic(&changelog, 3).await;
    let streams = KafkaStreams::new(word_count(&input, &output), cluster.config("app")).unwrap();
    let error = streams.start().await.unwrap_err();
    assert!(message_of(&error).contains(&changelog), "{}", message_of(&error));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_another_instance_uses() {
    let state = tempfile::tempdir().unwrap();
    let config = || StreamsConfig::new("app", "127.0.0.1:1").state_dir(state.path());
    let first = KafkaStreams::new(word_count("in", "out"), config()).unwrap();
    let error = KafkaStreams::new(word_count("in", "out"), config()).unwrap_err();
    assert!(message_of(&error).contains("app"), "{}", message_of(&error));
    close(&first).await;
    KafkaStreams::new(word_count("in", "out"), config()).expect("a closed instance has let go of it");
}

/// Tasks and stores are made by partition: going on would give wrong results on some instances.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_under_a_running_application() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    cluster.create_topic(&output, 1).await;
    let config = cluster.config("app").set("metadata.max.age.ms", "500");
    let streams = run(word_count(&input, &output), config).await;
    let more = NewPartitions::new(&input, 3);
    cluster.admin().create_partitions(&[more], &AdminOptions::new()).await.unwrap();
    let failure = failure_of(&streams).await;
    assert!(failure.contains(&input) && failure.contains('3') && failure.contains("reset"), "{failure}");
    assert!(streams.close(DEADLINE).await);
    cluster.stop().await;
}

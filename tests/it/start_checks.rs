//! What stands in the way of exactly-once is said at the start, with what to do about it.

use std::time::Duration;

use kstreams::embedded::BrokerConfig;
use kstreams::embedded::fault::{ApiKey, Fault, ResponseError};
use kstreams::prelude::*;
use kstreams_test_cluster::{
    Cluster, DEADLINE, close, failure_of, instance_config, message_of, run, say, wait_for_state, wait_until,
    warned,
};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;

fn copy(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(input).to(output);
    builder.build().unwrap()
}

fn exactly_once(config: StreamsConfig) -> StreamsConfig {
    config.set("processing.guarantee", "exactly_once_v2").set("client.id", "checked")
}

/// The name that faults know the transactional producer by.
const PRODUCER: &str = "checked-StreamThread-1-producer";

/// What a start says when the brokers refuse this request of the transactional producer.
async fn refused_at_start(api: ApiKey, error: ResponseError) -> String {
    let Some(mut cluster) = Cluster::owned("requests are refused", BrokerConfig::new()).await else {
        return String::new();
    };
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let broker = cluster.take_broker();
    let refused = broker.faults().inject(Fault::refuse(error).api(api).client(PRODUCER));
    let streams = KafkaStreams::new(copy(&input, &output), exactly_once(cluster.config("app"))).unwrap();
    let message = message_of(&streams.start().await.unwrap_err());
    assert_eq!(streams.state(), State::Error);
    assert!((1..=3).contains(&refused.hits()), "asked {} times", refused.hits());
    drop(streams);
    broker.shutdown().await.unwrap();
    message
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    // Empty where the tests run on a cluster that has no faults.
    for part in parts.iter().filter(|_| !message.is_empty()) {
        assert!(message.contains(part), "{part} is missing: {message}");
    }
}

/// Apache Kafka looks at the right to describe when the coordinator is looked for, and at that to write when the id is
/// taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_id_that_the_user_may_not_use() {
    for api in [ApiKey::FindCoordinator, ApiKey::InitProducerId] {
        let message = refused_at_start(api, ResponseError::TransactionalIdAuthorizationFailed).await;
        says(&message, &["Describe and Write", "kafka-acls --transactional-id", "-app-"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_the_user_may_not_write_idempotently() {
    let message = refused_at_start(ApiKey::InitProducerId, ResponseError::ClusterAuthorizationFailed).await;
    says(&message, &["IdempotentWrite", "kafka-acls --cluster"]);
}

/// The right is taken away while the application runs: it stops with the reason after `task.timeout.ms`, and does not ask
/// without pause meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away() {
    let Some(mut cluster) = Cluster::owned("a right is taken away", BrokerConfig::new()).await else {
        return;
    };
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let config = exactly_once(cluster.config("app")).task_timeout(Duration::from_secs(2));
    let streams = run(copy(&input, &output), config).await;
    let broker = cluster.take_broker();
    let error = ResponseError::TransactionalIdAuthorizationFailed;
    let refused =
        broker.faults().inject(Fault::refuse(error).api(ApiKey::AddPartitionsToTxn).client(PRODUCER));
    cluster.produce(&input, &[("k", "never", 1)]);
    wait_for_state(&streams, State::Error).await;
    let failure = failure_of(&streams).await;
    says(&failure, &["task.timeout.ms", "TransactionalIdAuthorizationFailed"]);
    assert!((1..30).contains(&refused.hits()), "asked {} times", refused.hits());
    drop(streams);
    broker.shutdown().await.unwrap();
}

/// What a start on these brokers says; it must not succeed.
async fn start_on(brokers: &MockCluster<'static, rdkafka::producer::DefaultProducerContext>) -> String {
    brokers.create_topic("in", 1, 1).unwrap();
    brokers.create_topic("out", 1, 1).unwrap();
    let state = tempfile::tempdir().unwrap();
    let config = exactly_once(instance_config("app", &brokers.bootstrap_servers(), state.path()));
    let streams = KafkaStreams::new(copy("in", "out"), config).unwrap();
    let message = message_of(&streams.start().await.unwrap_err());
    assert_eq!(streams.state(), State::Error);
    message
}

/// Before Apache Kafka 2.5 offsets in a transaction carried no generation: the brokers could not fence an instance that was
/// left behind, so they are refused.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_older_than_exactly_once_v2() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.apiversion(RDKafkaApiKey::TxnOffsetCommit, Some(0), Some(2)).unwrap();
    says(&start_on(&brokers).await, &["too old", "Apache Kafka 2.5", "up to 2", "at_least_once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_older_than_transactions() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.apiversion(RDKafkaApiKey::TxnOffsetCommit, None, None).unwrap();
    brokers.apiversion(RDKafkaApiKey::InitProducerId, None, None).unwrap();
    says(&start_on(&brokers).await, &["no transactions", "Apache Kafka 2.5", "at_least_once"]);
}

/// Three brokers that keep one copy of what the application writes.
#[tokio::test(flavor = "multi_thread")]
async fn one_copy_on_several_brokers() {
    let brokers = MockCluster::new(3).unwrap();
    brokers.create_topic("in", 1, 1).unwrap();
    brokers.create_topic("the-only-copy", 1, 1).unwrap();
    let state = tempfile::tempdir().unwrap();
    let config = exactly_once(instance_config("app", &brokers.bootstrap_servers(), state.path()));
    let streams = KafkaStreams::new(copy("in", "the-only-copy"), config).unwrap();
    streams.start().await.unwrap();
    assert!(warned(&["one copy only", "the-only-copy", "replication factor 3"]));
    streams.close(DEADLINE).await;
}

/// A topic with several copies, of which one is enough for an acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn one_acknowledgement_for_several_copies() {
    let cluster = Cluster::start().await;
    if cluster.brokers() < 2 {
        say(
            "SKIPPED: one acknowledgement for several copies (it needs several brokers: set KAFKA_BOOTSTRAP_SERVERS)",
        );
        return;
    }
    let (input, output) = (cluster.topic("in", 1).await, cluster.name("out"));
    let copies = NewTopic::new(&output, 1, TopicReplication::Fixed(2)).set("min.insync.replicas", "1");
    cluster.admin().create_topics(&[copies], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let streams = run(copy(&input, &output), exactly_once(cluster.config("app"))).await;
    assert!(warned(&["when one broker has it", &output, "min.insync.replicas 2"]));
    close(&streams).await;
    cluster.stop().await;
}

/// A step whose attempts may take longer than the transaction that waits for them, and one whose may not.
#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_step_that_may_outlast_its_transaction() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let builder = StreamsBuilder::new();
    let options = AsyncOptions::new().with_timeout(Duration::from_secs(4));
    builder
        .stream::<String, String>(input.as_str())
        .map_values_async_with(options.clone(), |value| async move { Ok(value) }, "quick-step")
        .map_values_async_with(options.with_retries(2), |value| async move { Ok(value) }, "slow-step")
        .to(output.as_str());
    let streams = run(builder.build().unwrap(), exactly_once(cluster.config("app"))).await;
    wait_until("the warning", || warned(&["slow-step", "AsyncOptions", "producer.transaction.timeout.ms"]))
        .await;
    assert!(!warned(&["quick-step", "AsyncOptions"]));
    close(&streams).await;
    cluster.stop().await;
}

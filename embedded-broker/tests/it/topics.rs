//! Creating, growing and deleting topics.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    MetadataRequest,
};
use kstreams_embedded_broker::BrokerConfig;

use crate::support::{Broker, Client, disk_use, eventually, new_topic, topic_name};

const UNKNOWN_TOPIC: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const TOPIC_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;

fn metadata(client: &mut Client, name: &str, create: bool) -> MetadataResponseTopic {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create);
    client.ask(12, &request).topics[0].clone()
}

fn delete(client: &mut Client, name: &str) -> i16 {
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    client.ask(6, &DeleteTopicsRequest::default().with_topics(vec![topic])).responses[0].error_code
}

#[test]
fn metadata_creates_a_topic_only_when_client_and_broker_allow_it() {
    let broker = Broker::start_with(BrokerConfig::new().set("num.partitions", "3").unwrap());
    let mut client = broker.connect();
    assert_eq!(metadata(&mut client, "t", false).error_code, UNKNOWN_TOPIC);
    let created = metadata(&mut client, "t", true);
    assert_eq!((created.error_code, created.partitions.len()), (0, 3));
    assert_eq!(metadata(&mut client, "t", false), created);
    assert_eq!(metadata(&mut client, "not/legal", true).error_code, INVALID_TOPIC);

    let refusing = Broker::start_with(BrokerConfig::new().set("auto.create.topics.enable", "false").unwrap());
    assert_eq!(metadata(&mut refusing.connect(), "t", true).error_code, UNKNOWN_TOPIC);
}

#[test]
fn metadata_names_the_address_bound_and_the_topic_by_id() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let id = metadata(&mut client, "t", true).topic_id;
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let response = client.ask(12, &MetadataRequest::default().with_topics(Some(vec![topic])));
    assert_eq!(response.topics[0].name, Some(topic_name("t")));
    let node = &response.brokers[0];
    assert_eq!(format!("{}:{}", &*node.host, node.port), broker.address);
    let cluster = client.ask(1, &DescribeClusterRequest::default());
    assert_eq!(Some(cluster.cluster_id), response.cluster_id);
    assert_eq!(cluster.brokers[0].broker_id, node.node_id);
}

#[test]
fn what_cannot_be_created_says_why() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 2, &[]), 0);
    assert_eq!(client.create_topic("t", 2, &[]), TOPIC_EXISTS);
    assert_eq!(client.create_topic("a.b", 1, &[]), 0);
    assert_eq!(client.create_topic("a_b", 1, &[]), INVALID_TOPIC);
    assert_eq!(client.create_topic("", 1, &[]), INVALID_TOPIC);
    assert_eq!(client.create_topic("..", 1, &[]), INVALID_TOPIC);
    assert_eq!(client.create_topic("zero", 0, &[]), INVALID_PARTITIONS);
    assert_eq!(client.create_topic("u", 1, &[("retention", "1")]), INVALID_CONFIG);
    assert_eq!(client.create_topic("u", 1, &[("retention.ms", "soon")]), INVALID_CONFIG);
    assert_eq!(client.create_topic("u", 1, &[("retention.ms", "-2")]), INVALID_CONFIG);

    let mut ask = |topics| client.ask(7, &CreateTopicsRequest::default().with_topics(topics)).topics;
    let replicated = ask(vec![new_topic("r", 1, &[]).with_replication_factor(3)]);
    assert_eq!(replicated[0].error_code, INVALID_REPLICATION_FACTOR);
    assert!(replicated[0].error_message.as_ref().unwrap().contains("only 1 broker"));
    let twice = ask(vec![new_topic("d", 1, &[]), new_topic("d", 1, &[]), new_topic("fine", 1, &[])]);
    assert_eq!(twice.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [INVALID_REQUEST, 0]);
    let assigned = |node: i32| {
        let assignment =
            CreatableReplicaAssignment::default().with_partition_index(0).with_broker_ids(vec![node.into()]);
        vec![new_topic("by-hand", -1, &[]).with_assignments(vec![assignment])]
    };
    assert_eq!(ask(assigned(7))[0].error_code, INVALID_REPLICA_ASSIGNMENT);
    assert_eq!(ask(assigned(1))[0].error_code, 0);
}

#[test]
fn a_check_without_creating_creates_nothing() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let request =
        CreateTopicsRequest::default().with_validate_only(true).with_topics(vec![new_topic("t", 4, &[])]);
    let result = client.ask(7, &request).topics[0].clone();
    assert_eq!((result.error_code, result.num_partitions), (0, 4));
    assert_eq!(metadata(&mut client, "t", false).error_code, UNKNOWN_TOPIC);
}

#[test]
fn topics_grow_but_do_not_shrink() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    let mut grow = |count| {
        let topic = CreatePartitionsTopic::default().with_name(topic_name("t")).with_count(count);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic.with_assignments(None)]);
        client.ask(3, &request).results[0].error_code
    };
    assert_eq!(grow(5), 0);
    assert_eq!(grow(5), INVALID_PARTITIONS);
    assert_eq!(grow(1), INVALID_PARTITIONS);
    assert_eq!(client.produce("t", 4, &["x"]).error_code, 0);
    assert_eq!(client.produce("t", 5, &["x"]).error_code, UNKNOWN_TOPIC);
}

#[test]
fn deleting_a_topic_reclaims_its_disk_and_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    client.create_topic("t", 3, &[]);
    let first_id = metadata(&mut client, "t", false).topic_id;
    let value = "x".repeat(100_000);
    for _ in 0..20 {
        assert_eq!(client.produce("t", 1, &[&value]).error_code, 0);
    }
    assert!(disk_use(dir.path()) > 2_000_000);
    assert_eq!(delete(&mut client, "t"), 0);
    eventually("the files are gone", || disk_use(dir.path()) < 100_000);
    assert_eq!(delete(&mut client, "t"), UNKNOWN_TOPIC);
    assert_eq!(client.produce("t", 1, &["x"]).error_code, UNKNOWN_TOPIC);

    client.create_topic("t", 1, &[]);
    assert_ne!(metadata(&mut client, "t", false).topic_id, first_id);
    assert_eq!(client.fetch("t", 0, 0), Vec::<String>::new());
    assert_eq!(client.produce("t", 0, &["new"]).base_offset, 0);
}

#[test]
fn the_offsets_topic_belongs_to_the_broker() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert!(metadata(&mut client, "__consumer_offsets", false).is_internal);
    assert_eq!(delete(&mut client, "__consumer_offsets"), INVALID_TOPIC);
    assert_eq!(client.produce("__consumer_offsets", 0, &["x"]).error_code, INVALID_TOPIC);
}

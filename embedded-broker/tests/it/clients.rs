//! librdkafka: admin, producers of every codec, consumers in groups.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::support::{Broker, PATIENCE, block_on};

pub(crate) fn config(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address);
    config
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    config(broker).create().unwrap()
}

pub(crate) fn create(broker: &Broker, name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    block_on(admin(broker).create_topics([&topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
}

pub(crate) fn consumer(broker: &Broker, group: &str, extra: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(broker);
    config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    // Quick to notice each other.
    config.set("heartbeat.interval.ms", "100");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// Polls the consumers in turn until `done` has seen enough.
pub(crate) fn poll_until(
    consumers: &[&BaseConsumer],
    what: &str,
    mut done: impl FnMut(usize, Option<(i32, i64, String)>) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (at, consumer) in consumers.iter().enumerate() {
            let message = consumer.poll(Duration::from_millis(20)).map(|message| {
                let message = message.unwrap();
                let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                (message.partition(), message.offset(), value)
            });
            if done(at, message) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
    }
}

pub(crate) fn produce(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    values: impl Iterator<Item = String>,
) {
    for value in values {
        producer.send(BaseRecord::<(), str>::to(topic).partition(partition).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn every_codec_arrives_with_keys_timestamps_and_headers() {
    let broker = Broker::start();
    create(&broker, "t", 1);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer: BaseProducer = config(&broker)
            .set("compression.codec", codec)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()
            .unwrap();
        for number in 0..100 {
            let key = format!("{codec}-{number}");
            let headers = OwnedHeaders::new().insert(Header { key: "codec", value: Some(codec) });
            let payload = "payload ".repeat(20);
            let record = BaseRecord::to("t")
                .key(&key)
                .payload(&payload)
                .timestamp(1_700_000_000_000 + number)
                .headers(headers);
            producer.send(record).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }
    let consumer = consumer(&broker, "codecs", &[("check.crcs", "true")]);
    let mut all = TopicPartitionList::new();
    all.add_partition_offset("t", 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let mut seen = 0;
    let deadline = Instant::now() + PATIENCE;
    while seen < 500 {
        assert!(Instant::now() < deadline, "{seen} records");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][seen / 100];
        assert_eq!(message.offset(), seen as i64);
        assert_eq!(message.key(), Some(format!("{codec}-{}", seen % 100).as_bytes()));
        assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_000 + seen as i64 % 100));
        assert_eq!(message.headers().unwrap().get(0).value, Some(codec.as_bytes()));
        seen += 1;
    }
}

#[test]
fn the_admin_client_creates_grows_configures_and_deletes() {
    let broker = Broker::start();
    let admin = admin(&broker);
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    create(&broker, "t", 2);
    let again = NewTopic::new("t", 1, TopicReplication::Fixed(1));
    let refused = block_on(admin.create_topics([&again], &options)).unwrap()[0].clone().unwrap_err();
    assert_eq!(refused.1, RDKafkaErrorCode::TopicAlreadyExists);
    let replicated = NewTopic::new("r", 1, TopicReplication::Fixed(3));
    let refused = block_on(admin.create_topics([&replicated], &options)).unwrap()[0].clone().unwrap_err();
    assert_eq!(refused.1, RDKafkaErrorCode::InvalidReplicationFactor);

    block_on(admin.create_partitions([&NewPartitions::new("t", 5)], &options)).unwrap()[0].as_ref().unwrap();
    let metadata = admin.inner().fetch_metadata(Some("t"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 5);

    let change = AlterConfig::new(ResourceSpecifier::Topic("t")).set("retention.ms", "12345");
    block_on(admin.alter_configs([&change], &options)).unwrap()[0].as_ref().unwrap();
    let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic("t")], &options)).unwrap();
    let described = described[0].as_ref().unwrap();
    assert_eq!(described.get("retention.ms").unwrap().value.as_deref(), Some("12345"));

    block_on(admin.delete_topics(&["t"], &options)).unwrap()[0].as_ref().unwrap();
    let refused = block_on(admin.delete_topics(&["t"], &options)).unwrap()[0].clone().unwrap_err();
    assert_eq!(refused.1, RDKafkaErrorCode::UnknownTopicOrPartition);
}

#[test]
fn two_members_share_the_partitions_and_go_on_where_the_group_was() {
    for strategy in ["range", "cooperative-sticky"] {
        let broker = Broker::start();
        create(&broker, "t", 4);
        let producer: BaseProducer = config(&broker).create().unwrap();
        for partition in 0..4 {
            produce(&producer, "t", partition, (0..10).map(|number| format!("{partition}/{number}")));
        }
        let extra = [("partition.assignment.strategy", strategy)];
        let (first, second) = (consumer(&broker, "g", &extra), consumer(&broker, "g", &extra));
        first.subscribe(&["t"]).unwrap();
        let mut seen = HashMap::new();
        poll_until(&[&first], "the first member reads everything", |_, message| {
            seen.extend(message.map(|(partition, offset, value)| ((partition, offset), value)));
            seen.len() == 40
        });
        first.commit_consumer_state(CommitMode::Sync).unwrap();

        second.subscribe(&["t"]).unwrap();
        poll_until(&[&first, &second], "each member has two partitions", |_, message| {
            assert!(message.is_none(), "{strategy}: read again: {message:?}");
            [&first, &second].iter().all(|member| member.assignment().unwrap().count() == 2)
        });
        for partition in 0..4 {
            produce(&producer, "t", partition, (10..15).map(|number| format!("{partition}/{number}")));
        }
        let mut by_member = [0, 0];
        poll_until(&[&first, &second], "both members read", |at, message| {
            by_member[at] += usize::from(message.is_some());
            by_member == [10, 10]
        });
    }
}

#[test]
fn committed_offsets_survive_a_restart_and_go_with_their_topic() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    create(&broker, "t", 1);
    create(&broker, "gone", 1);
    let mut offsets = TopicPartitionList::new();
    for topic in ["t", "gone"] {
        offsets.add_partition_offset(topic, 0, Offset::Offset(42)).unwrap();
    }
    offsets.find_partition("t", 0).unwrap().set_metadata("note");
    consumer(&broker, "g", &[]).commit(&offsets, CommitMode::Sync).unwrap();
    block_on(admin(&broker).delete_topics(&["gone"], &AdminOptions::new())).unwrap();
    broker.stop();

    let broker = Broker::start_in(dir.path());
    let committed = consumer(&broker, "g", &[]).committed_offsets(offsets, PATIENCE).unwrap();
    let kept = committed.find_partition("t", 0).unwrap();
    assert_eq!((kept.offset(), kept.metadata()), (Offset::Offset(42), "note"));
    assert_eq!(committed.find_partition("gone", 0).unwrap().offset(), Offset::Invalid);
}

#[test]
fn a_consumer_waits_through_a_restart_of_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let address = broker.address.clone();
    create(&broker, "t", 1);
    let producer: BaseProducer = config(&broker).set("enable.idempotence", "true").create().unwrap();
    let consumer = consumer(&broker, "g", &[("reconnect.backoff.max.ms", "200")]);
    consumer.subscribe(&["t"]).unwrap();
    produce(&producer, "t", 0, ["before".to_owned()].into_iter());
    poll_until(&[&consumer], "the first record", |_, message| message.is_some());
    broker.stop();
    let broker = Broker::start_with(
        kstreams_embedded_broker::BrokerConfig::new().data_dir(dir.path()).listen(address),
    );
    produce(&producer, "t", 0, ["after".to_owned()].into_iter());
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the record after the restart");
        // Errors tell of the lost connection.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            assert_eq!((message.offset(), message.payload()), (1, Some(&b"after"[..])));
            break;
        }
    }
    broker.stop();
}

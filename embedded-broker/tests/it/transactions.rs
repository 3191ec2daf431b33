//! librdkafka's transactional producer: commit, abort, fencing, timeouts, offsets within a transaction.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use kstreams_embedded_broker::BrokerConfig;

use crate::support::{Broker, PATIENCE, eventually};

fn producer(address: &str, id: &str, timeout_ms: u32) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout_ms.to_string())
        .set("linger.ms", "1")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, values: impl IntoIterator<Item = String>) {
    for value in values {
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(&value)).unwrap();
    }
}

/// Reads a partition from its beginning.
fn reader(address: &str, topic: &str, isolation: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    consumer
}

/// Reads until the values are there; one too many fails.
fn expect(consumer: &BaseConsumer, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        assert!(Instant::now() < deadline, "only {seen:?} of {expected:?}");
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            seen.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
        }
    }
    assert_eq!(seen, expected);
}

fn expect_nothing(consumer: &BaseConsumer) {
    if let Some(message) = consumer.poll(Duration::from_millis(300)) {
        let message = message.unwrap();
        panic!("unexpected {:?} at {}", message.payload().map(String::from_utf8_lossy), message.offset());
    }
}

fn topic(broker: &Broker, name: &str) {
    assert_eq!(broker.connect().create_topic(name, 1, &[]), 0);
}

#[test]
fn committed_records_show_and_aborted_ones_do_not() {
    let broker = Broker::start();
    topic(&broker, "t");
    let producer = producer(&broker.address, "p", 60_000);
    let (committed, all) =
        (reader(&broker.address, "t", "read_committed"), reader(&broker.address, "t", "read_uncommitted"));

    producer.begin_transaction().unwrap();
    send(&producer, "t", ["a".to_owned(), "b".to_owned()]);
    producer.flush(PATIENCE).unwrap();
    expect(&all, &["a", "b"]);
    expect_nothing(&committed);
    producer.commit_transaction(PATIENCE).unwrap();
    expect(&committed, &["a", "b"]);

    producer.begin_transaction().unwrap();
    send(&producer, "t", ["dropped".to_owned()]);
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, "t", ["c".to_owned()]);
    producer.commit_transaction(PATIENCE).unwrap();
    expect(&committed, &["c"]);
    expect(&all, &["dropped", "c"]);
    // Who starts from the beginning is told of the abort too.
    expect(&reader(&broker.address, "t", "read_committed"), &["a", "b", "c"]);
}

#[test]
fn a_new_instance_fences_the_old_and_aborts_what_it_left() {
    let broker = Broker::start();
    topic(&broker, "t");
    let old = producer(&broker.address, "p", 60_000);
    old.begin_transaction().unwrap();
    send(&old, "t", ["old".to_owned()]);
    old.flush(PATIENCE).unwrap();
    let new = producer(&broker.address, "p", 60_000);
    new.begin_transaction().unwrap();
    send(&new, "t", ["new".to_owned()]);
    new.commit_transaction(PATIENCE).unwrap();
    match old.commit_transaction(PATIENCE) {
        Err(KafkaError::Transaction(error)) => {
            assert!(error.is_fatal());
            assert_eq!(error.code(), RDKafkaErrorCode::Fenced);
        }
        other => panic!("{other:?}"),
    }
    expect(&reader(&broker.address, "t", "read_committed"), &["new"]);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let config = BrokerConfig::new()
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "20")
        .unwrap()
        .set("transaction.max.timeout.ms", "2000")
        .unwrap();
    let broker = Broker::start_with(config);
    topic(&broker, "t");
    let slow = producer(&broker.address, "slow", 1000);
    slow.begin_transaction().unwrap();
    send(&slow, "t", ["slow".to_owned()]);
    slow.flush(PATIENCE).unwrap();
    let other = producer(&broker.address, "other", 1000);
    other.begin_transaction().unwrap();
    send(&other, "t", ["other".to_owned()]);
    other.commit_transaction(PATIENCE).unwrap();
    // It lies behind the slow one's records, so it shows only when that is over.
    expect(&reader(&broker.address, "t", "read_committed"), &["other"]);
    assert!(matches!(slow.commit_transaction(PATIENCE), Err(KafkaError::Transaction(_))));

    let greedy: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("transactional.id", "greedy")
        .set("transaction.timeout.ms", "2001")
        .create()
        .unwrap();
    match greedy.init_transactions(PATIENCE) {
        Err(KafkaError::Transaction(error)) => {
            assert_eq!(error.code(), RDKafkaErrorCode::InvalidTransactionTimeout);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_are_committed_with_the_transaction() {
    let broker = Broker::start();
    topic(&broker, "in");
    topic(&broker, "out");
    broker.connect().produce("in", 0, &["1", "2", "3"]);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("group.id", "g")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["in"]).unwrap();
    expect(&consumer, &["1", "2", "3"]);
    let producer = producer(&broker.address, "p", 60_000);
    let commit = |offset: i64, value: &str| {
        producer.begin_transaction().unwrap();
        send(&producer, "out", [value.to_owned()]);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("in", 0, Offset::Offset(offset)).unwrap();
        let member = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &member, PATIENCE).unwrap();
    };
    let committed = || {
        let mut asked = TopicPartitionList::new();
        asked.add_partition("in", 0);
        let offsets = consumer.committed_offsets(asked, Duration::from_secs(10));
        offsets.map(|offsets| offsets.find_partition("in", 0).unwrap().offset())
    };
    commit(1, "one");
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed().unwrap(), Offset::Offset(1));
    commit(2, "two");
    // librdkafka wants delivery reports to be read before an abort.
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(committed().unwrap(), Offset::Offset(1));
    commit(3, "three");
    // Whether the member may commit was judged when it did.
    consumer.unsubscribe();
    eventually("the group is empty", || {
        let groups = consumer.fetch_group_list(Some("g"), PATIENCE).unwrap();
        groups.groups().iter().all(|group| group.members().is_empty())
    });
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed().unwrap(), Offset::Offset(3));
    expect(&reader(&broker.address, "out", "read_committed"), &["one", "three"]);
}

//! Writing and reading records with plain clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Cluster, DEADLINE, wait_for};

/// The last count of each word.
pub type Counts = BTreeMap<String, i64>;

impl Cluster {
    /// Produces lines without key, in turn to each partition, and waits until they are acknowledged.
    pub fn produce_lines<L: AsRef<str>>(&self, topic: &str, lines: impl IntoIterator<Item = L>) {
        let partitions = self.partitions(topic);
        self.produce_all(|producer| {
            for (line, partition) in lines.into_iter().zip((0..partitions).cycle()) {
                send(producer, BaseRecord::<(), _>::to(topic).payload(line.as_ref()).partition(partition));
            }
        });
    }

    /// Produces keyed records with timestamps to partition 0.
    pub fn produce<V: ToBytes + ?Sized>(&self, topic: &str, records: &[(&str, &V, i64)]) {
        self.produce_to(topic, 0, records);
    }

    /// Produces keyed records with timestamps to one partition.
    pub fn produce_to<V: ToBytes + ?Sized>(&self, topic: &str, partition: i32, records: &[(&str, &V, i64)]) {
        self.produce_all(|producer| {
            for (key, value, timestamp) in records {
                let record = BaseRecord::to(topic).key(*key).payload(*value);
                send(producer, record.partition(partition).timestamp(*timestamp));
            }
        });
    }

    /// Produces values, some with keys, to partition 0.
    pub fn produce_values<V: AsRef<[u8]>>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Option<String>, V)>,
    ) {
        self.produce_all(|producer| {
            for (key, value) in records {
                let mut record = BaseRecord::<str, [u8]>::to(topic).partition(0).payload(value.as_ref());
                record.key = key.as_deref();
                send(producer, record);
            }
        });
    }

    fn produce_all(&self, records: impl FnOnce(&BaseProducer)) {
        let producer = self.producer.get_or_init(|| {
            let mut config = self.client();
            config.set("linger.ms", "5").set("enable.idempotence", "true").create().unwrap()
        });
        records(producer);
        producer.flush(DEADLINE).unwrap();
    }

    /// Everything that is in a topic now, partition by partition in the partition's order.
    pub fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let mut config = self.client();
        config.set("group.id", self.name("reader")).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create().unwrap();
        let partitions = self.partitions(topic);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut ended, mut messages) = (0, Vec::new());
        let deadline = Instant::now() + DEADLINE;
        while ended < partitions {
            assert!(Instant::now() < deadline, "reading {topic} takes too long");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => messages.push(message.detach()),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                // A broker that comes back.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => {}
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => {}
            }
        }
        messages.sort_by_key(Message::partition);
        messages
    }

    /// The last value of each key of a topic with text keys and `i64` values.
    pub fn counts(&self, topic: &str) -> Counts {
        let decode = |message: &OwnedMessage| {
            (key(message), i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()))
        };
        self.read_all(topic).iter().map(decode).collect()
    }

    /// Checks that no count in `topic` was written twice or after a greater one, among committed records; `all`: and that none is
    /// missing from 1 to the last.
    pub fn each_count_once(&self, topic: &str, all: bool) {
        let mut last = Counts::new();
        for message in self.read_all(topic) {
            let (key, count) =
                (key(&message), i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()));
            let before = last.insert(key.clone(), count).unwrap_or(0);
            let follows = if all { count == before + 1 } else { count > before };
            assert!(follows, "{key} is {count} after {before} at offset {}", message.offset());
        }
    }

    /// Waits until the last counts in `topic` are `expected`.
    pub async fn wait_for_counts(&self, topic: &str, expected: &Counts) {
        wait_for(&format!("the counts in {topic}"), expected.clone(), || self.counts(topic)).await;
    }

    /// The values of a topic of texts.
    pub fn values(&self, topic: &str) -> Vec<String> {
        self.read_all(topic).iter().map(value).collect()
    }

    /// The keys and values of a topic of texts.
    pub fn texts(&self, topic: &str) -> Vec<(String, String)> {
        self.read_all(topic).iter().map(|message| (key(message), value(message))).collect()
    }
}

/// The key as text.
pub fn key(message: &OwnedMessage) -> String {
    String::from_utf8(message.key().unwrap().to_vec()).unwrap()
}

/// The value as text.
pub fn value(message: &OwnedMessage) -> String {
    String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
}

fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(producer: &BaseProducer, mut record: BaseRecord<'_, K, V>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

//! Reading whole topics.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::scenario::Row;

pub const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(10);

/// A consumer that commits nothing and joins nothing.
pub fn consumer(bootstrap: &str, group: &str, committed: bool) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" })
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap()
}

pub fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32, String> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST);
    let metadata = metadata.map_err(|error| format!("metadata of {topic}: {error}"))?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    Ok(i32::try_from(partitions).unwrap())
}

/// Everything in a topic, partition by partition in its order.
pub fn read(bootstrap: &str, topic: &str, committed: bool) -> Result<Vec<Row>, String> {
    let consumer = consumer(bootstrap, "kstreams-chaos-reader", committed);
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    read_on(&consumer, &list)
}

/// Everything from the given offsets to the ends as they are now.
pub fn read_on(consumer: &BaseConsumer, from: &TopicPartitionList) -> Result<Vec<Row>, String> {
    consumer.assign(from).unwrap();
    let (mut ended, mut rows) = (BTreeSet::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while ended.len() < from.count() {
        if Instant::now() > deadline {
            return Err(format!("reading {from:?} takes too long"));
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => rows.push(Row {
                partition: message.partition(),
                offset: message.offset(),
                key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                raw_key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().map(<[u8]>::to_vec),
                timestamp: message.timestamp().to_millis().unwrap_or(-1),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            // A connection that comes back.
            Some(Err(_)) | None => {}
        }
    }
    consumer.unassign().unwrap();
    rows.sort_by_key(|row| (row.partition, row.offset));
    Ok(rows)
}

/// The start and the end of a partition, in the isolation of the consumer.
pub fn ends(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64), String> {
    consumer
        .fetch_watermarks(topic, partition, REQUEST)
        .map_err(|error| format!("ends of {topic}-{partition}: {error}"))
}

/// What a group has committed for a topic; partitions without an offset are left out.
pub fn committed(consumer: &BaseConsumer, topic: &str) -> Result<Vec<(i32, i64)>, String> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions(consumer, topic)? {
        list.add_partition(topic, partition);
    }
    let answer = consumer.committed_offsets(list, REQUEST);
    let answer = answer.map_err(|error| format!("committed offsets of {topic}: {error}"))?;
    let elements = answer.elements();
    Ok(elements
        .iter()
        .filter_map(|element| {
            Some((element.partition(), element.offset().to_raw().filter(|offset| *offset >= 0)?))
        })
        .collect())
}

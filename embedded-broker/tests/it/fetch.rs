//! Producing and fetching in raw frames: offsets, limits, waiting, sessions, epochs.

use std::time::{Duration, Instant};

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeLogDirsRequest, InitProducerIdRequest, ListOffsetsRequest,
    OffsetForLeaderEpochRequest, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::{
    Broker, Client, PATIENCE, batch, fetch_request, produce_request, producer_batch, topic_name, values,
};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC: i16 = 3;
const INVALID_REQUIRED_ACKS: i16 = 21;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const POLICY_VIOLATION: i16 = 44;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const INVALID_RECORD: i16 = 87;

fn list_offset(client: &mut Client, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let response =
        client.ask(7, &ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]));
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset, found.timestamp)
}

#[test]
fn what_was_produced_is_fetched_from_any_offset() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, &["a", "b"]).base_offset, 0);
    assert_eq!(client.produce("t", 0, &["c"]).base_offset, 2);
    assert_eq!(client.fetch("t", 0, 0), ["a", "b", "c"]);
    assert_eq!(
        client.fetch("t", 0, 1),
        ["a", "b", "c"],
        "whole batches: the client skips what it did not ask for"
    );
    assert_eq!(client.fetch("t", 0, 2), ["c"]);
    assert_eq!(client.fetch("t", 0, 3), Vec::<String>::new());
    let response = client.ask(12, &fetch_request("t", 0, 4, 0));
    assert_eq!(response.responses[0].partitions[0].error_code, OFFSET_OUT_OF_RANGE);
    let response = client.ask(12, &fetch_request("t", 7, 0, 0));
    assert_eq!(response.responses[0].partitions[0].error_code, UNKNOWN_TOPIC);
}

#[test]
fn every_produce_and_fetch_version_works() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    for version in 3..=12 {
        let response = client.ask(version, &produce_request("t", 0, batch(&["v"]), -1));
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "produce v{version}");
    }
    for version in 4..=12 {
        let mut request = fetch_request("t", 0, 0, 0);
        if version < 7 {
            request.session_epoch = -1;
        }
        let response = client.ask(version, &request);
        assert_eq!(
            values(response.responses[0].partitions[0].records.clone().unwrap()).len(),
            10,
            "fetch v{version}"
        );
    }
}

#[test]
fn a_fetch_waits_for_the_first_record_and_no_longer_than_it_said() {
    let broker = Broker::start();
    let (mut waiting, mut producing) = (broker.connect(), broker.connect());
    waiting.create_topic("t", 2, &[]);
    waiting.send(12, &fetch_request("t", 1, 0, PATIENCE.as_millis() as i32));
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    // The other partition's records wake nobody.
    producing.produce("t", 0, &["elsewhere"]);
    producing.produce("t", 1, &["here"]);
    let response = waiting.receive::<FetchRequest>(12);
    assert_eq!(values(response.responses[0].partitions[0].records.clone().unwrap()), ["here"]);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());

    let start = Instant::now();
    let response = waiting.ask(12, &fetch_request("t", 1, 1, 120));
    assert_eq!(response.responses[0].partitions[0].records.as_ref().unwrap().len(), 0);
    assert!(
        start.elapsed() >= Duration::from_millis(120) && start.elapsed() < PATIENCE / 2,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_fetch_waits_until_min_bytes_are_there() {
    let broker = Broker::start();
    let (mut waiting, mut producing) = (broker.connect(), broker.connect());
    waiting.create_topic("t", 1, &[]);
    waiting.send(
        12,
        &fetch_request("t", 0, 0, PATIENCE.as_millis() as i32).with_min_bytes(3 * batch(&["x"]).len() as i32),
    );
    for _ in 0..3 {
        producing.produce("t", 0, &["x"]);
    }
    let response = waiting.receive::<FetchRequest>(12);
    assert_eq!(values(response.responses[0].partitions[0].records.clone().unwrap()).len(), 3);
}

#[test]
fn a_batch_larger_than_every_limit_still_gets_through() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let large = "x".repeat(10_000);
    client.produce("t", 0, &[&large]);
    client.produce("t", 0, &["second"]);
    let mut request = fetch_request("t", 0, 0, 0).with_max_bytes(100);
    request.topics[0].partitions[0].partition_max_bytes = 100;
    let response = client.ask(12, &request);
    assert_eq!(values(response.responses[0].partitions[0].records.clone().unwrap()), [large]);
}

#[test]
fn fetch_sessions_are_refused_by_id_0() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let response = client.ask(12, &fetch_request("t", 0, 0, 0).with_session_epoch(0));
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let response = client.ask(12, &fetch_request("t", 0, 0, 0).with_session_id(5).with_session_epoch(1));
    assert_eq!(response.error_code, FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn a_producer_without_acks_hears_nothing_until_something_is_wrong() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    client.send(9, &produce_request("t", 0, batch(&["a"]), 0));
    // The next answer is the fetch's: there was none before.
    assert_eq!(client.fetch("t", 0, 0), ["a"]);
    client.send(9, &produce_request("none", 0, batch(&["a"]), 0));
    assert!(client.receive_frame().is_none(), "the connection is closed");
    let response = broker.connect().ask(9, &produce_request("t", 0, batch(&["a"]), 5));
    assert_eq!(response.responses[0].partition_responses[0].error_code, INVALID_REQUIRED_ACKS);
}

#[test]
fn damaged_and_missing_batches_are_refused() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce_bytes("t", 0, damaged.into()).error_code, CORRUPT_MESSAGE);
    assert_eq!(client.produce_bytes("t", 0, bytes::Bytes::new()).error_code, INVALID_RECORD);
    assert_eq!(client.produce("t", 0, &["good"]).base_offset, 0);
}

#[test]
fn an_idempotent_producers_repeat_gets_the_first_offset_and_a_gap_is_refused() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    let id = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).producer_id.0;
    let other = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).producer_id.0;
    assert_ne!(id, other);
    let first = producer_batch(&["a", "b"], id, 0, 0);
    assert_eq!(client.produce_bytes("t", 0, first.clone()).base_offset, 0);
    let repeat = client.produce_bytes("t", 0, first);
    assert_eq!((repeat.error_code, repeat.base_offset), (0, 0));
    let gap = client.produce_bytes("t", 0, producer_batch(&["d"], id, 0, 3));
    assert_eq!(gap.error_code, OUT_OF_ORDER_SEQUENCE);
    assert_eq!(client.produce_bytes("t", 0, producer_batch(&["c"], id, 0, 2)).base_offset, 2);
    assert_eq!(client.fetch("t", 0, 0), ["a", "b", "c"]);
}

#[test]
fn transactional_producers_are_turned_away() {
    let broker = Broker::start();
    let id = TransactionalId(StrBytes::from_static_str("tx"));
    let response = broker.connect().ask(4, &InitProducerIdRequest::default().with_transactional_id(Some(id)));
    assert_ne!(response.error_code, 0);
}

#[test]
fn offsets_are_listed_by_place_and_by_time() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(list_offset(&mut client, -1), (0, 0, -1));
    assert_eq!(list_offset(&mut client, -3), (0, -1, -1));
    client.produce("t", 0, &["a", "b"]);
    std::thread::sleep(Duration::from_millis(5));
    client.produce("t", 0, &["c"]);
    assert_eq!(list_offset(&mut client, -2), (0, 0, -1));
    assert_eq!(list_offset(&mut client, -1), (0, 3, -1));
    let (error, offset, newest) = list_offset(&mut client, -3);
    assert_eq!((error, offset), (0, 2));
    assert_eq!(list_offset(&mut client, newest), (0, 2, newest));
    assert_eq!(list_offset(&mut client, 0).1, 0);
    assert_eq!(list_offset(&mut client, newest + 1), (0, -1, -1));
}

#[test]
fn deleted_records_are_gone_for_readers() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    for _ in 0..4 {
        client.produce("t", 0, &["x"]);
    }
    let mut delete = |topic: &str, offset| {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic =
            DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let response = client.ask(2, &DeleteRecordsRequest::default().with_topics(vec![topic]));
        (response.topics[0].partitions[0].error_code, response.topics[0].partitions[0].low_watermark)
    };
    assert_eq!(delete("t", 3), (0, 3));
    assert_eq!(delete("t", 1), (0, 3), "the start does not move back");
    assert_eq!(delete("t", 5), (OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete("compacted", 0), (POLICY_VIOLATION, -1));
    assert_eq!(delete("t", -1), (0, 4));
    assert_eq!(list_offset(&mut client, -2), (0, 4, -1));
    let response = client.ask(12, &fetch_request("t", 0, 2, 0));
    assert_eq!(response.responses[0].partitions[0].error_code, OFFSET_OUT_OF_RANGE);
}

#[test]
fn there_is_one_leader_epoch() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    let mut end = |current, epoch| {
        let partition =
            OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
        let request =
            OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let found = client.ask(4, &request).topics[0].partitions[0].clone();
        (found.error_code, found.leader_epoch, found.end_offset)
    };
    assert_eq!(end(-1, 0), (0, 0, 1));
    assert_eq!(end(0, 3), (0, -1, -1));
    assert_eq!(end(2, 0).0, UNKNOWN_LEADER_EPOCH);
}

#[test]
fn log_dirs_tell_the_size_on_disk() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    client.produce("t", 1, &["some bytes"]);
    let response = client.ask(4, &DescribeLogDirsRequest::default().with_topics(None));
    let topics = &response.results[0].topics;
    let sizes: Vec<i64> = topics
        .iter()
        .find(|topic| topic.name == topic_name("t"))
        .unwrap()
        .partitions
        .iter()
        .map(|partition| partition.partition_size)
        .collect();
    assert_eq!(sizes[0], 0);
    assert!(sizes[1] > 60, "{sizes:?}");
}

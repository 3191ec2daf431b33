//! Starting, stopping, starting again.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::{ApiVersionsRequest, InitProducerIdRequest, MetadataRequest};
use kstreams_embedded_broker::{BrokerConfig, BrokerError, EmbeddedBroker};

use crate::support::{
    Broker, Client, PATIENCE, block_on, disk_use, eventually, fetch_request, frame, keyed_batch, topic_name,
};

#[test]
fn the_first_request_is_answered_soon_after_the_start() {
    // The fastest of many, as others use the machine too.
    let fast = Duration::from_millis(100);
    eventually("an answer within 100 ms of the start", || {
        let start = Instant::now();
        let broker = Broker::start();
        assert_eq!(broker.connect().ask(3, &ApiVersionsRequest::default()).error_code, 0);
        start.elapsed() < fast
    });
}

#[test]
fn data_survives_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    client.produce("t", 1, &["a", "b"]);
    let id = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).producer_id;
    broker.stop();

    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    assert_eq!(client.fetch("t", 1, 0), ["a", "b"]);
    assert_eq!(client.produce("t", 1, &["c"]).base_offset, 2);
    let next = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).producer_id;
    assert!(next.0 > id.0, "producer ids are not handed out twice");
}

#[test]
fn a_second_broker_on_the_same_directory_or_port_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let second = block_on(EmbeddedBroker::start(BrokerConfig::new().data_dir(dir.path()))).unwrap_err();
    assert!(matches!(second, BrokerError::Locked { .. }), "{second}");
    let second =
        block_on(EmbeddedBroker::start(BrokerConfig::new().listen(broker.address.clone()))).unwrap_err();
    assert!(matches!(second, BrokerError::Listen { .. }), "{second}");
    broker.stop();
    Broker::start_in(dir.path()).stop();
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = block_on(EmbeddedBroker::start(BrokerConfig::new().data_dir(&file))).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_stop_ends_waiting_fetches_and_frees_the_port() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    // Two requests in one piece: when the first is answered, the broker has the fetch too.
    let both = [frame(3, &ApiVersionsRequest::default()), frame(12, &fetch_request("t", 0, 0, i32::MAX))];
    client.socket.write_all(&both.concat()).unwrap();
    assert_eq!(client.receive::<ApiVersionsRequest>(3).error_code, 0);
    let address = broker.address.clone();
    // Not after the days that the fetch would wait, and the broker doesn't complain of a request cut off.
    broker.stop();
    // Answered, not cut off.
    assert_eq!(client.receive::<FetchRequest>(12).error_code, 0);
    assert!(client.receive_frame().is_none());
    TcpListener::bind(address).unwrap();
}

#[test]
fn a_dropped_broker_frees_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    drop(Broker::start_in(dir.path()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        match block_on(EmbeddedBroker::start(BrokerConfig::new().data_dir(dir.path()))) {
            Ok(broker) => break block_on(broker.shutdown()).unwrap(),
            Err(BrokerError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_runtime_that_is_blocked_does_not_block_the_broker() {
    block_on(async {
        let broker = EmbeddedBroker::start(BrokerConfig::new()).await.unwrap();
        // Synchronous calls on the only thread of the test's runtime.
        let mut client = Client::connect(&broker.bootstrap_servers());
        assert_eq!(client.ask(3, &ApiVersionsRequest::default()).error_code, 0);
        broker.shutdown().await.unwrap();
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let config = BrokerConfig::new().set("connections.max.idle.ms", "200").unwrap();
    let broker = Broker::start_with(config);
    let start = Instant::now();
    assert!(broker.connect().receive_frame().is_none());
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn a_connection_too_many_is_refused() {
    let broker = Broker::start_with(BrokerConfig::new().set("max.connections", "2").unwrap());
    let (mut first, mut second) = (broker.connect(), broker.connect());
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(3, &ApiVersionsRequest::default()).error_code, 0);
    }
    assert!(broker.connect().receive_frame().is_none(), "a third is refused");
    assert_eq!(first.ask(3, &ApiVersionsRequest::default()).error_code, 0, "the others go on");
}

#[test]
fn a_partition_that_cannot_be_opened_is_offline_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    client.produce("t", 1, &["there"]);
    broker.stop();
    // A file where the partition's directory was.
    std::fs::remove_dir_all(dir.path().join("topics/t/0")).unwrap();
    std::fs::write(dir.path().join("topics/t/0"), "in the way").unwrap();

    let broker = Broker::start_in(dir.path());
    let mut client = broker.connect();
    assert_eq!(client.produce("t", 0, &["x"]).error_code, 56);
    assert_eq!(client.fetch("t", 1, 0), ["there"]);
    let metadata = client.ask(12, &MetadataRequest::default().with_topics(None));
    let topic = metadata.topics.iter().find(|topic| topic.name == Some(topic_name("t"))).unwrap();
    assert_eq!(topic.partitions.iter().map(|partition| partition.error_code).collect::<Vec<_>>(), [5, 0]);
}

#[test]
fn the_background_work_deletes_what_retention_allows() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        BrokerConfig::new().data_dir(dir.path()).set("log.retention.check.interval.ms", "20").unwrap();
    let broker = Broker::start_with(config);
    let mut client = broker.connect();
    let small = [("segment.bytes", "10000"), ("retention.bytes", "20000"), ("file.delete.delay.ms", "0")];
    client.create_topic("t", 1, &small);
    let value = "x".repeat(5000);
    for _ in 0..40 {
        assert_eq!(client.produce("t", 0, &[&value]).error_code, 0);
    }
    eventually("old segments are gone", || disk_use(&dir.path().join("topics/t")) < 60_000);
    // What is left is readable, what is gone is out of range.
    assert_eq!(client.ask(12, &fetch_request("t", 0, 0, 0)).responses[0].partitions[0].error_code, 1);
    assert_eq!(client.fetch("t", 0, 39).len(), 1);
}

#[test]
fn the_background_work_compacts() {
    let config = BrokerConfig::new().set("log.cleaner.backoff.ms", "20").unwrap();
    let broker = Broker::start_with(config);
    let mut client = broker.connect();
    let eager =
        [("cleanup.policy", "compact"), ("segment.bytes", "2000"), ("min.cleanable.dirty.ratio", "0.01")];
    client.create_topic("t", 1, &eager);
    for number in 0..100 {
        let reply =
            client.produce_bytes("t", 0, keyed_batch("same key", &format!("{number} {}", "x".repeat(200))));
        assert_eq!((reply.error_code, reply.base_offset), (0, number));
    }
    eventually("only the newest values of the key are left", || {
        let values = client.fetch("t", 0, 0);
        assert!(values.last().unwrap().starts_with("99 "));
        values.len() < 20
    });
}

#[test]
fn a_broker_bound_to_all_addresses_advertises_the_one_the_client_reached() {
    let broker = Broker::start_with(BrokerConfig::new().listen("0.0.0.0:0"));
    let response = broker.connect().ask(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(format!("{}:{}", &*response.brokers[0].host, response.brokers[0].port), broker.address);
}

#[test]
fn a_temporary_directory_goes_with_its_broker() {
    for clean in [true, false] {
        let broker = block_on(EmbeddedBroker::start(BrokerConfig::new())).unwrap();
        let dir = broker.data_dir().to_owned();
        assert!(dir.exists());
        if clean {
            block_on(broker.shutdown()).unwrap();
        } else {
            drop(broker);
        }
        eventually("the directory is gone", || !dir.exists());
    }
}

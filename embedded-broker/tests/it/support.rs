//! A broker to test and a client that says exactly what the test wants.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kstreams_embedded_broker::fault::Faults;
use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};

/// How long a test waits for anything before it fails. Long, because machines that test are often busy: only a hang may
/// reach it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs async code of the broker's handle.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A broker on a free port.
pub(crate) struct Broker {
    running: Option<EmbeddedBroker>,
    pub(crate) address: String,
}

impl Broker {
    /// With a temporary directory.
    pub(crate) fn start() -> Self {
        Self::start_with(BrokerConfig::new())
    }

    /// In `dir`.
    pub(crate) fn start_in(dir: &Path) -> Self {
        Self::start_with(BrokerConfig::new().data_dir(dir))
    }

    /// As configured.
    pub(crate) fn start_with(config: BrokerConfig) -> Self {
        block_on(EmbeddedBroker::start(config)).unwrap().into()
    }

    /// A clean stop.
    pub(crate) fn stop(mut self) {
        block_on(self.running.take().unwrap().shutdown()).unwrap();
    }

    /// Faults to inject.
    pub(crate) fn faults(&self) -> Faults {
        self.running.as_ref().unwrap().faults()
    }

    /// Stops it like a crash.
    pub(crate) fn kill(mut self) {
        block_on(self.running.take().unwrap().kill());
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }
}

impl From<EmbeddedBroker> for Broker {
    fn from(running: EmbeddedBroker) -> Self {
        Broker { address: running.bootstrap_servers(), running: Some(running) }
    }
}

/// A connection that speaks in whole frames.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket }
    }

    /// Sends a request and returns the decoded answer, checking that it has no bytes too many.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    /// Sends a request.
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.socket.write_all(&frame(version, request)).unwrap();
    }

    /// Waits for an answer.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.receive_frame().expect("the broker closed the connection");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, i32::from(version) + 1000);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(
            frame.is_empty(),
            "{:?} v{version}: {} bytes too many",
            ApiKey::try_from(R::KEY),
            frame.len()
        );
        response
    }

    /// Sends bytes behind their size.
    pub(crate) fn send_frame(&mut self, body: &[u8]) {
        self.socket.write_all(&sized(body)).unwrap();
    }

    /// The next frame; `None` when the broker closed the connection.
    pub(crate) fn receive_frame(&mut self) -> Option<Bytes> {
        let mut size = [0; 4];
        match self.socket.read_exact(&mut size) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("no answer within {PATIENCE:?}")
            }
            Err(_) => return None,
        }
        let mut body = vec![0; (&size[..]).get_u32() as usize];
        self.socket.read_exact(&mut body).unwrap();
        Some(body.into())
    }

    /// Creates a topic and returns the error code.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(PATIENCE.as_millis() as i32)
            .with_topics(vec![new_topic(name, partitions, configs)]);
        let response: CreateTopicsResponse = self.ask(7, &request);
        response.topics[0].error_code
    }

    /// Produces one batch of records with the values given.
    pub(crate) fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        values: &[&str],
    ) -> PartitionProduceResponse {
        self.produce_bytes(topic, partition, batch(values))
    }

    /// Produces a record set as it is.
    pub(crate) fn produce_bytes(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let response: ProduceResponse = self.ask(9, &produce_request(topic, partition, records, -1));
        response.responses[0].partition_responses[0].clone()
    }

    /// Fetches a partition's values from `offset` on.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<String> {
        let response: FetchResponse = self.ask(12, &fetch_request(topic, partition, offset, 0));
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        values(data.records.clone().unwrap())
    }
}

/// A request as it is sent: header and body, with their size in front.
pub(crate) fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut body = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(i32::from(version) + 1000)
        .with_client_id(Some(StrBytes::from_static_str("test")))
        .encode(&mut body, R::header_version(version))
        .unwrap();
    request.encode(&mut body, version).unwrap();
    sized(&body)
}

fn sized(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// A topic to create.
pub(crate) fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*key).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    };
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
        .with_configs(configs.iter().map(config).collect())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A produce request for one partition.
pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(PATIENCE.as_millis() as i32)
        .with_topic_data(vec![data])
}

/// A fetch request for one partition, wanting at least one byte.
pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// One batch with a record for each value.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    producer_batch(values, -1, -1, -1)
}

/// One batch of an idempotent producer.
pub(crate) fn producer_batch(values: &[&str], producer_id: i64, producer_epoch: i16, sequence: i32) -> Bytes {
    let record = |(at, value): (usize, &&str)| Record {
        producer_id,
        producer_epoch,
        // The encoder starts a new batch where the distance between offset and sequence changes.
        sequence: sequence + at as i32,
        ..record(at as i64, None, value)
    };
    encode(values.iter().enumerate().map(record).collect())
}

/// One batch with one record that has a key.
pub(crate) fn keyed_batch(key: &str, value: &str) -> Bytes {
    encode(vec![record(0, Some(key), value)])
}

fn record(offset: i64, key: Option<&str>, value: &str) -> Record {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: -1,
        timestamp: now as i64,
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::new(),
    }
}

fn encode(records: Vec<Record>) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

/// The values of a record set.
pub(crate) fn values(mut records: Bytes) -> Vec<String> {
    let sets = RecordBatchDecoder::decode_all(&mut records).unwrap();
    let records = sets.into_iter().flat_map(|set| set.records);
    records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

/// Waits until `done` says so; panics with `what` after [`PATIENCE`].
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of all files below `dir`.
pub(crate) fn disk_use(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => disk_use(&entry.path()),
        _ => entry.metadata().map_or(0, |data| data.len()),
    };
    entries.flatten().map(size).sum()
}

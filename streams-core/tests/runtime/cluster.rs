//! A broker, topics with names of their own, and plain clients: what the tests compare the library's results with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use kstreams_core::{KafkaStreams, State, StreamsConfig, Topology};
use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Every wait of the tests ends after this. Long, because machines that test are often busy: only a hang may reach it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A cluster and a prefix for the names of one test.
pub struct Cluster {
    pub bootstrap: String,
    pub prefix: String,
    pub state: tempfile::TempDir,
    broker: Option<EmbeddedBroker>,
}

impl Cluster {
    pub async fn start() -> Cluster {
        Self::with_broker(BrokerConfig::new()).await
    }

    pub async fn with_broker(config: BrokerConfig) -> Cluster {
        log();
        let (bootstrap, broker) = match std::env::var("BOOTSTRAP_SERVERS") {
            Ok(bootstrap) => (bootstrap, None),
            Err(_) => {
                let broker = EmbeddedBroker::start(config).await.unwrap();
                (broker.bootstrap_servers(), Some(broker))
            }
        };
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        Cluster { bootstrap, prefix, state: tempfile::tempdir().unwrap(), broker }
    }

    /// The broker at this address, which the test runs itself.
    pub fn at(bootstrap: &str) -> Cluster {
        log();
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        Cluster { bootstrap: bootstrap.to_owned(), prefix, state: tempfile::tempdir().unwrap(), broker: None }
    }

    /// A name that no other test has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub fn config(&self, application: &str) -> StreamsConfig {
        self.config_in(application, self.state.path())
    }

    pub fn config_in(&self, application: &str, state: &Path) -> StreamsConfig {
        StreamsConfig::new(self.name(application), &self.bootstrap)
            .state_dir(state)
            .commit_interval(Duration::from_millis(100))
            .set("heartbeat.interval.ms", "300")
            .set("producer.linger.ms", "5")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for result in admin.create_topics(&[new], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        while self.partitions(topic) != partitions {
            assert!(Instant::now() < deadline, "topic {topic} does not appear");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub async fn delete_topic(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    pub fn partitions(&self, topic: &str) -> i32 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        found.map_or(0, |found| found.partitions().len() as i32)
    }

    /// Produces values without key, round robin over the partitions.
    pub fn produce_lines<'a>(&self, topic: &str, lines: impl IntoIterator<Item = &'a str>) {
        let partitions = self.partitions(topic);
        let producer: BaseProducer = self.client().set("linger.ms", "5").create().unwrap();
        for (index, line) in lines.into_iter().enumerate() {
            let partition = index as i32 % partitions;
            send(&producer, BaseRecord::<(), str>::to(topic).payload(line).partition(partition));
        }
        producer.flush(DEADLINE).unwrap();
    }

    /// Produces keyed records to one partition, with timestamps.
    pub fn produce_to(&self, topic: &str, partition: i32, records: &[(&str, &str, i64)]) {
        let producer: BaseProducer = self.client().set("linger.ms", "5").create().unwrap();
        for (key, value, timestamp) in records {
            let record =
                BaseRecord::to(topic).key(*key).payload(*value).partition(partition).timestamp(*timestamp);
            send(&producer, record);
        }
        producer.flush(DEADLINE).unwrap();
    }

    /// Everything that is in a topic now, partition by partition.
    pub fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", format!("reader-{}", uuid::Uuid::new_v4()))
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
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
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => {}
            }
        }
        messages
    }

    /// The last count of each word in a topic of `String` keys and `i64` values.
    pub fn counts(&self, topic: &str) -> HashMap<String, i64> {
        use rdkafka::Message as _;
        let records = self.read_all(topic);
        let decoded = records.iter().map(|message| {
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            (key, i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()))
        });
        decoded.collect()
    }

    /// Waits until the last counts in `topic` are `expected`.
    pub fn wait_for_counts(&self, topic: &str, expected: &HashMap<String, i64>) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let counts = self.counts(topic);
            if counts == *expected {
                return;
            }
            assert!(Instant::now() < deadline, "counts {counts:?}, expected {expected:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The committed offset of a partition for an application.
    pub fn committed(&self, application: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = self.client().set("group.id", self.name(application)).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = consumer.committed_offsets(list, DEADLINE).unwrap();
        match answer.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    pub async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.shutdown().await.unwrap();
        }
    }
}

fn send<K: rdkafka::message::ToBytes + ?Sized>(producer: &BaseProducer, mut record: BaseRecord<'_, K, str>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

/// Makes an instance, starts it and waits until it runs.
pub async fn run(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = KafkaStreams::new(topology, config).unwrap();
    streams.start().await.unwrap();
    wait_for_state(&streams, State::Running).await;
    streams
}

pub async fn wait_for_state(streams: &KafkaStreams, state: State) {
    let mut watch = streams.state_watch();
    let reached = tokio::time::timeout(DEADLINE, watch.wait_for(|now| *now == state)).await;
    assert!(reached.is_ok(), "state is {} instead of {state}: {:?}", streams.state(), streams.failure());
}

/// `RUST_LOG=kstreams_core=debug` shows what a failing test did.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .init();
    });
}

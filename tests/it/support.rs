//! A cluster for one test: the embedded broker or Apache Kafka, topics with names of the test's own, and plain clients
//! that know nothing of the library.

use std::io::Write;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use kstreams::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::topologies::Counts;

/// Every wait ends after this, with a message that says what it waited for. Long, because machines that test are often busy:
/// only a hang may reach it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// The time between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A cluster, a prefix for all names of one test, and a directory for its state.
pub struct Cluster {
    pub bootstrap: String,
    prefix: String,
    dir: tempfile::TempDir,
    broker: Option<EmbeddedBroker>,
}

impl Cluster {
    /// Apache Kafka at `KAFKA_BOOTSTRAP_SERVERS`, else an embedded broker of this test's own.
    pub async fn start() -> Cluster {
        match external() {
            Some(bootstrap) => Self::new(bootstrap, None),
            None => Self::embedded(BrokerConfig::new()).await,
        }
    }

    /// An embedded broker for a test that stops it or looks into it; `None`, with a line on stderr, when the tests were asked
    /// to run on Apache Kafka.
    pub async fn owned(test: &str, config: BrokerConfig) -> Option<Cluster> {
        if external().is_some() {
            say(&format!("skipped on Apache Kafka, whose broker isn't this test's to stop: {test}"));
            return None;
        }
        Some(Self::embedded(config).await)
    }

    async fn embedded(config: BrokerConfig) -> Cluster {
        let broker = EmbeddedBroker::start(config).await.unwrap();
        Self::new(broker.bootstrap_servers(), Some(broker))
    }

    fn new(bootstrap: String, broker: Option<EmbeddedBroker>) -> Cluster {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
            match &broker {
                Some(_) => say("these tests run on embedded brokers (KAFKA_BOOTSTRAP_SERVERS is not set)"),
                None => say(&format!("these tests run on the cluster at {bootstrap}")),
            }
        });
        let prefix = format!("it-{}", uuid::Uuid::new_v4().simple());
        Cluster { bootstrap, prefix, dir: tempfile::tempdir().unwrap(), broker }
    }

    /// The embedded broker, to be stopped and started by the test.
    pub fn take_broker(&mut self) -> EmbeddedBroker {
        self.broker.take().expect("only on a cluster of the test's own")
    }

    /// A name that no other test, and no other run, has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A directory under the test's own, made when needed.
    pub fn dir(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The settings of an instance: short intervals, and state under `state`. Two instances need two directories.
    pub fn config(&self, application: &str, state: &str) -> StreamsConfig {
        instance_config(&self.name(application), &self.bootstrap, &self.dir(state))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Makes the topic `name(topic)` and waits until the cluster shows it. Answers the full name.
    pub async fn topic(&self, topic: &str, partitions: i32) -> String {
        let topic = self.name(topic);
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for result in self.admin().create_topics(&[new], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
        wait_until("the new topic", || self.partitions(&topic) == partitions).await;
        topic
    }

    /// How many partitions a topic has; 0 when there is no such topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        // All topics: to ask for one by name could create it.
        let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap())
    }

    /// The names of all topics that begin with this test's prefix.
    pub fn topics(&self) -> Vec<String> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&self.prefix)).collect();
        names.sort_unstable();
        names
    }

    /// Produces lines without key, in turn to each partition, and waits until they are acknowledged.
    pub fn produce_lines(&self, topic: &str, lines: &[String]) {
        let partitions = self.partitions(topic);
        let producer = self.producer();
        for (line, partition) in lines.iter().zip((0..partitions).cycle()) {
            send(&producer, BaseRecord::<(), _>::to(topic).payload(line.as_str()).partition(partition));
        }
        producer.flush(DEADLINE).unwrap();
    }

    /// Produces keyed records with timestamps, and waits until they are acknowledged. Partition 0.
    pub fn produce<V: ToBytes + ?Sized>(&self, topic: &str, records: &[(&str, &V, i64)]) {
        let producer = self.producer();
        for (key, value, timestamp) in records {
            send(
                &producer,
                BaseRecord::to(topic).key(*key).payload(*value).partition(0).timestamp(*timestamp),
            );
        }
        producer.flush(DEADLINE).unwrap();
    }

    fn producer(&self) -> BaseProducer {
        self.client().set("linger.ms", "5").set("enable.idempotence", "true").create().unwrap()
    }

    /// Everything that is in a topic now, partition by partition in the partition's order.
    pub fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", self.name("reader"))
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
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => {}
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => {}
            }
        }
        messages
    }

    /// The last value of each key of a topic with text keys and `i64` values.
    pub fn counts(&self, topic: &str) -> Counts {
        let messages = self.read_all(topic);
        let decode = |message: &OwnedMessage| {
            (key(message), i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()))
        };
        messages.iter().map(decode).collect()
    }

    /// The keys and values of a topic of texts.
    pub fn texts(&self, topic: &str) -> Vec<(String, String)> {
        self.read_all(topic).iter().map(|message| (key(message), value(message))).collect()
    }

    /// Records of a topic whose offsets the application has not committed yet.
    pub fn lag(&self, application: &str, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().set("group.id", self.name(application)).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, DEADLINE).unwrap();
        let lag = committed.elements().into_iter().map(|element| {
            let (start, end) = consumer.fetch_watermarks(topic, element.partition(), DEADLINE).unwrap();
            let committed = element.offset().to_raw().unwrap_or(start).max(start);
            end - committed
        });
        lag.sum()
    }

    /// Waits until the word count has read, counted and committed all that was produced. Nothing that it would count
    /// afterwards, rightly or twice, is missing in the output then.
    pub async fn settled(&self, application: &str, input: &str) {
        // In this order: a committed line has its words in the repartition topic.
        let words = self.name(&format!("{application}-counts-repartition"));
        for topic in [input, &words] {
            wait_until(&format!("commits up to the end of {topic}"), || self.lag(application, topic) == 0)
                .await;
        }
    }

    pub async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.shutdown().await.unwrap();
        }
    }
}

/// The settings of an instance by their parts, for one in another process.
pub fn instance_config(application_id: &str, bootstrap: &str, state: &Path) -> StreamsConfig {
    StreamsConfig::new(application_id, bootstrap)
        .state_dir(state)
        .commit_interval(Duration::from_millis(100))
        .set("heartbeat.interval.ms", "300")
        .set("metadata.max.age.ms", "500")
        .set("producer.linger.ms", "5")
}

/// Makes an instance and starts it.
pub async fn start(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = KafkaStreams::new(topology, config).unwrap();
    streams.start().await.unwrap();
    streams
}

/// Closes an instance, which commits what it has processed.
pub async fn close(streams: &KafkaStreams) {
    assert!(streams.close(DEADLINE).await, "closing takes too long");
    assert_eq!(streams.state(), State::NotRunning, "{:?}", streams.failure());
}

pub async fn wait_for_state(streams: &KafkaStreams, state: State) {
    let mut watch = streams.state_watch();
    let reached = tokio::time::timeout(DEADLINE, watch.wait_for(|now| *now == state)).await;
    assert!(reached.is_ok(), "state is {} instead of {state}: {:?}", streams.state(), streams.failure());
}

/// Looks at a condition until it holds.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "no {what} within {} s", DEADLINE.as_secs());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub fn key(message: &OwnedMessage) -> String {
    String::from_utf8(message.key().unwrap().to_vec()).unwrap()
}

pub fn value(message: &OwnedMessage) -> String {
    String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
}

fn external() -> Option<String> {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok().filter(|address| !address.is_empty())
}

/// Past the capture of the test harness: who reads a log wants to know where the tests ran and what they left out.
fn say(line: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{line}").unwrap();
}

fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(producer: &BaseProducer, mut record: BaseRecord<'_, K, V>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

//! A broker, topics with names of their own, plain clients, and the messages that a user sees.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use kstreams::prelude::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tracing_subscriber::filter::LevelFilter;

/// No wait of the tests, and nothing that they provoke, may last longer. Machines that test are often busy: only a hang may
/// reach it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A cluster, and a prefix for the names of one test.
pub struct Cluster {
    bootstrap: String,
    prefix: String,
    broker: Option<EmbeddedBroker>,
}

impl Cluster {
    pub async fn start() -> Cluster {
        log();
        let prefix = format!("bad{}", uuid::Uuid::new_v4().simple());
        if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            return Cluster { bootstrap, prefix, broker: None };
        }
        let broker = EmbeddedBroker::start(BrokerConfig::new()).await.unwrap();
        Cluster { bootstrap: broker.bootstrap_servers(), prefix, broker: Some(broker) }
    }

    pub async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.shutdown().await.unwrap();
        }
    }

    /// A name that no other test has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// The test's application, with short intervals.
    pub fn config(&self, state: &Path) -> StreamsConfig {
        StreamsConfig::new(self.name("app"), &self.bootstrap)
            .state_dir(state)
            .commit_interval(Duration::from_millis(100))
            .set("heartbeat.interval.ms", "300")
            .set("metadata.max.age.ms", "500")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    pub async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        for result in self.admin().create_topics(&[new], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
        until(&format!("topic {topic} appears"), || self.partitions(topic) == partitions);
    }

    /// 0 when there is no such topic. All topics are asked for, so that the question creates none.
    pub fn partitions(&self, topic: &str) -> i32 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap())
    }

    /// Writes records without key to partition 0.
    pub fn produce<V: AsRef<[u8]>>(&self, topic: &str, values: impl IntoIterator<Item = V>) {
        self.produce_keyed(topic, values.into_iter().map(|value| (None, value)));
    }

    /// Writes records with keys to partition 0.
    pub fn produce_keyed<V: AsRef<[u8]>>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Option<String>, V)>,
    ) {
        let producer: BaseProducer = self.client().set("linger.ms", "5").create().unwrap();
        for (key, value) in records {
            let mut record = BaseRecord::<str, [u8]>::to(topic).partition(0).payload(value.as_ref());
            record.key = key.as_deref();
            while let Err((_, full)) = producer.send(record) {
                producer.poll(Duration::from_millis(10));
                record = full;
            }
        }
        producer.flush(DEADLINE).unwrap();
    }

    /// Everything that is in a topic now.
    pub fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let mut config = self.client();
        config.set("group.id", self.name("reader")).set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create().unwrap();
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

    /// The last value of each key in a topic of `String` keys and `i64` values.
    pub fn counts(&self, topic: &str) -> BTreeMap<String, i64> {
        let last = self.read(topic).into_iter().map(|message| {
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            (key, i64::from_be_bytes(message.payload().unwrap().try_into().unwrap()))
        });
        last.collect()
    }

    /// The application's committed offset of partition 0.
    pub fn committed(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().set("group.id", self.name("app")).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        match consumer.committed_offsets(list, DEADLINE).unwrap().elements()[0].offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        }
    }
}

/// Words of `input`, counted to `output`: a repartition topic and the store `counts` with its changelog.
pub fn word_count(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(input)
        .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
    builder.build().unwrap()
}

/// Makes an instance, starts it and waits until it runs.
pub async fn run(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = KafkaStreams::new(topology, config).unwrap();
    streams.start().await.unwrap();
    reach(&streams, State::Running).await;
    streams
}

pub async fn reach(streams: &KafkaStreams, state: State) {
    let mut watch = streams.state_watch();
    let reached = tokio::time::timeout(DEADLINE, watch.wait_for(|now| *now == state)).await;
    assert!(reached.is_ok(), "state is {} instead of {state}: {:?}", streams.state(), streams.failure());
}

/// Waits until a running instance has stopped with an error: its message.
pub async fn failure_of(streams: &KafkaStreams) -> String {
    reach(streams, State::Error).await;
    streams.failure().unwrap()
}

pub async fn close(streams: KafkaStreams) {
    assert!(streams.close(DEADLINE).await, "close takes too long: {}", streams.state());
}

/// The message of an error with its causes: what a program prints.
pub fn message_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Checks that a message has each of these parts, and prints it.
#[track_caller]
pub fn says(message: &str, parts: &[&str]) {
    println!("{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// Waits for a condition.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `RUST_LOG=kstreams_core=debug` shows what a failing test did; errors are what these tests provoke, so none by default.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
        tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_test_writer().init();
    });
}

//! What the examples need beside kstreams: a broker, topics, some input, and a look at the output. None of this is
//! part of a streams application; in yours the topics exist and other programs write to them.

#![allow(dead_code, unreachable_pub)] // each example is a program of its own and uses a part of it

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Any error: an example prints it and exits with 1.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// How long an example waits for something that has to happen before it calls it an error.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long an example looks for the cluster: a mistyped address shall not look like work.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

/// Where an example runs.
pub struct Settings {
    /// State, and the embedded broker's topics.
    pub data_dir: PathBuf,
    /// A cluster of your own; without it the embedded broker is started.
    pub bootstrap_servers: Option<String>,
    /// Goes before the names of topics and of the application, so that examples don't disturb each other on one cluster.
    pub prefix: String,
    /// The text to count, for the word count.
    pub file: PathBuf,
}

impl Settings {
    /// From `BOOTSTRAP_SERVERS`, `DATA_DIR`, `FILE` and `PREFIX`. The same names every time: a second run continues the first.
    pub fn from_env(example: &str) -> Settings {
        let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let text =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/psalms-and-proverbs.txt"));
        Settings {
            data_dir: given("DATA_DIR").map_or_else(|| PathBuf::from(".demo").join(example), PathBuf::from),
            bootstrap_servers: given("BOOTSTRAP_SERVERS"),
            prefix: given("PREFIX").unwrap_or_else(|| "kstreams-demo-".to_owned()),
            file: given("FILE").map_or(text, PathBuf::from),
        }
    }

    /// The same for an example that starts from nothing each time: names and folder of its own.
    pub fn fresh(example: &str) -> Settings {
        let mut settings = Settings::from_env(example);
        let run = std::process::id();
        settings.data_dir.push(format!("run-{run}"));
        settings.prefix = format!("{}{run}-", settings.prefix);
        settings
    }

    /// A topic's or application's name on the cluster.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where the application keeps its stores.
    pub fn state_dir(&self) -> PathBuf {
        self.data_dir.join("state")
    }
}

/// The Kafka that an example uses: a cluster, or the embedded broker in this process.
pub struct Cluster {
    /// Its address.
    pub bootstrap_servers: String,
    embedded: Option<EmbeddedBroker>,
}

impl Cluster {
    /// Starts the embedded broker, unless the settings name a cluster.
    pub async fn open(settings: &Settings) -> Result<Cluster, AnyError> {
        if let Some(address) = &settings.bootstrap_servers {
            println!("Kafka      the cluster at {address}");
            return Ok(Cluster { bootstrap_servers: address.clone(), embedded: None });
        }
        let dir = settings.data_dir.join("broker");
        // Port 0: any free one.
        let broker = EmbeddedBroker::start(BrokerConfig::new().data_dir(&dir).listen("127.0.0.1:0")).await?;
        let bootstrap_servers = broker.bootstrap_servers();
        println!("Kafka      the embedded broker at {bootstrap_servers}, topics in {}", dir.display());
        Ok(Cluster { bootstrap_servers, embedded: Some(broker) })
    }

    /// Stops the embedded broker; a cluster stays as it is.
    pub async fn close(self) -> Result<(), AnyError> {
        if let Some(broker) = self.embedded {
            broker.shutdown().await?;
        }
        Ok(())
    }

    /// Creates a topic, unless it is there.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<(), AnyError> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        // -1: the cluster's own default.
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().request_timeout(Some(CONNECT_PATIENCE));
        let created = admin.create_topics([&topic], &options).await.map_err(|error| {
            let address = &self.bootstrap_servers;
            format!("no Kafka answers at {address}; is it running, is BOOTSTRAP_SERVERS right? ({error})")
        })?;
        for result in created {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(format!("can't create topic {topic}: {code}").into()),
            }
        }
        Ok(())
    }

    /// Writes records and waits until the broker has them all.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Input>) -> Result<usize, AnyError> {
        let producer: BaseProducer = self
            .client()
            .set("enable.idempotence", "true")
            // Java's way of choosing a partition, so that equal keys meet in joins, whoever wrote them.
            .set("partitioner", "murmur2_random")
            .create()?;
        let mut written = 0;
        for input in records {
            let mut record = BaseRecord::<str, str>::to(topic).payload(&input.value);
            record.key = input.key.as_deref();
            record.timestamp = input.timestamp;
            record.partition = input.partition;
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                        record = refused;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(error.into()),
                }
            }
            written += 1;
        }
        let delivered = producer.flush(PATIENCE);
        delivered
            .map_err(|error| stuck(&format!("Kafka does not take what is written to {topic} ({error})")))?;
        Ok(written)
    }

    /// The end of each partition of a topic.
    pub fn end_offsets(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, AnyError> {
        let consumer: BaseConsumer = self.client().create()?;
        let end = |partition| Ok(consumer.fetch_watermarks(topic, partition, PATIENCE)?.1);
        (0..partitions).map(end).collect()
    }

    /// Reads a topic from its start, as it grows.
    pub fn tail(&self, topic: &str, partitions: i32) -> Result<Tail, AnyError> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "kstreams-demo-reader") // the client wants one; nothing is ever committed
            .set("enable.auto.commit", "false")
            .create()?;
        let mut start = TopicPartitionList::new();
        for partition in 0..partitions {
            start.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&start)?;
        Ok(Tail { consumer, topic: topic.to_owned() })
    }

    /// Everything that a topic has now: keys and values.
    pub fn read_all(&self, topic: &str, partitions: i32) -> Result<Vec<(String, Vec<u8>)>, AnyError> {
        let mut left: i64 = self.end_offsets(topic, partitions)?.iter().sum();
        let tail = self.tail(topic, partitions)?;
        let mut records = Vec::new();
        while left > 0 {
            let record = tail.next(PATIENCE)?.ok_or_else(|| format!("{topic} ends before its end"))?;
            records.push(record);
            left -= 1;
        }
        Ok(records)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

/// The last full hour but one, in ms since the epoch: where examples with a clock of their own begin. (Not 1970: brokers
/// delete by the records' time, and the client takes 0 for "now".)
#[allow(clippy::disallowed_methods)] // a program, not the library
pub fn start_of_story() -> i64 {
    const HOUR: i64 = 3_600_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    (i64::try_from(now).unwrap_or(i64::MAX) / HOUR - 1) * HOUR
}

/// The error of an example that waited in vain. The application itself goes on trying, and has said what is in its way.
fn stuck(what: &str) -> AnyError {
    format!(
        "after {} s: {what}. The messages above say why: a full disk or a lost broker, for instance. Nothing is lost: mend \
         that, run it again, and it goes on where it was.",
        PATIENCE.as_secs()
    )
    .into()
}

/// Waits until `done`; `what` says for what.
pub async fn until(what: &str, done: impl Fn() -> bool) -> Result<(), AnyError> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > deadline {
            return Err(stuck(&format!("still waiting until {what}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A record to write.
#[derive(Default)]
pub struct Input {
    pub key: Option<String>,
    pub value: String,
    /// Milliseconds since the epoch; `None` is now.
    pub timestamp: Option<i64>,
    /// `None`: by the key.
    pub partition: Option<i32>,
}

impl Input {
    /// A record with a key, stamped now.
    pub fn keyed(key: &str, value: impl Into<String>) -> Input {
        Input { key: Some(key.to_owned()), value: value.into(), ..Input::default() }
    }

    /// The same with a timestamp in ms since the epoch.
    pub fn at(mut self, timestamp: i64) -> Input {
        self.timestamp = Some(timestamp);
        self
    }
}

/// A reader of a topic; keys are text here.
pub struct Tail {
    consumer: BaseConsumer,
    topic: String,
}

impl Tail {
    /// Key and value of the next record, or `None` when none comes within `wait`.
    pub fn next(&self, wait: Duration) -> Result<Option<(String, Vec<u8>)>, AnyError> {
        let Some(message) = self.consumer.poll(wait).transpose()? else { return Ok(None) };
        let key = String::from_utf8(message.key().unwrap_or_default().to_vec())?;
        Ok(Some((key, message.payload().unwrap_or_default().to_vec())))
    }

    /// Reads on, giving each key and value to `f`, until it answers that this was what the example waited for.
    pub async fn each(
        &self,
        mut f: impl FnMut(&str, &[u8]) -> Result<bool, AnyError>,
    ) -> Result<(), AnyError> {
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(Duration::from_millis(50))? {
                Some((key, value)) => {
                    if f(&key, &value)? {
                        return Ok(());
                    }
                    deadline = Instant::now() + PATIENCE;
                }
                None if Instant::now() > deadline => {
                    return Err(stuck(&format!("nothing new on {}", self.topic)));
                }
                None => {}
            }
            // Lets Ctrl-C through.
            tokio::task::yield_now().await;
        }
    }
}

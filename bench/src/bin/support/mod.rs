//! What the programs that measure by themselves share: a broker, its topics, the way records are written.

use std::error::Error;
use std::time::Duration;

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// How long anything may take before it is called an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The broker that `BOOTSTRAP` names, or an embedded one in this process.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    embedded: Option<EmbeddedBroker>,
}

impl Broker {
    /// With topics: names and partitions.
    pub(crate) async fn open(topics: &[(&str, i32)]) -> Result<Broker, Failure> {
        let broker = match std::env::var("BOOTSTRAP") {
            Ok(bootstrap) => Broker { bootstrap, embedded: None },
            Err(_) => {
                let embedded = EmbeddedBroker::start(BrokerConfig::new()).await?;
                Broker { bootstrap: embedded.bootstrap_servers(), embedded: Some(embedded) }
            }
        };
        let admin: AdminClient<DefaultClientContext> = broker.client().create()?;
        for (topic, partitions) in topics {
            let new = NewTopic::new(topic, *partitions, TopicReplication::Fixed(1));
            admin.create_topics([&new], &AdminOptions::new()).await?;
        }
        Ok(broker)
    }

    /// A client's settings.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        if let Some(broker) = self.embedded {
            broker.shutdown().await?;
        }
        Ok(())
    }
}

/// Writes all records and waits until the broker has them.
pub(crate) fn write<V: AsRef<[u8]>>(
    producer: &BaseProducer,
    topic: &str,
    records: impl IntoIterator<Item = (Vec<u8>, V)>,
) -> Result<(), Failure> {
    for (key, value) in records {
        while let Err((error, _)) = producer.send(BaseRecord::to(topic).key(&key).payload(value.as_ref())) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
        }
    }
    Ok(producer.flush(PATIENCE)?)
}

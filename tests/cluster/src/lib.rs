//! The cluster that the tests run on, and plain clients that know nothing of the library: what they read is compared with what
//! it did.
//!
//! Each test has an embedded broker of its own; no setup is needed. To run the same tests elsewhere:
//!
//! - `KAFKA_BOOTSTRAP_SERVERS=host:port`: on that cluster. Names are new in each run, topics are left behind.
//! - `KSTREAMS_TEST_DOCKER=1`: on Apache Kafka in a container (see `docker.rs`). Where Docker or the image is not there, a line on
//!   stderr says so and the embedded broker takes its place.
//!
//! Tests that stop their broker, or look into it, ask for [`Cluster::owned`] and are skipped elsewhere, with a line on stderr.
//! `RUST_LOG=kstreams_core=debug` shows what a failing test did.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod docker;
mod instance;
mod records;
mod topics;
mod warnings;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use kstreams_core::StreamsConfig;
use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::BaseProducer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

pub use instance::{close, end, failure_of, instance_config, message_of, run, start, wait_for_state};
pub use records::{Counts, key, value};
pub use warnings::warned;

/// Every wait ends after this, with a message that says what it waited for. Long, because machines that test are often busy:
/// only a hang may reach it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// The time between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A cluster, a prefix for all names of one test, and a directory for its state.
pub struct Cluster {
    bootstrap: String,
    prefix: String,
    dir: tempfile::TempDir,
    /// Made when first needed. One for all: an idempotent producer needs half a second before it writes.
    producer: OnceLock<BaseProducer>,
    server: Server,
}

/// What ends with the test that used it.
enum Server {
    /// Somebody else's.
    Given,
    Embedded(EmbeddedBroker),
    /// The broker is the test's own, which has taken it.
    Taken,
    /// Kept while some test of this process uses it.
    Container {
        _container: Arc<docker::Kafka>,
    },
}

impl Cluster {
    /// Where the tests were asked to run, else an embedded broker of this test's own.
    pub async fn start() -> Cluster {
        if let Some(bootstrap) = given() {
            return Self::new(bootstrap, Server::Given);
        }
        match docker::kafka() {
            Some(kafka) => Self::new(kafka.bootstrap.clone(), Server::Container { _container: kafka }),
            None => Self::embedded(BrokerConfig::new()).await,
        }
    }

    /// An embedded broker for a test that stops it or looks into it. `None`, with a line on stderr, when the tests were asked to run
    /// on Apache Kafka.
    pub async fn owned(test: &str, config: BrokerConfig) -> Option<Cluster> {
        if given().is_some() || docker::kafka().is_some() {
            say(&format!("SKIPPED on Apache Kafka, whose broker isn't this test's own: {test}"));
            return None;
        }
        Some(Self::embedded(config).await)
    }

    async fn embedded(config: BrokerConfig) -> Cluster {
        let broker = EmbeddedBroker::start(config).await.unwrap();
        Self::new(broker.bootstrap_servers(), Server::Embedded(broker))
    }

    fn new(bootstrap: String, server: Server) -> Cluster {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // Errors are what many tests provoke, so none by default.
            let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
            let shown = fmt::layer().with_test_writer().with_filter(filter.from_env_lossy());
            let kept = fmt::layer().with_ansi(false).with_writer(warnings::Warnings);
            tracing_subscriber::registry().with(shown).with(kept.with_filter(LevelFilter::WARN)).init();
            match &server {
                Server::Embedded(_) => {
                    say("these tests run on embedded brokers (KAFKA_BOOTSTRAP_SERVERS is not set)")
                }
                _ => say(&format!("these tests run on the cluster at {bootstrap}")),
            }
        });
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        Cluster { bootstrap, prefix, dir: tempfile::tempdir().unwrap(), producer: OnceLock::new(), server }
    }

    /// `bootstrap.servers` of this cluster.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The embedded broker of [`owned`](Self::owned), to be stopped and started by the test.
    pub fn take_broker(&mut self) -> EmbeddedBroker {
        match std::mem::replace(&mut self.server, Server::Taken) {
            Server::Embedded(broker) => broker,
            _ => panic!("only a cluster of the test's own, once"),
        }
    }

    /// A name that no other test, and no other run, has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A directory under the test's own, which is gone after it.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The settings of an instance of the application `name(application)`: short intervals, and state under `dir("state")`.
    pub fn config(&self, application: &str) -> StreamsConfig {
        self.config_in(application, "state")
    }

    /// As [`config`](Self::config), with state under `dir(state)`; an absolute path is taken as it is. Two instances need two.
    pub fn config_in(&self, application: &str, state: impl AsRef<Path>) -> StreamsConfig {
        instance_config(&self.name(application), &self.bootstrap, &self.dir(state))
    }

    /// Settings of a plain client.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// A plain admin client.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Stops the broker cleanly, where it is the test's own.
    pub async fn stop(self) {
        if let Server::Embedded(broker) = self.server {
            broker.shutdown().await.unwrap();
        }
    }
}

/// Looks at a condition until it holds.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "no {what} within {} s", DEADLINE.as_secs());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Looks at a value until it is the expected one.
pub async fn wait_for<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, mut value: impl FnMut() -> T) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = value();
        if now == expected {
            return;
        }
        let waited = DEADLINE.as_secs();
        assert!(Instant::now() < deadline, "{what} is {now:?} after {waited} s, not {expected:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The address in `KAFKA_BOOTSTRAP_SERVERS`.
pub fn given() -> Option<String> {
    std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok().filter(|address| !address.is_empty())
}

/// A line past the capture of the test harness: who reads a log wants to know where the tests ran and what they left out.
pub fn say(line: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{line}").unwrap();
}

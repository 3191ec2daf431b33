//! [`EmbeddedBroker`]: a running broker as a value.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::config::BrokerConfig;
use crate::config::broker::BrokerSettings;
use crate::data_dir::DataDir;
use crate::error::BrokerError;
use crate::fault::Faults;
use crate::group::{GroupConfig, GroupCoordinator};
use crate::internal_log::ReplayError;
use crate::log::Log;
use crate::maintenance;
use crate::markers::MarkerWriter;
use crate::producer_ids::ProducerIds;
use crate::server;
use crate::stop::{self, StopSender};
use crate::topics::{Catalog, NewTopic, OFFSETS_TOPIC, Opener, Store, TRANSACTIONS_TOPIC};
use crate::txn::{TransactionConfig, TransactionCoordinator};

/// How long a killed broker waits for a write that hangs.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// A running broker.
///
/// It has threads of its own, so that a program that blocks its own runtime (a synchronous client in an async test)
/// does not starve it. Dropping it without [`shutdown`](Self::shutdown) stops it like a crash: nothing acknowledged
/// is lost, but the next start checks the logs.
#[derive(Debug)]
pub struct EmbeddedBroker {
    broker: Arc<Broker>,
    stopping: StopSender,
    tasks: Option<Tasks>,
}

/// What runs; taken apart by `shutdown` or `drop`.
#[derive(Debug)]
struct Tasks {
    runtime: Runtime,
    server: JoinHandle<Result<(), BrokerError>>,
    maintenance: JoinHandle<()>,
}

impl EmbeddedBroker {
    /// Opens the data directory, recovers its logs, and listens: clients can connect when this returns.
    ///
    /// # Errors
    /// [`BrokerError::Locked`] if another broker has the directory, [`BrokerError::Listen`] if the address can't be
    /// bound, [`BrokerError::Storage`] or [`BrokerError::Damaged`] if the directory can't be used,
    /// [`BrokerError::Config`] for a setting out of range, [`BrokerError::Threads`] without threads to run on.
    pub async fn start(config: BrokerConfig) -> Result<EmbeddedBroker, BrokerError> {
        let runtime = Builder::new_multi_thread()
            .thread_name("embedded-broker")
            .enable_all()
            .build()
            .map_err(|source| BrokerError::Threads { source })?;
        let (stopping, stop) = stop::channel();
        let starting = runtime.spawn(async move {
            // Bound first, so that an address in use fails before anything on disk is touched; the first
            // connections wait until the logs are open.
            let listener = server::bind(&config.listen).await?;
            let broker = tokio::task::spawn_blocking(move || {
                open(config, listener.local_addr()).map(|broker| (broker, listener))
            });
            broker.await.unwrap_or_else(|panic| Err(BrokerError::Threads { source: io::Error::other(panic) }))
        });
        let opened = starting
            .await
            .unwrap_or_else(|panic| Err(BrokerError::Threads { source: io::Error::other(panic) }));
        let (broker, listener) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // A runtime must not be dropped where async code runs.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let broker = Arc::new(broker);
        let server = runtime.spawn(server::run(broker.clone(), listener, stop.clone()));
        runtime.spawn(broker.groups().clone().run(stop.clone()));
        runtime.spawn(broker.transactions().clone().run(stop.clone()));
        let maintenance = runtime.spawn(maintenance::run(broker.clone(), stop));
        let (address, data_dir) = (broker.address(), broker.data_dir().path().display());
        tracing::info!(%address, %data_dir, "broker ready");
        Ok(EmbeddedBroker { broker, stopping, tasks: Some(Tasks { runtime, server, maintenance }) })
    }

    /// `host:port`, for a client's `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        let address = self.address();
        if address.ip().is_unspecified() {
            format!("127.0.0.1:{}", address.port())
        } else {
            address.to_string()
        }
    }

    /// The address bound.
    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Where topics and offsets are kept.
    pub fn data_dir(&self) -> &Path {
        self.broker.data_dir().path()
    }

    /// Faults to inject while it runs, for tests of its clients.
    pub fn faults(&self) -> Faults {
        Faults::of(&self.broker)
    }

    /// Stops like a crash, as dropping does, and waits until nothing of the broker is left: its directory can be
    /// changed or given to another broker then. Writes that have begun are finished.
    pub async fn kill(mut self) {
        self.stopping.stop();
        let Some(Tasks { runtime, .. }) = self.tasks.take() else { return };
        let (done, killed) = tokio::sync::oneshot::channel();
        // It blocks, which a thread of the caller's runtime must not.
        std::thread::spawn(move || {
            runtime.shutdown_timeout(KILL_BOUND);
            // Nobody waits when the caller gave up.
            let _ = done.send(());
        });
        // An error: the thread is gone, and the runtime with it.
        let _ = killed.await;
        self.broker.data_dir().discard_temporary();
    }

    /// Stops cleanly: accepts nothing more, answers what is in flight (at most five seconds), flushes and closes the
    /// logs, and notes that the next start can skip checking them.
    ///
    /// # Errors
    /// [`BrokerError::Close`] if a log can't be flushed; [`BrokerError::StoppedBusy`] if connections had to be cut.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.stopping.stop();
        let Some(Tasks { runtime, server, maintenance }) = self.tasks.take() else { return Ok(()) };
        let served = server
            .await
            .unwrap_or_else(|panic| Err(BrokerError::Threads { source: io::Error::other(panic) }));
        let maintained = maintenance.await;
        let broker = self.broker.clone();
        let closed = runtime.spawn_blocking(move || broker.close()).await;
        runtime.shutdown_background();
        if let Err(panic) = maintained {
            tracing::error!(%panic, "maintenance failed");
        }
        closed.unwrap_or_else(|panic| Err(BrokerError::Threads { source: io::Error::other(panic) }))?;
        tracing::info!(address = %self.broker.address(), "broker stopped");
        served
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stopping.stop();
        if let Some(tasks) = self.tasks.take() {
            tasks.runtime.shutdown_background();
            self.broker.data_dir().discard_temporary();
        }
    }
}

/// Puts the broker together; blocks on disk.
fn open(config: BrokerConfig, address: io::Result<SocketAddr>) -> Result<Broker, BrokerError> {
    let address = address.map_err(|source| BrokerError::Listen { address: config.listen.clone(), source })?;
    let settings = BrokerSettings::new(&config.settings)?;
    let data_dir = DataDir::open(config.data_dir.as_deref())?;
    let disk = config.disk;
    let opener = Opener { clock: config.clock.clone(), disk: disk.clone(), clean: data_dir.was_clean() };
    let store = Store::open(data_dir.path())?.on(disk.clone());
    let catalog = Arc::new(Catalog::open(store, opener, &settings.given)?);
    let producer_ids = Arc::new(ProducerIds::open(data_dir.path())?.on(disk));
    let groups = open_groups(&catalog, &settings, config.clock.clone())?;
    let transactions = open_transactions(&catalog, &groups, &producer_ids, &settings, config.clock.clone())?;
    Ok(Broker::new(settings, catalog, producer_ids, groups, transactions, address, data_dir))
}

/// Loads the groups out of their internal topic.
fn open_groups(
    catalog: &Catalog,
    settings: &BrokerSettings,
    clock: SharedClock,
) -> Result<Arc<GroupCoordinator>, BrokerError> {
    let log = internal_log(catalog, settings, OFFSETS_TOPIC, "offsets.topic.segment.bytes")
        .map_err(BrokerError::Offsets)?;
    GroupCoordinator::open(log, GroupConfig::new(settings)?, clock)
        .map_err(|error| BrokerError::Offsets(error.into()))
}

/// Loads the transactional ids out of their internal topic, and finishes what had been decided.
fn open_transactions(
    catalog: &Arc<Catalog>,
    groups: &Arc<GroupCoordinator>,
    producer_ids: &Arc<ProducerIds>,
    settings: &BrokerSettings,
    clock: SharedClock,
) -> Result<Arc<TransactionCoordinator>, BrokerError> {
    let log = internal_log(catalog, settings, TRANSACTIONS_TOPIC, "transaction.state.log.segment.bytes")
        .map_err(BrokerError::Transactions)?;
    let markers = Arc::new(MarkerWriter::new(catalog.clone(), groups.clone()));
    TransactionCoordinator::open(TransactionConfig::new(settings)?, log, markers, producer_ids.clone(), clock)
        .map_err(|error: ReplayError| BrokerError::Transactions(error.into()))
}

/// The log of an internal topic of one partition, which the first start creates.
fn internal_log(
    catalog: &Catalog,
    settings: &BrokerSettings,
    topic: &str,
    segment_bytes: &str,
) -> Result<Arc<Log>, Box<dyn std::error::Error + Send + Sync>> {
    if catalog.topic(topic).is_none() {
        let overrides = [
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", settings.get::<i32>(segment_bytes)?.to_string()),
        ];
        let overrides = overrides.map(|(name, value)| (name.to_owned(), value)).into();
        let new = NewTopic { name: topic, partitions: 1, overrides };
        catalog.create(new).map_err(|error| io::Error::other(error.message))?;
    }
    Ok(catalog.log(topic, 0).map_err(|error| io::Error::other(error.to_string()))?)
}

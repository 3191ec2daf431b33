//! [`EmbeddedBroker`]: a running broker as a value.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::config::broker::BrokerSettings;
use crate::data_dir::DataDir;
use crate::error::BrokerError;
use crate::server;
use crate::stop::{self, StopSender};
use crate::topics::Catalog;

/// A broker running on the current tokio runtime.
///
/// Dropping it without [`shutdown`](Self::shutdown) stops it like a crash: nothing acknowledged is lost to the
/// operating system, but the next start checks the logs.
#[derive(Debug)]
pub struct EmbeddedBroker {
    broker: Arc<Broker>,
    stopping: StopSender,
    server: Option<JoinHandle<Result<(), BrokerError>>>,
}

impl EmbeddedBroker {
    /// Opens the data directory, recovers its logs, and listens.
    ///
    /// # Errors
    /// [`BrokerError::Locked`] if another broker has the directory, [`BrokerError::Listen`] if the address can't be
    /// bound, [`BrokerError::Storage`] or [`BrokerError::Damaged`] if the directory can't be used,
    /// [`BrokerError::Config`] for a setting out of range.
    pub async fn start(config: BrokerConfig) -> Result<EmbeddedBroker, BrokerError> {
        let settings = BrokerSettings::new(&config.settings)?;
        let data_dir = DataDir::open(config.data_dir.as_deref())?;
        let catalog = Catalog::open(&data_dir, &settings.given, config.clock.clone())?;
        let listener = server::bind(&config.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| BrokerError::Listen { address: config.listen.clone(), source })?;
        let broker = Arc::new(Broker::new(settings, config.clock, catalog, address, data_dir));
        let (stopping, stop) = stop::channel();
        let server = tokio::spawn(server::run(broker.clone(), listener, stop));
        tracing::info!(%address, data_dir = %broker.data_dir().path().display(), "broker ready");
        Ok(EmbeddedBroker { broker, stopping, server: Some(server) })
    }

    /// `host:port`, for a client's `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        self.address().to_string()
    }

    /// The address bound.
    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Stops cleanly: accepts nothing more, answers what is in flight (at most five seconds), flushes and closes the
    /// logs, and notes that the next start can skip checking them.
    ///
    /// # Errors
    /// [`BrokerError::Storage`] if a log can't be flushed; [`BrokerError::StoppedBusy`] if connections had to be cut.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.stopping.stop();
        let served = match self.server.take() {
            Some(server) => server.await.unwrap_or(Ok(())),
            None => Ok(()),
        };
        self.broker.data_dir().mark_clean()?;
        tracing::info!(address = %self.broker.address(), "broker stopped");
        served
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stopping.stop();
    }
}

//! Everything request handlers share: settings, topics, groups, transactions, the clock.

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;

use crate::api::ApiError;
use crate::config::broker::BrokerSettings;
use crate::data_dir::DataDir;
use crate::error::BrokerError;
use crate::fault::Switchboard;
use crate::group::GroupCoordinator;
use crate::producer_ids::ProducerIds;
use crate::topics::{Catalog, Topic};
use crate::txn::TransactionCoordinator;

/// The only node's id.
pub(crate) const NODE_ID: BrokerId = BrokerId(1);

/// The state behind the handlers.
#[derive(Debug)]
pub(crate) struct Broker {
    settings: BrokerSettings,
    catalog: Arc<Catalog>,
    producer_ids: Arc<ProducerIds>,
    groups: Arc<GroupCoordinator>,
    transactions: Arc<TransactionCoordinator>,
    address: SocketAddr,
    faults: Arc<Switchboard>,
    // Last: the directory's lock is given up after everything in it is closed.
    data_dir: DataDir,
}

impl Broker {
    /// Puts the parts together.
    pub(crate) fn new(
        settings: BrokerSettings,
        catalog: Arc<Catalog>,
        producer_ids: Arc<ProducerIds>,
        groups: Arc<GroupCoordinator>,
        transactions: Arc<TransactionCoordinator>,
        address: SocketAddr,
        data_dir: DataDir,
    ) -> Self {
        let faults = Arc::default();
        Broker { settings, catalog, producer_ids, groups, transactions, address, faults, data_dir }
    }

    /// The settings the broker was started with.
    pub(crate) fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// The topics.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Ids for idempotent producers.
    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// Consumer groups and their offsets.
    pub(crate) fn groups(&self) -> &Arc<GroupCoordinator> {
        &self.groups
    }

    /// Transactional ids and their transactions.
    pub(crate) fn transactions(&self) -> &Arc<TransactionCoordinator> {
        &self.transactions
    }

    /// Deletes a topic and all that hangs on it.
    pub(crate) async fn delete_topic(&self, topic: &Arc<Topic>) -> Result<(), ApiError> {
        let (catalog, groups, deleted) = (self.catalog.clone(), self.groups.clone(), topic.clone());
        let delete = move || {
            catalog.delete(&deleted)?;
            groups.topics_deleted(&|name| *name == *deleted.name);
            Ok(())
        };
        let outcome = tokio::task::spawn_blocking(delete).await;
        outcome.unwrap_or_else(|_| {
            Err(ApiError::new(ResponseError::UnknownServerError, "the deletion was cut off"))
        })
    }

    /// What is to go wrong, for tests.
    pub(crate) fn faults(&self) -> &Arc<Switchboard> {
        &self.faults
    }

    /// The address bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients that reached us at `local` find the broker: the bound address, or, when bound to all
    /// addresses, the one they used.
    pub(crate) fn advertised(&self, local: SocketAddr) -> SocketAddr {
        if self.address.ip().is_unspecified() {
            SocketAddr::new(local.ip(), self.address.port())
        } else {
            self.address
        }
    }

    /// Flushes and closes everything, and notes that the stop was clean. Blocks on disk.
    pub(crate) fn close(&self) -> Result<(), BrokerError> {
        self.catalog.close().map_err(|error| BrokerError::Close(Box::new(error)))?;
        self.data_dir.mark_clean()
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }
}

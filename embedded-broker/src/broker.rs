//! Everything request handlers share: settings, topics, groups, the clock.

use std::net::SocketAddr;

use kafka_protocol::messages::BrokerId;

use crate::clock::SharedClock;
use crate::config::broker::BrokerSettings;
use crate::data_dir::DataDir;
use crate::topics::Catalog;

/// The only node's id.
pub(crate) const NODE_ID: BrokerId = BrokerId(1);

/// The state behind the handlers.
#[derive(Debug)]
pub(crate) struct Broker {
    settings: BrokerSettings,
    clock: SharedClock,
    catalog: Catalog,
    address: SocketAddr,
    // Last: the directory's lock is given up after everything in it is closed.
    data_dir: DataDir,
}

impl Broker {
    /// Puts the parts together.
    pub(crate) fn new(
        settings: BrokerSettings,
        clock: SharedClock,
        catalog: Catalog,
        address: SocketAddr,
        data_dir: DataDir,
    ) -> Self {
        Broker { settings, clock, catalog, address, data_dir }
    }

    /// The settings the broker was started with.
    pub(crate) fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// Wall-clock time.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The topics.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
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

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }
}

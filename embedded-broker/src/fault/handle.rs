//! [`Faults`]: what a test holds.

use std::sync::{Arc, Weak};

use super::Coordinator;
use super::rule::{Fault, InjectedFault};
use super::switchboard::Switchboard;
use crate::broker::Broker;
use crate::error::BrokerError;

/// The faults of a running broker. Cheap to clone; does nothing once the broker has stopped.
#[derive(Debug, Clone)]
pub struct Faults {
    switchboard: Arc<Switchboard>,
    /// Weak: a handle that outlives its broker must not keep the data directory.
    broker: Weak<Broker>,
}

impl Faults {
    pub(crate) fn of(broker: &Arc<Broker>) -> Self {
        Faults { switchboard: broker.faults().clone(), broker: Arc::downgrade(broker) }
    }

    /// Lets the fault happen from now on, behind those injected before: a request is hit by the first that fits.
    pub fn inject(&self, fault: Fault) -> InjectedFault {
        self.switchboard.inject(fault)
    }

    /// Ends all that was injected and lets paused partitions go on. A lost coordinator stays lost.
    pub fn clear(&self) {
        self.switchboard.lift_all();
        self.switchboard.paused().resume_all();
    }

    /// Breaks every open connection; answers how many there were. Requests being handled have their effect, but no
    /// answer. Clients may connect again at once.
    pub fn cut_connections(&self) -> usize {
        self.switchboard.connections.cut(None)
    }

    /// Breaks the open connections of clients with this `client.id`; answers how many there were.
    pub fn cut_connections_of(&self, client_id: &str) -> usize {
        self.switchboard.connections.cut(Some(client_id))
    }

    /// Neither takes nor gives records of the partition: a produce request waits, and after its own timeout is answered
    /// `REQUEST_TIMED_OUT` without effect; a fetch finds nothing new.
    pub fn pause_partition(&self, topic: &str, partition: i32) {
        self.switchboard.paused().pause(topic, partition);
    }

    /// Ends [`pause_partition`](Self::pause_partition).
    pub fn resume_partition(&self, topic: &str, partition: i32) {
        self.switchboard.paused().resume(topic, partition);
    }

    /// Loses what the coordinator has in memory, as when Apache Kafka moves it to another broker that is not ready yet:
    /// who waits in a rebalance is told `NOT_COORDINATOR`, so is every later request, and who looks for the
    /// coordinator `COORDINATOR_NOT_AVAILABLE`. Transactional batches are refused meanwhile, as nobody can say whether
    /// their transaction is open (`NOT_ENOUGH_REPLICAS`, as with Apache Kafka).
    pub fn lose_coordinator(&self, coordinator: Coordinator) {
        self.switchboard.set_lost(coordinator, true);
        let Some(broker) = self.broker.upgrade() else { return };
        match coordinator {
            Coordinator::Group => broker.groups().forget(),
            Coordinator::Transaction => broker.transactions().forget_all(),
        }
    }

    /// Loads a lost coordinator again from its log. Transactions go on where they were; a group's members and generation are as they were after its last
    /// complete rebalance; each member gets a whole session timeout to be heard of. Blocks on disk. Does nothing while the coordinator is not lost.
    ///
    /// # Errors
    /// [`BrokerError::Offsets`] or [`BrokerError::Transactions`] if the log can't be read; the coordinator stays lost.
    pub fn restore_coordinator(&self, coordinator: Coordinator) -> Result<(), BrokerError> {
        let Some(broker) = self.broker.upgrade() else { return Ok(()) };
        if !self.switchboard.is_lost(coordinator) {
            // What is under way is only in memory.
            return Ok(());
        }
        match coordinator {
            Coordinator::Group => {
                broker.groups().reload().map_err(|error| BrokerError::Offsets(error.into()))?;
            }
            Coordinator::Transaction => {
                broker.transactions().reload().map_err(|error| BrokerError::Transactions(error.into()))?;
            }
        }
        self.switchboard.set_lost(coordinator, false);
        Ok(())
    }
}

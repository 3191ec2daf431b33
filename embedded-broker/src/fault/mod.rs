//! Faults on purpose: what a test of a client, or of an application, needs to see its broker fail.
//!
//! [`EmbeddedBroker::faults`] gives the handle to a running broker's faults: requests that are refused, answered late or
//! never ([`Fault`]), connections that break, a coordinator that is lost and loaded again, partitions that pause. Nothing
//! is slower while no fault is injected: a request costs one look at a flag.
//!
//! Faults of the disk are given at start: [`DiskFaults`] decides which change to a file fails, and a [`VolatileDisk`] knows
//! what was never made durable, so that a power cut can take it away, after any write.
//!
//! ```
//! use kstreams_embedded_broker::fault::{ApiKey, Fault, ResponseError};
//! use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let broker = EmbeddedBroker::start(BrokerConfig::new()).await?;
//! let faults = broker.faults();
//!
//! // The next two produce requests of this client are refused; a good client sends them again.
//! let refuse = Fault::refuse(ResponseError::NotEnoughReplicas).api(ApiKey::Produce).client("app").times(2);
//! let refused = faults.inject(refuse);
//!
//! // Every heartbeat waits for a second, until the fault is lifted.
//! let late = faults.inject(Fault::delay(std::time::Duration::from_secs(1)).api(ApiKey::Heartbeat));
//! late.lift();
//!
//! assert_eq!(refused.hits(), 0, "no client was there");
//! broker.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`EmbeddedBroker::faults`]: crate::EmbeddedBroker::faults

mod connections;
mod handle;
mod paused;
mod rule;
mod switchboard;
mod volatile;

pub use kafka_protocol::ResponseError;
pub use kafka_protocol::messages::ApiKey;

pub use self::handle::Faults;
pub use self::rule::{Fault, InjectedFault};
pub use self::volatile::{Loss, VolatileDisk};
pub use crate::log::{DiskFault, DiskFaults, DiskOp};

pub(crate) use self::connections::Link;
pub(crate) use self::rule::Effect;
pub(crate) use self::switchboard::Switchboard;
pub(crate) use self::volatile::Change;

/// What Apache Kafka spreads over its brokers and moves between them; here it can be lost and loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coordinator {
    /// Of consumer groups and their offsets.
    Group,
    /// Of transactions.
    Transaction,
}

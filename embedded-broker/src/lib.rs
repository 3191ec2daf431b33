//! A single-node broker that speaks the Kafka protocol, as a library and as a program.
//!
//! It serves development, tests and single-machine deployments; a cluster is Apache Kafka's business. It is not a
//! mock: any Kafka client works with it, data is on disk in Apache Kafka's record format, and what it acknowledged
//! survives its death. What it answers and which settings it has is listed in the crate's `README.md`; there is no
//! authentication and no replication.
//!
//! ```
//! use kstreams_embedded_broker::{BrokerConfig, EmbeddedBroker};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! // A free port on 127.0.0.1 and a temporary directory, gone after the shutdown.
//! let broker = EmbeddedBroker::start(BrokerConfig::new().set("num.partitions", "4")?).await?;
//! assert_eq!(broker.bootstrap_servers(), broker.address().to_string());
//! assert!(broker.data_dir().join("topics").exists());
//! broker.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A request's way: `server` accepts, `connection` cuts frames, `router` checks API and version and decodes, one
//! module of `api` per API answers, `reply` encodes. Behind the handlers stand `topics` (which topics exist), `log`
//! (one partition on disk), `group` (consumer groups and their offsets) and `txn` (transactions).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod broker;
mod clock;
mod config;
mod connection;
mod data_dir;
mod embedded;
mod error;
pub mod fault;
mod group;
mod internal_log;
mod log;
mod maintenance;
mod markers;
mod periodic;
mod producer_ids;
mod refuse;
mod reply;
mod request_check;
mod request_shapes;
mod router;
mod server;
mod stop;
mod topics;
mod txn;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use config::{BrokerConfig, ConfigError};
pub use embedded::EmbeddedBroker;
pub use error::BrokerError;

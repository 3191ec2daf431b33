//! The core of kstreams: topology, Processor API, tasks and the runtime.
//!
//! What it is not: it knows no operators of the DSL (crate `kstreams-dsl`) and no broker. Users depend on `kstreams`,
//! which re-exports what they need.
//!
//! A record's way: poll -> decode -> choose -> process -> (store, changelog) -> produce -> commit.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod client;
pub mod clock;
pub mod config;
mod error;
pub mod handlers;
pub mod internal_topics;
pub mod metrics;
pub mod murmur2;
pub mod offset_metadata;
pub mod processor;
mod runtime;
pub mod state_dir;
pub mod task;
pub mod topology;

pub use client::{ClientError, Message};
pub use config::StreamsConfig;
pub use error::{StreamsError, TopologyError};
pub use runtime::{
    InputMetadata, KafkaStreams, LagInfo, QueryIterator, QueryableStore, ReadOnlyStore, RuntimeError, State,
    StateListener, StateRestoreListener, TaskMetadata, ThreadMetadata,
};
pub use task::TaskId;
pub use topology::Topology;

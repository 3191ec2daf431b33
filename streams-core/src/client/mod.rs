//! The Kafka client: everything that touches librdkafka.
//!
//! ```text
//! GroupConsumer --split--> PartitionQueue --read--> Message      (input and restore)
//! Producer <--produce-- Outgoing, delivered: AckSlot per changelog partition, FailedDelivery
//! Waker <--signal-- queues that got messages, commands of other threads
//! ```
//!
//! `rdkafka`'s synchronous clients carry groups, commits and metadata. Three calls that it lacks are made here, and
//! nowhere else is `unsafe` allowed: reading a partition's queue in batches (`rd_kafka_consume_batch_queue`, 0.22 us a
//! record against 0.36 us by `poll`), producing with timestamp and headers without a delivery report per record
//! (`rd_kafka_produceva` with `delivery.report.only.error`), and seeing the offset of each acknowledged record
//! (the `on_acknowledgement` interceptor).

mod consumer;
mod delivery;
mod error;
mod message;
mod producer;
mod queue;
mod waker;

pub(crate) use consumer::{Committed, GroupConsumer, GroupEvent};
pub(crate) use delivery::{AckSlot, FailedDelivery, OriginTag, OutputOrigin};
pub use error::ClientError;
pub use message::Message;
pub(crate) use producer::{Outgoing, ProduceError, Producer, TopicHandle};
pub(crate) use queue::{Fetched, PartitionQueue};
pub(crate) use waker::Waker;

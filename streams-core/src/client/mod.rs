//! The Kafka client: everything that touches librdkafka.
//!
//! ```text
//! GroupConsumer --split--> PartitionQueue --read--> Message      (input and restore)
//! Producer <--produce-- Outgoing, delivered: AckSlot per changelog partition, FailedDelivery
//! Waker <--signal-- queues that got messages, commands of other threads
//! ```
//!
//! `rdkafka`'s synchronous clients carry groups, commits and metadata. What it lacks is called here, and nowhere else is
//! `unsafe` allowed: reading a partition's queue in batches (`rd_kafka_consume_batch_queue`, 0.22 us a
//! record against 0.36 us by `poll`), producing with timestamp and headers without a delivery report per record
//! (`rd_kafka_produceva` with `delivery.report.only.error`), seeing the offset of each acknowledged record
//! (the `on_acknowledgement` interceptor), transactions with the kind of their errors and the generation of their group
//! (`transactions`), and ends of partitions past open transactions (`end_offsets`).

mod consumer;
mod delivery;
mod end_offsets;
mod error;
mod message;
mod producer;
mod queue;
mod transactions;
pub(crate) mod versions;
mod waker;

pub(crate) use consumer::{Committed, GroupConsumer, GroupEvent};
pub(crate) use delivery::{AckSlot, FailedDelivery, OriginTag, OutputOrigin};
pub(crate) use end_offsets::stable_ends;
pub use error::ClientError;
pub use message::Message;
pub(crate) use producer::{Outgoing, ProduceError, Producer, TopicHandle};
pub(crate) use queue::{Fetched, PartitionQueue};
pub(crate) use transactions::{Remedy, TransactionError, TransactionState};
pub(crate) use waker::Waker;

/// A timeout as librdkafka takes it, in ms. Rounded up: what is left of the last millisecond would else be no wait at all,
/// and a loop around such a call a busy one.
fn millis(timeout: std::time::Duration) -> std::ffi::c_int {
    timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(std::ffi::c_int::MAX)
}

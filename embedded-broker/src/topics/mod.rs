//! Topics: what exists, with which partitions and settings, and the partitions' logs.
//!
//! [`catalog`] answers "which topic is this" and changes the set of topics; [`store`] keeps it on disk;
//! [`settings`] merges a topic's own settings with the broker's defaults.

mod catalog;
mod name;
mod open;
mod parallel;
mod settings;
mod store;
mod topic;

use crate::log::TopicPartitionName;

pub(crate) use catalog::{Catalog, NewTopic};
pub(crate) use open::Opener;
pub(crate) use settings::{Source, check_overrides, effective};
pub(crate) use store::Store;
pub(crate) use topic::Topic;

/// The topic that holds the committed offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that holds the state of transactional ids.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// The partition all groups' offsets go to.
pub(crate) fn offsets_partition() -> TopicPartitionName {
    TopicPartitionName::new(OFFSETS_TOPIC, 0)
}

/// More partitions than this in one topic are refused: each costs open files.
const MAX_PARTITIONS: i32 = 100_000;

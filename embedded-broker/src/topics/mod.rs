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

pub(crate) use catalog::{Catalog, NewTopic};
pub(crate) use open::Opener;
pub(crate) use settings::{Source, check_overrides, effective};
pub(crate) use store::Store;
pub(crate) use topic::Topic;

/// The topic that holds the committed offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// More partitions than this in one topic are refused: each costs open files.
const MAX_PARTITIONS: i32 = 100_000;

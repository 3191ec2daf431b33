//! Topics: what exists, with which partitions and settings, and the partitions' logs.
//!
//! [`catalog`] answers "which topic is this" and changes the set of topics; [`store`] keeps it on disk;
//! [`settings`] merges a topic's own settings with the broker's defaults.

mod catalog;
mod name;
mod settings;
mod store;

pub(crate) use catalog::{Catalog, NewTopic, Topic};
pub(crate) use settings::{Source, check_overrides, effective};

/// The topic that holds the committed offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

//! The topics that an application makes for itself: repartition topics between sub-topologies, changelogs of stores. Their
//! names, settings and partition counts are Kafka Streams', so that an application can be handed over in either direction.
//!
//! `partitions.rs` computes the counts, `check.rs` judges topics that exist already, `manager.rs` talks to the brokers.
//!
//! | kind | cleanup.policy | other |
//! |---|---|---|
//! | repartition | delete | retention.ms=-1, segment.bytes=52428800 |
//! | changelog of a key-value store | compact | |
//! | changelog of a windowed store | compact,delete; only delete for stores that keep duplicates | retention.ms = store's retention + `windowstore.changelog.additional.retention.ms` |
//! | changelog of a versioned store | compact | min.compaction.lag.ms = history retention + 1 day |
//!
//! All have `message.timestamp.type=CreateTime`. Over that go the application's `topic.` settings, over those the store's own.

mod check;
mod manager;
mod partitions;

use std::collections::BTreeMap;

use kstreams_state_stores::{StoreKind, StoreSpec};

use crate::config::StreamsConfig;

pub use check::check_configs;
pub use manager::TopicManager;
pub use partitions::{SubTopologyTopics, repartition_partition_counts, task_count};

/// Records that arrive within a day of their window's end are still in a windowed changelog when stores are restored from it.
const VERSIONED_COMPACTION_LAG_MS: i64 = 24 * 60 * 60 * 1_000;

/// What an internal topic is for, and so how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InternalTopicKind {
    /// Records on their way from one sub-topology to another; deleted once they are processed.
    Repartition,
    /// Changelog of a key-value store.
    Changelog,
    /// Changelog of a window or session store.
    WindowedChangelog {
        /// Retention of the store in ms.
        retention_ms: i64,
        /// The store keeps several values of a key (stores of stream-stream joins), which compaction would drop.
        retain_duplicates: bool,
    },
    /// Changelog of a versioned store.
    VersionedChangelog {
        /// History retention of the store in ms.
        history_retention_ms: i64,
    },
}

/// An internal topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalTopicConfig {
    /// The full name.
    pub name: String,
    /// What it is for.
    pub kind: InternalTopicKind,
    /// Number of partitions.
    pub partitions: i32,
    /// Settings given for this topic (`with_logging_enabled`): they go over all others.
    pub configs: BTreeMap<String, String>,
}

impl InternalTopicConfig {
    /// A repartition topic.
    pub fn repartition(name: impl Into<String>, partitions: i32) -> Self {
        let configs = BTreeMap::new();
        InternalTopicConfig { name: name.into(), kind: InternalTopicKind::Repartition, partitions, configs }
    }

    /// The changelog of a store, `None` for a store without one.
    pub fn changelog(application_id: &str, store: &StoreSpec, partitions: i32) -> Option<Self> {
        let configs = store.logging.clone()?;
        let kind = if store.kind == StoreKind::Versioned {
            let history_retention_ms = store.retention_ms.unwrap_or(i64::MAX);
            InternalTopicKind::VersionedChangelog { history_retention_ms }
        } else if store.kind.is_windowed() {
            let retention_ms = store.retention_ms.unwrap_or(i64::MAX);
            InternalTopicKind::WindowedChangelog { retention_ms, retain_duplicates: store.retain_duplicates }
        } else {
            InternalTopicKind::Changelog
        };
        Some(InternalTopicConfig {
            name: changelog_topic(application_id, &store.name),
            kind,
            partitions,
            configs,
        })
    }

    /// Every setting that the topic is created with.
    pub fn effective_configs(&self, config: &StreamsConfig) -> BTreeMap<String, String> {
        let additional =
            i64::try_from(config.windowstore_changelog_additional_retention.as_millis()).unwrap_or(i64::MAX);
        let mut configs = BTreeMap::new();
        let mut set = |key: &str, value: String| configs.insert(key.to_owned(), value);
        set("message.timestamp.type", "CreateTime".into());
        match self.kind {
            InternalTopicKind::Repartition => {
                set("cleanup.policy", "delete".into());
                set("retention.ms", "-1".into());
                set("segment.bytes", "52428800".into());
            }
            InternalTopicKind::Changelog => {
                set("cleanup.policy", "compact".into());
            }
            InternalTopicKind::WindowedChangelog { retention_ms, retain_duplicates } => {
                set("cleanup.policy", if retain_duplicates { "delete" } else { "compact,delete" }.into());
                set("retention.ms", retention_ms.saturating_add(additional).to_string());
            }
            InternalTopicKind::VersionedChangelog { history_retention_ms } => {
                set("cleanup.policy", "compact".into());
                set(
                    "min.compaction.lag.ms",
                    history_retention_ms.saturating_add(VERSIONED_COMPACTION_LAG_MS).to_string(),
                );
            }
        }
        configs.extend(config.topic_configs.clone());
        configs.extend(self.configs.clone());
        configs
    }
}

/// `<application id>-<store>-changelog`.
pub fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// `<application id>-<prefix>-repartition`; a prefix that has the ending already does not get it twice.
pub fn repartition_topic(application_id: &str, prefix: &str) -> String {
    let prefix = prefix.strip_suffix("-repartition").unwrap_or(prefix);
    format!("{application_id}-{prefix}-repartition")
}

/// Source or internal topics that are missing or not as they have to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicsError {
    /// Source topics do not exist; the library does not make them, because their number of partitions is the user's to choose.
    #[error(
        "source topics {} do not exist: create them (kafka-topics --create --topic NAME --partitions N), or correct their names",
        list(topics)
    )]
    MissingSources {
        /// The topics.
        topics: Vec<String>,
    },
    /// Topics whose records are joined by key have different partition counts.
    #[error(
        "topics {} are joined by key and need equal numbers of partitions: repartition one of the streams (repartition()), or recreate its topic",
        counted(topics)
    )]
    NotCopartitioned {
        /// Each topic and its number of partitions.
        topics: Vec<(String, i32)>,
    },
    /// A repartition topic has a given number of partitions that does not fit the topic it is joined with.
    #[error(
        "repartition topic {topic} is given {given} partitions, but is joined by key with topics of {expected}: give it {expected}, or none"
    )]
    RepartitionCount {
        /// The repartition topic.
        topic: String,
        /// The number given.
        given: i32,
        /// The number it needs.
        expected: i32,
    },
    /// Repartition topics that feed only each other: nothing says how many partitions they need.
    #[error(
        "the number of partitions of repartition topics {} cannot be told from any source: give it with Repartitioned::with_number_of_partitions",
        list(topics)
    )]
    UndeterminedCount {
        /// The topics.
        topics: Vec<String>,
    },
    /// An internal topic that exists has another number of partitions than the application needs.
    #[error(
        "internal topic {topic} has {found} partitions, the application needs {expected}: the partitions of a source changed, or the topic \
         was made by hand. Bring the source back to its number of partitions; or stop every instance, delete {topic} and the local state \
         (clean_up()), reset the application's offsets, and start again"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// What it has.
        found: i32,
        /// What it needs.
        expected: i32,
    },
    /// An internal topic that exists is cleaned in a way that loses records.
    #[error(
        "internal topic {topic} has cleanup.policy={found}, expected {expected}: records that are still needed would be lost. Set it: \
         kafka-configs --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=[{expected}]"
    )]
    CleanupPolicy {
        /// The topic.
        topic: String,
        /// What it has.
        found: String,
        /// What it needs.
        expected: String,
    },
    /// An internal topic that exists deletes records that its store still holds.
    #[error(
        "internal topic {topic} has retention.ms={found}, expected {expected}: windows that the store keeps would be lost. Set it: \
         kafka-configs --alter --entity-type topics --entity-name {topic} --add-config retention.ms={expected}"
    )]
    Retention {
        /// The topic.
        topic: String,
        /// What it has, in ms.
        found: String,
        /// What it needs, in ms.
        expected: String,
    },
    /// The name is none that Kafka allows.
    #[error(
        "{topic} is no name for a topic: it may have letters, digits, `.`, `_` and `-`, at most 249; change `application.id`, or the name of the store or operator"
    )]
    InvalidName {
        /// The name.
        topic: String,
    },
    /// The brokers refused to make an internal topic.
    #[error(
        "internal topic {topic} cannot be created: {reason}; allow it (ACL Create, replication.factor, broker limits), or create it yourself"
    )]
    Creation {
        /// The topic.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// Topics that were made do not show up, or have no leader.
    #[error(
        "topics {} are not ready after {waited_ms} ms: check that enough brokers run (replication.factor, controller)",
        list(topics)
    )]
    NotReady {
        /// The topics.
        topics: Vec<String>,
        /// How long was waited.
        waited_ms: u64,
    },
    /// No broker answered.
    #[error(
        "no broker answers at {servers} within {waited_ms} ms: check `bootstrap.servers`, that the brokers run, and the security settings"
    )]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// How long was waited.
        waited_ms: u64,
        /// What the client said.
        source: Box<rdkafka::error::KafkaError>,
    },
    /// Another failure of a request.
    #[error("{action} failed")]
    Request {
        /// What was asked.
        action: &'static str,
        /// What the client said.
        source: Box<rdkafka::error::KafkaError>,
    },
}

fn list(topics: &[String]) -> String {
    topics.join(", ")
}

fn counted(topics: &[(String, i32)]) -> String {
    topics.iter().map(|(topic, count)| format!("{topic} ({count})")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

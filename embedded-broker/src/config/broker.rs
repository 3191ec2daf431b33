//! The broker's own settings, under the names and with the defaults of Apache Kafka's `KafkaConfig`.

use super::key::{ConfigKey, Kind};
use super::{ConfigError, Settings};

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey { name, kind, default, synonym: None, doc }
}

/// Every setting the broker has. Those a topic's setting falls back to have the topic's type and default.
pub(crate) const KEYS: &[ConfigKey] = &[
    key("auto.create.topics.enable", Kind::Bool, "true", "Whether asking for a topic's metadata creates it."),
    key(
        "compression.type",
        Kind::Choice(&["producer"]),
        "producer",
        "Batches are stored as the producer made them.",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Long { min: -1 },
        "600000",
        "An idle connection is closed after this many milliseconds.",
    ),
    key(
        "default.replication.factor",
        Kind::Int { min: 1 },
        "1",
        "Replicas of topics created automatically; one broker has one.",
    ),
    key("delete.topic.enable", Kind::Bool, "true", "Whether topics can be deleted."),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int { min: 0 },
        // Apache Kafka's default is 3000, for members that start all over a cluster; its development settings say 0.
        "0",
        "How long an empty group waits for more members, in milliseconds.",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int { min: 1 },
        "1800000",
        "The longest session timeout a member may ask for, in milliseconds.",
    ),
    key("group.max.size", Kind::Int { min: 1 }, "2147483647", "The most members a group may have."),
    key(
        "group.min.session.timeout.ms",
        Kind::Int { min: 1 },
        "6000",
        "The shortest session timeout a member may ask for, in milliseconds.",
    ),
    key(
        "log.cleaner.backoff.ms",
        Kind::Long { min: 0 },
        "15000",
        "Pause between two looks for logs to compact, in milliseconds.",
    ),
    key(
        "log.cleaner.delete.retention.ms",
        Kind::Long { min: 0 },
        "86400000",
        "Default of delete.retention.ms.",
    ),
    key(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long { min: 1 },
        "9223372036854775807",
        "Default of max.compaction.lag.ms.",
    ),
    key("log.cleaner.min.cleanable.ratio", Kind::Ratio, "0.5", "Default of min.cleanable.dirty.ratio."),
    key("log.cleaner.min.compaction.lag.ms", Kind::Long { min: 0 }, "0", "Default of min.compaction.lag.ms."),
    key("log.cleanup.policy", Kind::List(&["delete", "compact"]), "delete", "Default of cleanup.policy."),
    key(
        "log.flush.interval.messages",
        Kind::Long { min: 1 },
        "9223372036854775807",
        "Default of flush.messages.",
    ),
    key("log.flush.interval.ms", Kind::Long { min: 0 }, "9223372036854775807", "Default of flush.ms."),
    key(
        "log.flush.scheduler.interval.ms",
        Kind::Long { min: 1 },
        "1000",
        "How often logs are looked at for flush.ms, in milliseconds.",
    ),
    key("log.index.interval.bytes", Kind::Int { min: 0 }, "4096", "Default of index.interval.bytes."),
    key("log.index.size.max.bytes", Kind::Int { min: 4 }, "10485760", "Default of segment.index.bytes."),
    key(
        "log.message.timestamp.after.max.ms",
        Kind::Long { min: 0 },
        "3600000",
        "Default of message.timestamp.after.max.ms.",
    ),
    key(
        "log.message.timestamp.before.max.ms",
        Kind::Long { min: 0 },
        "9223372036854775807",
        "Default of message.timestamp.before.max.ms.",
    ),
    key(
        "log.message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Default of message.timestamp.type.",
    ),
    key("log.preallocate", Kind::Bool, "false", "Default of preallocate."),
    key("log.retention.bytes", Kind::Long { min: -1 }, "-1", "Default of retention.bytes."),
    key(
        "log.retention.check.interval.ms",
        Kind::Long { min: 1 },
        "300000",
        "How often logs are looked at for retention, in milliseconds.",
    ),
    key("log.retention.ms", Kind::Long { min: -1 }, "604800000", "Default of retention.ms."),
    key("log.roll.jitter.ms", Kind::Long { min: 0 }, "0", "Default of segment.jitter.ms."),
    key("log.roll.ms", Kind::Long { min: 1 }, "604800000", "Default of segment.ms."),
    key("log.segment.bytes", Kind::Int { min: 14 }, "1073741824", "Default of segment.bytes."),
    key("log.segment.delete.delay.ms", Kind::Long { min: 0 }, "60000", "Default of file.delete.delay.ms."),
    key("max.connections", Kind::Int { min: 1 }, "2147483647", "The most connections open at a time."),
    key("message.max.bytes", Kind::Int { min: 0 }, "1048588", "Default of max.message.bytes."),
    key("min.insync.replicas", Kind::Int { min: 1 }, "1", "Default of the topic's min.insync.replicas."),
    key("num.partitions", Kind::Int { min: 1 }, "1", "Partitions of topics created without a number."),
    key(
        "offset.metadata.max.bytes",
        Kind::Int { min: 0 },
        "4096",
        "The longest metadata of a committed offset, in bytes.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long { min: 1 },
        "600000",
        "How often committed offsets are looked at for expiry, in milliseconds.",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int { min: 1 },
        "10080",
        "How long the offsets of a group without members are kept, in minutes.",
    ),
    key(
        "offsets.topic.segment.bytes",
        Kind::Int { min: 1 },
        "104857600",
        "Segment size of the log of committed offsets, in bytes.",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int { min: 1 },
        "86400000",
        "How long an idle producer's sequence numbers are remembered, in milliseconds.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int { min: 1 },
        "104857600",
        "The largest request accepted, in bytes.",
    ),
    key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        // Apache Kafka's default is 10000, for coordinators with more to look through.
        "1000",
        "How often transactions are looked at for their timeout, in milliseconds.",
    ),
    key(
        "transaction.max.timeout.ms",
        Kind::Int { min: 1 },
        "900000",
        "The longest transaction.timeout.ms a producer may ask for, in milliseconds.",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Kind::Int { min: 1 },
        "3600000",
        "How often transactional ids are looked at for expiry, in milliseconds.",
    ),
    key(
        "transaction.state.log.segment.bytes",
        Kind::Int { min: 1 },
        "104857600",
        "Segment size of the log of transactions, in bytes.",
    ),
    key(
        "transactional.id.expiration.ms",
        Kind::Int { min: 1 },
        "604800000",
        "How long an idle transactional id is remembered, in milliseconds.",
    ),
    key("unclean.leader.election.enable", Kind::Bool, "false", "A single broker elects no leaders."),
];

/// Settings that Apache Kafka has in coarser units too: the name, the setting in milliseconds, milliseconds of the unit.
pub(crate) const COARSE_UNITS: &[(&str, &str, i64)] = &[
    ("log.retention.hours", "log.retention.ms", 3_600_000),
    ("log.retention.minutes", "log.retention.ms", 60_000),
    ("log.roll.hours", "log.roll.ms", 3_600_000),
    ("log.roll.jitter.hours", "log.roll.jitter.ms", 3_600_000),
];

/// The setting of that name.
pub(crate) fn find(name: &str) -> Option<&'static ConfigKey> {
    KEYS.iter().find(|key| key.name == name)
}

/// The settings the broker itself reads, parsed once at start.
#[derive(Debug, Clone)]
pub(crate) struct BrokerSettings {
    pub(crate) auto_create_topics: bool,
    pub(crate) delete_topics: bool,
    pub(crate) num_partitions: i32,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) idle_ms: Option<u64>,
    pub(crate) cleaner_backoff_ms: u64,
    pub(crate) retention_check_ms: u64,
    pub(crate) flush_check_ms: u64,
    /// What was set explicitly.
    pub(crate) given: Settings,
}

impl BrokerSettings {
    /// Parses the settings given over the defaults.
    pub(crate) fn new(given: &Settings) -> Result<Self, ConfigError> {
        let read = Reader { given };
        Ok(BrokerSettings {
            auto_create_topics: read.get("auto.create.topics.enable")?,
            delete_topics: read.get("delete.topic.enable")?,
            num_partitions: read.get("num.partitions")?,
            max_request_bytes: read.get("socket.request.max.bytes")?,
            max_connections: read.get("max.connections")?,
            idle_ms: u64::try_from(read.get::<i64>("connections.max.idle.ms")?).ok(),
            cleaner_backoff_ms: read.get("log.cleaner.backoff.ms")?,
            retention_check_ms: read.get("log.retention.check.interval.ms")?,
            flush_check_ms: read.get("log.flush.scheduler.interval.ms")?,
            given: given.clone(),
        })
    }

    /// The value of a setting, parsed; for parts that have settings of their own (groups).
    pub(crate) fn get<T: std::str::FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        Reader { given: &self.given }.get(name)
    }
}

struct Reader<'a> {
    given: &'a Settings,
}

impl Reader<'_> {
    fn get<T: std::str::FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        let key = find(name).ok_or_else(|| super::unknown(name, KEYS.iter()))?;
        let value = self.given.get(name).map_or(key.default, String::as_str);
        value.parse().map_err(|_| ConfigError::Invalid {
            name: name.to_owned(),
            value: value.to_owned(),
            reason: "out of range".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic;

    #[test]
    fn every_default_passes_its_own_check() {
        for key in KEYS.iter().chain(topic::KEYS) {
            assert_eq!(key.check(key.default).as_deref(), Ok(key.default), "{}", key.name);
        }
    }

    #[test]
    fn every_topic_setting_falls_back_to_a_broker_setting_with_the_same_default() {
        for key in topic::KEYS {
            let synonym = find(key.synonym.unwrap()).unwrap();
            assert_eq!(synonym.default, key.default, "{}", key.name);
        }
    }

    #[test]
    fn names_are_sorted_and_unique() {
        for keys in [KEYS, topic::KEYS] {
            assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
    }
}

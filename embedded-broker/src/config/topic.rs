//! A topic's settings: names, ranges and defaults of Apache Kafka's `TopicConfig` and `LogConfig`, and the broker's
//! setting each one falls back to.

use super::key::{ConfigKey, Kind};

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: &'static str,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey { name, kind, default, synonym: Some(synonym), doc }
}

/// Every setting a topic has.
pub(crate) const KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        Kind::List(&["delete", "compact"]),
        "delete",
        "log.cleanup.policy",
        "What happens to old segments: delete by retention, compact by key, or both.",
    ),
    key(
        "compression.type",
        Kind::Choice(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
        "compression.type",
        "Kept for compatibility: batches are stored as the producer compressed them, whatever is set here.",
    ),
    key(
        "delete.retention.ms",
        Kind::Long { min: 0 },
        "86400000",
        "log.cleaner.delete.retention.ms",
        "How long compaction keeps tombstones, in milliseconds.",
    ),
    key(
        "file.delete.delay.ms",
        Kind::Long { min: 0 },
        "60000",
        "log.segment.delete.delay.ms",
        "How long a removed segment's file stays before it is deleted, in milliseconds.",
    ),
    key(
        "flush.messages",
        Kind::Long { min: 1 },
        "9223372036854775807",
        "log.flush.interval.messages",
        "Fsync after this many records.",
    ),
    key(
        "flush.ms",
        Kind::Long { min: 0 },
        "9223372036854775807",
        "log.flush.interval.ms",
        "Fsync after this many milliseconds.",
    ),
    key(
        "index.interval.bytes",
        Kind::Int { min: 0 },
        "4096",
        "log.index.interval.bytes",
        "Bytes of log between two entries of an index.",
    ),
    key(
        "max.compaction.lag.ms",
        Kind::Long { min: 1 },
        "9223372036854775807",
        "log.cleaner.max.compaction.lag.ms",
        "A record is compacted at the latest after this many milliseconds.",
    ),
    key(
        "max.message.bytes",
        Kind::Int { min: 0 },
        "1048588",
        "message.max.bytes",
        "The largest record batch accepted, in bytes, as it comes (compressed).",
    ),
    key(
        "message.timestamp.after.max.ms",
        Kind::Long { min: 0 },
        "3600000",
        "log.message.timestamp.after.max.ms",
        "How far in the future a record's timestamp may lie, in milliseconds.",
    ),
    key(
        "message.timestamp.before.max.ms",
        Kind::Long { min: 0 },
        "9223372036854775807",
        "log.message.timestamp.before.max.ms",
        "How far in the past a record's timestamp may lie, in milliseconds.",
    ),
    key(
        "message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "log.message.timestamp.type",
        "Whether records keep the producer's timestamp or get the broker's.",
    ),
    key(
        "min.cleanable.dirty.ratio",
        Kind::Ratio,
        "0.5",
        "log.cleaner.min.cleanable.ratio",
        "Compaction starts when this share of the log is not yet compacted.",
    ),
    key(
        "min.compaction.lag.ms",
        Kind::Long { min: 0 },
        "0",
        "log.cleaner.min.compaction.lag.ms",
        "A record stays uncompacted at least this many milliseconds.",
    ),
    key(
        "min.insync.replicas",
        Kind::Int { min: 1 },
        "1",
        "min.insync.replicas",
        "Replicas that must have a record before it is acknowledged with acks=all; this broker is always one.",
    ),
    key(
        "preallocate",
        Kind::Bool,
        "false",
        "log.preallocate",
        "Kept for compatibility: segment files are never allocated ahead.",
    ),
    key(
        "retention.bytes",
        Kind::Long { min: -1 },
        "-1",
        "log.retention.bytes",
        "Old segments are deleted when a partition is larger than this many bytes; -1 for no limit.",
    ),
    key(
        "retention.ms",
        Kind::Long { min: -1 },
        "604800000",
        "log.retention.ms",
        "Segments are deleted when their newest record is older than this many milliseconds; -1 for no limit.",
    ),
    key(
        "segment.bytes",
        Kind::Int { min: 14 },
        "1073741824",
        "log.segment.bytes",
        "A segment file is closed at this many bytes.",
    ),
    key(
        "segment.index.bytes",
        Kind::Int { min: 4 },
        "10485760",
        "log.index.size.max.bytes",
        "Kept for compatibility: an index grows with its segment.",
    ),
    key(
        "segment.jitter.ms",
        Kind::Long { min: 0 },
        "0",
        "log.roll.jitter.ms",
        "Kept for compatibility: segments are closed without jitter.",
    ),
    key(
        "segment.ms",
        Kind::Long { min: 1 },
        "604800000",
        "log.roll.ms",
        "A segment file is closed after this many milliseconds.",
    ),
    key(
        "unclean.leader.election.enable",
        Kind::Bool,
        "false",
        "unclean.leader.election.enable",
        "Kept for compatibility: a single broker elects no leaders.",
    ),
];

/// The setting of that name.
pub(crate) fn find(name: &str) -> Option<&'static ConfigKey> {
    KEYS.iter().find(|key| key.name == name)
}

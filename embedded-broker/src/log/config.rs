//! The settings of one partition log: Apache Kafka's topic configs, parsed.

/// The settings of one partition log. Defaults are Apache Kafka's.
///
/// Times are milliseconds, sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogConfig {
    /// `segment.bytes`: the active segment is closed before it would grow beyond this.
    pub(crate) segment_bytes: u64,
    /// `segment.ms`: the active segment is closed when its records span more than this.
    pub(crate) segment_ms: i64,
    /// `retention.ms`: segments whose newest record is older are deleted; -1 keeps them for ever.
    pub(crate) retention_ms: i64,
    /// `retention.bytes`: oldest segments are deleted while the log stays at least this large; -1 is no limit.
    pub(crate) retention_bytes: i64,
    /// `cleanup.policy` contains `delete`.
    pub(crate) delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub(crate) compact: bool,
    /// `delete.retention.ms`: how long a tombstone stays after it was first compacted.
    pub(crate) delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: younger records are never compacted away.
    pub(crate) min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: an uncompacted record older than this makes a compaction due.
    pub(crate) max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of uncompacted bytes that makes a compaction due.
    pub(crate) min_cleanable_dirty_ratio: f64,
    /// `file.delete.delay.ms`: how long a deleted file keeps its space on disk.
    pub(crate) file_delete_delay_ms: i64,
    /// `message.timestamp.type=LogAppendTime`: batches are stamped with the broker's time.
    pub(crate) log_append_time: bool,
    /// `message.timestamp.before.max.ms`: how far in the past a record's timestamp may lie.
    pub(crate) timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record's timestamp may lie.
    pub(crate) timestamp_after_max_ms: i64,
    /// `max.message.bytes`: the largest record batch that is accepted, header included.
    pub(crate) max_message_bytes: u32,
    /// `index.interval.bytes`: the indexes get an entry after this many bytes of log.
    pub(crate) index_interval_bytes: u32,
    /// `flush.messages`: fsync after this many records; `i64::MAX` leaves it to the operating system.
    pub(crate) flush_messages: i64,
    /// `flush.ms`: fsync when the oldest unflushed record is older; `i64::MAX` leaves it to the operating system.
    pub(crate) flush_ms: i64,
    /// `producer.id.expiration.ms`: an idempotent producer that is silent for longer is forgotten.
    pub(crate) producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            delete: true,
            compact: false,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            file_delete_delay_ms: 60_000,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            max_message_bytes: 1024 * 1024 + 12,
            index_interval_bytes: 4096,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// Positions in a segment are 31-bit numbers in Kafka's index format, so no segment grows beyond this.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

impl LogConfig {
    /// `segment_bytes` bounded by what the index format can address.
    pub(crate) fn effective_segment_bytes(&self) -> u64 {
        self.segment_bytes.clamp(1, MAX_SEGMENT_BYTES)
    }

    /// After how long the active segment is closed. A compacted log closes early enough for
    /// `max.compaction.lag.ms` to be kept, because only closed segments are compacted (KIP-354).
    pub(crate) fn effective_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

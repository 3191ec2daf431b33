//! What can go wrong in a partition log, and which Kafka error code a client gets for it.

use std::io;
use std::path::{Path, PathBuf};

use kafka_protocol::error::ResponseError;

use super::TopicPartitionName;

/// A failure of the log's own work (opening, maintaining, looking up).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogError {
    /// The file system refused an operation.
    #[error("cannot {operation} {}: check that the disk is writable and not full", path.display())]
    Io {
        /// What was tried, for instance `write`.
        operation: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Bytes on disk are not what was written.
    #[error("corrupt data in {} at byte {position}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Byte position of the damaged part.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The offset does not lie in the log.
    #[error("offset {requested} of {partition} is outside the log, which holds {start} to {end}")]
    OffsetOutOfRange {
        /// The log.
        partition: TopicPartitionName,
        /// The offset asked for.
        requested: i64,
        /// First offset that can be read.
        start: i64,
        /// The next offset to be written.
        end: i64,
    },
    /// An earlier storage error left the log in an unknown state; it works again once it is reopened.
    #[error("the log of {partition} is offline after a storage error: restart the broker to recover it")]
    Offline {
        /// The log.
        partition: TopicPartitionName,
    },
    /// The log was closed or its topic was deleted.
    #[error("the log of {partition} is closed")]
    Closed {
        /// The log.
        partition: TopicPartitionName,
    },
}

impl LogError {
    /// For `map_err` on file operations.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_path_buf();
        move |source| LogError::Io { operation, path, source }
    }

    /// The protocol's error for this failure.
    pub(crate) fn kafka_error(&self) -> ResponseError {
        match self {
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::Closed { .. } => ResponseError::NotLeaderOrFollower,
            LogError::Io { .. } | LogError::Corrupt { .. } | LogError::Offline { .. } => {
                ResponseError::KafkaStorageError
            }
        }
    }
}

/// Why a Produce request's records were not appended. Nothing of them was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AppendError {
    /// The bytes are not whole batches, or a batch's CRC does not match.
    #[error("corrupt record batch for {partition}: {reason}")]
    Corrupt {
        /// The log.
        partition: TopicPartitionName,
        /// What is wrong.
        reason: String,
    },
    /// A batch is larger than `max.message.bytes`.
    #[error("record batch of {size} bytes for {partition} is larger than max.message.bytes={limit}")]
    TooLarge {
        /// The log.
        partition: TopicPartitionName,
        /// Size of the batch in bytes, header included.
        size: usize,
        /// The limit in bytes.
        limit: u32,
    },
    /// The request's batches together are larger than `segment.bytes`.
    #[error("record set of {size} bytes for {partition} is larger than segment.bytes={limit}")]
    SetTooLarge {
        /// The log.
        partition: TopicPartitionName,
        /// Size of all batches in bytes.
        size: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// A timestamp lies outside `message.timestamp.{before,after}.max.ms`, or the producer chose LogAppendTime.
    #[error("invalid timestamp {timestamp} in a record batch for {partition}: {reason}")]
    InvalidTimestamp {
        /// The log.
        partition: TopicPartitionName,
        /// The timestamp, milliseconds.
        timestamp: i64,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The batch is well-formed but breaks a rule, for instance a record without key in a compacted topic.
    #[error("invalid record batch for {partition}: {reason}")]
    InvalidRecord {
        /// The log.
        partition: TopicPartitionName,
        /// Which rule.
        reason: &'static str,
    },
    /// An idempotent producer's batch does not follow its last one: something was lost or reordered (KIP-98).
    #[error(
        "out of order sequence number for producer {producer_id} at {partition}: {got} (incoming), {last} (last seen)"
    )]
    OutOfOrderSequence {
        /// The log.
        partition: TopicPartitionName,
        /// The producer.
        producer_id: i64,
        /// First sequence number of the batch.
        got: i32,
        /// Last sequence number in the log; -1 when a new epoch has to start at 0.
        last: i32,
    },
    /// A newer instance of the same producer has written: this one is fenced (KIP-360).
    #[error(
        "epoch {got} of producer {producer_id} at {partition} is older than the last seen epoch {current}"
    )]
    InvalidProducerEpoch {
        /// The log.
        partition: TopicPartitionName,
        /// The producer.
        producer_id: i64,
        /// Epoch of the batch.
        got: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// A transactional batch without a transaction, or a plain batch of a producer whose transaction is open.
    #[error("producer {producer_id} wrote to {partition} outside of its transaction")]
    OutsideTransaction {
        /// The log.
        partition: TopicPartitionName,
        /// The producer.
        producer_id: i64,
    },
    /// Message formats before v2 (Kafka 0.11) are not written.
    #[error("record batch for {partition} has message format v{magic}, only v2 is supported")]
    UnsupportedFormat {
        /// The log.
        partition: TopicPartitionName,
        /// The format's number.
        magic: i8,
    },
    /// The file system refused the write; the log is as it was before.
    #[error("append to {partition} failed")]
    Storage {
        /// The log.
        partition: TopicPartitionName,
        /// What failed.
        #[source]
        source: LogError,
    },
    /// The log is offline or closed.
    #[error("append to {partition} refused")]
    Unavailable {
        /// The log.
        partition: TopicPartitionName,
        /// Why.
        #[source]
        source: LogError,
    },
}

impl AppendError {
    /// The protocol's error for this refusal.
    pub(crate) fn kafka_error(&self) -> ResponseError {
        match self {
            AppendError::Corrupt { .. } => ResponseError::CorruptMessage,
            AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
            AppendError::SetTooLarge { .. } => ResponseError::RecordListTooLarge,
            AppendError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
            AppendError::InvalidRecord { .. } => ResponseError::InvalidRecord,
            AppendError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            AppendError::OutsideTransaction { .. } => ResponseError::InvalidTxnState,
            AppendError::UnsupportedFormat { .. } => ResponseError::UnsupportedForMessageFormat,
            AppendError::Storage { source, .. } | AppendError::Unavailable { source, .. } => {
                source.kafka_error()
            }
        }
    }
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReadError {
    /// The offset lies before the first or after the next offset of the log.
    #[error("offset {requested} of {partition} is outside the log, which holds {start} to {end}")]
    OffsetOutOfRange {
        /// The log.
        partition: TopicPartitionName,
        /// The offset asked for.
        requested: i64,
        /// First offset that can be read.
        start: i64,
        /// The next offset to be written.
        end: i64,
    },
    /// The file system failed, or the bytes on disk are damaged.
    #[error("read from {partition} failed")]
    Storage {
        /// The log.
        partition: TopicPartitionName,
        /// What failed.
        #[source]
        source: LogError,
    },
}

impl ReadError {
    /// The protocol's error for this failure.
    pub(crate) fn kafka_error(&self) -> ResponseError {
        match self {
            ReadError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            ReadError::Storage { source, .. } => source.kafka_error(),
        }
    }
}

//! The compacted logs in which the broker keeps its own state: committed offsets and groups, transactions.
//!
//! The coordinators see them through [`InternalLog`], so that their tests can do without a disk. [`schema`] reads and
//! writes the fields of their records.

pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod testing;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::log::{AppendError, Log, LogRecord, Marker, Origin, commits};

/// One record to append: a value, or a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The encoded key.
    pub(crate) key: Bytes,
    /// The encoded value; none deletes the key.
    pub(crate) value: Option<Bytes>,
}

/// A producer in whose transaction something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerEpoch {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// Why something couldn't be stored. The caller's state is unchanged, in memory and in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// More bytes than the log takes in one batch.
    #[error("the records are larger than an internal log takes in one batch")]
    TooLarge,
    /// A newer epoch of the producer has written.
    #[error("the producer is fenced")]
    Fenced,
    /// The disk failed.
    #[error("cannot write to an internal log")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What a client that commits offsets is told.
    pub(crate) fn for_offset_commit(&self) -> ResponseError {
        match self {
            StoreError::TooLarge => ResponseError::InvalidCommitOffsetSize,
            StoreError::Fenced => ResponseError::InvalidProducerEpoch,
            // Retriable: the client tries again, and so keeps its offsets when the disk recovers.
            StoreError::Storage(_) => ResponseError::CoordinatorNotAvailable,
        }
    }

    /// What the members of a group or a producer are told whose state couldn't be stored.
    pub(crate) fn for_coordinator(&self) -> ResponseError {
        match self {
            StoreError::TooLarge => ResponseError::UnknownServerError,
            StoreError::Fenced => ResponseError::InvalidProducerEpoch,
            StoreError::Storage(_) => ResponseError::CoordinatorNotAvailable,
        }
    }
}

/// Why the log can't be read at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot read an internal log")]
pub(crate) struct ReplayError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// What a log tells at start, in order.
#[derive(Debug, Clone)]
pub(crate) enum Replayed {
    /// A record.
    Record {
        offset: i64,
        key: Bytes,
        value: Option<Bytes>,
        /// It counts only if this producer's transaction commits.
        transaction: Option<i64>,
    },
    /// The end of a producer's transaction.
    End { producer_id: i64, commit: bool },
}

/// A compacted log of the broker's own.
pub(crate) trait InternalLog: Send + Sync {
    /// Appends all entries, or none, and gives the offset of the first. On return they are as durable as any
    /// acknowledged record. Those of a transaction count when it commits.
    fn append(
        &self,
        entries: &[Entry],
        timestamp_ms: i64,
        transaction: Option<ProducerEpoch>,
    ) -> Result<i64, StoreError>;

    /// Ends a producer's transaction.
    fn end_transaction(&self, marker: &Marker) -> Result<(), StoreError>;

    /// Calls `visit` with every record and every end of a transaction, oldest first.
    fn replay(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), ReplayError>;
}

impl InternalLog for Log {
    fn append(
        &self,
        entries: &[Entry],
        timestamp_ms: i64,
        transaction: Option<ProducerEpoch>,
    ) -> Result<i64, StoreError> {
        let batch = encode_batch(entries, timestamp_ms, transaction)?;
        let appended = self.append_from(Origin::Coordinator, batch).map_err(store_error)?;
        Ok(appended.base_offset)
    }

    fn end_transaction(&self, marker: &Marker) -> Result<(), StoreError> {
        self.append_marker(marker).map(drop).map_err(store_error)
    }

    fn replay(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), ReplayError> {
        let mut hand_on = |record: LogRecord| match (record.control, record.key) {
            (true, key) => {
                if let (Some(producer_id), Some(commit)) = (record.transaction, commits(key.as_ref())) {
                    visit(Replayed::End { producer_id, commit });
                }
            }
            (false, Some(key)) => {
                let (offset, value, transaction) = (record.offset, record.value, record.transaction);
                visit(Replayed::Record { offset, key, value, transaction });
            }
            (false, None) => {}
        };
        self.for_each_record(0, &mut hand_on).map_err(|error| ReplayError(Box::new(error)))
    }
}

fn store_error(error: AppendError) -> StoreError {
    match error {
        AppendError::TooLarge { .. } | AppendError::SetTooLarge { .. } => StoreError::TooLarge,
        AppendError::InvalidProducerEpoch { .. } => StoreError::Fenced,
        error => StoreError::Storage(Box::new(error)),
    }
}

fn encode_batch(
    entries: &[Entry],
    timestamp_ms: i64,
    transaction: Option<ProducerEpoch>,
) -> Result<Bytes, StoreError> {
    let record = |(index, entry): (i32, &Entry)| Record {
        transactional: transaction.is_some(),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: transaction.map_or(NO_PRODUCER_ID, |producer| producer.id),
        producer_epoch: transaction.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch),
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        // The encoder starts a new batch where offset and sequence don't go together.
        sequence: NO_SEQUENCE.wrapping_add(index),
        timestamp: timestamp_ms,
        key: Some(entry.key.clone()),
        value: entry.value.clone(),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0..).zip(entries).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, &records, &options)
        .map_err(|error| StoreError::Storage(error.to_string().into()))?;
    Ok(batch.freeze())
}

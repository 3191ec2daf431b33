//! Where committed offsets and group metadata are kept: the seam between the coordinator and the log.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::records::Entry;
use crate::log::{AppendError, Log};

/// Why something couldn't be stored. The caller's state is unchanged, in memory and in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// More bytes than the log takes in one batch.
    #[error("the records are larger than the offsets log takes in one batch")]
    TooLarge,
    /// The disk failed.
    #[error("cannot write to the offsets log")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What a client that commits offsets is told.
    pub(crate) fn for_offset_commit(&self) -> ResponseError {
        match self {
            StoreError::TooLarge => ResponseError::InvalidCommitOffsetSize,
            // Retriable: the client tries again, and so keeps its offsets when the disk recovers.
            StoreError::Storage(_) => ResponseError::CoordinatorNotAvailable,
        }
    }

    /// What members are told whose group couldn't be stored.
    pub(crate) fn for_group(&self) -> ResponseError {
        match self {
            StoreError::TooLarge => ResponseError::UnknownServerError,
            StoreError::Storage(_) => ResponseError::CoordinatorNotAvailable,
        }
    }
}

/// Why the log can't be read at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log of committed offsets")]
pub(crate) struct ReplayError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// The compacted log of offsets and group metadata.
pub(crate) trait OffsetsLog: Send + Sync {
    /// Appends all entries, or none. On return they are as durable as any acknowledged record.
    fn append(&self, entries: &[Entry], timestamp_ms: i64) -> Result<(), StoreError>;

    /// Calls `visit` with the key and value of every record, oldest first.
    fn replay(&self, visit: &mut dyn FnMut(Bytes, Option<Bytes>)) -> Result<(), ReplayError>;
}

impl OffsetsLog for Log {
    fn append(&self, entries: &[Entry], timestamp_ms: i64) -> Result<(), StoreError> {
        let batch = encode_batch(entries, timestamp_ms)?;
        match Log::append(self, batch) {
            Ok(_) => Ok(()),
            Err(AppendError::TooLarge { .. } | AppendError::SetTooLarge { .. }) => Err(StoreError::TooLarge),
            Err(error) => Err(StoreError::Storage(Box::new(error))),
        }
    }

    fn replay(&self, visit: &mut dyn FnMut(Bytes, Option<Bytes>)) -> Result<(), ReplayError> {
        let mut hand_on = |record: crate::log::LogRecord| {
            if let (Some(key), false) = (record.key, record.control) {
                visit(key, record.value);
            }
        };
        self.for_each_record(0, &mut hand_on).map_err(|error| ReplayError(Box::new(error)))
    }
}

fn encode_batch(entries: &[Entry], timestamp_ms: i64) -> Result<Bytes, StoreError> {
    let record = |(index, entry): (i32, &Entry)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
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

//! Transaction markers: the control batches that end a transaction in a partition (KIP-98).
//!
//! A marker is a batch of one record. Its key says what happened (version i16 = 0, type i16: 0 abort, 1 commit), its
//! value which coordinator wrote it (version i16 = 0, epoch i32), as Apache Kafka's `EndTransactionMarker`.

use bytes::{Buf, Bytes, BytesMut};

use super::batch::{self, BatchHeader, HEADER_LEN};
use super::record::RawRecord;

/// The only coordinator there is has been the coordinator from the start.
pub(crate) const COORDINATOR_EPOCH: i32 = 0;

const COMMIT: i16 = 1;
const ABORT: i16 = 0;

/// The end of a producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Whose transaction.
    pub(crate) producer_id: i64,
    /// The producer's epoch; older ones are fenced in the partition from the marker on.
    pub(crate) producer_epoch: i16,
    /// Committed, or else aborted.
    pub(crate) commit: bool,
}

impl Marker {
    /// The batch to append, without its offset, and its header.
    pub(super) fn encode(&self, now_ms: i64) -> (BatchHeader, Bytes) {
        let record = self.record();
        let header = BatchHeader {
            base_offset: 0,
            size: HEADER_LEN + record.len(),
            crc: 0,
            attributes: BatchHeader::MARKER,
            last_offset_delta: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: -1,
            count: 1,
        };
        let mut bytes = BytesMut::with_capacity(header.size);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&record);
        batch::renew_crc(&mut bytes);
        (header, bytes.freeze())
    }

    /// The record's bytes: lengths and deltas are zigzag numbers of one byte each.
    fn record(&self) -> [u8; 17] {
        let [a, b] = (if self.commit { COMMIT } else { ABORT }).to_be_bytes();
        let [c, d, e, f] = COORDINATOR_EPOCH.to_be_bytes();
        // length 16, attributes, timestamp delta, offset delta, key of 4 bytes, value of 6 bytes, no headers
        [32, 0, 0, 0, 8, 0, 0, a, b, 12, 0, 0, c, d, e, f, 0]
    }
}

/// Whether a control record commits; `None` if it is of another type, which a reader passes over.
pub(crate) fn commits(key: Option<&Bytes>) -> Option<bool> {
    let mut key = key?.clone();
    let _version = key.try_get_i16().ok()?;
    match key.try_get_i16().ok()? {
        COMMIT => Some(true),
        ABORT => Some(false),
        _ => None,
    }
}

/// What a control batch's records say; an emptied batch (compaction keeps it for its epoch) says nothing.
pub(super) fn commits_of(records: &[RawRecord]) -> Option<bool> {
    commits(records.first()?.key.as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::record::records_of;
    use super::*;

    #[test]
    fn a_marker_is_a_control_batch_of_one_record() {
        for commit in [true, false] {
            let (header, bytes) = Marker { producer_id: 7, producer_epoch: 3, commit }.encode(99);
            let parsed = BatchHeader::parse(&bytes).unwrap();
            assert!(parsed.is_control() && parsed.is_transactional());
            assert_eq!((parsed.size, bytes.len(), header.size), (78, 78, 78));
            assert_eq!(batch::crc_of(&bytes), parsed.crc);
            let records = records_of(&parsed, &bytes).unwrap();
            assert_eq!(commits_of(&records), Some(commit));
            let record = records[0].decode(&parsed).unwrap();
            assert_eq!(record.value.as_deref(), Some(&[0, 0, 0, 0, 0, 0][..]));
            assert_eq!((record.timestamp, record.headers.len()), (99, 0));
        }
    }
}

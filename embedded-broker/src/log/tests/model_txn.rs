//! The model of transactions in one partition: what became of each, worked out from everything that was written.

use super::super::batch::BatchHeader;
use super::super::marker::{Marker, commits_of};
use super::super::record::records_of;
use super::super::{AbortedTxn, LogRecord};

/// What was appended at once: a producer's batch, or a marker.
#[derive(Debug, Clone)]
pub(super) struct ModelBatch {
    pub(super) records: Vec<LogRecord>,
    /// Id, epoch, first sequence.
    pub(super) producer: (i64, i16, i32),
    pub(super) marker: Option<Marker>,
}

impl ModelBatch {
    pub(super) fn base(&self) -> i64 {
        self.records[0].offset
    }

    /// A marker at this offset.
    pub(super) fn of_marker(marker: Marker, offset: i64, now_ms: i64) -> Self {
        let record = LogRecord {
            offset,
            timestamp: now_ms,
            key: Some(vec![0, 0, 0, u8::from(marker.commit)].into()),
            value: Some(vec![0; 6].into()),
            headers: Vec::new(),
            control: true,
            transaction: Some(marker.producer_id),
        };
        let producer = (marker.producer_id, marker.producer_epoch, -1);
        ModelBatch { records: vec![record], producer, marker: Some(marker) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone)]
pub(super) struct Txn {
    id: i64,
    pub(super) fate: Fate,
    /// Offsets of its records, in order.
    pub(super) offsets: Vec<i64>,
    pub(super) marker: Option<i64>,
}

/// Every transaction, from its first batch to its marker.
pub(super) fn transactions(batches: &[ModelBatch]) -> Vec<Txn> {
    let mut all: Vec<Txn> = Vec::new();
    for batch in batches {
        let id = batch.producer.0;
        let open = all.iter_mut().find(|txn| txn.id == id && txn.fate == Fate::Open);
        let offsets = batch.records.iter().map(|record| record.offset);
        match (batch.marker, open) {
            (Some(marker), Some(txn)) => {
                txn.fate = if marker.commit { Fate::Committed } else { Fate::Aborted };
                txn.marker = Some(batch.base());
            }
            // It ends nothing here.
            (Some(_), None) => {}
            (None, Some(txn)) => txn.offsets.extend(offsets),
            (None, None) if batch.records[0].transaction.is_some() => {
                all.push(Txn { id, fate: Fate::Open, offsets: offsets.collect(), marker: None });
            }
            (None, None) => {}
        }
    }
    all
}

/// What a read_committed consumer makes of the batches it got: the rules of Kafka's clients.
pub(super) fn committed_records(
    batches: &[(BatchHeader, &[u8])],
    aborted: &[AbortedTxn],
    from: i64,
) -> Vec<LogRecord> {
    let mut ahead: Vec<AbortedTxn> = aborted.to_vec();
    ahead.sort_by_key(|txn| txn.first_offset);
    let (mut dropping, mut out) = (Vec::new(), Vec::new());
    for (header, bytes) in batches {
        let reached = ahead.partition_point(|txn| txn.first_offset <= header.last_offset());
        dropping.extend(ahead.drain(..reached).map(|txn| txn.producer_id));
        let records = records_of(header, &bytes.to_vec().into()).unwrap();
        if header.is_control() {
            if commits_of(&records) == Some(false) {
                dropping.retain(|id| *id != header.producer_id);
            }
        } else if !(header.is_transactional() && dropping.contains(&header.producer_id)) {
            let records = records.iter().map(|record| record.decode(header).unwrap());
            out.extend(records.filter(|record| record.offset >= from));
        }
    }
    out
}

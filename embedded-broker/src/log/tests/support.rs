//! For this module's tests: batches as clients write them, and logs in a temporary directory.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use super::super::{Disk, Log, LogConfig, LogRecord, TopicPartitionName};
use crate::clock::ManualClock;

/// 2023-11-14, a time that every test starts at.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// A batch of an idempotent (or, with id -1, any) producer. Records are (timestamp, key, value).
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) codec: Compression,
    pub(crate) producer: (i64, i16, i32),
    pub(crate) transactional: bool,
    pub(crate) records: Vec<(i64, Option<String>, Option<String>)>,
}

impl Batch {
    pub(crate) fn of(records: Vec<(i64, Option<String>, Option<String>)>) -> Self {
        Batch { codec: Compression::None, producer: (-1, -1, -1), transactional: false, records }
    }

    /// Records with these keys and values, all at `NOW`.
    pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Self {
        Batch::of(pairs.iter().map(|(k, v)| (NOW, Some((*k).to_owned()), Some((*v).to_owned()))).collect())
    }

    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(crate) fn in_transaction(mut self) -> Self {
        self.transactional = true;
        self
    }

    pub(crate) fn with(mut self, codec: Compression) -> Self {
        self.codec = codec;
        self
    }

    /// The records as they must be in the log, from `base` on; with the broker's time if it stamped them.
    pub(crate) fn expected(&self, base: i64, append_time: Option<i64>) -> Vec<LogRecord> {
        let record =
            |(offset, (timestamp, key, value)): (i64, &(i64, Option<String>, Option<String>))| LogRecord {
                offset,
                timestamp: append_time.unwrap_or(*timestamp),
                key: key.clone().map(Bytes::from),
                value: value.clone().map(Bytes::from),
                headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"1")))],
                control: false,
                transaction: self.transactional.then_some(self.producer.0),
            };
        (base..).zip(&self.records).map(record).collect()
    }

    /// The bytes a client sends.
    pub(crate) fn bytes(&self) -> Bytes {
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let records: Vec<_> = self
            .records
            .iter()
            .enumerate()
            .map(|(at, (timestamp, key, value))| Record {
                transactional: self.transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id,
                producer_epoch,
                timestamp_type: TimestampType::Creation,
                offset: at as i64,
                sequence: base_sequence.wrapping_add(i32::try_from(at).unwrap()),
                timestamp: *timestamp,
                key: key.clone().map(Bytes::from),
                value: value.clone().map(Bytes::from),
                headers: [(
                    kafka_protocol::protocol::StrBytes::from_static_str("h"),
                    Some(Bytes::from_static(b"1")),
                )]
                .into_iter()
                .collect(),
            })
            .collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: self.codec };
        RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
        out.freeze()
    }
}

pub(crate) fn name() -> TopicPartitionName {
    TopicPartitionName::new("topic", 0)
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}

pub(crate) fn open(dir: &Path, config: LogConfig, clock: &Arc<ManualClock>, clean: bool) -> Log {
    Log::open_on(Disk::default(), dir, name(), config, Arc::clone(clock) as _, clean).unwrap()
}

/// A log on a disk whose faults are planned.
pub(crate) fn open_on(disk: Disk, dir: &Path, config: LogConfig, clock: &Arc<ManualClock>) -> Log {
    Log::open_on(disk, dir, name(), config, Arc::clone(clock) as _, false).unwrap()
}

/// Everything in the log, decoded.
pub(crate) fn records(log: &Log) -> Vec<LogRecord> {
    let mut records = Vec::new();
    log.for_each_record(0, &mut |record| records.push(record)).unwrap();
    records
}

/// (offset, key, value) of everything in the log.
pub(crate) fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    records(log)
        .into_iter()
        .map(|record| (record.offset, record.key.map(text).unwrap_or_default(), record.value.map(text)))
        .collect()
}

//! Transactions in one partition: markers written, the last stable offset, which records a consumer has to drop.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::aborted::AbortedTxn;
use super::append::{Appended, Checked};
use super::marker::Marker;
use super::segment::Segment;
use super::{AppendError, Log, ReadError};

/// What DescribeProducers tells of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveProducer {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// Sequence number of its last record; -1 if it has none.
    pub(crate) last_sequence: i32,
    /// Broker's time of its last write, milliseconds.
    pub(crate) last_ms: i64,
    /// Of its last marker; -1 before the first.
    pub(crate) coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub(crate) open_since: Option<i64>,
}

impl Log {
    /// Ends a producer's transaction in this partition: a marker is written even if the producer wrote nothing here,
    /// since its epoch fences older instances.
    ///
    /// # Errors
    /// `InvalidProducerEpoch` if a newer epoch has written, `Unavailable` and `Storage` if the marker can't be written
    /// now.
    pub(crate) fn append_marker(&self, marker: &Marker) -> Result<Appended, AppendError> {
        let config = self.config();
        let now_ms = self.clock.now_ms();
        let (header, records) = marker.encode(now_ms);
        let mut writer = self.writer.lock();
        self.check_online(&writer)
            .map_err(|source| AppendError::Unavailable { partition: self.name.clone(), source })?;
        self.accept(&header, writer.producers.judge_epoch(&header))?;
        let checked = Checked { headers: vec![header], records, marker: Some(*marker) };
        self.write(&mut writer, checked, &config, now_ms)
            .map_err(|source| AppendError::Storage { partition: self.name.clone(), source })
    }

    /// Where read_committed consumers stop: the first offset of the oldest open transaction, or the end offset. At least
    /// the log start, as open transactions may lose their first records to retention.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.stable.load(Ordering::Acquire).max(self.log_start_offset())
    }

    /// [`read`](Log::read) up to the last stable offset, with the transactions whose records in it are to be dropped.
    ///
    /// # Errors
    /// As `read`.
    pub(crate) fn read_committed(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<(Bytes, Vec<AbortedTxn>), ReadError> {
        let stable = self.last_stable_offset();
        let (read, segments) = self.read_range(offset, max_bytes, min_one, stable)?;
        let aborted = match read.bytes.is_empty() {
            true => Vec::new(),
            false => aborted_between(&segments, offset, read.next_offset),
        };
        Ok((Bytes::from(read.bytes), aborted))
    }

    /// The producers this partition knows, by id.
    pub(crate) fn active_producers(&self) -> Vec<ActiveProducer> {
        let writer = self.writer.lock();
        let producers = writer.producers.by_id().into_iter().map(|(producer_id, producer)| ActiveProducer {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_ms: producer.last_ms,
            coordinator_epoch: producer.coordinator_epoch,
            open_since: producer.open_since,
        });
        producers.collect()
    }
}

/// The aborted transactions that began before `upper` and whose markers lie at or after `from`.
pub(super) fn aborted_between(segments: &[Arc<Segment>], from: i64, upper: i64) -> Vec<AbortedTxn> {
    let first = segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
    let mut found = Vec::new();
    for segment in segments.get(first..).unwrap_or(&[]) {
        if segment.aborted_between(from, upper, &mut found) {
            break;
        }
    }
    found
}

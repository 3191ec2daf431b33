//! Produce: batches are checked, given their offsets, and written at the end of the active segment with one write.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::records::Compression;

use super::batch::{self, BadBatch, BatchHeader};
use super::config::LogConfig;
use super::marker::Marker;
use super::producer_state::{Sequence, WrittenBatch};
use super::record::{check_plain_records, records_of};
use super::segment::Segment;
use super::{AppendError, Condition, LEADER_EPOCH, Log, LogError, Writer};

/// Where a Produce request's records are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// Offset of the last record.
    pub(crate) last_offset: i64,
    /// The broker's time in milliseconds under `LogAppendTime`, else -1.
    pub(crate) log_append_time: i64,
    /// First offset of the log that can be read.
    pub(crate) log_start_offset: i64,
    /// The batch had been written before (a retry of an idempotent producer); nothing was written now.
    pub(crate) duplicate: bool,
}

/// Who writes, which decides what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, outside of transactions.
    Client,
    /// A client in a transaction; the transaction coordinator has found that the partition takes part in it.
    Transaction,
    /// A coordinator of this broker, possibly in a client's transaction: without sequence numbers.
    Coordinator,
}

/// Batches that passed every check that needs no lock.
pub(super) struct Checked {
    pub(super) headers: Vec<BatchHeader>,
    pub(super) records: Bytes,
    /// Set if it is a transaction marker, which is a batch of its own.
    pub(super) marker: Option<Marker>,
}

impl Log {
    /// What a client sends outside of transactions.
    #[cfg(test)]
    pub(crate) fn append(&self, records: Bytes) -> Result<Appended, AppendError> {
        self.append_from(Origin::Client, records)
    }

    /// Appends the record set of a Produce request: one or more whole v2 batches, written as they came. Only base
    /// offset and leader epoch are set and, under `LogAppendTime`, the timestamp type and the largest timestamp.
    ///
    /// # Errors
    /// See [`AppendError`]; after each of them nothing of `records` is in the log.
    pub(crate) fn append_from(&self, origin: Origin, records: Bytes) -> Result<Appended, AppendError> {
        let config = self.config();
        let now_ms = self.clock.now_ms();
        let checked = self.check(origin, records, &config, now_ms)?;
        let mut writer = self.writer.lock();
        self.check_online(&writer)
            .map_err(|source| AppendError::Unavailable { partition: self.name.clone(), source })?;
        if let Some(duplicate) = self.check_sequence(origin, &writer, &checked)? {
            return Ok(Appended {
                base_offset: duplicate.base_offset(),
                last_offset: duplicate.last_offset,
                log_append_time: if config.log_append_time { duplicate.timestamp } else { -1 },
                log_start_offset: self.log_start_offset(),
                duplicate: true,
            });
        }
        self.write(&mut writer, checked, &config, now_ms)
            .map_err(|source| AppendError::Storage { partition: self.name.clone(), source })
    }

    pub(super) fn check_online(&self, writer: &Writer) -> Result<(), LogError> {
        match writer.condition {
            Condition::Online => Ok(()),
            Condition::Offline => Err(LogError::Offline { partition: self.name.clone() }),
            Condition::Closed => Err(LogError::Closed { partition: self.name.clone() }),
        }
    }

    /// Offsets are given, bytes written, then everything is published. After an error the log is as before.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        checked: Checked,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        let Checked { mut headers, records, marker } = checked;
        let base_offset = writer.next_offset;
        let mut bytes = std::mem::take(&mut writer.scratch);
        bytes.clear();
        bytes.extend_from_slice(&records);
        let next_offset =
            assign(&mut headers, &mut bytes, base_offset, config.log_append_time.then_some(now_ms));
        let written = self
            .roll_if_due(writer, config, &headers, next_offset, bytes.len(), now_ms)
            .and_then(|()| self.write_bytes(writer, &headers, &bytes, config));
        bytes.shrink_to(64 * 1024);
        writer.scratch = bytes;
        written?;

        let commits = marker.map(|marker| marker.commit);
        for header in headers.iter().filter(|header| header.has_producer()) {
            if let Some(aborted) = writer.producers.note(header, commits, now_ms) {
                writer.active.push_aborted(aborted);
            }
        }
        writer.next_offset = next_offset;
        writer.unflushed_records = writer.unflushed_records.saturating_add(next_offset - base_offset);
        writer.unflushed_since.get_or_insert(now_ms);
        self.flush_if_due(writer, config, now_ms)?;
        self.publish_end(next_offset, writer.producers.first_open().unwrap_or(next_offset));
        Ok(Appended {
            base_offset,
            last_offset: next_offset - 1,
            log_append_time: if config.log_append_time { now_ms } else { -1 },
            log_start_offset: self.log_start_offset(),
            duplicate: false,
        })
    }

    fn write_bytes(
        &self,
        writer: &mut Writer,
        headers: &[BatchHeader],
        bytes: &[u8],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let segment = Arc::clone(&writer.active);
        let start = segment.len();
        if let Err(error) = self.disk.write_at(&segment.file, &segment.path, bytes, start) {
            self.cut_active(writer, &segment, start);
            return Err(error);
        }
        let mut position = start;
        for header in headers {
            segment.note_batch(header, position, config.index_interval_bytes)?;
            position += header.size as u64;
        }
        segment.publish(position);
        Ok(())
    }

    /// Removes what a failed write left behind. If even that fails, nobody knows what the file holds: offline.
    fn cut_active(&self, writer: &mut Writer, segment: &Segment, len: u64) {
        if let Err(error) = self.disk.set_len(&segment.file, &segment.path, len) {
            tracing::error!(partition = %self.name, %error, "log goes offline: a failed write could not be undone");
            writer.condition = Condition::Offline;
        }
    }

    fn flush_if_due(&self, writer: &mut Writer, config: &LogConfig, now_ms: i64) -> Result<(), LogError> {
        let waited = writer.unflushed_since.map_or(0, |since| now_ms.saturating_sub(since));
        if writer.unflushed_records >= config.flush_messages || waited >= config.flush_ms {
            self.flush_writer(writer)?;
        }
        Ok(())
    }

    /// The checks of Apache Kafka's `LogValidator` that need no knowledge of the log.
    fn check(
        &self,
        origin: Origin,
        records: Bytes,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Checked, AppendError> {
        let mut headers = Vec::with_capacity(1);
        let mut at = 0;
        while at < records.len() {
            let rest = &records[at..];
            let header = BatchHeader::parse(rest).map_err(|bad| self.bad_batch(bad))?;
            if header.size > config.max_message_bytes as usize {
                let limit = config.max_message_bytes;
                return Err(AppendError::TooLarge { partition: self.name.clone(), size: header.size, limit });
            }
            let Some(batch) = rest.get(..header.size) else {
                return Err(self.corrupt_batch("the record set ends inside a batch"));
            };
            if batch::crc_of(batch) != header.crc {
                return Err(self.corrupt_batch("the CRC does not match"));
            }
            self.check_producer(origin, &header)?;
            self.check_batch(&header, config, now_ms)?;
            if config.compact {
                self.check_keys(&header, &records.slice(at..at + header.size))?;
            } else if header.codec() == Ok(Compression::None) {
                check_plain_records(&header, batch).map_err(|reason| self.corrupt_batch(&reason))?;
            }
            at += header.size;
            headers.push(header);
        }
        if headers.is_empty() {
            return Err(self.invalid("the record set is empty"));
        }
        if headers.len() > 1 && headers.iter().any(BatchHeader::has_producer) {
            return Err(self.invalid("an idempotent producer sends one batch a partition"));
        }
        let limit = config.effective_segment_bytes();
        if records.len() as u64 > limit {
            return Err(AppendError::SetTooLarge {
                partition: self.name.clone(),
                size: records.len(),
                limit,
            });
        }
        Ok(Checked { headers, records, marker: None })
    }

    fn check_batch(&self, header: &BatchHeader, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
        if header.count == 0 || i64::from(header.count) != i64::from(header.last_offset_delta) + 1 {
            return Err(self.invalid("the record count does not match the last offset delta"));
        }
        if header.codec().is_err() {
            return Err(self.invalid("unknown compression codec"));
        }
        if header.is_control() {
            return Err(self.invalid("clients may not write control records"));
        }
        if header.delete_horizon().is_some() {
            return Err(self.invalid("clients may not set a delete horizon"));
        }
        if config.log_append_time {
            return Ok(());
        }
        let wrong = |timestamp, reason| {
            Err(AppendError::InvalidTimestamp { partition: self.name.clone(), timestamp, reason })
        };
        if header.is_log_append_time() {
            return wrong(header.max_timestamp, "producers may not set the type LogAppendTime");
        }
        if header.max_timestamp.saturating_sub(now_ms) > config.timestamp_after_max_ms {
            return wrong(header.max_timestamp, "later than message.timestamp.after.max.ms allows");
        }
        let oldest = header.base_timestamp;
        if oldest >= 0 && now_ms.saturating_sub(oldest) > config.timestamp_before_max_ms {
            return wrong(oldest, "earlier than message.timestamp.before.max.ms allows");
        }
        Ok(())
    }

    fn check_producer(&self, origin: Origin, header: &BatchHeader) -> Result<(), AppendError> {
        if header.is_transactional() && !header.has_producer() {
            return Err(self.invalid("a transactional batch without a producer id"));
        }
        if header.is_transactional() && origin == Origin::Client {
            return Err(self.outside_transaction(header));
        }
        let numbered = header.base_sequence >= 0 || origin == Origin::Coordinator;
        if header.has_producer() && (!numbered || header.producer_epoch < 0) {
            return Err(self.invalid("a producer id without sequence or epoch"));
        }
        Ok(())
    }

    /// Compaction goes by key, so a compacted topic takes no record without one.
    fn check_keys(&self, header: &BatchHeader, batch: &Bytes) -> Result<(), AppendError> {
        let records = records_of(header, batch).map_err(|reason| self.corrupt_batch(&reason))?;
        if records.iter().any(|record| record.key.is_none()) {
            return Err(self.invalid("a compacted topic needs a key in each record"));
        }
        Ok(())
    }

    fn check_sequence(
        &self,
        origin: Origin,
        writer: &Writer,
        checked: &Checked,
    ) -> Result<Option<WrittenBatch>, AppendError> {
        let [header] = checked.headers.as_slice() else { return Ok(None) };
        if !header.has_producer() {
            return Ok(None);
        }
        let judged = match origin {
            Origin::Coordinator => writer.producers.judge_epoch(header),
            Origin::Client | Origin::Transaction => writer.producers.judge(header),
        };
        self.accept(header, judged)
    }

    /// The batch that was written before, if this is it again; an error if it may not be written.
    pub(super) fn accept(
        &self,
        header: &BatchHeader,
        judged: Sequence,
    ) -> Result<Option<WrittenBatch>, AppendError> {
        let (partition, producer_id) = (self.name.clone(), header.producer_id);
        match judged {
            Sequence::Next => Ok(None),
            Sequence::Duplicate(written) => Ok(Some(written)),
            Sequence::OutOfOrder { last } => Err(AppendError::OutOfOrderSequence {
                partition,
                producer_id,
                got: header.base_sequence,
                last,
            }),
            Sequence::Fenced { current } => Err(AppendError::InvalidProducerEpoch {
                partition,
                producer_id,
                got: header.producer_epoch,
                current,
            }),
            Sequence::OutsideTransaction => Err(self.outside_transaction(header)),
        }
    }

    fn outside_transaction(&self, header: &BatchHeader) -> AppendError {
        AppendError::OutsideTransaction { partition: self.name.clone(), producer_id: header.producer_id }
    }

    fn bad_batch(&self, bad: BadBatch) -> AppendError {
        match bad {
            BadBatch::Short => self.corrupt_batch("the record set ends inside a batch header"),
            BadBatch::Magic(magic) => AppendError::UnsupportedFormat { partition: self.name.clone(), magic },
            BadBatch::Header(reason) => self.corrupt_batch(reason),
        }
    }

    fn corrupt_batch(&self, reason: &str) -> AppendError {
        AppendError::Corrupt { partition: self.name.clone(), reason: reason.to_owned() }
    }

    fn invalid(&self, reason: &'static str) -> AppendError {
        AppendError::InvalidRecord { partition: self.name.clone(), reason }
    }
}

/// Gives each batch its offsets, in the headers and in the bytes, and returns the next offset.
fn assign(headers: &mut [BatchHeader], bytes: &mut [u8], base_offset: i64, append_time: Option<i64>) -> i64 {
    let (mut offset, mut rest) = (base_offset, bytes);
    for header in headers {
        let (batch, after) = rest.split_at_mut(header.size);
        header.base_offset = offset;
        batch::patch_offset(batch, offset, LEADER_EPOCH);
        if let Some(now_ms) = append_time {
            header.max_timestamp = now_ms;
            batch::patch_append_time(batch, now_ms);
        }
        offset = header.next_offset();
        rest = after;
    }
    offset
}

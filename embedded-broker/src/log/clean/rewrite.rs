//! Copies segments without the records that compaction drops. A batch keeps its base offset, last offset and producer
//! fields; records that stay keep their bytes, apart from timestamp deltas when the base timestamp changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::Compression;

use super::super::batch::{self, BatchHeader, HEADER_LEN};
use super::super::codec::compress;
use super::super::config::LogConfig;
use super::super::disk::Disk;
use super::super::index::SegmentIndex;
use super::super::marker;
use super::super::producer_state::LastWritten;
use super::super::record::{RawRecord, records_of};
use super::super::segment::Segment;
use super::super::{Log, LogError};
use super::key_map::KeyMap;
use super::transactions::CleanedTransactions;

/// What decides about records and batches in one round.
pub(super) struct Rewriter<'a> {
    pub(super) keys: KeyMap,
    /// `keys` knows the records before this offset; those from it on stay as they are. (An expired tombstone among
    /// them must not go: the values it deletes may still be there.)
    pub(super) compacted_to: i64,
    /// What keeps epoch and sequence number of each producer id.
    pub(super) last_of_producers: HashMap<i64, LastWritten>,
    pub(super) transactions: CleanedTransactions,
    pub(super) log_end: i64,
    /// Where the part ends that this round goes through.
    pub(super) round_end: i64,
    pub(super) now_ms: i64,
    pub(super) config: &'a LogConfig,
}

/// What becomes of a batch.
enum Verdict {
    /// As it is.
    Keep,
    /// Nothing of it.
    Drop,
    /// These bytes instead.
    Replace(Bytes),
}

/// Bytes gathered before they are written.
const WRITE_CHUNK: usize = 1024 * 1024;

/// What a rewrite made.
pub(super) struct Rewritten {
    /// With its indexes in memory and the path it will have.
    pub(super) segment: Segment,
    pub(super) records_dropped: u64,
    /// False if the old segments have just the same bytes.
    pub(super) changed: bool,
}

/// The new segment while it is written.
struct Output<'a> {
    disk: &'a Disk,
    segment: Segment,
    /// Where the file is until it takes the old one's place.
    path: &'a Path,
    pending: BytesMut,
    written: u64,
}

impl Output<'_> {
    fn push(&mut self, batch: &[u8], index_interval: u32) -> Result<(), LogError> {
        let position = self.written + self.pending.len() as u64;
        if let Ok(header) = BatchHeader::parse(batch) {
            self.segment.note_batch(&header, position, index_interval)?;
        }
        self.pending.extend_from_slice(batch);
        if self.pending.len() < WRITE_CHUNK { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), LogError> {
        self.disk.write_at(&self.segment.file, self.path, &self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Segment, LogError> {
        self.write()?;
        self.disk.sync(&self.segment.file, self.path)?;
        self.segment.publish(self.written);
        Ok(self.segment)
    }
}

impl Rewriter<'_> {
    /// Writes what stays of `group` to the file `cleaned`, durably.
    pub(super) fn rewrite(
        &mut self,
        log: &Log,
        group: &[Arc<Segment>],
        cleaned: &Path,
    ) -> Result<Rewritten, LogError> {
        let file = log.disk.create_empty(cleaned)?;
        let (base, path) = match group.first() {
            Some(first) => (first.base_offset, first.path.clone()),
            None => (0, cleaned.to_path_buf()),
        };
        let index = SegmentIndex::empty(base, &path);
        let segment = Segment::with_index(base, path, file, 0, index, self.now_ms);
        let mut output =
            Output { disk: &log.disk, segment, path: cleaned, pending: BytesMut::new(), written: 0 };
        let (mut records_dropped, mut changed) = (0, false);
        for segment in group {
            let mut walk = segment.walk_from_byte(0);
            while let Some(batch) = walk.next()? {
                log.check_running()?;
                let original = walk.bytes(&batch)?;
                let verdict = self
                    .judge(&batch.header, &original, &mut records_dropped)
                    .map_err(|reason| segment.corrupt(batch.position, reason))?;
                changed |= !matches!(verdict, Verdict::Keep);
                match verdict {
                    Verdict::Keep => output.push(&original, self.config.index_interval_bytes)?,
                    Verdict::Replace(bytes) => output.push(&bytes, self.config.index_interval_bytes)?,
                    Verdict::Drop => {}
                }
            }
        }
        let segment = output.finish()?;
        self.transactions.take_kept().into_iter().for_each(|txn| segment.push_aborted(txn));
        Ok(Rewritten { segment, records_dropped, changed })
    }

    fn judge(
        &mut self,
        header: &BatchHeader,
        original: &Bytes,
        dropped: &mut u64,
    ) -> Result<Verdict, String> {
        let records = records_of(header, original)?;
        if header.is_control() {
            return self.judge_marker(header, &records);
        }
        let aborted = self.transactions.is_aborted(header);
        let all = records.len();
        let stays = |record: &RawRecord| !aborted && self.stays(header, record);
        let kept: Vec<_> = records.into_iter().filter(stays).collect();
        *dropped += (all - kept.len()) as u64;
        if kept.is_empty() {
            return Ok(self.without_records(header));
        }
        let known = |record: &RawRecord| record.offset(header) < self.compacted_to;
        let has_tombstones = kept.iter().any(|record| record.value.is_none() && known(record));
        let new_horizon = (has_tombstones && header.delete_horizon().is_none())
            .then(|| self.now_ms.saturating_add(self.config.delete_retention_ms));
        if kept.len() == all && new_horizon.is_none() {
            return Ok(Verdict::Keep);
        }
        rebuilt(header, &kept, new_horizon).map(Verdict::Replace)
    }

    /// A marker of a transaction of which nothing is left gets its time, as a tombstone does, and goes when it is over.
    fn judge_marker(&mut self, header: &BatchHeader, records: &[RawRecord]) -> Result<Verdict, String> {
        if !self.transactions.is_marker_of_nothing(header, marker::commits_of(records)) {
            return Ok(Verdict::Keep);
        }
        match header.delete_horizon() {
            _ if records.is_empty() => Ok(self.without_records(header)),
            Some(horizon) if self.now_ms >= horizon => Ok(self.without_records(header)),
            Some(_) => Ok(Verdict::Keep),
            None => {
                let horizon = self.now_ms.saturating_add(self.config.delete_retention_ms);
                rebuilt(header, records, Some(horizon)).map(Verdict::Replace)
            }
        }
    }

    /// A batch of which no record stays is still needed if it holds its producer's epoch and sequence, or the end of the
    /// log or of what is compacted: a consumer that reads up to the last stable offset gets there by it.
    fn without_records(&self, header: &BatchHeader) -> Verdict {
        let holds_producer = match self.last_of_producers.get(&header.producer_id) {
            Some(LastWritten::Batch(offset)) => *offset == header.last_offset(),
            Some(LastWritten::Marker(epoch)) => header.is_control() && *epoch == header.producer_epoch,
            None => false,
        };
        match holds_producer || [self.log_end, self.round_end].contains(&header.next_offset()) {
            false => Verdict::Drop,
            true if header.count == 0 => Verdict::Keep,
            true => Verdict::Replace(emptied(header)),
        }
    }

    fn stays(&self, header: &BatchHeader, record: &RawRecord) -> bool {
        if record.offset(header) >= self.compacted_to {
            return true;
        }
        // A record without key cannot be compacted by key: it was written before the topic was compacted.
        let Some(key) = &record.key else { return false };
        let expired =
            record.value.is_none() && header.delete_horizon().is_some_and(|horizon| self.now_ms >= horizon);
        !expired && !self.keys.supersedes(key, record.offset(header))
    }
}

/// The batch without records: it holds the place of its offsets and its producer's sequence numbers.
fn emptied(header: &BatchHeader) -> Bytes {
    finish(
        BatchHeader {
            attributes: BatchHeader::without_codec(header.attributes),
            base_timestamp: header.delete_horizon().unwrap_or(header.max_timestamp),
            count: 0,
            ..*header
        },
        &[],
    )
}

/// The batch with only these records, under the same codec.
fn rebuilt(header: &BatchHeader, records: &[RawRecord], new_horizon: Option<i64>) -> Result<Bytes, String> {
    let mut plain = BytesMut::with_capacity(header.size);
    let mut attributes = header.attributes;
    let base_timestamp = new_horizon.unwrap_or(header.base_timestamp);
    if new_horizon.is_some() {
        // The time takes the base timestamp's place, and the deltas count from it.
        attributes = BatchHeader::with_delete_horizon_bit(attributes);
        for record in records {
            let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
            record.encode_with_delta(timestamp.saturating_sub(base_timestamp), &mut plain);
        }
    } else {
        for record in records {
            plain.extend_from_slice(&record.whole);
        }
    }
    let max_timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        records.iter().map(|record| record.timestamp(header)).max().unwrap_or(header.max_timestamp)
    };
    let codec = header.codec().unwrap_or(Compression::None);
    let mut body = BytesMut::with_capacity(plain.len());
    compress(codec, &plain, &mut body)?;
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    Ok(finish(BatchHeader { attributes, base_timestamp, max_timestamp, count, ..*header }, &body))
}

fn finish(header: BatchHeader, body: &[u8]) -> Bytes {
    let header = BatchHeader { size: HEADER_LEN + body.len(), ..header };
    let mut bytes = BytesMut::with_capacity(header.size);
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(body);
    batch::renew_crc(&mut bytes);
    bytes.freeze()
}

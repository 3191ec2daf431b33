//! Producers with an id: who wrote last with which epoch and sequence (KIP-98, KIP-360), and whose transaction is open.
//!
//! A producer numbers its records per partition. The log keeps the last five batches of each producer id: a repeated
//! batch is answered with its first offset instead of being written again, anything else must follow on. The first
//! transactional batch opens a transaction, the marker ends it; the first offset of the oldest open one is the last
//! stable offset (Apache Kafka: `ProducerStateManager`, `ProducerAppendInfo`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::aborted::AbortedTxn;
use super::batch::{BatchHeader, add_sequence};

/// A client may have five requests in flight, so that many can come again.
pub(super) const BATCHES_KEPT: usize = 5;

/// A batch a producer wrote. Sequences are -1 for what the broker writes on a producer's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrittenBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    /// Offset of the first record: `last_offset - offset_delta`.
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
}

impl WrittenBatch {
    pub(crate) fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of one producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) batches: VecDeque<WrittenBatch>,
    /// Broker's time of the last write, for expiry.
    pub(crate) last_ms: i64,
    /// First offset of its open transaction.
    pub(crate) open_since: Option<i64>,
    /// Epoch of the coordinator that wrote its last marker; -1 before the first.
    pub(crate) coordinator_epoch: i32,
}

/// How a producer's batch relates to what it wrote before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It follows on: write it.
    Next,
    /// It was written before, here.
    Duplicate(WrittenBatch),
    /// A batch before it is missing or it is older than the five that are kept.
    OutOfOrder { last: i32 },
    /// A newer epoch has written.
    Fenced { current: i16 },
    /// The producer's transaction is open, and this batch is not of it.
    OutsideTransaction,
}

/// What keeps a producer's epoch and sequence in a log that is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastWritten {
    /// The batch that ends at this offset.
    Batch(i64),
    /// It has written nothing since a marker of this epoch.
    Marker(i16),
}

/// The producers of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offset to producer id of every open transaction.
    open: BTreeMap<i64, i64>,
    /// The last stable offset when the active segment began.
    pub(super) stable_at_roll: i64,
}

impl Producers {
    /// Judges a batch that a client sends; changes nothing.
    pub(crate) fn judge(&self, batch: &BatchHeader) -> Sequence {
        // Nothing known, or forgotten: any start is accepted (KIP-360).
        let Some(producer) = self.by_id.get(&batch.producer_id) else { return Sequence::Next };
        if batch.producer_epoch < producer.epoch {
            return Sequence::Fenced { current: producer.epoch };
        }
        if producer.open_since.is_some() && !batch.is_transactional() {
            return Sequence::OutsideTransaction;
        }
        let starts_anew = || match batch.base_sequence {
            0 => Sequence::Next,
            _ => Sequence::OutOfOrder { last: -1 },
        };
        if batch.producer_epoch > producer.epoch {
            return starts_anew();
        }
        let same = |written: &&WrittenBatch| {
            written.first_sequence == batch.base_sequence && written.last_sequence == batch.last_sequence()
        };
        if let Some(written) = producer.batches.iter().find(same) {
            return Sequence::Duplicate(*written);
        }
        match producer.batches.back() {
            // Only a marker has this epoch.
            None => starts_anew(),
            Some(last) if batch.base_sequence != add_sequence(last.last_sequence, 1) => {
                Sequence::OutOfOrder { last: last.last_sequence }
            }
            Some(_) => Sequence::Next,
        }
    }

    /// Judges what the broker writes for a producer, a marker or a pending offset: only the epoch counts.
    pub(crate) fn judge_epoch(&self, batch: &BatchHeader) -> Sequence {
        match self.by_id.get(&batch.producer_id) {
            Some(producer) if batch.producer_epoch < producer.epoch => {
                Sequence::Fenced { current: producer.epoch }
            }
            _ => Sequence::Next,
        }
    }

    /// Notes a batch that is in the log. `now_ms` is when it came (at recovery: the time of the start). `commits` is what
    /// a control batch says. The return value is the transaction that a marker aborted.
    pub(crate) fn note(
        &mut self,
        batch: &BatchHeader,
        commits: Option<bool>,
        now_ms: i64,
    ) -> Option<AbortedTxn> {
        if !batch.has_producer() {
            return None;
        }
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
            last_ms: now_ms,
            open_since: None,
            coordinator_epoch: -1,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_ms = now_ms;
        if batch.is_control() {
            return self.end(batch, commits?);
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(WrittenBatch {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        if batch.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(batch.base_offset);
            self.open.insert(batch.base_offset, batch.producer_id);
        }
        None
    }

    /// A marker: the transaction is over. One that wrote nothing here leaves no trace but its epoch.
    fn end(&mut self, marker: &BatchHeader, commit: bool) -> Option<AbortedTxn> {
        let producer = self.by_id.get_mut(&marker.producer_id)?;
        producer.coordinator_epoch = super::marker::COORDINATOR_EPOCH;
        let first_offset = producer.open_since.take()?;
        self.open.remove(&first_offset);
        let stable_after = self.first_open().unwrap_or(marker.next_offset());
        (!commit).then_some(AbortedTxn {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: marker.last_offset(),
            stable_after,
        })
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first_key_value().map(|(offset, _)| *offset)
    }

    /// A segment begins at `offset`.
    pub(crate) fn rolled(&mut self, offset: i64) {
        self.stable_at_roll = self.first_open().unwrap_or(offset);
    }

    /// Everything before this offset was decided by markers in closed segments, which are durable before they are
    /// compacted: a crash can't open its transactions again.
    pub(crate) fn stable_at_roll(&self) -> i64 {
        self.stable_at_roll
    }

    /// Forgets producers that were silent since `before_ms`, unless their transaction is open.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| producer.last_ms >= before_ms || producer.open_since.is_some());
    }

    /// What each producer wrote last: compaction keeps that batch, if need be emptied, so that a restart still finds
    /// epoch and sequence number.
    pub(crate) fn last_written(&self) -> HashMap<i64, LastWritten> {
        let last = |producer: &Producer| match producer.batches.back() {
            Some(batch) => LastWritten::Batch(batch.last_offset),
            None => LastWritten::Marker(producer.epoch),
        };
        self.by_id.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    /// All producers, by id.
    pub(crate) fn by_id(&self) -> BTreeMap<i64, &Producer> {
        self.by_id.iter().map(|(id, producer)| (*id, producer)).collect()
    }

    /// Takes over a producer out of a snapshot.
    pub(super) fn insert(&mut self, id: i64, producer: Producer) {
        if let Some(first_offset) = producer.open_since {
            self.open.insert(first_offset, id);
        }
        self.by_id.insert(id, producer);
    }
}

//! Idempotent producers: who wrote last with which epoch and sequence (KIP-98, KIP-360).
//!
//! A producer numbers its records per partition. The log keeps the last five batches of each producer id: a repeated
//! batch is answered with its first offset instead of being written again, anything else must follow on.
//! Transactions will add here, per producer, the first offset of its open transaction.

use std::collections::{HashMap, VecDeque};

use super::batch::{BatchHeader, add_sequence};

/// A client may have five requests in flight, so that many can come again.
const BATCHES_KEPT: usize = 5;

/// A batch an idempotent producer wrote.
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
}

/// The producers of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Judges a batch that a client sends; changes nothing.
    pub(crate) fn judge(&self, batch: &BatchHeader) -> Sequence {
        // Nothing known, or forgotten: any start is accepted (KIP-360).
        let Some(producer) = self.by_id.get(&batch.producer_id) else { return Sequence::Next };
        if batch.producer_epoch < producer.epoch {
            return Sequence::Fenced { current: producer.epoch };
        }
        if batch.producer_epoch > producer.epoch {
            let starts_anew = batch.base_sequence == 0;
            return if starts_anew { Sequence::Next } else { Sequence::OutOfOrder { last: -1 } };
        }
        let same = |written: &&WrittenBatch| {
            written.first_sequence == batch.base_sequence && written.last_sequence == batch.last_sequence()
        };
        if let Some(written) = producer.batches.iter().find(same) {
            return Sequence::Duplicate(*written);
        }
        match producer.batches.back() {
            Some(last) if batch.base_sequence != add_sequence(last.last_sequence, 1) => {
                Sequence::OutOfOrder { last: last.last_sequence }
            }
            _ => Sequence::Next,
        }
    }

    /// Notes a batch that is in the log. `now_ms` is when it came (at recovery: its timestamp).
    pub(crate) fn note(&mut self, batch: &BatchHeader, now_ms: i64) {
        // Batches of no producer have no sequence; markers belong to transactions.
        if !batch.has_producer() || batch.is_control() {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
            last_ms: now_ms,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.last_ms = now_ms;
        producer.batches.push_back(WrittenBatch {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Forgets producers that were silent since `before_ms`.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| producer.last_ms >= before_ms);
    }

    /// Each producer's last offset: compaction keeps that batch, if need be emptied, so that a restart still finds the
    /// sequence number.
    pub(crate) fn last_offsets(&self) -> HashMap<i64, i64> {
        let last = |producer: &Producer| producer.batches.back().map(|batch| batch.last_offset);
        self.by_id.iter().filter_map(|(id, producer)| Some((*id, last(producer)?))).collect()
    }

    /// The state as bytes: version i16, CRC-32C u32 of the rest, then per producer id, epoch, last time, batches.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&u32::try_from(self.by_id.len()).unwrap_or(u32::MAX).to_be_bytes());
        let mut ids: Vec<_> = self.by_id.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            body.extend_from_slice(&id.to_be_bytes());
            body.extend_from_slice(&producer.epoch.to_be_bytes());
            body.extend_from_slice(&producer.last_ms.to_be_bytes());
            body.push(u8::try_from(producer.batches.len()).unwrap_or(0));
            for batch in &producer.batches {
                body.extend_from_slice(&batch.first_sequence.to_be_bytes());
                body.extend_from_slice(&batch.last_sequence.to_be_bytes());
                body.extend_from_slice(&batch.last_offset.to_be_bytes());
                body.extend_from_slice(&batch.offset_delta.to_be_bytes());
                body.extend_from_slice(&batch.timestamp.to_be_bytes());
            }
        }
        let mut out = Vec::with_capacity(body.len() + 6);
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.append(&mut body);
        out
    }

    /// The state out of bytes; `None` when they are damaged or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
        let mut bytes = Reader(bytes);
        if bytes.take()? != SNAPSHOT_VERSION.to_be_bytes() {
            return None;
        }
        if u32::from_be_bytes(bytes.take()?) != crc32c::crc32c(bytes.0) {
            return None;
        }
        let mut by_id = HashMap::new();
        for _ in 0..u32::from_be_bytes(bytes.take()?) {
            let id = i64::from_be_bytes(bytes.take()?);
            let epoch = i16::from_be_bytes(bytes.take()?);
            let last_ms = i64::from_be_bytes(bytes.take()?);
            let [count] = bytes.take()?;
            let mut batches = VecDeque::with_capacity(BATCHES_KEPT);
            for _ in 0..count {
                batches.push_back(WrittenBatch {
                    first_sequence: i32::from_be_bytes(bytes.take()?),
                    last_sequence: i32::from_be_bytes(bytes.take()?),
                    last_offset: i64::from_be_bytes(bytes.take()?),
                    offset_delta: i32::from_be_bytes(bytes.take()?),
                    timestamp: i64::from_be_bytes(bytes.take()?),
                });
            }
            by_id.insert(id, Producer { epoch, batches, last_ms });
        }
        Some(Producers { by_id })
    }
}

/// Version of the snapshot's bytes.
const SNAPSHOT_VERSION: i16 = 1;

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}

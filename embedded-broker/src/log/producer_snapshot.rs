//! The producer state as bytes, written beside the segments so that a start need not read the whole log.
//!
//! Version i16, CRC-32C u32 of the rest, last stable offset when the active segment began i64, count u32, then per producer: id i64, epoch i16, last time i64, first offset of
//! the open transaction i64 (-1 for none), coordinator epoch i32, number of batches u8, and per batch first and last
//! sequence i32, last offset i64, offset delta i32, timestamp i64.

use std::collections::VecDeque;

use super::producer_state::{BATCHES_KEPT, Producer, Producers, WrittenBatch};

/// Version 1 had no transactions; it is not read any more, the log is read instead.
const VERSION: i16 = 2;

impl Producers {
    /// The state as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = self.stable_at_roll.to_be_bytes().to_vec();
        let by_id = self.by_id();
        body.extend_from_slice(&u32::try_from(by_id.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (id, producer) in by_id {
            body.extend_from_slice(&id.to_be_bytes());
            body.extend_from_slice(&producer.epoch.to_be_bytes());
            body.extend_from_slice(&producer.last_ms.to_be_bytes());
            body.extend_from_slice(&producer.open_since.unwrap_or(-1).to_be_bytes());
            body.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
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
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.append(&mut body);
        out
    }

    /// The state out of bytes; `None` when they are damaged or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
        let mut bytes = Reader(bytes);
        if bytes.take()? != VERSION.to_be_bytes() {
            return None;
        }
        if u32::from_be_bytes(bytes.take()?) != crc32c::crc32c(bytes.0) {
            return None;
        }
        let mut producers = Producers::default();
        producers.stable_at_roll = i64::from_be_bytes(bytes.take()?);
        for _ in 0..u32::from_be_bytes(bytes.take()?) {
            let id = i64::from_be_bytes(bytes.take()?);
            producers.insert(id, bytes.producer()?);
        }
        Some(producers)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn producer(&mut self) -> Option<Producer> {
        let epoch = i16::from_be_bytes(self.take()?);
        let last_ms = i64::from_be_bytes(self.take()?);
        let open_since = Some(i64::from_be_bytes(self.take()?)).filter(|offset| *offset >= 0);
        let coordinator_epoch = i32::from_be_bytes(self.take()?);
        let [count] = self.take()?;
        let mut batches = VecDeque::with_capacity(BATCHES_KEPT);
        for _ in 0..count {
            batches.push_back(WrittenBatch {
                first_sequence: i32::from_be_bytes(self.take()?),
                last_sequence: i32::from_be_bytes(self.take()?),
                last_offset: i64::from_be_bytes(self.take()?),
                offset_delta: i32::from_be_bytes(self.take()?),
                timestamp: i64::from_be_bytes(self.take()?),
            });
        }
        Some(Producer { epoch, batches, last_ms, open_since, coordinator_epoch })
    }
}

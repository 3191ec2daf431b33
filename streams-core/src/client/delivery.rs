//! What became of produced records: acknowledged offsets of changelogs, and records that failed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rdkafka::error::RDKafkaErrorCode;

/// The last acknowledged offset of one changelog partition.
#[derive(Debug)]
pub(crate) struct AckSlot {
    /// The offset after the last acknowledged record's; -1 when none was.
    next: AtomicI64,
    /// A record was acknowledged without its offset (the broker had seen its sequence number before).
    unknown: AtomicBool,
}

impl AckSlot {
    /// A slot that has seen nothing. Only `Producer::slot` makes them: the producer keeps what it gives librdkafka.
    pub(super) fn new() -> Self {
        AckSlot { next: AtomicI64::new(-1), unknown: AtomicBool::new(false) }
    }

    /// The offset after the last acknowledged record's; `None` when none was.
    pub(crate) fn next_offset(&self) -> Option<i64> {
        let next = self.next.load(Ordering::Acquire);
        (next >= 0).then_some(next)
    }

    /// Whether a record was acknowledged without its offset: then the end of the partition has to be asked for.
    pub(crate) fn take_unknown(&self) -> bool {
        self.unknown.swap(false, Ordering::AcqRel)
    }

    /// Sets the next offset, as learned from the broker.
    pub(crate) fn learn(&self, next: i64) {
        self.next.fetch_max(next, Ordering::AcqRel);
    }

    pub(super) fn acknowledged(&self, offset: i64) {
        if offset < 0 {
            self.unknown.store(true, Ordering::Release);
        } else {
            self.learn(offset + 1);
        }
    }
}

/// A record that could not be delivered, after all retries.
#[derive(Debug)]
pub(crate) struct FailedDelivery {
    /// The topic.
    pub(crate) topic: String,
    /// The partition; -1 when none was chosen yet.
    pub(crate) partition: i32,
    /// The key.
    pub(crate) key: Option<Vec<u8>>,
    /// The value.
    pub(crate) value: Option<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    /// Why.
    pub(crate) code: RDKafkaErrorCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_the_highest_offset_and_remembers_that_one_was_unknown() {
        let slot = AckSlot::new();
        assert_eq!(slot.next_offset(), None);
        slot.acknowledged(4);
        slot.acknowledged(2);
        assert_eq!(slot.next_offset(), Some(5), "acknowledgements of retried batches may come late");
        assert!(!slot.take_unknown());
        slot.acknowledged(-1);
        assert!(slot.take_unknown());
        assert!(!slot.take_unknown(), "asked for once");
        slot.learn(9);
        assert_eq!(slot.next_offset(), Some(9));
    }
}

//! What became of produced records: acknowledged offsets of changelogs, and records that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rdkafka::error::RDKafkaErrorCode;

use crate::task::{TaskId, TopicPartition};

/// The last acknowledged offset of one changelog partition.
#[derive(Debug)]
pub(crate) struct AckSlot {
    /// The offset after the last acknowledged record's; -1 when none was.
    next: AtomicI64,
    /// A record was acknowledged without its offset (the broker had seen its sequence number before).
    unknown: AtomicBool,
    /// What was acknowledged when everything was: no later record can have an offset below it.
    settled: AtomicI64,
    /// One has: the topic is not the same any more.
    went_back: AtomicBool,
}

impl AckSlot {
    /// A slot that has seen nothing. Only `Producer::slot` makes them: the producer keeps what it gives librdkafka.
    pub(super) fn new() -> Self {
        AckSlot {
            next: AtomicI64::new(-1),
            unknown: AtomicBool::new(false),
            settled: AtomicI64::new(-1),
            went_back: AtomicBool::new(false),
        }
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

    /// Everything that was produced is acknowledged. False: a record was acknowledged at an offset that an earlier one
    /// had, so that the topic must have been deleted or cut.
    pub(crate) fn settle(&self) -> bool {
        self.settled.store(self.next.load(Ordering::Acquire), Ordering::Release);
        !self.went_back.load(Ordering::Acquire)
    }

    /// Sets the next offset, as learned from the broker.
    pub(crate) fn learn(&self, next: i64) {
        self.next.fetch_max(next, Ordering::AcqRel);
    }

    pub(super) fn acknowledged(&self, offset: i64) {
        if offset < 0 {
            self.unknown.store(true, Ordering::Release);
        } else {
            if offset < self.settled.load(Ordering::Relaxed) {
                self.went_back.store(true, Ordering::Release);
            }
            self.learn(offset + 1);
        }
    }
}

/// Where an output record comes from, as far as its producer remembers it until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputOrigin {
    /// The task.
    pub(crate) task: TaskId,
    /// The node that sent it.
    pub(crate) node: Arc<str>,
    /// The partition of the record that led to it.
    pub(crate) input: TopicPartition,
}

/// An origin and an offset in a pointer's place: what librdkafka keeps with a record and gives back with its report.
/// The lowest bit tells it from the address of an [`AckSlot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OriginTag(usize);

impl OriginTag {
    const OFFSET_BITS: u32 = 44;
    const INDEX_BITS: u32 = 19;

    /// `None` where they don't fit; then the origin is unknown.
    pub(crate) fn new(index: usize, offset: i64) -> Option<Self> {
        let (index, offset) = (u64::try_from(index).ok()?, u64::try_from(offset).ok()?);
        if offset >> Self::OFFSET_BITS != 0 || index >> Self::INDEX_BITS != 0 {
            return None;
        }
        let bits = ((index << Self::OFFSET_BITS | offset) << 1) | 1;
        usize::try_from(bits).ok().map(OriginTag)
    }

    /// What librdkafka gave back, if it is a tag.
    pub(super) fn from_bits(bits: usize) -> Option<Self> {
        (bits & 1 == 1).then_some(OriginTag(bits))
    }

    pub(super) fn bits(self) -> usize {
        self.0
    }

    fn index(self) -> usize {
        usize::try_from((self.0 as u64) >> (Self::OFFSET_BITS + 1)).unwrap_or(usize::MAX)
    }

    /// The offset of the record that led to the output.
    pub(crate) fn offset(self) -> i64 {
        i64::try_from(((self.0 as u64) >> 1) & ((1 << Self::OFFSET_BITS) - 1)).unwrap_or(-1)
    }
}

/// The origins of the records of one producer.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<OutputOrigin>);

impl Origins {
    /// The number of an origin, known or new.
    pub(super) fn index(&mut self, origin: OutputOrigin) -> usize {
        self.0.iter().position(|known| *known == origin).unwrap_or_else(|| {
            self.0.push(origin);
            self.0.len() - 1
        })
    }

    pub(super) fn get(&self, tag: OriginTag) -> Option<OutputOrigin> {
        self.0.get(tag.index()).cloned()
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
    /// What led to it, where known.
    pub(crate) origin: Option<OriginTag>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tag must never be taken for the address of a slot, and must give back what went in.
    #[test]
    fn a_tag_holds_an_origin_and_an_offset() {
        assert!(align_of::<AckSlot>() > 1);
        let mut origins = Origins::default();
        let origin = |partition| OutputOrigin {
            task: TaskId::new(0, partition),
            node: "sink".into(),
            input: TopicPartition::new("in", partition),
        };
        assert_eq!((origins.index(origin(7)), origins.index(origin(8)), origins.index(origin(7))), (0, 1, 0));
        for offset in [0, 1, (1 << 44) - 1] {
            let tag = OriginTag::new(1, offset).unwrap();
            let back = OriginTag::from_bits(tag.bits()).unwrap();
            assert_eq!((back.offset(), origins.get(back)), (offset, Some(origin(8))));
        }
        assert_eq!(OriginTag::new(1, 1 << 44), None);
        assert_eq!(OriginTag::new(1, -1), None);
        assert_eq!(OriginTag::from_bits(8), None);
    }

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
        assert!(slot.settle());
        slot.acknowledged(9);
        assert!(slot.settle());
        slot.acknowledged(8);
        assert!(!slot.settle(), "that offset was taken");
    }
}

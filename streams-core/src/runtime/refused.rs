//! Records that the brokers refused under exactly-once, and what becomes of each when its transaction's work is done again.
//!
//! A record that a broker refuses ends its transaction: what was in it is done again, and there the record would be refused
//! again. So the production exception handler's answer is kept: when the record that was let pass comes up once more it is not sent,
//! and its dead letters are, in the transaction that is committed in the end. A broker refuses whole batches, though, and only one
//! record of them need be at fault: before anybody is asked, each record of a batch is sent once more alone.
//!
//! (A record that the client refuses itself, one above `max.request.size` say, never was in a transaction and is skipped at once.
//! Kafka Streams fails on both, whatever its handler says: KAFKA-15259.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kstreams_state_stores::RecordContext;
use parking_lot::Mutex;

use crate::client::{FailedDelivery, OutputOrigin};
use crate::handlers::DeadLetterRecord;
use crate::task::TopicPartition;

/// What to do with a record that was refused when it comes up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was refused with others: send it in a batch of its own.
    SendAlone,
    /// It is let pass: write these in its place.
    Skip(Vec<DeadLetterRecord>),
}

/// An output record that was refused.
#[derive(Debug)]
struct Refusal {
    node: Arc<str>,
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    verdict: Verdict,
}

impl Refusal {
    fn is_of(&self, node: &str, topic: &str) -> bool {
        *self.node == *node && self.topic == topic
    }

    fn has(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        self.key.as_deref() == key && self.value.as_deref() == value
    }
}

/// By what led to them: the offset in an input.
type ByOffset = BTreeMap<i64, Vec<Refusal>>;

/// What was refused, until it is committed that it is over.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Whether there is anything: all that most records ask.
    any: AtomicBool,
    by_input: Mutex<BTreeMap<TopicPartition, ByOffset>>,
}

impl Refused {
    /// Whether something is kept.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Keeps what is to become of a record. False: its node has had another one refused that came of the same input record, so
    /// that it makes another one each time, and this need not be the last.
    pub(crate) fn keep(
        &self,
        origin: OutputOrigin,
        offset: i64,
        failed: FailedDelivery,
        verdict: Verdict,
    ) -> bool {
        let OutputOrigin { node, input, .. } = origin;
        let FailedDelivery { topic, key, value, .. } = failed;
        let mut by_input = self.by_input.lock();
        let known = by_input.entry(input).or_default().entry(offset).or_default();
        self.any.store(true, Ordering::Relaxed);
        let same = |refusal: &&mut Refusal| {
            refusal.is_of(&node, &topic) && refusal.has(key.as_deref(), value.as_deref())
        };
        if let Some(refusal) = known.iter_mut().find(same) {
            refusal.verdict = verdict;
            return true;
        }
        let is_first = !known.iter().any(|refusal| refusal.is_of(&node, &topic));
        known.push(Refusal { node, topic, key, value, verdict });
        is_first
    }

    /// What is to become of a record, by the node that sends it and the record that led to it; `None`: it is sent like others.
    pub(crate) fn verdict(
        &self,
        (node, input, offset): (&str, &TopicPartition, i64),
        (topic, key, value): (&str, Option<&[u8]>, Option<&[u8]>),
    ) -> Option<Verdict> {
        let by_input = self.by_input.lock();
        let mut refusals = by_input.get(input)?.get(&offset)?.iter();
        let refusal = refusals.find(|refusal| refusal.is_of(node, topic) && refusal.has(key, value))?;
        Some(refusal.verdict.clone())
    }

    /// As [`verdict`](Self::verdict), of what a task is about to send.
    pub(crate) fn verdict_before(
        &self,
        (node, led_by): (&str, &RecordContext),
        output: (&str, Option<&[u8]>, Option<&[u8]>),
    ) -> Option<Verdict> {
        let input = TopicPartition { topic: led_by.topic.clone()?, partition: led_by.partition };
        self.verdict((node, &input, led_by.offset), output)
    }

    /// Everything of an input below this offset is committed.
    pub(crate) fn forget(&self, input: &TopicPartition, next: i64) {
        let mut by_input = self.by_input.lock();
        if let Some(by_offset) = by_input.get_mut(input) {
            *by_offset = by_offset.split_off(&next);
            if by_offset.is_empty() {
                by_input.remove(input);
            }
        }
        self.any.store(!by_input.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;
    use crate::task::TaskId;

    #[test]
    fn a_refused_record_is_known_by_its_contents_until_its_input_is_committed() {
        let refused = Refused::default();
        let input = TopicPartition::new("in", 1);
        let keep = |value: &[u8], verdict| {
            let origin = OutputOrigin { task: TaskId::new(0, 1), node: "sink".into(), input: input.clone() };
            let failed = FailedDelivery {
                topic: "out".into(),
                partition: 0,
                key: Some(b"k".to_vec()),
                value: Some(value.to_vec()),
                timestamp: 5,
                code: RDKafkaErrorCode::MessageSizeTooLarge,
                origin: None,
            };
            refused.keep(origin, 7, failed, verdict)
        };
        let verdict = |offset, node: &str, value: &[u8]| {
            refused.verdict((node, &input, offset), ("out", Some(b"k"), Some(value)))
        };
        let skip = || Verdict::Skip(Vec::new());
        assert!(!refused.any());
        assert!(keep(b"large", Verdict::SendAlone));
        assert!(refused.any());
        assert_eq!(verdict(7, "sink", b"large"), Some(Verdict::SendAlone));
        assert!(keep(b"large", skip()), "alone it was refused as well");
        assert_eq!(verdict(7, "sink", b"large"), Some(skip()));
        for (offset, node, value) in [(8, "sink", b"large"), (7, "other", b"large"), (7, "sink", b"small")] {
            assert_eq!(verdict(offset, node, value), None);
        }
        assert!(!keep(b"larger", skip()), "not the same each time");
        refused.forget(&input, 7);
        assert!(verdict(7, "sink", b"large").is_some(), "only what is before 7 is committed");
        refused.forget(&input, 8);
        assert!(!refused.any() && verdict(7, "sink", b"large").is_none());
    }
}

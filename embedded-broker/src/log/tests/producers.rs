//! The model of idempotent producers: what a client may send next and what it must be answered.

use std::collections::{HashMap, VecDeque};

use super::super::{AppendError, Appended};

/// What a producer sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Next,
    /// The n-th last batch once more.
    Again(usize),
    /// A batch after a lost one.
    Gap,
    NewEpoch,
    OldEpoch,
}

/// What the log must answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Written,
    Duplicate(i64),
    OutOfOrder,
    Fenced,
    /// A crash may have cost what was known: a duplicate's offset has to be right, all else may be.
    Anything(Option<i64>),
}

impl Expected {
    pub(crate) fn check_written(self) {
        assert!(matches!(self, Expected::Written | Expected::Anything(_)), "written instead of {self:?}");
    }

    pub(crate) fn check_refused(self, answer: &Result<Appended, AppendError>) {
        let right = match (self, answer) {
            (Expected::Duplicate(base) | Expected::Anything(Some(base)), Ok(appended)) => {
                appended.base_offset == base
            }
            (Expected::OutOfOrder | Expected::Anything(_), Err(AppendError::OutOfOrderSequence { .. })) => {
                true
            }
            (Expected::Fenced | Expected::Anything(_), Err(AppendError::InvalidProducerEpoch { .. })) => true,
            _ => false,
        };
        assert!(right, "{answer:?} instead of {self:?}");
    }
}

#[derive(Debug, Clone, Default)]
struct ModelProducer {
    epoch: i16,
    next_sequence: i32,
    /// First sequence, count, base offset of the last five.
    batches: VecDeque<(i32, usize, i64)>,
    /// The log surely knows the last batch; all of the five.
    last_sure: bool,
    all_sure: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ModelProducers {
    by_id: HashMap<i64, ModelProducer>,
}

impl ModelProducers {
    /// Epoch, sequence, number of records, answer; `None` if there is nothing to send again.
    pub(crate) fn choose(&self, id: i64, what: What, count: usize) -> Option<(i16, i32, usize, Expected)> {
        let Some(producer) = self.by_id.get(&id) else {
            // Whatever an unknown producer starts with is accepted.
            return Some((0, 0, count, Expected::Written));
        };
        let ModelProducer { epoch, next_sequence, .. } = *producer;
        let unless_lost = |expected| if producer.last_sure { expected } else { Expected::Anything(None) };
        Some(match what {
            What::Next => (epoch, next_sequence, count, unless_lost(Expected::Written)),
            What::Gap => (epoch, next_sequence + 100, count, unless_lost(Expected::OutOfOrder)),
            What::NewEpoch => (epoch + 1, 0, count, Expected::Written),
            What::OldEpoch if epoch == 0 => return None,
            What::OldEpoch => (epoch - 1, next_sequence, count, unless_lost(Expected::Fenced)),
            What::Again(back) => {
                let &(sequence, count, base) = producer.batches.iter().rev().nth(back)?;
                let sure = producer.all_sure || (back == 0 && producer.last_sure);
                let expected = if sure { Expected::Duplicate(base) } else { Expected::Anything(Some(base)) };
                (epoch, sequence, count, expected)
            }
        })
    }

    /// A batch is in the log. `producer` is id, epoch, first sequence.
    pub(crate) fn note(&mut self, producer: (i64, i16, i32), count: usize, base: i64) {
        let (id, epoch, sequence) = producer;
        if id < 0 {
            return;
        }
        if sequence < 0 {
            return self.note_marker(id, epoch);
        }
        let known = self
            .by_id
            .entry(id)
            .or_insert_with(|| ModelProducer { all_sure: true, ..ModelProducer::default() });
        if known.epoch != epoch {
            known.batches.clear();
            known.all_sure = true;
        }
        known.epoch = epoch;
        known.last_sure = true;
        known.next_sequence = sequence + i32::try_from(count).unwrap();
        known.batches.push_back((sequence, count, base));
        if known.batches.len() > 5 {
            known.batches.pop_front();
        }
    }

    /// A marker of this epoch: a new epoch begins with it.
    fn note_marker(&mut self, id: i64, epoch: i16) {
        let known = self.by_id.entry(id).or_default();
        if known.epoch != epoch || known.batches.is_empty() {
            *known = ModelProducer { epoch, last_sure: true, all_sure: true, ..ModelProducer::default() };
        }
    }

    /// The epoch a producer has.
    pub(crate) fn epoch(&self, id: i64) -> i16 {
        self.by_id.get(&id).map_or(0, |producer| producer.epoch)
    }

    /// The log was opened again; `written` is everything that was ever appended.
    pub(crate) fn reopened(
        &mut self,
        written: impl Iterator<Item = ((i64, i16, i32), usize, i64)>,
        log_start: i64,
        compact: bool,
    ) {
        self.by_id.clear();
        for (producer, count, base) in written {
            self.note(producer, count, base);
        }
        for producer in self.by_id.values_mut() {
            // What was deleted or compacted may be known by a snapshot, or not.
            let first = producer.batches.front().map_or(0, |(.., base)| *base);
            let last = producer.batches.back().map_or(0, |(.., base)| *base);
            producer.last_sure = last >= log_start;
            producer.all_sure = first >= log_start && !compact;
        }
    }
}

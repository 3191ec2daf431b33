//! Last stable offsets of inputs that are waited for, under exactly-once.
//!
//! A task that waits for an empty input (`max.task.idle.ms`) has to know whether there is something to wait for. The client tells
//! the high watermark; what lies between that and the last stable offset, behind a transaction that is open, can't be read yet and may
//! take long. So the watch asks the brokers for the last stable offsets of such inputs, and only of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cluster::Admin;
use crate::client::{ClientError, Waker, stable_ends};
use crate::task::TopicPartition;

/// An answer is good for so long: as old as that, a fetch could be too.
const VALID: Duration = Duration::from_millis(200);

/// What was asked for, from the processing threads to the watch.
pub(crate) struct StableEnds {
    asked: Mutex<Vec<Arc<Known>>>,
    waker: Arc<Waker>,
}

struct Known {
    partition: TopicPartition,
    answer: Mutex<Answer>,
}

enum Answer {
    None,
    Asked,
    Given(i64, Instant),
}

/// The last stable offset of one input.
pub(crate) struct StableEnd {
    known: Arc<Known>,
    all: Arc<StableEnds>,
}

impl StableEnds {
    /// `waker` is the watch's.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(StableEnds { asked: Mutex::default(), waker: Arc::default() })
    }

    /// Wakes the watch.
    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// For one input.
    pub(crate) fn of(self: &Arc<Self>, partition: &TopicPartition) -> StableEnd {
        let known = Known { partition: partition.clone(), answer: Mutex::new(Answer::None) };
        StableEnd { known: Arc::new(known), all: Arc::clone(self) }
    }

    /// Asks the brokers for what threads want to know; for the watch.
    pub(crate) fn answer(&self, admin: &Admin, timeout: Duration) {
        let asked = std::mem::take(&mut *self.asked.lock());
        if asked.is_empty() {
            return;
        }
        let partitions: Vec<TopicPartition> = asked.iter().map(|known| known.partition.clone()).collect();
        let ends: Result<Vec<i64>, ClientError> = stable_ends(admin.inner(), &partitions, timeout);
        let now = Instant::now();
        for (index, known) in asked.iter().enumerate() {
            // Without an answer the thread asks again.
            let end = ends.as_ref().ok().and_then(|ends| ends.get(index));
            *known.answer.lock() = end.map_or(Answer::None, |end| Answer::Given(*end, now));
        }
    }
}

impl StableEnd {
    /// Whether everything that can be read is before `position`; false until that is known.
    pub(crate) fn is_reached(&self, position: i64) -> bool {
        let mut answer = self.known.answer.lock();
        match *answer {
            Answer::Given(end, at) if at.elapsed() < VALID => return position >= end,
            Answer::Asked => return false,
            Answer::None | Answer::Given(..) => *answer = Answer::Asked,
        }
        drop(answer);
        self.all.asked.lock().push(self.known.clone());
        self.all.waker.wake();
        false
    }
}

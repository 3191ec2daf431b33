//! Schedules of a task's processors, by stream time and by wall clock.

use std::time::Duration;

use super::heap::JavaHeap;
use crate::processor::{PunctuationType, ScheduleId};

#[derive(Debug)]
struct Schedule {
    id: ScheduleId,
    node: usize,
    kind: PunctuationType,
    /// When it is due next, in ms of its clock.
    next: i64,
    /// In ms, at least 1.
    interval: i64,
}

/// A due schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: ScheduleId,
    pub(crate) node: usize,
}

/// The schedules of one task (`PunctuationQueue`). Which of two that are due at the same time goes first is seen from
/// outside, so they wait in heaps as the JVM's.
#[derive(Debug, Default)]
pub(crate) struct Punctuations {
    schedules: Vec<Schedule>,
    next_id: u32,
    /// When each is due, by stream time and by wall clock, with its id; those of cancelled ones go when they come up.
    stream: JavaHeap,
    wall: JavaHeap,
    /// What is being called now: it enters its heap again afterwards, unless it cancels itself.
    called: Option<ScheduleId>,
}

impl Punctuations {
    pub(crate) fn add(
        &mut self,
        node: usize,
        interval: Duration,
        kind: PunctuationType,
        start: Option<i64>,
        now_ms: i64,
    ) -> ScheduleId {
        let id = ScheduleId(self.next_id);
        self.next_id += 1;
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let next = match (start, kind) {
            // An anchor in the past: the next of its multiples, as if it had been running since.
            (Some(start), _) => start,
            // Aligned to 0, so that the first record fires it.
            (None, PunctuationType::StreamTime) => 0,
            (None, PunctuationType::WallClockTime) => now_ms.saturating_add(interval),
        };
        self.schedules.push(Schedule { id, node, kind, next, interval });
        self.heap(kind).push(next, id.0 as usize);
        id
    }

    fn heap(&mut self, kind: PunctuationType) -> &mut JavaHeap {
        match kind {
            PunctuationType::StreamTime => &mut self.stream,
            PunctuationType::WallClockTime => &mut self.wall,
        }
    }

    pub(crate) fn cancel(&mut self, id: ScheduleId) {
        self.schedules.retain(|schedule| schedule.id != id);
    }

    /// The next schedule of this kind that is due at `now`, if any; its own next time moves past `now`, so that missed
    /// intervals are made up by one call. Earliest first.
    pub(crate) fn take_due(&mut self, kind: PunctuationType, now: i64) -> Option<Due> {
        if let Some(called) = self.called.take()
            && let Some(Schedule { kind, next, .. }) = self.schedules.iter().find(|known| known.id == called)
        {
            let (kind, next) = (*kind, *next);
            self.heap(kind).push(next, called.0 as usize);
        }
        while self.heap(kind).peek().is_some_and(|(time, _)| time <= now) {
            let (_, id) = self.heap(kind).pop()?;
            let Some(due) = self.schedules.iter_mut().find(|known| known.id.0 as usize == id) else {
                continue;
            };
            let missed = (now - due.next) / due.interval;
            due.next = due.next.saturating_add((missed + 1).saturating_mul(due.interval));
            self.called = Some(due.id);
            return Some(Due { id: due.id, node: due.node });
        }
        None
    }

    /// When the next wall-clock schedule is due, in ms.
    pub(crate) fn next_wall_clock(&self) -> Option<i64> {
        let wall = self.schedules.iter().filter(|schedule| schedule.kind == PunctuationType::WallClockTime);
        wall.map(|schedule| schedule.next).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.schedules.is_empty()
    }
}

//! What a task is doing at the moment, for other threads: a message about one that hangs has to name the node and the
//! record. A few relaxed stores per record, no lock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

const NONE: usize = usize::MAX;

/// Where a task is. Made before the task, and outlives it.
#[derive(Debug)]
pub struct Activity {
    /// The node that is at work.
    node: AtomicUsize,
    /// The input, and the offset, of the record that is being processed.
    input: AtomicUsize,
    offset: AtomicI64,
    /// The task was taken from its thread, which did not let go of it in time: nothing that it does counts any more.
    given_up: AtomicBool,
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            node: AtomicUsize::new(NONE),
            input: AtomicUsize::new(NONE),
            offset: AtomicI64::new(-1),
            given_up: AtomicBool::new(false),
        }
    }
}

impl Activity {
    /// A node begins; answers the one that gave it its record, to be gone back to.
    #[inline]
    pub(crate) fn enter(&self, node: usize) -> usize {
        let outer = self.node.load(Ordering::Relaxed);
        self.node.store(node, Ordering::Relaxed);
        outer
    }

    /// The node has ended.
    #[inline]
    pub(crate) fn leave(&self, outer: usize) {
        self.node.store(outer, Ordering::Relaxed);
    }

    /// A record of an input is taken up.
    #[inline]
    pub(super) fn take_up(&self, input: usize) {
        self.input.store(input, Ordering::Relaxed);
    }

    /// It is the one at this offset.
    #[inline]
    pub(super) fn at_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// What follows is done without a record: a punctuation, a flush.
    pub(super) fn without_record(&self) {
        self.input.store(NONE, Ordering::Relaxed);
    }

    /// The number of the node that is at work.
    pub(crate) fn node(&self) -> Option<usize> {
        Some(self.node.load(Ordering::Relaxed)).filter(|node| *node != NONE)
    }

    /// The input's number and the offset of the record that is being processed.
    pub(crate) fn record(&self) -> Option<(usize, i64)> {
        let input = Some(self.input.load(Ordering::Relaxed)).filter(|input| *input != NONE);
        input.map(|input| (input, self.offset.load(Ordering::Relaxed)))
    }

    /// The task was taken from its thread.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Whether what the task does still counts.
    #[inline]
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_node_is_at_work_until_it_ends() {
        let activity = Activity::default();
        assert_eq!((activity.node(), activity.record()), (None, None));
        activity.take_up(1);
        activity.at_offset(7);
        let none = activity.enter(2);
        let outer = activity.enter(5);
        assert_eq!((activity.node(), activity.record()), (Some(5), Some((1, 7))));
        activity.leave(outer);
        assert_eq!(activity.node(), Some(2));
        activity.leave(none);
        activity.without_record();
        assert_eq!((activity.node(), activity.record()), (None, None));
    }
}

//! Which group is to be looked at when.
//!
//! A group's next deadline mostly moves later (each heartbeat moves one). Only an earlier one is worth noting: a group
//! that is woken too early finds nothing due and is noted again.

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::protocol::StrBytes;

/// One entry a group at most, ordered by time (monotonic milliseconds).
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(i64, StrBytes)>,
    noted: HashMap<StrBytes, i64>,
}

impl Timers {
    /// Notes that the group has something to do at `deadline`; true if that is now the earliest of all.
    pub(crate) fn note(&mut self, group: &StrBytes, deadline: i64) -> bool {
        match self.noted.get(group) {
            Some(noted) if *noted <= deadline => return false,
            Some(noted) => {
                self.queue.remove(&(*noted, group.clone()));
            }
            None => {}
        }
        self.noted.insert(group.clone(), deadline);
        self.queue.insert((deadline, group.clone()));
        self.queue.first().is_some_and(|(_, first)| first == group)
    }

    /// The time of the earliest entry.
    pub(crate) fn next(&self) -> Option<i64> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out a group whose time has come.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<StrBytes> {
        if self.next()? > now {
            return None;
        }
        let (_, group) = self.queue.pop_first()?;
        self.noted.remove(&group);
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_noted_once_at_its_earliest_time() {
        let (a, b) = (StrBytes::from_static_str("a"), StrBytes::from_static_str("b"));
        let mut timers = Timers::default();
        assert!(timers.note(&a, 20));
        assert!(!timers.note(&a, 30), "later is not worth waking anybody");
        assert!(timers.note(&b, 10));
        assert!(timers.note(&a, 5));
        assert_eq!(timers.pop_due(4), None);
        assert_eq!(timers.pop_due(25), Some(a));
        assert_eq!(timers.pop_due(25), Some(b));
        assert_eq!(timers.pop_due(25), None);
        assert_eq!(timers.next(), None);
    }
}

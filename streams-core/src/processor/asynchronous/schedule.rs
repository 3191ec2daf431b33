//! Which of the held records may be called for, and whose result goes on. Knows neither clock nor runtime.
//!
//! ```text
//! waiting --start--> running --finish--> done --take--> gone
//! ```
//!
//! Records have numbers in the order in which they came. `X` is what goes with a record from its coming to its going, `C`
//! with its running call.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// The order that a schedule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// At most so many calls run.
    pub(super) limit: usize,
    /// Records of a lane (a key) run one after the other.
    pub(super) lanes: bool,
    /// Results go on in the order in which the records came.
    pub(super) in_order: bool,
}

enum Stage<In, Out, C> {
    Waiting(In),
    Running(Option<C>),
    Done(Out),
}

struct Held<In, Out, X, C> {
    lane: u64,
    extra: X,
    stage: Stage<In, Out, C>,
}

/// The records that a step holds.
pub(super) struct Schedule<In, Out, X, C> {
    rules: Rules,
    held: FxHashMap<u64, Held<In, Out, X, C>>,
    /// Of each lane with held records that are not done: their numbers. The first is running or may start.
    lanes: FxHashMap<u64, VecDeque<u64>>,
    /// What may start, as soon as fewer than the limit run.
    startable: VecDeque<u64>,
    /// Done, and not held back by the order.
    due: VecDeque<u64>,
    running: usize,
    /// Of the next record that comes.
    next: u64,
    /// Where results go on in order: of the next one that does.
    next_due: u64,
}

impl<In, Out, X, C> Schedule<In, Out, X, C> {
    pub(super) fn new(rules: Rules) -> Self {
        Schedule {
            rules,
            held: FxHashMap::default(),
            lanes: FxHashMap::default(),
            startable: VecDeque::new(),
            due: VecDeque::new(),
            running: 0,
            next: 0,
            next_due: 0,
        }
    }

    /// Records that came and whose results have not gone on.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether no more should come for now. More may: a record can become many on its way here.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= self.rules.limit
    }

    /// Takes a record in. `lane` stands for its key; that two keys share one costs time, not order.
    pub(super) fn admit(&mut self, lane: u64, extra: X, input: In) {
        let number = self.next;
        self.next += 1;
        self.held.insert(number, Held { lane, extra, stage: Stage::Waiting(input) });
        if !self.rules.lanes {
            self.startable.push_back(number);
            return;
        }
        let lane = self.lanes.entry(lane).or_default();
        lane.push_back(number);
        if lane.len() == 1 {
            self.startable.push_back(number);
        }
    }

    /// The next record whose call is to be made now, if there is one: it counts as running from here on.
    pub(super) fn start(&mut self) -> Option<(u64, &X, In)> {
        if self.running >= self.rules.limit {
            return None;
        }
        let number = self.startable.pop_front()?;
        let held = self.held.get_mut(&number)?;
        match std::mem::replace(&mut held.stage, Stage::Running(None)) {
            Stage::Waiting(input) => {
                self.running += 1;
                Some((number, &held.extra, input))
            }
            // Only what waits is startable.
            other => {
                held.stage = other;
                None
            }
        }
    }

    /// Keeps what belongs to a running call until it is over.
    pub(super) fn keep(&mut self, number: u64, call: C) {
        if let Some(Held { stage: Stage::Running(kept), .. }) = self.held.get_mut(&number) {
            *kept = Some(call);
        }
    }

    /// The running calls.
    pub(super) fn running(&self) -> impl Iterator<Item = (u64, &C)> {
        self.held.iter().filter_map(|(number, held)| match &held.stage {
            Stage::Running(Some(call)) => Some((*number, call)),
            _ => None,
        })
    }

    /// A call is over. What is not running, because it was given up before, is left as it is.
    pub(super) fn finish(&mut self, number: u64, output: Out) {
        let Some(held) = self.held.get_mut(&number) else { return };
        if !matches!(held.stage, Stage::Running(_)) {
            return;
        }
        held.stage = Stage::Done(output);
        self.running -= 1;
        if self.rules.lanes {
            let lane = held.lane;
            self.leave_lane(lane);
        }
        if !self.rules.in_order {
            self.due.push_back(number);
            return;
        }
        while self.held.get(&self.next_due).is_some_and(|held| matches!(held.stage, Stage::Done(_))) {
            self.due.push_back(self.next_due);
            self.next_due += 1;
        }
    }

    /// The first of a lane is done: the next one may start.
    fn leave_lane(&mut self, lane: u64) {
        let Some(numbers) = self.lanes.get_mut(&lane) else { return };
        numbers.pop_front();
        match numbers.front() {
            Some(next) => self.startable.push_back(*next),
            None => {
                self.lanes.remove(&lane);
            }
        }
    }

    /// Whether `take` has something.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next result that goes on.
    pub(super) fn take(&mut self) -> Option<(X, Out)> {
        let number = self.due.pop_front()?;
        match self.held.remove(&number) {
            Some(Held { extra, stage: Stage::Done(output), .. }) => Some((extra, output)),
            // Only what is done is due.
            _ => None,
        }
    }

    /// Forgets every record. Numbers are not used again: what calls report later concerns nobody.
    pub(super) fn clear(&mut self) {
        *self = Schedule { next: self.next, next_due: self.next, ..Schedule::new(self.rules) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Test = Schedule<char, char, char, ()>;

    fn schedule(limit: usize, lanes: bool, in_order: bool) -> Test {
        Schedule::new(Rules { limit, lanes, in_order })
    }

    /// Starts what may start; the records in the order in which they did.
    fn start_all(schedule: &mut Test) -> Vec<(u64, char)> {
        std::iter::from_fn(|| schedule.start().map(|(number, _, input)| (number, input))).collect()
    }

    fn take_all(schedule: &mut Test) -> String {
        std::iter::from_fn(|| schedule.take().map(|(_, output)| output)).collect()
    }

    #[test]
    fn a_key_has_one_call_at_a_time_and_others_go_on() {
        let mut schedule = schedule(10, true, false);
        for (lane, record) in [(1, 'a'), (1, 'b'), (2, 'c'), (1, 'd')] {
            schedule.admit(lane, record, record);
        }
        assert_eq!(start_all(&mut schedule), [(0, 'a'), (2, 'c')]);
        schedule.finish(2, 'C');
        schedule.finish(0, 'A');
        assert_eq!(start_all(&mut schedule), [(1, 'b')]);
        assert_eq!(take_all(&mut schedule), "CA");
        schedule.finish(1, 'B');
        assert_eq!(start_all(&mut schedule), [(3, 'd')]);
        schedule.finish(3, 'D');
        assert_eq!(take_all(&mut schedule), "BD");
        assert_eq!((schedule.held(), schedule.lanes.len()), (0, 0), "nothing is left behind");
    }

    #[test]
    fn the_limit_bounds_what_runs_however_many_come() {
        let mut schedule = schedule(2, false, false);
        "abcd".chars().for_each(|record| schedule.admit(0, record, record));
        assert!(schedule.is_full());
        assert_eq!(start_all(&mut schedule), [(0, 'a'), (1, 'b')]);
        schedule.finish(1, 'B');
        assert_eq!(start_all(&mut schedule), [(2, 'c')]);
        assert_eq!(take_all(&mut schedule), "B");
    }

    #[test]
    fn in_order_a_result_waits_for_all_before_it() {
        let mut schedule = schedule(10, false, true);
        "abc".chars().for_each(|record| schedule.admit(0, record, record));
        assert_eq!(start_all(&mut schedule).len(), 3, "their calls run at once all the same");
        schedule.finish(2, 'C');
        schedule.finish(1, 'B');
        assert_eq!(take_all(&mut schedule), "");
        schedule.finish(0, 'A');
        assert_eq!(take_all(&mut schedule), "ABC");
    }

    /// A call that was given up reports its end all the same, and so do calls of records that are forgotten.
    #[test]
    fn what_ends_twice_or_too_late_counts_once() {
        let mut schedule = schedule(10, true, true);
        schedule.admit(1, 'a', 'a');
        schedule.admit(1, 'b', 'b');
        assert_eq!(start_all(&mut schedule), [(0, 'a')]);
        schedule.keep(0, ());
        assert_eq!(schedule.running().count(), 1);
        schedule.finish(0, '!');
        schedule.finish(0, 'A');
        assert_eq!(take_all(&mut schedule), "!");
        assert_eq!(start_all(&mut schedule), [(1, 'b')]);
        schedule.clear();
        schedule.finish(1, 'B');
        assert_eq!((schedule.held(), take_all(&mut schedule).as_str()), (0, ""));
        schedule.admit(1, 'c', 'c');
        assert_eq!(start_all(&mut schedule), [(2, 'c')]);
        schedule.finish(2, 'C');
        assert_eq!(take_all(&mut schedule), "C");
    }
}

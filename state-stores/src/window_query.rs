//! Which entries of a windowed store a fetch is about: a key or a range of keys, and a range of times, which are window
//! starts or session ends. Of sessions, those that start late may be left out too.
//!
//! In both layouts a key is a number (segment or time), then a tail. For each number the wanted tails lie between two
//! bounds; between them there may be others (longer keys, other times), which are passed over one by one, while
//! everything outside is jumped over.

use crate::cursor::{KeyRange, Selection, Verdict, successor};
use crate::keys::KeyLayout;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct WindowQuery {
    layout: KeyLayout,
    keys: Keys,
    time_from: i64,
    time_to: i64,
    /// Greatest start of the sessions meant.
    latest_start: Option<i64>,
    lowest_tail: Vec<u8>,
    /// `None`: no bound.
    highest_tail: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Keys {
    One(Vec<u8>),
    /// Both bounds included.
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
}

impl WindowQuery {
    /// Windows of `keys` that start (or sessions that end) from `time_from` to `time_to`, both included.
    pub(crate) fn new(layout: KeyLayout, keys: Keys, time_from: i64, time_to: i64) -> Self {
        // No time is below 0; clamped, starts sort as unsigned bytes.
        let time_from = time_from.max(0);
        let (lowest_tail, highest_tail) = match &keys {
            Keys::One(key) => (
                layout.lowest_tail(key, true, time_from),
                Some(layout.highest_tail(key, true, time_to.max(0))),
            ),
            Keys::Range(from, to) => (
                layout.lowest_tail(from.as_deref().unwrap_or_default(), false, time_from),
                to.as_ref().map(|to| layout.highest_tail(to, false, time_to.max(0))),
            ),
        };
        WindowQuery { layout, keys, time_from, time_to, latest_start: None, lowest_tail, highest_tail }
    }

    /// Only sessions that start at `latest_start` or earlier.
    pub(crate) fn started_by(mut self, latest_start: i64) -> Self {
        self.latest_start = Some(latest_start);
        self
    }

    /// The same for windows that start (or sessions that end) at `time` or later.
    pub(crate) fn starting_from(&self, time: i64) -> Self {
        let mut query = self.clone();
        query.time_from = query.time_from.max(time);
        query
    }

    /// Whether no window can be meant.
    pub(crate) fn is_empty(&self) -> bool {
        let no_key = matches!(&self.keys, Keys::Range(Some(from), Some(to)) if from > to);
        no_key || self.time_to < self.time_from
    }

    /// All keys that the fetch can be about.
    pub(crate) fn range(&self) -> KeyRange {
        let lower = tail_of(self.layout.prefix_of(self.time_from), &self.lowest_tail);
        let last_prefix = self.layout.prefix_of(self.time_to);
        let upper = match &self.highest_tail {
            Some(tail) => Some(successor(tail_of(last_prefix, tail))),
            None => last_prefix.checked_add(1).map(|next| next.to_be_bytes().to_vec()),
        };
        KeyRange { lower, upper }
    }

    fn takes(&self, physical: &[u8]) -> bool {
        let Some(found) = self.layout.timed_key(physical) else { return false };
        if found.time < self.time_from || found.time > self.time_to {
            return false;
        }
        if self.latest_start.is_some_and(|latest| found.rest.cast_signed() > latest) {
            return false;
        }
        match &self.keys {
            Keys::One(key) => found.key == &**key,
            Keys::Range(from, to) => {
                from.as_deref().is_none_or(|from| found.key >= from)
                    && to.as_deref().is_none_or(|to| found.key <= to)
            }
        }
    }
}

fn tail_of(prefix: i64, tail: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_be_bytes().to_vec();
    key.extend_from_slice(tail);
    key
}

impl Selection for WindowQuery {
    fn judge(&self, physical: &[u8], reverse: bool) -> Verdict {
        let Some((prefix, tail)) = physical.split_first_chunk::<8>() else { return Verdict::Pass };
        let prefix = i64::from_be_bytes(*prefix);
        let is_below = *tail < *self.lowest_tail;
        let is_above = self.highest_tail.as_ref().is_some_and(|highest| *tail > **highest);
        match (is_below, is_above, reverse) {
            (true, _, false) => Verdict::SkipTo(tail_of(prefix, &self.lowest_tail)),
            (_, true, false) => match prefix.checked_add(1) {
                Some(next) => Verdict::SkipTo(tail_of(next, &self.lowest_tail)),
                None => Verdict::Pass,
            },
            (_, true, true) => {
                Verdict::SkipTo(tail_of(prefix, self.highest_tail.as_deref().unwrap_or_default()))
            }
            // No key is just a number: at or before it is before all of this prefix.
            (true, _, true) => match (&self.highest_tail, prefix.checked_sub(1)) {
                (Some(highest), Some(previous)) if previous >= 0 => {
                    Verdict::SkipTo(tail_of(previous, highest))
                }
                _ => Verdict::SkipTo(prefix.to_be_bytes().to_vec()),
            },
            (false, false, _) if self.takes(physical) => Verdict::Take,
            (false, false, _) => Verdict::Pass,
        }
    }
}

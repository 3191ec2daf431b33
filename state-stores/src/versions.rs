//! How versions of a key lie in an engine: one row each, the newest first, and what becomes of those that are too old.
//!
//! ```text
//! row     key length u32 | key | time, so that later ones come first  ->  01 or 02 and the value, or 00 for a deletion
//! time    't'                                                         ->  greatest time that was put
//! ```
//!
//! The JVM gathers versions in segments by the time that they are valid to; none of that is seen from outside. What is
//! seen is here: a put older than the history retention is refused, a version counts until the next one's time, and
//! questions about times before the retention are answered by the latest version only (`RocksDBVersionedStore`).
//!
//! One thing more is seen. The JVM keeps the newest value of a key apart from its history, and a deletion at the very time
//! of that value takes it away, no more. If the history does not tell of that time either, nothing is left of it: a put of
//! an earlier time then becomes the newest version. The history tells of the time if the value took the place of an older
//! one or of a deletion at its time, or if an older version was put while it was the newest. A newest value of which this
//! is not so is marked 02.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::StoreError;
use crate::contract::ChangelogSink;
use crate::cursor::{Cursor, KeyRange};
use crate::layers::Layers;

/// Bytes of the length before a key.
const LENGTH_BYTES: usize = 4;
/// Bytes of the time after it.
const TIME_BYTES: usize = 8;
/// Where the observed time is kept: shorter than any row's key.
pub(crate) const TIME_KEY: &[u8] = b"t";
/// First byte of a row's value.
const DELETED: u8 = 0;
const PRESENT: u8 = 1;
/// A newest value whose time nothing else tells of.
const ALONE: u8 = 2;
/// Rows that are looked at per put when old ones are removed: above one, so that removal keeps up.
const SWEPT_PER_PUT: usize = 2;

/// A version that counts, or counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) time: i64,
    /// `None`: the key was deleted.
    pub(crate) value: Option<Vec<u8>>,
    /// The time of the next version.
    pub(crate) valid_to: Option<i64>,
}

/// What all rows of a key begin with.
pub(crate) fn rows_of(key: &[u8], out: &mut Vec<u8>) {
    // Kafka's records are below 2 GiB.
    out.extend_from_slice(&(key.len() as u32).to_be_bytes());
    out.extend_from_slice(key);
}

/// Appends the key of a row.
fn row_key(key: &[u8], time: i64, out: &mut Vec<u8>) {
    rows_of(key, out);
    out.extend_from_slice(&descending(time));
}

/// Appends the value of a row.
fn row_value(flag: u8, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(flag);
    out.extend_from_slice(value.unwrap_or_default());
}

/// What a put does to the rows of its key.
#[derive(Debug, PartialEq, Eq)]
struct Effect {
    /// The first byte of the row at the put's time; `None`: the row goes.
    flag: Option<u8>,
    /// The newest row, which is later, is not alone any more.
    ties_newest: bool,
}

/// Decides what a put at `time` does, given the time and first byte of the newest row, and the time of the row after it.
fn effect_of(newest: Option<(i64, u8)>, next: Option<i64>, time: i64, is_value: bool) -> Effect {
    let unless_deleted = |flag: u8| if is_value { flag } else { DELETED };
    let flag = match newest {
        None => Some(unless_deleted(ALONE)),
        Some((newest, before)) if newest < time => {
            Some(unless_deleted(if before == DELETED { ALONE } else { PRESENT }))
        }
        Some((newest, ALONE)) if newest == time => is_value.then_some(ALONE),
        Some(_) => Some(unless_deleted(PRESENT)),
    };
    let ties_newest = newest.is_some_and(|(newest, flag)| flag == ALONE && next == Some(newest));
    Effect { flag, ties_newest }
}

/// Rows of one key in memory, to be changed by puts in their order.
#[derive(Default)]
pub(crate) struct History<'a> {
    /// By time, newest first.
    rows: BTreeMap<Reverse<i64>, Row<'a>>,
}

struct Row<'a> {
    /// `None`: it is gone.
    flag: Option<u8>,
    value: Cow<'a, [u8]>,
    changed: bool,
}

impl<'a> History<'a> {
    /// Adds a row as it is in the engine.
    pub(crate) fn add_row(&mut self, row: &[u8], value: &[u8]) {
        if let (Some((_, time)), Some((&flag, value))) = (take_apart(row), value.split_first()) {
            let value = Cow::Owned(value.to_vec());
            self.rows.insert(Reverse(time), Row { flag: Some(flag), value, changed: false });
        }
    }

    /// Puts a version.
    pub(crate) fn put(&mut self, time: i64, value: Option<&'a [u8]>) {
        let there = |(time, row): (&Reverse<i64>, &Row<'_>)| row.flag.map(|flag| (time.0, flag));
        let newest = self.rows.iter().find_map(there);
        let next = self.rows.range(..Reverse(time)).rev().find_map(there).map(|(time, _)| time);
        let effect = effect_of(newest, next, time, value.is_some());
        let value = Cow::Borrowed(value.unwrap_or_default());
        self.rows.insert(Reverse(time), Row { flag: effect.flag, value, changed: true });
        if let (true, Some((newest, _))) = (effect.ties_newest, newest)
            && let Some(row) = self.rows.get_mut(&Reverse(newest))
        {
            (row.flag, row.changed) = (Some(PRESENT), true);
        }
    }

    /// The rows that changed, in the order of their keys: key and value, no value where the row is gone. `rows_of_key` is
    /// what all of their keys begin with.
    pub(crate) fn changes(self, rows_of_key: &[u8]) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.rows.into_iter().filter(|(_, row)| row.changed).map(move |(time, row)| {
            let value = row.flag.map(|flag| [&[flag], &*row.value].concat());
            ([rows_of_key, &descending(time.0)].concat(), value)
        })
    }
}

fn descending(time: i64) -> [u8; TIME_BYTES] {
    (!(time.cast_unsigned() ^ (1 << 63))).to_be_bytes()
}

/// What comes before the time in a row's key, and the time; `None` for what is no row.
fn take_apart(row: &[u8]) -> Option<(&[u8], i64)> {
    let (rest, time) = row.split_last_chunk::<TIME_BYTES>()?;
    (rest.len() >= LENGTH_BYTES).then(|| (rest, (!u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed()))
}

fn value_of(row_value: &[u8]) -> Option<&[u8]> {
    row_value.split_first().filter(|(flag, _)| **flag != DELETED).map(|(_, value)| value)
}

/// The removal of versions that nothing can ask for any more: some at each commit, round and round.
#[derive(Default)]
pub(crate) struct Sweep {
    /// The row to go on with.
    at: Vec<u8>,
    puts: usize,
}

impl Layers {
    /// Puts a version. `None`: it is too old, and only logged; else the time of the next version, if there is one.
    pub(crate) fn put_version(
        &mut self,
        sink: &mut dyn ChangelogSink,
        key: &[u8],
        value: Option<&[u8]>,
        time: i64,
    ) -> Result<Option<Option<i64>>, StoreError> {
        let valid_to = match self.below_open()?.admits_time(time) {
            true => Some(self.store_version(key, value, time)?),
            false => {
                sink.record_dropped(&self.spec().name);
                None
            }
        };
        // Refused ones are logged too: the changelog knows nothing of the retention.
        self.below_open()?.log_raw(sink, key, value, time)?;
        Ok(valid_to)
    }

    /// Stores a version, and answers the time of the next one.
    pub(crate) fn store_version(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        time: i64,
    ) -> Result<Option<i64>, StoreError> {
        let (mut newest, mut next, mut alone) = (None, None, Vec::new());
        self.visit_versions(key, i64::MAX, |version, row| {
            if newest.is_none() {
                let flag = row.first().copied().unwrap_or(DELETED);
                newest = Some((version, flag));
                if flag == ALONE && version > time {
                    alone = row.to_vec();
                }
            }
            if version > time {
                next = Some(version);
            }
            version > time
        })?;
        let effect = effect_of(newest, next, time, value.is_some());
        let below = self.below_open()?;
        let mut row = Vec::with_capacity(LENGTH_BYTES + key.len() + TIME_BYTES);
        row_key(key, time, &mut row);
        below.buffer.clear();
        match effect.flag {
            Some(flag) => {
                row_value(flag, value, &mut below.buffer);
                below.overlay.put(&row, Some(&below.buffer));
            }
            None => {
                below.overlay.put(&row, None);
            }
        }
        if let (true, Some((newest, _)), Some(flag)) = (effect.ties_newest, newest, alone.first_mut()) {
            *flag = PRESENT;
            row.clear();
            row_key(key, newest, &mut row);
            below.overlay.put(&row, Some(&alone));
        }
        self.sweep_state().puts += 1;
        Ok(next)
    }

    /// The newest version of a key: what it is now, a deletion too.
    pub(crate) fn latest_version(&mut self, key: &[u8]) -> Result<Option<Version>, StoreError> {
        let mut found = None;
        self.visit_versions(key, i64::MAX, |time, row| {
            found = Some(Version { time, value: value_of(row).map(<[u8]>::to_vec), valid_to: None });
            false
        })?;
        Ok(found)
    }

    /// The versions of a key that count at some time from `from` to `to`, newest first.
    pub(crate) fn versions_between(
        &mut self,
        key: &[u8],
        from: i64,
        to: i64,
    ) -> Result<Vec<Version>, StoreError> {
        let mut found = Vec::new();
        let mut valid_to = self.next_version(key, to)?;
        self.visit_versions(key, to, |time, row| {
            found.push(Version { time, value: value_of(row).map(<[u8]>::to_vec), valid_to });
            valid_to = Some(time);
            time > from
        })?;
        Ok(found)
    }

    /// The time of the first version after `time`.
    fn next_version(&mut self, key: &[u8], time: i64) -> Result<Option<i64>, StoreError> {
        let mut next = None;
        self.visit_versions(key, i64::MAX, |version, _| {
            if version > time {
                next = Some(version);
            }
            version > time
        })?;
        Ok(next)
    }

    /// Versions of a key from the newest down, as long as `go_on` answers true; it gets the time and the row's value.
    fn visit_versions(
        &mut self,
        key: &[u8],
        from: i64,
        mut go_on: impl FnMut(i64, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let mut prefix = Vec::with_capacity(LENGTH_BYTES + key.len());
        rows_of(key, &mut prefix);
        let mut range = KeyRange::of_prefix(&prefix);
        range.lower.extend_from_slice(&descending(from));
        let mut rows = self.scan_all(&range)?;
        while let Some((row, value)) = rows.entry() {
            if let (Some((_, time)), Some(value)) = (take_apart(row), value)
                && !go_on(time, value)
            {
                break;
            }
            rows.advance()?;
        }
        Ok(())
    }

    /// Removes some of the versions that ended before the history, and with them deletions that are the last of their
    /// key: `bound` is the earliest time that is answered.
    pub(crate) fn sweep_versions(&mut self, bound: i64) -> Result<(), StoreError> {
        let state = self.sweep_state();
        let budget = std::mem::take(&mut state.puts) * SWEPT_PER_PUT;
        if budget == 0 {
            return Ok(());
        }
        let range = KeyRange { lower: std::mem::take(&mut state.at), upper: None };
        let mut rows = self.scan_all(&range)?;
        let mut round = Round { bound, ..Round::default() };
        let mut at = Vec::new();
        let mut seen = 0;
        while let Some((row, value)) = rows.entry() {
            if let (Some((key, time)), Some(value)) = (take_apart(row), value) {
                if seen >= budget {
                    at = row.to_vec();
                    break;
                }
                seen += 1;
                round.see(key, time, value_of(value).is_none(), row);
            }
            rows.advance()?;
        }
        drop(rows);
        if at.is_empty() {
            round.end_key();
        }
        self.sweep_state().at = at;
        for row in round.removed {
            self.below_open()?.overlay.put(&row, None);
        }
        Ok(())
    }
}

/// What a sweep knows while it goes over the rows.
#[derive(Default)]
struct Round {
    bound: i64,
    key: Vec<u8>,
    /// Time of the row before, which is of the same key and later.
    later: Option<i64>,
    /// The row before, if it is a deletion before the bound that only hides what is older.
    hiding: Option<Vec<u8>>,
    removed: Vec<Vec<u8>>,
}

impl Round {
    fn see(&mut self, key: &[u8], time: i64, is_deletion: bool, row: &[u8]) {
        if self.key != key {
            self.end_key();
            self.key = key.to_vec();
        }
        if self.later.is_some_and(|later| later <= self.bound) {
            self.removed.push(row.to_vec());
        } else {
            self.hiding = (is_deletion && time <= self.bound).then(|| row.to_vec());
        }
        self.later = Some(time);
    }

    /// All older rows of the key are gone: so may be the deletion that hid them.
    fn end_key(&mut self) {
        self.removed.extend(self.hiding.take());
        self.later = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_key_and_newest_first() {
        let row = |key: &[u8], time| {
            let mut row = Vec::new();
            row_key(key, time, &mut row);
            row
        };
        assert!(row(b"a", 2) < row(b"a", 1));
        assert!(row(b"a", 0) < row(b"a", -1));
        assert_eq!(take_apart(&row(b"ab", -5)).map(|(_, time)| time), Some(-5));
        assert_eq!(take_apart(TIME_KEY), None);
    }
}

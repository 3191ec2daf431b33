//! The second order of a store whose windows or sessions give final results when they close: by time.
//!
//! RocksDB's order is by segment, then by key, which updates need; what closed between two looks lies scattered in it. So
//! such a store has an entry without a value for each of its windows, behind all others, in the order of time
//! (`RocksDBTimeOrderedWindowStore`, `RocksDBTimeOrderedSessionStore`, where values lie in this order and keys are the
//! index). It is written where a window appears, not at each update. In memory the order is by time anyway.
//!
//! ```text
//! window     80 | start i64 | key | seq i32
//! session    80 | end i64 | start i64 | key
//! ```
//!
//! Through the index each result is looked up by itself, which costs as much as reading tens of entries in their order. So
//! it is used where few of a segment's entries are meant: short windows that are kept for long, sessions, hopping windows.
//! Where most of a segment closes together, as tumbling windows do, the segment is read as it lies.
//!
//! Results are read in pages, because whoever reads them forwards them, and may come back to the store meanwhile.

use std::collections::BTreeMap;

use crate::StoreError;
use crate::contract::StoreSpec;
use crate::cursor::{Cursor, KeyRange, Selection, Verdict, successor};
use crate::keys::{KeyLayout, Schema, TimedKey};
use crate::layers::Layers;
use crate::window_query::{Keys, WindowQuery};

/// Before an entry of the index; the segments before all others are positive numbers, which start lower.
const INDEX: u8 = 0x80;

/// How many entries are read in their order in the time that one takes that is looked up through the index
/// (`examples/window_costs.rs`).
const ENTRIES_PER_DETOUR: i64 = 64;

/// Whether a store has the index.
pub(crate) fn is_indexed(spec: &StoreSpec, layout: KeyLayout) -> bool {
    spec.final_results && layout.is_segmented()
}

/// What is not of the index.
pub(crate) fn entries() -> KeyRange {
    KeyRange { lower: Vec::new(), upper: Some(vec![INDEX]) }
}

/// The entries of the index with times below `time`.
pub(crate) fn before(time: i64) -> KeyRange {
    KeyRange { lower: vec![INDEX], upper: Some(from(time)) }
}

fn from(time: i64) -> Vec<u8> {
    let mut bound = vec![INDEX];
    bound.extend_from_slice(&time.max(0).to_be_bytes());
    bound
}

/// Appends the index's entry for an engine key; `false` for what cannot be one.
#[must_use]
pub(crate) fn index_key(layout: KeyLayout, engine_key: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(TimedKey { key, time, rest }) = layout.timed_key(engine_key) else { return false };
    out.push(INDEX);
    out.extend_from_slice(&time.to_be_bytes());
    match layout.schema() {
        Schema::Window => {
            out.extend_from_slice(key);
            layout.schema().write_rest(rest, out);
        }
        Schema::Session => {
            layout.schema().write_rest(rest, out);
            out.extend_from_slice(key);
        }
    }
    true
}

/// The engine key that an entry of the index stands for; `None` for what cannot be one.
fn engine_key(layout: KeyLayout, index_key: &[u8]) -> Option<Vec<u8>> {
    let (time, tail) = index_key.get(1..)?.split_first_chunk()?;
    let (key, rest) = match layout.schema() {
        Schema::Window => layout.schema().split_rest(tail)?,
        Schema::Session => {
            let (start, key) = tail.split_first_chunk()?;
            (key, u64::from_be_bytes(*start))
        }
    };
    let mut engine_key = Vec::new();
    layout.write_timed_key(&TimedKey { key, time: i64::from_be_bytes(*time), rest }, &mut engine_key);
    Some(engine_key)
}

/// Windows or sessions in the order of time, read in pages: where the reader stands. Made by
/// [`WindowStore::by_time`](crate::WindowStore::by_time) and [`SessionStore::by_time`](crate::SessionStore::by_time).
#[derive(Debug, Clone)]
pub struct TimePages {
    from: i64,
    to: i64,
    /// Behind what: an entry of the index, or, without one, of the store.
    after: Option<Vec<u8>>,
    ended: bool,
}

/// An engine key and its value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

impl TimePages {
    /// Times from `from` to `to`, both included.
    pub(crate) fn new(from: i64, to: i64) -> Self {
        TimePages { from: from.max(0), to, after: None, ended: to < from.max(0) }
    }

    /// Whether there is nothing left to read.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn query(&self, layout: KeyLayout) -> WindowQuery {
        WindowQuery::new(layout, Keys::Range(None, None), self.from, self.to)
    }

    /// Whether the times asked for are a small part of the segments that they lie in, so that few of the entries there are
    /// meant, if their times are spread evenly.
    fn are_few(&self, layout: KeyLayout, visible_from: i64, observed: i64) -> bool {
        let KeyLayout::Segments { interval_ms, .. } = layout else { return false };
        let (from, to) = (self.from.max(visible_from), self.to.min(observed));
        if to < from {
            return true;
        }
        let segments = layout.prefix_of(to) - layout.prefix_of(from) + 1;
        let asked = to.saturating_sub(from).saturating_add(1);
        asked.saturating_mul(ENTRIES_PER_DETOUR) < segments.saturating_mul(interval_ms)
    }

    /// Takes note of the last entry read; `None`: there was none left.
    fn read_to(&mut self, last: Option<Vec<u8>>) {
        self.ended = last.is_none();
        self.after = last;
    }
}

impl Layers {
    /// The next entries in the order of time, about `limit` of them, that are of `visible_from` or later.
    pub(crate) fn next_page_by_time(
        &mut self,
        pages: &mut TimePages,
        limit: usize,
        visible_from: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let layout = self.layout();
        if pages.ended {
            return Ok(Vec::new());
        }
        if is_indexed(self.spec(), layout)
            && (pages.after.is_some() || pages.are_few(layout, visible_from, self.observed_stream_time()))
        {
            return self.page_of_index(pages, limit, visible_from);
        }
        let mut range = pages.query(layout).range();
        if let Some(after) = &pages.after {
            range.lower = successor(after.clone());
        }
        // A store that is not by time, and whose index is not worth the detour, is read whole.
        let limit = if layout.is_by_time() { limit } else { usize::MAX };
        let query = pages.query(layout);
        let mut cursor =
            self.scan_from(visible_from, &range, false, Some(&|time| query.starting_from(time)))?;
        let mut rows = Vec::new();
        let mut last = None;
        while let Some((key, value)) = cursor.entry() {
            if rows.len() == limit {
                last = rows.last().map(|(key, _): &Row| key.clone());
                break;
            }
            rows.extend(value.map(|value| (key.to_vec(), value.to_vec())));
            cursor.advance()?;
        }
        drop(cursor);
        if !layout.is_by_time() {
            rows.sort_by_cached_key(|(key, _)| {
                let mut by_time = Vec::new();
                index_key(layout, key, &mut by_time).then_some(by_time)
            });
        }
        pages.read_to(last);
        Ok(rows)
    }

    fn page_of_index(
        &mut self,
        pages: &mut TimePages,
        limit: usize,
        visible_from: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let layout = self.layout();
        let first = pages.after.take().map_or_else(|| from(pages.from), successor);
        let end = pages.to.checked_add(1).map_or_else(|| vec![INDEX + 1], from);
        let visible = KeyRange { lower: first.clone().max(from(visible_from)), upper: Some(end.clone()) };
        let mut found = Vec::new();
        let mut last = None;
        if !visible.is_empty() {
            let mut cursor = self.scan_all(&visible)?;
            while let Some((key, value)) = cursor.entry() {
                if found.len() == limit {
                    last = found.last().cloned();
                    break;
                }
                found.extend(value.map(|_| key.to_vec()));
                cursor.advance()?;
            }
        }
        let page = KeyRange { lower: first, upper: Some(last.clone().map_or(end, successor)) };
        let mut cached = self.cached_by_time(pages, &page)?;
        for key in found {
            if let Some(engine_key) = engine_key(layout, &key) {
                cached.entry(key).or_insert((engine_key, None));
            }
        }
        pages.read_to(last);
        let mut rows = Vec::with_capacity(cached.len());
        for (engine_key, value) in cached.into_values() {
            let value = match value {
                Some(value) => value,
                None => self.below_open()?.read(&engine_key)?.map(<[u8]>::to_vec),
            };
            rows.extend(value.map(|value| (engine_key, value)));
        }
        Ok(rows)
    }

    /// The cached entries in a range of the index by their key there: the engine key, and the value or tombstone. The cache
    /// has no index of its own, it is small.
    fn cached_by_time(&mut self, pages: &TimePages, page: &KeyRange) -> Result<CachedByTime, StoreError> {
        let (layout, query) = (self.layout(), pages.query(self.layout()));
        let (range, mut found) = (query.range(), CachedByTime::new());
        let Some(mut cursor) = self.cached(&range) else { return Ok(found) };
        while let Some((key, value)) = cursor.entry() {
            let mut by_time = Vec::new();
            let is_meant = matches!(query.judge(key, false), Verdict::Take);
            if is_meant && index_key(layout, key, &mut by_time) && page.contains(&by_time) {
                found.insert(by_time, (key.to_vec(), Some(value.map(<[u8]>::to_vec))));
            }
            cursor.advance()?;
        }
        Ok(found)
    }
}

/// By key in the index: the engine key, and what the cache has of it; `None`: nothing.
type CachedByTime = BTreeMap<Vec<u8>, (Vec<u8>, Option<Option<Vec<u8>>>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_index_lead_back_to_theirs() {
        for schema in [Schema::Window, Schema::Session] {
            let layout = KeyLayout::Segments { interval_ms: 60_000, schema };
            let mut engine = Vec::new();
            layout.write_timed_key(&TimedKey { key: b"key", time: 123_456, rest: 7 }, &mut engine);
            let mut index = Vec::new();
            assert!(index_key(layout, &engine, &mut index));
            assert_eq!(engine_key(layout, &index).as_deref(), Some(&*engine));
            assert!(before(123_457).contains(&index) && !before(123_456).contains(&index));
            assert!(entries().contains(&engine) && !entries().contains(&index));
        }
    }
}

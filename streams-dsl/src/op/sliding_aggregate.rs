//! count, reduce, aggregate by sliding windows (`KStreamSlidingWindowAggregate`).
//!
//! A record with a null key or a null value is dropped and counted, as is one whose latest possible window (the one that
//! begins with it) has closed. A window is open as long as its end is not before the node's observed stream time less
//! the grace; an update of a closed one is dropped and counted. Timestamps, headers and state are as for windows of time.
//!
//! After every record there is, of its key, a window that ends at it (its *left* window) and, if other records follow
//! within the time difference, one that begins 1 ms after it (its *right* window). For a new record the windows that it
//! lies in are updated, the latest first; then the right window of the record before is made, if the new one is the
//! first in it; then the new record's left and right windows, each from an existing window that holds the same records.
//! No window starts below 0: records *early* in time (before the time difference) share one window from 0 as their left
//! one, and are handled the other way round. Early records never lead to final results, as in the JVM.

use kstreams_core::processor::{InitContext, ProcessError, ProcessResult, Processor};
use kstreams_state_stores::{Record, ValueAndTimestamp, Window, Windowed};

use super::window_aggregate::{Aggregate, WindowContext, WindowTable};
use crate::null::Nulls;
use crate::table::Change;
use crate::windows::SlidingWindows;

/// See the module.
pub(crate) struct SlidingAggregate<K, V, A> {
    table: WindowTable<K, V, A>,
    windows: SlidingWindows,
    null_keys: Nulls<K>,
    null_values: Nulls<V>,
}

/// What the windows of a key tell about the neighbourhood of a new record.
struct Neighbours<A> {
    /// Starts of the windows that were looked at.
    starts: Vec<i64>,
    /// An aggregate that holds the records before the new one.
    before: Option<ValueAndTimestamp<A>>,
    /// An aggregate that holds the new record's followers, if its timestamp is after the record's.
    after: Option<ValueAndTimestamp<A>>,
    left_exists: bool,
    right_exists: bool,
    /// Timestamp of the record before the new one.
    previous: Option<i64>,
}

impl<A> Default for Neighbours<A> {
    fn default() -> Self {
        Neighbours {
            starts: Vec::new(),
            before: None,
            after: None,
            left_exists: false,
            right_exists: false,
            previous: None,
        }
    }
}

impl<K: 'static, V: 'static, A> SlidingAggregate<K, V, A> {
    pub(crate) fn new(table: WindowTable<K, V, A>, windows: SlidingWindows) -> Self {
        SlidingAggregate { table, windows, null_keys: Nulls::of(), null_values: Nulls::of() }
    }
}

impl<K, V, A> SlidingAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn window(&self, start: i64) -> Window {
        Window::of_size(start, self.windows.difference_ms)
    }

    /// Adds the record to a window's aggregate, unless the window is closed.
    fn update(
        &self,
        record: &Record<K, V>,
        start: i64,
        old: Aggregate<A>,
        close_time: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let window = self.window(start);
        if window.end < close_time {
            ctx.drop_record("the window is closed");
            return Ok(());
        }
        self.table.update(record.clone(), window, old, ctx)
    }

    /// Makes a window whose first record is the new one.
    fn begin(
        &self,
        record: &Record<K, V>,
        start: i64,
        close_time: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let initial = (self.table.aggregation.initial)();
        self.update(record, start, (initial, record.timestamp), close_time, ctx)
    }

    /// Makes the new record's right window, if anything is in it.
    fn begin_right(
        &self,
        record: &Record<K, V>,
        neighbours: &Neighbours<A>,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let after = neighbours.after.as_ref().filter(|after| after.timestamp > record.timestamp);
        let Some(after) = after.filter(|_| !neighbours.right_exists) else { return Ok(()) };
        let key = Windowed::new(record.key.clone(), self.window(record.timestamp + 1));
        let value = Change::new(Some(after.value.clone()), None);
        let headers = record.headers.clone();
        self.table.put(Record { key, value, timestamp: after.timestamp, headers }, ctx)
    }

    /// A record whose left window starts at 0 or later.
    fn process_later(
        &self,
        record: &Record<K, V>,
        close_time: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let (timestamp, difference) = (record.timestamp, self.windows.difference_ms);
        let range = (timestamp.saturating_sub(2 * difference).max(0), timestamp + 1);
        let left = timestamp - difference;
        let found = self.table.scan(&record.key, range, true, |start| start >= left, ctx)?;
        let mut seen = Neighbours::default();
        for (start, aggregate) in found {
            seen.starts.push(start);
            if start > timestamp {
                seen.right_exists = true;
            } else if start > left {
                if seen.after.is_none() {
                    seen.after = Some(aggregate.clone());
                }
                self.update(record, start, parts(aggregate), close_time, ctx)?;
            } else if start == left {
                seen.left_exists = true;
                let newest = aggregate.timestamp;
                self.update(record, start, parts(aggregate), close_time, ctx)?;
                if newest >= timestamp {
                    // A record of this very time was there before: all windows exist.
                    return Ok(());
                }
                seen.previous = Some(newest);
            } else {
                seen.previous = Some(aggregate.timestamp);
                seen.before = Some(aggregate);
            }
        }
        self.begin_windows(record, &seen, close_time, ctx)
    }

    fn begin_windows(
        &self,
        record: &Record<K, V>,
        seen: &Neighbours<A>,
        close_time: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let (timestamp, difference) = (record.timestamp, self.windows.difference_ms);
        if let Some(right_of_previous) = seen.previous.map(|previous| previous + 1)
            && !seen.starts.contains(&right_of_previous)
            && right_of_previous + difference >= timestamp
        {
            self.begin(record, right_of_previous, close_time, ctx)?;
        }
        if !seen.left_exists {
            let left = timestamp - difference;
            match (&seen.before, seen.previous) {
                (Some(before), Some(previous)) if left <= previous => {
                    self.update(record, left, (Some(before.value.clone()), timestamp), close_time, ctx)?;
                }
                _ => self.begin(record, left, close_time, ctx)?,
            }
        }
        self.begin_right(record, seen, ctx)
    }

    /// A record whose left window would start below 0.
    fn process_early(
        &self,
        record: &Record<K, V>,
        close_time: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let timestamp = record.timestamp;
        let found = self.table.scan(&record.key, (0, timestamp + 1), false, |_| true, ctx)?;
        let mut seen = Neighbours::default();
        let mut shared = None;
        for (start, aggregate) in found {
            seen.starts.push(start);
            if start == 0 {
                seen.previous = Some(aggregate.timestamp).filter(|newest| *newest < timestamp);
                shared = Some(aggregate);
            } else if start <= timestamp {
                seen.after = Some(aggregate.clone());
                self.update(record, start, parts(aggregate), close_time, ctx)?;
            } else {
                seen.right_exists = true;
            }
        }
        // Without a window between, all that the shared one holds comes after the new record.
        if seen.after.is_none() {
            seen.after = shared.clone().filter(|shared| shared.timestamp > timestamp);
        }
        self.begin_right(record, &seen, ctx)?;
        if let Some(right_of_previous) = seen.previous.map(|previous| previous + 1)
            && !seen.starts.contains(&right_of_previous)
        {
            self.begin(record, right_of_previous, close_time, ctx)?;
        }
        match shared {
            Some(shared) => self.update(record, 0, parts(shared), close_time, ctx),
            None => self.begin(record, 0, close_time, ctx),
        }
    }
}

fn parts<A>(aggregate: ValueAndTimestamp<A>) -> Aggregate<A> {
    (Some(aggregate.value), aggregate.timestamp)
}

impl<K, V, A> Processor<K, V, Windowed<K>, Change<A>> for SlidingAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.table.init(ctx)
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut WindowContext<'_, K, A>) -> ProcessResult {
        if self.null_keys.is_null(&record.key) || self.null_values.is_null(&record.value) {
            ctx.drop_record("null key or value in an aggregation by sliding windows");
            return Ok(());
        }
        let SlidingWindows { difference_ms, grace_ms } = self.windows;
        let close_time = self.table.observe(record.timestamp).saturating_sub(grace_ms);
        if record.timestamp.saturating_add(difference_ms) < close_time {
            ctx.drop_record("all windows of the record are closed");
            return Ok(());
        }
        if difference_ms == 0 {
            // The JVM's builder takes it, and the first record fails.
            return Err(ProcessError::msg("sliding windows need a time difference of at least 1 ms"));
        }
        if record.timestamp < difference_ms {
            return self.process_early(&record, close_time, ctx);
        }
        self.process_later(&record, close_time, ctx)?;
        // Both ends of a window are included, so it closes 1 ms later than a window of time.
        let starts = |last: Option<i64>| {
            let to = close_time.checked_sub(difference_ms + 1).filter(|to| *to >= 0)?;
            Some((last.map_or(0, |last| (last - difference_ms).max(0)), to))
        };
        self.table.emit_closed(close_time, &record.headers, starts, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut WindowContext<'_, K, A>) -> ProcessResult {
        self.table.forward_flushed(ctx)
    }
}

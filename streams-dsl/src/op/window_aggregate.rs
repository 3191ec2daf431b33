//! count, reduce, aggregate of a grouped stream by windows of time: one row per key and window. Sliding windows have
//! their own node (`sliding_aggregate`), the rest is the same.
//!
//! A record with a null key is dropped and counted; a null value is aggregated. A record updates every window that its
//! time is in, the earliest first, as long as the window's end is after the node's observed stream time less the grace;
//! each window that is closed already counts as a record dropped. The row's timestamp is the highest of the records in
//! it, the result's headers are the record's. The windows are stored for size plus grace (or the given retention),
//! logged, and cached. With `emit_strategy` on close, each window is one result (`emit_final`); sliding windows are not
//! cached then, as in the JVM.

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{
    DynSerde, Record, TimestampedWindowStore, ValueAndTimestamp, Window, Windowed, WindowedSerde,
};

use super::aggregate::Aggregation;
use super::aggregate_table::{Asked, Shape, aggregate, aggregations, note_count};
use super::emit_final::{FinalResults, PAGE};
use super::sliding_aggregate::SlidingAggregate;
use crate::graph::Writing;
use crate::grouped::TimeWindowedKStream;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::table::{Change, Forwarder, GetterSupplier, KTable};
use crate::windows::{EmitStrategy, Windows};

aggregations! {
    TimeWindowedKStream => Windowed<K>, |it| {
        let it: &TimeWindowedKStream<K, V> = it;
        (&it.grouped, ByTime { windows: it.windows, emit: it.emit })
    },
    count: "The number of records per key and window. Records with a null key are dropped and counted as dropped; null
values count, except in sliding windows, where they are dropped too. A record that is later than the grace allows is
dropped for that window.

- result: per record and window, with its headers and the highest timestamp of the records in it; with emission on
  window close one per window
- null: a null key is dropped and counted, a null value is aggregated (not in sliding windows); `None` deletes the row
- repartition: if the key may have changed; state: the windows, for size plus grace unless a retention says otherwise
- late records: are dropped and counted for each window that has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};

let builder = StreamsBuilder::new();
builder
    .stream::<String, String>(\"page-views\")
    .group_by_key()
    .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(5)))
    .count(Materialized::named(\"views-per-minute\"))
    .to_stream()
    .to(\"views\");
# builder.build().unwrap();
```",
    reduce: "The values of each key and window combined: the first one is the first aggregate, then
`reducer(aggregate, value)`. Null keys, null values and late records as for [`count`](Self::count); a null value is
combined like any other.

- result: per record and window, with its headers and the highest timestamp of the records in it; with emission on
  window close one per window
- null: a null key is dropped and counted, a null value is aggregated (not in sliding windows); `None` deletes the row
- repartition: if the key may have changed; state: the windows, for size plus grace unless a retention says otherwise
- late records: are dropped and counted for each window that has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};

let builder = StreamsBuilder::new();
let sold = builder.stream::<String, i64>(\"sold\").group_by_key();
let daily = TimeWindows::of_size_with_no_grace(Duration::from_secs(86_400));
sold.windowed_by(daily).reduce(|sum, amount| sum + amount, Materialized::named(\"sold-per-day\"));
# builder.build().unwrap();
```",
    aggregate(aggregate): "The values of each key and window aggregated into another type. Null keys, null values and late
records as for [`count`](Self::count).

- result: per record and window, with its headers and the highest timestamp of the records in it; with emission on
  window close one per window
- null: a null key is dropped and counted, a null value is aggregated (not in sliding windows); `None` deletes the row
- repartition: if the key may have changed; state: the windows, for size plus grace unless a retention says otherwise
- late records: are dropped and counted for each window that has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};

let builder = StreamsBuilder::new();
let lines = builder.stream::<String, String>(\"lines\").group_by_key();
let minutes = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
let length = |_: &String, line: String, length: i64| length + line.len() as i64;
lines.windowed_by(minutes).aggregate(|| 0, length, Materialized::named(\"length-per-minute\"));
# builder.build().unwrap();
```",
}

/// One row per key and window of time.
#[derive(Clone, Copy)]
pub(crate) struct ByTime {
    pub(crate) windows: Windows,
    pub(crate) emit: EmitStrategy,
}

impl Shape for ByTime {
    type Row<K: Clone + Send + 'static> = Windowed<K>;

    fn counts_take_an_index(&self) -> bool {
        self.windows.sliding().is_none()
    }

    fn grace_ms(&self) -> Option<i64> {
        Some(self.windows.grace_ms())
    }

    fn fault<K: 'static, A: 'static>(&self, store: &TableSpec<K, A>) -> Option<TopologyError> {
        let of = match self.windows.sliding() {
            None => "window size plus grace",
            Some(_) => "twice the time difference plus grace",
        };
        store.window_fault(self.windows.size_ms(), self.windows.min_retention_ms(), of)
    }

    fn row_serde<K: Clone + Send + 'static>(&self, key: &DynSerde<K>) -> DynSerde<Windowed<K>> {
        DynSerde::new(WindowedSerde::new(key.clone(), self.windows.size_ms()))
    }

    fn getter<K, A>(&self, store: &str) -> GetterSupplier<Windowed<K>, A>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        GetterSupplier::of_window_store(store)
    }

    fn processor<K, V, A>(
        &self,
        store: &str,
        aggregation: Aggregation<K, V, A>,
        old_values: bool,
    ) -> Box<dyn Processor<K, V, Windowed<K>, Change<A>>>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        let table = WindowTable::new(store, aggregation, self.emit, old_values);
        match self.windows.sliding() {
            Some(windows) => Box::new(SlidingAggregate::new(table, windows)),
            None => Box::new(WindowAggregate { table, windows: self.windows, null_keys: Nulls::of() }),
        }
    }

    fn add_store<K, A>(
        &self,
        topology: &mut Topology,
        store: &TableSpec<K, A>,
        writing: &Writing<'_>,
        node: &str,
    ) -> Result<(), TopologyError>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        let builder = store.window(self.windows.size_ms(), self.windows.min_retention_ms(), writing);
        let builder = match (self.emit.on_close, self.windows.sliding()) {
            (false, _) => builder,
            (true, None) => builder.for_final_results(),
            (true, Some(_)) => builder.for_final_results().with_caching_disabled(),
        };
        topology.add_state_store(builder, &[node]).map(|_| ())
    }
}

/// The windows' aggregates within the node that keeps them: what nodes for windows of time and for sliding ones share.
pub(crate) struct WindowTable<K, V, A> {
    store: String,
    pub(crate) aggregation: Aggregation<K, V, A>,
    emit: EmitStrategy,
    old_values: bool,
    /// The highest timestamp seen by this node since it was started.
    observed_stream_time: i64,
    forwarder: Option<Forwarder<TimestampedWindowStore<K, A>>>,
    final_results: Option<FinalResults>,
}

/// The context of the nodes that aggregate windows.
pub(crate) type WindowContext<'a, K, A> = ProcessorContext<'a, Windowed<K>, Change<A>>;

/// An aggregate, if it is not null, and the timestamp of its row.
pub(crate) type Aggregate<A> = (Option<A>, i64);

impl<K, V, A> WindowTable<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn new(store: &str, aggregation: Aggregation<K, V, A>, emit: EmitStrategy, old_values: bool) -> Self {
        WindowTable {
            store: store.to_owned(),
            aggregation,
            emit,
            old_values,
            observed_stream_time: -1,
            forwarder: None,
            final_results: None,
        }
    }

    pub(crate) fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.final_results = self.emit.on_close.then(|| FinalResults::open(&self.store, ctx));
        self.forwarder = Some(match self.emit.on_close {
            true => Forwarder::silent(&self.store, ctx)?,
            false => Forwarder::open(&self.store, self.old_values, ctx)?,
        });
        Ok(())
    }

    /// Takes note of a record's time: stream time as this node sees it, the record included.
    pub(crate) fn observe(&mut self, timestamp: i64) -> i64 {
        self.observed_stream_time = self.observed_stream_time.max(timestamp);
        self.observed_stream_time
    }

    /// The aggregate of a window.
    pub(crate) fn get(
        &self,
        key: &K,
        start: i64,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult<Option<ValueAndTimestamp<A>>> {
        let Some(forwarder) = &self.forwarder else { return Ok(None) };
        Ok(ctx.store(&forwarder.store).fetch_one(key, start)?)
    }

    /// The aggregates of the windows of a key that start from `from` to `to`, in either direction, as long as `wanted`.
    pub(crate) fn scan(
        &self,
        key: &K,
        (from, to): (i64, i64),
        latest_first: bool,
        mut wanted: impl FnMut(i64) -> bool,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult<Vec<(i64, ValueAndTimestamp<A>)>> {
        let Some(forwarder) = &self.forwarder else { return Ok(Vec::new()) };
        let mut store = ctx.store(&forwarder.store);
        let windows = match latest_first {
            true => store.backward_fetch(key, from, to)?,
            false => store.fetch(key, from, to)?,
        };
        let mut found = Vec::new();
        for window in windows {
            let window = window?;
            let go_on = wanted(window.0);
            found.push(window);
            if !go_on {
                break;
            }
        }
        Ok(found)
    }

    /// Adds the record to the aggregate of one window, stores it and tells it.
    pub(crate) fn update(
        &self,
        record: Record<K, V>,
        window: Window,
        (old, old_timestamp): Aggregate<A>,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let Record { key, value, timestamp, headers } = record;
        let timestamp = if old.is_some() { timestamp.max(old_timestamp) } else { timestamp };
        let told = if self.old_values { old.clone() } else { None };
        let new = (self.aggregation.apply)(&key, value, old);
        self.put(
            Record { key: Windowed::new(key, window), value: Change::new(new, told), timestamp, headers },
            ctx,
        )
    }

    /// Stores the new aggregate of a window and tells it.
    pub(crate) fn put(
        &self,
        mut record: Record<Windowed<K>, Change<A>>,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let Some(forwarder) = &self.forwarder else { return Ok(()) };
        let timestamp = record.timestamp;
        let new = record.value.new.take().map(|value| ValueAndTimestamp { value, timestamp });
        let Windowed { key, window } = &record.key;
        ctx.store(&forwarder.store).put_nullable(key, new.as_ref(), window.start)?;
        if self.emit.on_close {
            return Ok(());
        }
        record.value.new = new.map(|new| new.value);
        forwarder.forward(record, ctx)
    }

    /// Emits what closed by `close_time`, if that is asked for and due: windows whose starts are in the range that
    /// `starts` makes of the close time up to which was emitted before, both ends included.
    pub(crate) fn emit_closed(
        &mut self,
        close_time: i64,
        headers: &kstreams_state_stores::Headers,
        starts: impl FnOnce(Option<i64>) -> Option<(i64, i64)>,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let (Some(forwarder), Some(results)) = (&self.forwarder, &mut self.final_results) else {
            return Ok(());
        };
        if !results.are_due(close_time, ctx) {
            return Ok(());
        }
        let Some((from, to)) = starts(results.last_close_time()) else { return Ok(()) };
        let mut pages = ctx.store(&forwarder.store).store.by_time(from, to);
        results.emit(close_time, headers, ctx, |ctx| {
            if pages.ended() {
                return Ok(None);
            }
            let closed = ctx.store(&forwarder.store).store.next_page_by_time(&mut pages, PAGE)?;
            Ok(Some(closed.into_iter().map(|(key, found)| (key, found.value, found.timestamp)).collect()))
        })
    }

    pub(crate) fn forward_flushed(&mut self, ctx: &mut WindowContext<'_, K, A>) -> ProcessResult {
        self.forwarder.as_ref().map_or(Ok(()), |forwarder| forwarder.forward_flushed(ctx))
    }
}

struct WindowAggregate<K, V, A> {
    table: WindowTable<K, V, A>,
    windows: Windows,
    null_keys: Nulls<K>,
}

impl<K, V, A> WindowAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Adds the record to the aggregate of one window.
    fn update(
        &self,
        record: Record<K, V>,
        window: Window,
        ctx: &mut WindowContext<'_, K, A>,
    ) -> ProcessResult {
        let old = match self.table.get(&record.key, window.start, ctx)? {
            Some(ValueAndTimestamp { value, timestamp }) => (Some(value), timestamp),
            // An initial aggregate is as old as the record.
            None => ((self.table.aggregation.initial)(), record.timestamp),
        };
        self.table.update(record, window, old, ctx)
    }

    /// The starts of the windows that closed by `close_time`, but not by `last` (`KStreamWindowAggregate`).
    fn closed_starts(windows: Windows, close_time: i64, last: Option<i64>) -> Option<(i64, i64)> {
        let to = close_time.checked_sub(windows.size_ms()).filter(|to| *to >= 0)?;
        let Some(last) = last else { return Some((0, to)) };
        let emitted_to = last.saturating_sub(windows.size_ms()).max(0);
        let is_new = !windows.windows_for(to).eq(windows.windows_for(emitted_to));
        is_new.then_some((emitted_to + 1, to))
    }
}

impl<K, V, A> Processor<K, V, Windowed<K>, Change<A>> for WindowAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.table.init(ctx)
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut WindowContext<'_, K, A>) -> ProcessResult {
        if self.null_keys.is_null(&record.key) {
            ctx.drop_record("null key in a windowed aggregation");
            return Ok(());
        }
        let stream_time = self.table.observe(record.timestamp);
        let close_time = stream_time.saturating_sub(self.windows.grace_ms());
        let headers = record.headers.clone();
        let mut last = None; // the record moves into the last window that is open
        for window in self.windows.windows_for(record.timestamp) {
            if window.end <= close_time {
                ctx.drop_record("the window is closed");
            } else if let Some(earlier) = last.replace(window) {
                self.update(record.clone(), earlier, ctx)?;
            }
        }
        if let Some(last) = last {
            self.update(record, last, ctx)?;
        }
        let windows = self.windows;
        let starts = |last| Self::closed_starts(windows, close_time, last);
        self.table.emit_closed(close_time, &headers, starts, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut WindowContext<'_, K, A>) -> ProcessResult {
        self.table.forward_flushed(ctx)
    }
}

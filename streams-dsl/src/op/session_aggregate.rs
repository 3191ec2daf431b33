//! count, reduce, aggregate of a grouped stream by sessions: one row per key and session
//! (`KStreamSessionWindowAggregate`).
//!
//! A record with a null key is dropped and counted; a null value is aggregated. The sessions within the inactivity gap
//! of a record become one: their aggregates are merged, earliest end first, then the record is added. Each merged
//! session is deleted and told as `None` at its end, then the new one is told at its end; where the record only repeats
//! the time of the one session there is, nothing is deleted. Results carry no headers, unless they come out of the
//! cache. A record is dropped and counted if even the merged session ended before stream time less gap and grace. The
//! sessions are stored for gap plus grace (or the given retention), logged, and cached. With `emit_strategy` on close,
//! each session is one result (`emit_final`) and nothing is cached.

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{
    DynSerde, Headers, Record, SessionStore, SessionWindowedSerde, Window, Windowed,
};

use super::aggregate::Aggregation;
use super::aggregate_table::{Asked, Shape, aggregate, aggregations, note_count};
use super::emit_final::{FinalResults, PAGE};
use crate::graph::Writing;
use crate::grouped::SessionWindowedKStream;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::table::{Change, Forwarder, GetterSupplier, KTable};
use crate::windows::{EmitStrategy, SessionWindows};

aggregations! {
    SessionWindowedKStream => Windowed<K>, |it| {
        let it: &SessionWindowedKStream<K, V> = it;
        (&it.grouped, BySession { windows: it.windows, emit: it.emit })
    },
    count: "The number of records per key and session. Records with a null key are dropped and counted as dropped; null
values count. A record whose session has closed, even with the sessions that it would join, is dropped.

- result: per record, at the end of its session; the sessions that became one are told as deleted. Headers: the
  record's where the result comes out of a cache or on window close, else none
- null: a null key is dropped and counted, a null value is aggregated; `None` deletes the row
- repartition: if the key may have changed; state: the sessions, for gap plus grace unless a retention says otherwise
- late records: are dropped and counted if even the merged session has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, SessionWindows, StreamsBuilder};

let builder = StreamsBuilder::new();
builder
    .stream::<String, String>(\"clicks\")
    .group_by_key()
    .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(300)))
    .count(Materialized::named(\"clicks-per-visit\"))
    .to_stream()
    .to(\"visits\");
# builder.build().unwrap();
```",
    reduce: "The values of each key and session combined: the first one is the first aggregate, then
`reducer(aggregate, value)`; the aggregates of two sessions that become one by `reducer(earlier, later)`. Null keys,
null values and late records as for [`count`](Self::count).

- result: per record, at the end of its session; the sessions that became one are told as deleted. Headers: the
  record's where the result comes out of a cache or on window close, else none
- null: a null key is dropped and counted, a null value is aggregated; `None` deletes the row
- repartition: if the key may have changed; state: the sessions, for gap plus grace unless a retention says otherwise
- late records: are dropped and counted if even the merged session has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, SessionWindows, StreamsBuilder};

let builder = StreamsBuilder::new();
let bought = builder.stream::<String, i64>(\"bought\").group_by_key();
let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(300));
bought.windowed_by(visits).reduce(|sum, amount| sum + amount, Materialized::named(\"sum-per-visit\"));
# builder.build().unwrap();
```",
    aggregate(aggregate_sessions, merger): "The values of each key and session aggregated into another type. For each record
`initializer` gives an aggregate, `merger(key, aggregate, session)` adds each session that it joins, earliest end
first, then `aggregator(key, value, aggregate)` adds the record. Null keys, null values and late records as for
[`count`](Self::count).

- result: per record, at the end of its session; the sessions that became one are told as deleted. Headers: the
  record's where the result comes out of a cache or on window close, else none
- null: a null key is dropped and counted, a null value is aggregated; `None` deletes the row
- repartition: if the key may have changed; state: the sessions, for gap plus grace unless a retention says otherwise
- late records: are dropped and counted if even the merged session has closed

```
use std::time::Duration;
use kstreams_dsl::{Materialized, SessionWindows, StreamsBuilder};

let builder = StreamsBuilder::new();
builder
    .stream::<String, String>(\"clicks\")
    .group_by_key()
    .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(300)))
    .aggregate(
        || 0_i64,
        |_, page, length| length + page.len() as i64,
        |_, one, other| one + other,
        Materialized::named(\"lengths\"),
    );
# builder.build().unwrap();
```",
}

/// One row per key and session.
#[derive(Clone, Copy)]
pub(crate) struct BySession {
    pub(crate) windows: SessionWindows,
    pub(crate) emit: EmitStrategy,
}

impl Shape for BySession {
    type Row<K: Clone + Send + 'static> = Windowed<K>;

    fn grace_ms(&self) -> Option<i64> {
        Some(self.windows.close_delay_ms())
    }

    fn fault<K: 'static, A: 'static>(&self, store: &TableSpec<K, A>) -> Option<TopologyError> {
        store.session_fault(self.windows.close_delay_ms(), "inactivity gap plus grace")
    }

    fn row_serde<K: Clone + Send + 'static>(&self, key: &DynSerde<K>) -> DynSerde<Windowed<K>> {
        DynSerde::new(SessionWindowedSerde::new(key.clone()))
    }

    fn getter<K, A>(&self, store: &str) -> GetterSupplier<Windowed<K>, A>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        GetterSupplier::of_session_store(store)
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
        Box::new(SessionAggregate {
            store: store.to_owned(),
            aggregation,
            windows: self.windows,
            emit: self.emit,
            old_values,
            null_keys: Nulls::of(),
            observed_stream_time: -1,
            forwarder: None,
            final_results: None,
        })
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
        let builder = store.session(self.windows.close_delay_ms(), writing);
        // Final results and a cache do not go together for sessions, as in the JVM.
        let builder =
            if self.emit.on_close { builder.with_caching_disabled().for_final_results() } else { builder };
        topology.add_state_store(builder, &[node]).map(|_| ())
    }
}

struct SessionAggregate<K, V, A> {
    store: String,
    aggregation: Aggregation<K, V, A>,
    windows: SessionWindows,
    emit: EmitStrategy,
    old_values: bool,
    null_keys: Nulls<K>,
    /// The highest timestamp seen by this node since it was started.
    observed_stream_time: i64,
    forwarder: Option<Forwarder<SessionStore<K, A>>>,
    final_results: Option<FinalResults>,
}

type SessionContext<'a, K, A> = ProcessorContext<'a, Windowed<K>, Change<A>>;

impl<K, V, A> SessionAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Adds the record to the sessions that it joins.
    fn add(
        &self,
        forwarder: &Forwarder<SessionStore<K, A>>,
        record: Record<K, V>,
        close_time: i64,
        ctx: &mut SessionContext<'_, K, A>,
    ) -> ProcessResult {
        let Record { key, value, timestamp, .. } = record;
        let gap = self.windows.gap_ms;
        let (earliest_end, latest_start) = (timestamp.saturating_sub(gap), timestamp.saturating_add(gap));
        let mut store = ctx.store(&forwarder.store);
        let found = store.find_sessions(&key, earliest_end, latest_start)?.collect::<Result<Vec<_>, _>>()?;
        let alone = Window { start: timestamp, end: timestamp };
        let mut window = alone;
        let mut aggregate = (self.aggregation.initial)();
        for (session, value) in &found {
            aggregate = (self.aggregation.merge)(&key, aggregate, value.clone());
            window.start = window.start.min(session.window.start);
            window.end = window.end.max(session.window.end);
        }
        if window.end < close_time {
            ctx.drop_record("the session is closed");
            return Ok(());
        }
        if window != alone {
            for (session, old) in found {
                ctx.store(&forwarder.store).remove(&session)?;
                self.tell(forwarder, session, Change::new(None, Some(old)), ctx)?;
            }
        }
        let aggregate = (self.aggregation.apply)(&key, value, aggregate);
        let session = Windowed::new(key, window);
        ctx.store(&forwarder.store).put_nullable(&session, aggregate.as_ref())?;
        self.tell(forwarder, session, Change::new(aggregate, None), ctx)
    }

    fn tell(
        &self,
        forwarder: &Forwarder<SessionStore<K, A>>,
        session: Windowed<K>,
        value: Change<A>,
        ctx: &mut SessionContext<'_, K, A>,
    ) -> ProcessResult {
        if self.emit.on_close {
            return Ok(());
        }
        let timestamp = session.window.end;
        forwarder.forward(Record { key: session, value, timestamp, headers: Headers::new() }, ctx)
    }

    /// Emits the sessions that ended before `close_time`, if that is asked for and due.
    fn emit_closed(
        &mut self,
        close_time: i64,
        headers: &Headers,
        ctx: &mut SessionContext<'_, K, A>,
    ) -> ProcessResult {
        let (Some(forwarder), Some(results)) = (&self.forwarder, &mut self.final_results) else {
            return Ok(());
        };
        if !results.are_due(close_time, ctx) {
            return Ok(());
        }
        let (from, to) = (results.last_close_time().unwrap_or(0).max(0), close_time.saturating_sub(1));
        if to < from {
            return Ok(());
        }
        let mut pages = ctx.store(&forwarder.store).store.by_time(from, to);
        results.emit(close_time, headers, ctx, |ctx| {
            if pages.ended() {
                return Ok(None);
            }
            let closed = ctx.store(&forwarder.store).store.next_page_by_time(&mut pages, PAGE)?;
            let timed = |(session, value): (Windowed<K>, A)| {
                let timestamp = session.window.end;
                (session, value, timestamp)
            };
            Ok(Some(closed.into_iter().map(timed).collect()))
        })
    }
}

impl<K, V, A> Processor<K, V, Windowed<K>, Change<A>> for SessionAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.final_results = self.emit.on_close.then(|| FinalResults::open(&self.store, ctx));
        self.forwarder = Some(Forwarder::open(&self.store, self.old_values, ctx)?);
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut SessionContext<'_, K, A>) -> ProcessResult {
        let Some(forwarder) = &self.forwarder else { return Ok(()) };
        if self.null_keys.is_null(&record.key) {
            ctx.drop_record("null key in an aggregation by sessions");
            return Ok(());
        }
        self.observed_stream_time = self.observed_stream_time.max(record.timestamp);
        let close_time = self.observed_stream_time.saturating_sub(self.windows.close_delay_ms());
        let headers = record.headers.clone();
        self.add(forwarder, record, close_time, ctx)?;
        self.emit_closed(close_time, &headers, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut SessionContext<'_, K, A>) -> ProcessResult {
        self.forwarder.as_ref().map_or(Ok(()), |forwarder| forwarder.forward_flushed(ctx))
    }
}

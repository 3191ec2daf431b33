//! count, reduce, aggregate of a grouped stream by windows of time: one row per key and window.
//!
//! A record with a null key is dropped and counted; a null value is aggregated. A record updates every window that its
//! time is in, the earliest first, as long as the window's end is after the node's observed stream time less the grace;
//! each window that is closed already counts as a record dropped. The row's timestamp is the highest of the records in
//! it, the result's headers are the record's. The windows are stored for size plus grace (or the given retention),
//! logged, and cached.

use std::sync::Arc;

use kstreams_core::TopologyError;
use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::{
    DynSerde, Record, TimestampedWindowStore, ValueAndTimestamp, Window, Windowed, WindowedSerde,
};

use super::aggregate::Aggregation;
use crate::graph::GraphNode;
use crate::grouped::TimeWindowedKStream;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::table::{Change, Forwarder, KTable, StoredWindows, TableFlags};
use crate::windows::Windows;

impl<K, V> TimeWindowedKStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The number of records per key and window. Records with a null key are dropped and counted as dropped; null
    /// values count. A record that is later than the grace allows is dropped for that window.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("page-views")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(5)))
    ///     .count(Materialized::named("views-per-minute"))
    ///     .to_stream()
    ///     .to("views");
    /// # builder.build().unwrap();
    /// ```
    pub fn count<KS, VS>(&self, materialized: Materialized<KS, VS>) -> KTable<Windowed<K>, i64>
    where
        KS: SerdeOverride<K>,
        VS: SerdeFor<i64>,
    {
        self.count_with(Named::default(), materialized)
    }

    /// As [`count`](Self::count), with a name.
    pub fn count_with<KS, VS>(
        &self,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<Windowed<K>, i64>
    where
        KS: SerdeOverride<K>,
        VS: SerdeFor<i64>,
    {
        if materialized.is_given_without_name() {
            // The JVM asks for a store name twice then.
            self.grouped.upstream.graph.lock().names.store("KSTREAM-AGGREGATE-");
        }
        self.stored(Aggregation::count(), &named.into(), materialized, |value| value.serde(None))
    }

    /// The values of each key and window combined: the first one is the first aggregate, then
    /// `reducer(aggregate, value)`. Null keys and late records as for [`count`](Self::count); a null value is combined
    /// like any other.
    pub fn reduce<KS, VS>(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<Windowed<K>, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        self.reduce_with(reducer, Named::default(), materialized)
    }

    /// As [`reduce`](Self::reduce), with a name.
    pub fn reduce_with<KS, VS>(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<Windowed<K>, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let value = |value: VS| value.given().unwrap_or_else(|| self.grouped.value_serde.clone());
        self.stored(Aggregation::reduce(reducer), &named.into(), materialized, value)
    }

    /// The values of each key and window aggregated into another type. Null keys, null values and late records as for
    /// [`count`](Self::count).
    pub fn aggregate<A, KS, VS>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<Windowed<K>, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeFor<A>,
    {
        self.aggregate_with(initializer, aggregator, Named::default(), materialized)
    }

    /// As [`aggregate`](Self::aggregate), with a name.
    pub fn aggregate_with<A, KS, VS>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<Windowed<K>, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeFor<A>,
    {
        let aggregation = Aggregation::aggregate(initializer, aggregator);
        self.stored(aggregation, &named.into(), materialized, |value| value.serde(None))
    }

    fn stored<A, KS, VS>(
        &self,
        aggregation: Aggregation<K, V, A>,
        named: &Named,
        materialized: Materialized<KS, VS>,
        value: impl FnOnce(VS) -> DynSerde<A>,
    ) -> KTable<Windowed<K>, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
    {
        let (grouped, windows) = (&self.grouped, self.windows);
        let mut graph = grouped.upstream.graph.lock();
        let store = materialized.store_name_or(|| graph.names.store(aggregation.prefix));
        let name = graph.names.or_processor(named.name(), aggregation.prefix);
        let key = |key: KS| key.given().unwrap_or_else(|| grouped.key_serde.clone());
        let spec: TableSpec<K, A> = materialized.with_resolved(store.clone(), key, value);
        if let Some(fault) = short_retention(&spec, windows) {
            graph.fail(fault);
        }
        let key_serde = DynSerde::new(WindowedSerde::new(spec.key.clone(), windows.size_ms()));
        let value_serde = spec.value.clone();
        let queryable = spec.queryable.then(|| Arc::from(&*store));
        let upstream = grouped.partitioned_for(&mut graph, &store);
        let flags = TableFlags::new(true);
        let node = {
            let (name, flags) = (name.clone(), Arc::clone(&flags));
            GraphNode::operator(name.clone(), [upstream.node], move |topology, writing| {
                let (store, aggregation) = (spec.name.clone(), aggregation.clone());
                let old_values = flags.tells_old_values();
                let supplier = move || WindowAggregate::new(&store, aggregation.clone(), windows, old_values);
                topology.add_processor::<K, V, Windowed<K>, Change<A>, _>(
                    &name,
                    supplier,
                    writing.parents,
                )?;
                let builder = spec.window(windows.size_ms(), windows.min_retention_ms());
                topology.add_state_store(builder, &[&name]).map(|_| ())
            })
        };
        let node = graph.add(node);
        drop(graph);
        KTable {
            upstream: Arc::new(upstream.then(node, name)),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: Arc::new(StoredWindows { store, flags }),
            queryable,
        }
    }
}

fn short_retention<K: 'static, A: 'static>(
    spec: &TableSpec<K, A>,
    windows: Windows,
) -> Option<TopologyError> {
    let (needed, given) = (windows.min_retention_ms(), spec.retention_ms(windows.min_retention_ms()));
    (given < needed).then(|| {
        TopologyError::Invalid(format!(
            "the retention of store {} is {given} ms, less than window size plus grace: make it {needed} ms or more",
            spec.name
        ))
    })
}

struct WindowAggregate<K, V, A> {
    store: String,
    aggregation: Aggregation<K, V, A>,
    windows: Windows,
    old_values: bool,
    null_keys: Nulls<K>,
    /// The highest timestamp seen by this node since it was started.
    observed_stream_time: i64,
    forwarder: Option<Forwarder<TimestampedWindowStore<K, A>>>,
}

impl<K: 'static, V, A> WindowAggregate<K, V, A> {
    fn new(store: &str, aggregation: Aggregation<K, V, A>, windows: Windows, old_values: bool) -> Self {
        WindowAggregate {
            store: store.to_owned(),
            aggregation,
            windows,
            old_values,
            null_keys: Nulls::of(),
            observed_stream_time: -1,
            forwarder: None,
        }
    }
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
        ctx: &mut ProcessorContext<'_, Windowed<K>, Change<A>>,
    ) -> ProcessResult {
        let Some(forwarder) = &self.forwarder else { return Ok(()) };
        let Record { key, value, timestamp, headers } = record;
        let (old, timestamp) = match ctx.store(&forwarder.store).fetch_one(&key, window.start)? {
            Some(ValueAndTimestamp { value, timestamp: before }) => (Some(value), timestamp.max(before)),
            None => ((self.aggregation.initial)(), timestamp),
        };
        let told = if self.old_values { old.clone() } else { None };
        let new = (self.aggregation.apply)(&key, value, old);
        let new = new.map(|value| ValueAndTimestamp { value, timestamp });
        ctx.store(&forwarder.store).put_nullable(&key, new.as_ref(), window.start)?;
        let value = Change::new(new.map(|new| new.value), told);
        forwarder.forward(Record { key: Windowed::new(key, window), value, timestamp, headers }, ctx)
    }
}

impl<K, V, A> Processor<K, V, Windowed<K>, Change<A>> for WindowAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.forwarder = Some(Forwarder::open(&self.store, self.old_values, ctx)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, V>,
        ctx: &mut ProcessorContext<'_, Windowed<K>, Change<A>>,
    ) -> ProcessResult {
        if self.null_keys.is_null(&record.key) {
            ctx.drop_record("null key in a windowed aggregation");
            return Ok(());
        }
        self.observed_stream_time = self.observed_stream_time.max(record.timestamp);
        let close_time = self.observed_stream_time.saturating_sub(self.windows.grace_ms());
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
        Ok(())
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, Windowed<K>, Change<A>>) -> ProcessResult {
        self.forwarder.as_ref().map_or(Ok(()), |forwarder| forwarder.forward_flushed(ctx))
    }
}

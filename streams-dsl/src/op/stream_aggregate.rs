//! count, reduce, aggregate of a grouped stream: one row per key, over all time.
//!
//! A record with a null key or a null value is dropped and counted. The row's timestamp is the highest of the records
//! in it, the result's headers are the record's. The table is stored, logged and cached unless a `Materialized` says
//! otherwise. An aggregate that is null deletes the row. Late records count like any other.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::{DynSerde, Record, ValueAndTimestamp};

use super::aggregate::Aggregation;
use crate::graph::GraphNode;
use crate::grouped::KGroupedStream;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::table::{Change, KTable, StoredTable, TableFlags, TableStore};

impl<K, V> KGroupedStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The number of records per key. Records whose key or value is null are dropped and counted as dropped.
    pub fn count<KS, VS>(&self, materialized: Materialized<KS, VS>) -> KTable<K, i64>
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
    ) -> KTable<K, i64>
    where
        KS: SerdeOverride<K>,
        VS: SerdeFor<i64>,
    {
        if materialized.is_given_without_name() {
            // The JVM asks for a store name twice then.
            self.upstream.graph.lock().names.store("KSTREAM-AGGREGATE-");
        }
        self.stored(Aggregation::count(), &named.into(), materialized, |value| value.serde(None))
    }

    /// The values of each key combined: the first one is the first aggregate, then `reducer(aggregate, value)`. Records
    /// whose key or value is null are dropped and counted as dropped. A reducer that gives `None` deletes the row.
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("sold").group_by_key().reduce(|sum, amount| sum + amount, Materialized::named("sums"));
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce<KS, VS>(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, V>
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
    ) -> KTable<K, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let value = |value: VS| value.given().unwrap_or_else(|| self.value_serde.clone());
        self.stored(Aggregation::reduce(reducer), &named.into(), materialized, value)
    }

    /// The values of each key aggregated into another type: `initializer` gives the first aggregate, then
    /// `aggregator(key, value, aggregate)` the next. Records whose key or value is null are dropped and counted as
    /// dropped. An aggregate that is `None` deletes the row.
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("lines")
    ///     .group_by_key()
    ///     .aggregate(|| 0_i64, |_, line, length| length + line.len() as i64, Materialized::named("lengths"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<A, KS, VS>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, A>
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
    ) -> KTable<K, A>
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
    ) -> KTable<K, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
    {
        let mut graph = self.upstream.graph.lock();
        let store = materialized.store_name_or(|| graph.names.store(aggregation.prefix));
        let name = graph.names.or_processor(named.name(), aggregation.prefix);
        let key = |key: KS| key.given().unwrap_or_else(|| self.key_serde.clone());
        let spec: TableSpec<K, A> = materialized.with_resolved(store.clone(), key, value);
        let (key_serde, value_serde) = (spec.key.clone(), spec.value.clone());
        let queryable = spec.queryable.then(|| Arc::from(&*store));
        let upstream = self.partitioned_for(&mut graph, &store);
        let flags = TableFlags::new(true);
        let node = {
            let (name, flags) = (name.clone(), Arc::clone(&flags));
            GraphNode::operator(name.clone(), [upstream.node], move |topology, writing| {
                let (store, aggregation) = (spec.name.clone(), aggregation.clone());
                let old_values = flags.tells_old_values();
                let supplier = move || StreamAggregate::new(&store, aggregation.clone(), old_values);
                topology.add_processor::<K, V, K, Change<A>, _>(&name, supplier, writing.parents)?;
                topology.add_state_store(spec.key_value(), &[&name]).map(|_| ())
            })
        };
        let node = graph.add(node);
        drop(graph);
        KTable {
            upstream: Arc::new(upstream.then(node, name)),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: Arc::new(StoredTable { store, flags }),
            queryable,
        }
    }
}

struct StreamAggregate<K, V, A> {
    store: String,
    aggregation: Aggregation<K, V, A>,
    old_values: bool,
    null_keys: Nulls<K>,
    null_values: Nulls<V>,
    table: Option<TableStore<K, A>>,
}

impl<K: 'static, V: 'static, A> StreamAggregate<K, V, A> {
    fn new(store: &str, aggregation: Aggregation<K, V, A>, old_values: bool) -> Self {
        let (null_keys, null_values) = (Nulls::of(), Nulls::of());
        StreamAggregate {
            store: store.to_owned(),
            aggregation,
            old_values,
            null_keys,
            null_values,
            table: None,
        }
    }
}

impl<K, V, A> Processor<K, V, K, Change<A>> for StreamAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.table = Some(TableStore::open(&self.store, self.old_values, ctx)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, V>,
        ctx: &mut ProcessorContext<'_, K, Change<A>>,
    ) -> ProcessResult {
        let Some(table) = &self.table else { return Ok(()) };
        if self.null_keys.is_null(&record.key) || self.null_values.is_null(&record.value) {
            ctx.drop_record("null key or value in an aggregation");
            return Ok(());
        }
        let Record { key, value, timestamp, headers } = record;
        let (old, timestamp) = match table.get(&key, ctx)? {
            Some(ValueAndTimestamp { value, timestamp: before }) => (Some(value), timestamp.max(before)),
            None => ((self.aggregation.initial)(), timestamp),
        };
        // What was there before the first value is told as old value too (`KStreamAggregate`).
        let told = if self.old_values { old.clone() } else { None };
        let new = (self.aggregation.apply)(&key, value, old);
        table.update(Record { key, value: Change::new(new, told), timestamp, headers }, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<A>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

//! count, reduce, aggregate of a grouped table: one row per group.
//!
//! An update of a row takes its old value out of the aggregate, then puts its new one in. The result's timestamp is the
//! higher of the update's and the aggregate's, its headers are the update's. The table is stored, logged and cached
//! unless a `Materialized` says otherwise. An aggregate that is null deletes the group's row. There are no null keys or
//! values here: the grouping left them out.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::topology::{RepartitionTopic, SinkOptions, SinkTopic};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record};

use super::aggregate::Aggregation;
use super::repartition::internal_source;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::grouped::KGroupedTable;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::stream::Upstream;
use crate::table::{Change, ChangeSerde, GetterSupplier, KTable, StoredTable, TableFlags, TableStore};

/// How a value leaves an aggregate.
type Remove<K, V, A> = Arc<dyn Fn(&K, V, A) -> Option<A> + Send + Sync>;

impl<K, V> KGroupedTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The number of rows per group.
    ///
    /// - result: per update, with its headers and the higher of its timestamp and the aggregate's
    /// - null: rows whose group or value is null belong to no group; an aggregate of `None` deletes the row
    /// - repartition: yes; state: the result
    /// - late records: as any other; of a versioned table they were left out by the grouping
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let cities = builder.table::<String, String>("city-of-customer");
    /// cities.group_by(|customer, city| (city, customer.clone())).count(Materialized::named("customers-per-city"));
    /// # builder.build().unwrap();
    /// ```
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
        let remove: Remove<K, V, i64> = Arc::new(|_, _, count| Some(count - 1));
        let value = |value: VS| value.serde(None);
        self.stored(Aggregation::count(), remove, "KTABLE-AGGREGATE-", &named.into(), materialized, value)
    }

    /// The values of each group combined by `adder(aggregate, new)`, the first one being the first aggregate; a value
    /// that leaves the group is taken out by `subtractor(aggregate, old)`.
    ///
    /// - result: per update, with its headers and the higher of its timestamp and the aggregate's
    /// - null: rows whose group or value is null belong to no group; an aggregate of `None` deletes the row
    /// - repartition: yes; state: the result
    /// - late records: as any other; of a versioned table they were left out by the grouping
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock-of-item");
    /// let by_initial = stock.group_by(|item, pieces| (item.chars().next().map(String::from), pieces));
    /// by_initial.reduce(|sum, new| sum + new, |sum, old| sum - old, Materialized::named("stock-by-initial"));
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce<KS, VS>(
        &self,
        adder: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> V + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        self.reduce_with(adder, subtractor, Named::default(), materialized)
    }

    /// As [`reduce`](Self::reduce), with a name.
    pub fn reduce_with<KS, VS>(
        &self,
        adder: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> V + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, V>
    where
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let nulls = Nulls::of();
        let remove: Remove<K, V, V> =
            Arc::new(move |_, old, aggregate| nulls.present(subtractor(aggregate, old)));
        let value = |value: VS| value.given().unwrap_or_else(|| self.value_serde.clone());
        let add = Aggregation::reduce(adder);
        self.stored(add, remove, "KTABLE-REDUCE-", &named.into(), materialized, value)
    }

    /// The values of each group aggregated into another type: `adder(key, new, aggregate)` puts a value in,
    /// `subtractor(key, old, aggregate)` takes one out.
    ///
    /// - result: per update, with its headers and the higher of its timestamp and the aggregate's
    /// - null: rows whose group or value is null belong to no group; an aggregate of `None` deletes the row
    /// - repartition: yes; state: the result
    /// - late records: as any other; of a versioned table they were left out by the grouping
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock-of-item");
    /// stock.group_by(|item, amount| (item.chars().next().map(String::from), amount)).aggregate(
    ///     || 0,
    ///     |_, amount, sum| sum + amount,
    ///     |_, amount, sum| sum - amount,
    ///     Materialized::named("stock-by-initial"),
    /// );
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<A, KS, VS>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeFor<A>,
    {
        self.aggregate_with(initializer, adder, subtractor, Named::default(), materialized)
    }

    /// As [`aggregate`](Self::aggregate), with a name.
    pub fn aggregate_with<A, KS, VS>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeFor<A>,
    {
        let nulls = Nulls::of();
        let remove: Remove<K, V, A> =
            Arc::new(move |key, old, aggregate| nulls.present(subtractor(key, old, aggregate)));
        let add = Aggregation::aggregate(initializer, adder);
        let value = |value: VS| value.serde(None);
        self.stored(add, remove, "KTABLE-AGGREGATE-", &named.into(), materialized, value)
    }

    fn stored<A, KS, VS>(
        &self,
        add: Aggregation<K, V, A>,
        remove: Remove<K, V, A>,
        prefix: &str,
        named: &Named,
        materialized: Materialized<KS, VS>,
        value: impl FnOnce(VS) -> DynSerde<A>,
    ) -> KTable<K, A>
    where
        A: Clone + Send + 'static,
        KS: SerdeOverride<K>,
    {
        let mut graph = self.upstream.graph.lock();
        let store = materialized.store_name_or(|| graph.names.store("KTABLE-AGGREGATE-"));
        let sink = graph.names.or_suffixed(named.name(), "-sink", "KSTREAM-SINK-");
        let source = graph.names.or_suffixed(named.name(), "-source", "KSTREAM-SOURCE-");
        let name = graph.names.or_processor(named.name(), prefix);
        let key = |key: KS| key.given().unwrap_or_else(|| self.key_serde.clone());
        let spec: TableSpec<K, A> = materialized.with_resolved(store.clone(), key, value);
        let (key_serde, value_serde) = (spec.key.clone(), spec.value.clone());
        let queryable = spec.queryable.then(|| Arc::from(&*store));
        let (parent, source) = self.repartitioned(&mut graph, &store, sink, source);
        let versioned = spec.is_versioned();
        let flags = TableFlags::new(true);
        let node = {
            let (name, flags) = (name.clone(), Arc::clone(&flags));
            GraphNode::operator(name.clone(), [parent], move |topology, writing| {
                let (store, add, remove) = (spec.name.clone(), add.clone(), Arc::clone(&remove));
                let old_values = flags.tells_old_values();
                let supplier = move || TableAggregate {
                    store: store.clone(),
                    add: add.clone(),
                    remove: Arc::clone(&remove),
                    old_values,
                    table: None,
                };
                let parents = writing.parents;
                topology.add_processor::<K, Change<V>, K, Change<A>, _>(&name, supplier, parents)?;
                spec.add_key_value(topology, writing, &name)
            })
        };
        let node = graph.add(node.versioned(versioned));
        drop(graph);
        let upstream = Upstream { name, ..Upstream::at_source(&self.upstream.graph, node, &source) };
        KTable {
            upstream: Arc::new(upstream),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: Arc::new(StoredTable { getter: GetterSupplier::of_store(&store), flags }),
            queryable,
        }
    }

    /// The repartition of the changes: its own for each aggregation, shared if the grouping has a name.
    fn repartitioned(
        &self,
        graph: &mut Graph,
        store: &str,
        sink: String,
        source: String,
    ) -> (NodeId, String) {
        let mut shared = self.repartition.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let (Some((id, source)), Some(_)) = (&*shared, &self.name) {
            graph.add_again(*id);
            return (*id, source.clone());
        }
        let topic = format!("{}-repartition", self.name.as_deref().unwrap_or(store));
        let changes = DynSerde::new(ChangeSerde::new(self.value_serde.clone()));
        let sink_options = SinkOptions {
            topic: SinkTopic::Name(topic.clone()),
            key_serde: self.key_serde.clone(),
            value_serde: changes,
            partitioner: None,
        };
        graph.source_reads(&source, [topic]);
        let node = {
            let source = source.clone();
            GraphNode::operator(source.clone(), [self.upstream.node], move |topology, writing| {
                write_repartition(topology, &sink, &source, &sink_options, writing.parents)
            })
        };
        let id = graph.add(node);
        *shared = Some((id, source.clone()));
        (id, source)
    }
}

fn write_repartition<K, V>(
    topology: &mut Topology,
    sink: &str,
    source: &str,
    options: &SinkOptions<K, Change<V>>,
    parents: &[&str],
) -> Result<(), TopologyError>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    let SinkTopic::Name(topic) = &options.topic else { return Ok(()) };
    topology.add_repartition_topic(topic, RepartitionTopic::default());
    topology.add_sink_with(sink, options.clone(), parents)?;
    let source_options = internal_source(options.key_serde.clone(), options.value_serde.clone());
    topology.add_source_with(source, &**topic, source_options).map(|_| ())
}

struct TableAggregate<K, V, A> {
    store: String,
    add: Aggregation<K, V, A>,
    remove: Remove<K, V, A>,
    old_values: bool,
    table: Option<TableStore<K, A>>,
}

impl<K, V, A> Processor<K, Change<V>, K, Change<A>> for TableAggregate<K, V, A>
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
        record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K, Change<A>>,
    ) -> ProcessResult {
        let Some(table) = &self.table else { return Ok(()) };
        let Record { key, value: change, timestamp, headers } = record;
        let stored = table.get(&key, ctx)?;
        let told = if self.old_values { stored.as_ref().map(|stored| stored.value.clone()) } else { None };
        // Only an update that is combined with an aggregate takes the aggregate's time into account.
        let combines = stored.is_some() && (change.old.is_some() || change.new.is_some());
        let before = stored.as_ref().map_or(timestamp, |stored| stored.timestamp);
        let without_old = match (stored.map(|stored| stored.value), change.old) {
            (Some(aggregate), Some(old)) => (self.remove)(&key, old, aggregate),
            (aggregate, _) => aggregate,
        };
        let new = match change.new {
            Some(value) => (self.add.apply)(&key, value, without_old.or_else(|| (self.add.initial)())),
            None => without_old,
        };
        let timestamp = if combines { timestamp.max(before) } else { timestamp };
        table.update(Record { key, value: Change::new(new, told), timestamp, headers }, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<A>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

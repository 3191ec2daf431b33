//! The table that an aggregation of a stream makes: its names, its store, its node. What differs between aggregations
//! over all time, by windows of time, sliding windows and sessions is their [`Shape`].

use std::sync::Arc;

use kstreams_core::processor::Processor;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::DynSerde;

use super::aggregate::Aggregation;
use crate::graph::{GraphNode, SharedGraph, Writing};
use crate::grouped::KGroupedStream;
use crate::options::{Materialized, Named, SerdeOverride, TableSpec};
use crate::stream::Upstream;
use crate::table::{Change, GetterSupplier, KTable, StoredTable, TableFlags, TableOrigin};

/// How an aggregation cuts its stream: which rows its table has, in which kind of store, kept by which node.
pub(crate) trait Shape: Clone + Send + Sync + 'static {
    /// The keys of the table.
    type Row<K: Clone + Send + 'static>: Clone + Send + 'static;

    /// Whether count takes another index of the generated names where its `Materialized` has no name: the JVM asks for a
    /// store name twice then.
    fn counts_take_an_index(&self) -> bool {
        true
    }

    /// How long after its end a window can change, in ms of stream time; `None` without windows.
    fn grace_ms(&self) -> Option<i64> {
        None
    }

    /// What is wrong with the store that the user asked for.
    fn fault<K: 'static, A: 'static>(&self, _store: &TableSpec<K, A>) -> Option<TopologyError> {
        None
    }

    /// The serde of the table's keys.
    fn row_serde<K: Clone + Send + 'static>(&self, key: &DynSerde<K>) -> DynSerde<Self::Row<K>>;

    /// How operators below look up the table.
    fn getter<K, A>(&self, store: &str) -> GetterSupplier<Self::Row<K>, A>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static;

    /// The node that aggregates.
    fn processor<K, V, A>(
        &self,
        store: &str,
        aggregation: Aggregation<K, V, A>,
        old_values: bool,
    ) -> Box<dyn Processor<K, V, Self::Row<K>, Change<A>>>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        A: Clone + Send + 'static;

    /// Adds the store, for this node.
    fn add_store<K, A>(
        &self,
        topology: &mut Topology,
        store: &TableSpec<K, A>,
        writing: &Writing<'_>,
        node: &str,
    ) -> Result<(), TopologyError>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static;

    /// Adds the node `name`, for the store that is added already or will be.
    fn add_node<K, V, A>(
        &self,
        topology: &mut Topology,
        (name, parents): (&str, &[&str]),
        store: &str,
        aggregation: &Aggregation<K, V, A>,
        old_values: bool,
    ) -> Result<(), TopologyError>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        let (shape, store, aggregation) = (self.clone(), store.to_owned(), aggregation.clone());
        let supplier = move || shape.processor(&store, aggregation.clone(), old_values);
        topology.add_processor::<K, V, Self::Row<K>, Change<A>, _>(name, supplier, parents).map(|_| ())
    }
}

/// What an aggregation of one stream is told.
pub(crate) struct Asked<'a, KS, VS> {
    pub(crate) named: &'a Named,
    pub(crate) materialized: Materialized<KS, VS>,
}

/// Adds an aggregation of one grouped stream to the graph. `value` gives the serde of the aggregates.
pub(crate) fn aggregate<S, K, V, A, KS, VS>(
    grouped: &KGroupedStream<K, V>,
    shape: &S,
    aggregation: Aggregation<K, V, A>,
    asked: Asked<'_, KS, VS>,
    value: impl FnOnce(VS) -> DynSerde<A>,
) -> KTable<S::Row<K>, A>
where
    S: Shape,
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
    KS: SerdeOverride<K>,
{
    let mut graph = grouped.upstream.graph.lock();
    let store = asked.materialized.store_name_or(|| graph.names.store(aggregation.prefix));
    let name = graph.names.or_processor(asked.named.name(), aggregation.prefix);
    let key = |key: KS| key.given().unwrap_or_else(|| grouped.key_serde.clone());
    let spec: TableSpec<K, A> = asked.materialized.with_resolved(store.clone(), key, value);
    if let Some(fault) = shape.fault(&spec) {
        graph.fail(fault);
    }
    let upstream = grouped.partitioned_for(&mut graph, &store);
    let flags = TableFlags::new(true);
    let table = result(shape, &spec, &flags);
    let node = {
        let (name, shape) = (name.clone(), shape.clone());
        let (grace_ms, versioned) = (shape.grace_ms(), spec.is_versioned());
        GraphNode::operator(name.clone(), [upstream.node], move |topology, writing| {
            let old_values = flags.tells_old_values();
            shape.add_node(topology, (&name, writing.parents), &spec.name, &aggregation, old_values)?;
            shape.add_store(topology, &spec, writing, &name)
        })
        .with_grace(grace_ms)
        .versioned(versioned)
    };
    let node = graph.add(node);
    drop(graph);
    table.below(upstream.then(node, name))
}

/// Notes the index that count takes where its `Materialized` has no name.
pub(crate) fn note_count<S: Shape, KS, VS>(
    graph: &SharedGraph,
    shape: &S,
    materialized: &Materialized<KS, VS>,
) {
    if shape.counts_take_an_index() && materialized.is_given_without_name() {
        graph.lock().names.store_index("KSTREAM-AGGREGATE-");
    }
}

/// The handle of the table, but for where it hangs.
pub(crate) struct Unplaced<R, A> {
    key_serde: DynSerde<R>,
    value_serde: DynSerde<A>,
    origin: Arc<dyn TableOrigin<R, A>>,
    queryable: Option<Arc<str>>,
}

impl<R, A> Unplaced<R, A> {
    pub(crate) fn below(self, upstream: Upstream) -> KTable<R, A> {
        let Unplaced { key_serde, value_serde, origin, queryable } = self;
        KTable {
            upstream: Arc::new(upstream),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin,
            queryable,
        }
    }
}

/// The table of an aggregation in the store `spec`.
pub(crate) fn result<S, K, A>(
    shape: &S,
    spec: &TableSpec<K, A>,
    flags: &Arc<TableFlags>,
) -> Unplaced<S::Row<K>, A>
where
    S: Shape,
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    Unplaced {
        key_serde: shape.row_serde(&spec.key),
        value_serde: spec.value.clone(),
        origin: Arc::new(StoredTable { getter: shape.getter(&spec.name), flags: Arc::clone(flags) }),
        queryable: spec.queryable.then(|| Arc::from(&*spec.name)),
    }
}

/// count, reduce and aggregate of a handle on a grouped stream, and their forms with a name. `$shape` gives, of the
/// handle, the grouped stream and the [`Shape`]; with `merging` there, aggregate also asks how sessions become one.
macro_rules! aggregations {
    (
        $handle:ident => $row:ty, $shape:expr,
        count: $count:literal, reduce: $reduce:literal, aggregate($constructor:ident $(, $merger:ident)?): $aggregate:literal $(,)?
    ) => {
        impl<K, V> $handle<K, V>
        where
            K: Clone + Send + 'static,
            V: Clone + Send + 'static,
        {
            #[doc = $count]
            pub fn count<KS, VS>(&self, materialized: Materialized<KS, VS>) -> KTable<$row, i64>
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
            ) -> KTable<$row, i64>
            where
                KS: SerdeOverride<K>,
                VS: SerdeFor<i64>,
            {
                let (grouped, shape) = $shape(self);
                note_count(&grouped.upstream.graph, &shape, &materialized);
                let asked = Asked { named: &named.into(), materialized };
                aggregate(grouped, &shape, Aggregation::count(), asked, |value| value.serde(None))
            }

            #[doc = $reduce]
            pub fn reduce<KS, VS>(
                &self,
                reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
                materialized: Materialized<KS, VS>,
            ) -> KTable<$row, V>
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
            ) -> KTable<$row, V>
            where
                KS: SerdeOverride<K>,
                VS: SerdeOverride<V>,
            {
                let (grouped, shape) = $shape(self);
                let asked = Asked { named: &named.into(), materialized };
                let value = |value: VS| value.given().unwrap_or_else(|| grouped.value_serde.clone());
                aggregate(grouped, &shape, Aggregation::reduce(reducer), asked, value)
            }

            #[doc = $aggregate]
            pub fn aggregate<A, KS, VS>(
                &self,
                initializer: impl Fn() -> A + Send + Sync + 'static,
                aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
                $($merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,)?
                materialized: Materialized<KS, VS>,
            ) -> KTable<$row, A>
            where
                A: Clone + Send + 'static,
                KS: SerdeOverride<K>,
                VS: SerdeFor<A>,
            {
                self.aggregate_with(initializer, aggregator, $($merger,)? Named::default(), materialized)
            }

            /// As [`aggregate`](Self::aggregate), with a name.
            pub fn aggregate_with<A, KS, VS>(
                &self,
                initializer: impl Fn() -> A + Send + Sync + 'static,
                aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
                $($merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,)?
                named: impl Into<Named>,
                materialized: Materialized<KS, VS>,
            ) -> KTable<$row, A>
            where
                A: Clone + Send + 'static,
                KS: SerdeOverride<K>,
                VS: SerdeFor<A>,
            {
                let (grouped, shape) = $shape(self);
                let aggregation = Aggregation::$constructor(initializer, aggregator $(, $merger)?);
                let asked = Asked { named: &named.into(), materialized };
                aggregate(grouped, &shape, aggregation, asked, |value| value.serde(None))
            }
        }
    };
}
pub(super) use aggregations;

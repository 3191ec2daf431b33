//! aggregate of cogrouped streams: several streams with their aggregators into one table
//! (`CogroupedStreamAggregateBuilder`).
//!
//! Each stream has its own node, of the same kind as for an aggregation of one stream (`aggregate_table`) and with the
//! same rules for nulls and late records; the nodes share one store. Their results meet in one node, which passes them
//! on. A stream whose key changed is repartitioned first. Results are emitted at each update.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kstreams_core::processor::ProcessorContext;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record, Windowed};

use super::aggregate::Aggregation;
use super::aggregate_table::{self, Asked, Shape};
use super::repartition;
use super::session_aggregate::BySession;
use super::stateless::FnProcessor;
use super::stream_aggregate::OverAllTime;
use super::window_aggregate::ByTime;
use crate::cogrouped::{CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
use crate::graph::{Graph, GraphNode, NodeId, SharedGraph, Writing};
use crate::grouped::KGroupedStream;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::stream::Upstream;
use crate::table::{Change, KTable, TableFlags};
use crate::windows::EmitStrategy;

/// The prefix of generated names, of stores and of nodes that aggregate.
const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";

type Initializer<A> = Arc<dyn Fn() -> A + Send + Sync>;
type Aggregator<K, V, A> = Arc<dyn Fn(&K, V, A) -> A + Send + Sync>;
type Merger<K, A> = Arc<dyn Fn(&K, A, A) -> A + Send + Sync>;

/// The cogrouped streams, each with its aggregator.
pub(crate) struct Inputs<K, A> {
    graph: SharedGraph,
    key_serde: DynSerde<K>,
    inputs: Vec<Arc<dyn Input<K, A>>>,
}

impl<K, A> Clone for Inputs<K, A> {
    fn clone(&self) -> Self {
        let (graph, key_serde, inputs) = (self.graph.clone(), self.key_serde.clone(), self.inputs.clone());
        Inputs { graph, key_serde, inputs }
    }
}

impl<K, A> Inputs<K, A>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// None yet, in the builder of `first` and with its serde for keys.
    pub(crate) fn new<V>(first: &KGroupedStream<K, V>) -> Self {
        let (graph, key_serde) = (first.upstream.graph.clone(), first.key_serde.clone());
        Inputs { graph, key_serde, inputs: Vec::new() }
    }

    pub(crate) fn with<V: Clone + Send + 'static>(
        mut self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> Self {
        if !grouped.upstream.graph.is(&self.graph) {
            self.check(Some("cogrouped streams are of different builders: make them with one".to_owned()));
        }
        let (grouped, aggregator): (_, Aggregator<K, V, A>) = (grouped.clone(), Arc::new(aggregator));
        let grouping = grouped.grouping();
        let input = Arc::new(TypedInput { grouped, aggregator, repartition: Mutex::default() });
        // The same grouping again: its aggregator is another one from now on, its place stays, as in the JVM's map.
        match self.inputs.iter_mut().find(|known| known.grouping() == grouping) {
            Some(known) => *known = input,
            None => self.inputs.push(input),
        }
        self
    }

    /// Notes what is wrong with the user's call, if anything.
    pub(crate) fn check(&self, fault: Option<String>) {
        if let Some(fault) = fault {
            self.graph.lock().fail(TopologyError::Invalid(fault));
        }
    }
}

/// One of the streams, whatever its values are.
trait Input<K, A>: Send + Sync {
    /// Tells one grouping from another.
    fn grouping(&self) -> usize;

    /// The sources of the stream before a repartition.
    fn sources(&self) -> &BTreeSet<String>;

    /// Where the stream's node hangs.
    fn partitioned_for(&self, graph: &mut Graph, store: &str) -> NodeId;

    /// Adds the stream's node to a topology.
    fn add_node(
        &self,
        topology: &mut Topology,
        node: (&str, &[&str]),
        store: &str,
        rule: &Rule<K, A>,
        old_values: bool,
    ) -> Result<(), TopologyError>;
}

/// What all streams of one aggregation have in common.
struct Rule<K, A> {
    shape: AnyShape,
    initializer: Initializer<A>,
    merger: Option<Merger<K, A>>,
}

/// The shapes by name: [`Input`] hides the type of its values, so it cannot be generic.
#[derive(Clone, Copy)]
enum AnyShape {
    OverAllTime(OverAllTime),
    ByTime(ByTime),
    BySession(BySession),
}

impl From<OverAllTime> for AnyShape {
    fn from(shape: OverAllTime) -> Self {
        AnyShape::OverAllTime(shape)
    }
}

impl From<ByTime> for AnyShape {
    fn from(shape: ByTime) -> Self {
        AnyShape::ByTime(shape)
    }
}

impl From<BySession> for AnyShape {
    fn from(shape: BySession) -> Self {
        AnyShape::BySession(shape)
    }
}

struct TypedInput<K, V, A> {
    grouped: KGroupedStream<K, V>,
    aggregator: Aggregator<K, V, A>,
    /// The repartition that a first aggregation made; later ones share it.
    repartition: Mutex<Option<NodeId>>,
}

impl<K, V, A> Input<K, A> for TypedInput<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn grouping(&self) -> usize {
        self.grouped.grouping()
    }

    fn sources(&self) -> &BTreeSet<String> {
        &self.grouped.upstream.sources
    }

    fn partitioned_for(&self, graph: &mut Graph, store: &str) -> NodeId {
        let grouped = &self.grouped;
        if !grouped.upstream.key_changed {
            return grouped.upstream.node;
        }
        let prefix = grouped.name.as_deref().unwrap_or(store);
        // The names are asked for even where the node of a first aggregation is shared.
        let node = repartition::new_node(graph, prefix, &grouped.key_serde, &grouped.value_serde);
        let mut made = self.repartition.lock().unwrap_or_else(PoisonError::into_inner);
        *made.get_or_insert_with(|| repartition::add_node(graph, grouped.upstream.node, node))
    }

    fn add_node(
        &self,
        topology: &mut Topology,
        node: (&str, &[&str]),
        store: &str,
        rule: &Rule<K, A>,
        old_values: bool,
    ) -> Result<(), TopologyError> {
        let (initializer, aggregator) = (Arc::clone(&rule.initializer), Arc::clone(&self.aggregator));
        let start = move || initializer();
        let add = move |key: &K, value: V, aggregate: A| aggregator(key, value, aggregate);
        let aggregation = match rule.merger.clone() {
            Some(merger) => Aggregation::aggregate_sessions(start, add, move |k: &K, a, b| merger(k, a, b)),
            None => Aggregation::aggregate(start, add),
        };
        match &rule.shape {
            AnyShape::OverAllTime(shape) => shape.add_node(topology, node, store, &aggregation, old_values),
            AnyShape::ByTime(shape) => shape.add_node(topology, node, store, &aggregation, old_values),
            AnyShape::BySession(shape) => shape.add_node(topology, node, store, &aggregation, old_values),
        }
    }
}

impl<K, A> Inputs<K, A>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn table<S, KS, VS>(&self, shape: &S, rule: Rule<K, A>, asked: Asked<'_, KS, VS>) -> KTable<S::Row<K>, A>
    where
        S: Shape,
        KS: SerdeOverride<K>,
        VS: SerdeFor<A>,
    {
        let mut graph = self.graph.lock();
        let store = asked.materialized.store_name_or(|| graph.names.store(AGGREGATE));
        let key = |key: KS| key.given().unwrap_or_else(|| self.key_serde.clone());
        let value = |value: VS| value.serde(None);
        let spec: TableSpec<K, A> = asked.materialized.with_resolved(store.clone(), key, value);
        if let Some(fault) = shape.fault(&spec) {
            graph.fail(fault);
        }
        let parents: Vec<NodeId> =
            self.inputs.iter().map(|input| input.partitioned_for(&mut graph, &store)).collect();
        // The streams as they were before a repartition, as in the JVM.
        graph.copartition(self.inputs.iter().flat_map(|input| input.sources()).cloned().collect());
        let flags = TableFlags::new(true);
        let table = aggregate_table::result(shape, &spec, &flags);
        let rule = Arc::new(rule);
        let mut nodes = Vec::new();
        for (at, (input, parent)) in self.inputs.iter().zip(parents).enumerate() {
            let name = graph.names.or_suffixed(asked.named.name(), &format!("-cogroup-agg-{at}"), AGGREGATE);
            let (input, rule, flags) = (Arc::clone(input), Arc::clone(&rule), Arc::clone(&flags));
            let (shape, spec) = (shape.clone(), spec.clone());
            let (grace_ms, versioned) = (shape.grace_ms(), spec.is_versioned());
            let write = {
                let name = name.clone();
                move |topology: &mut Topology, writing: &Writing<'_>| {
                    let old_values = flags.tells_old_values();
                    input.add_node(topology, (&name, writing.parents), &spec.name, &rule, old_values)?;
                    match at {
                        0 => shape.add_store(topology, &spec, writing, &name),
                        _ => topology.connect_processor_and_state_stores(&name, &[&spec.name]).map(|_| ()),
                    }
                }
            };
            nodes.push(
                graph.add(
                    GraphNode::operator(name, [parent], write).with_grace(grace_ms).versioned(versioned),
                ),
            );
        }
        let name = graph.names.or_suffixed(asked.named.name(), "-cogroup-merge", "COGROUPKSTREAM-MERGE-");
        let node = graph.add(pass_on::<S::Row<K>, A>(name.clone(), nodes));
        drop(graph);
        table.below(Upstream { name: name.clone(), ..Upstream::at_source(&self.graph, node, &name) })
    }
}

/// The node in which the streams' results meet.
fn pass_on<R, A>(name: String, parents: Vec<NodeId>) -> GraphNode
where
    R: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    GraphNode::operator(name.clone(), parents, move |topology, writing| {
        let pass =
            |record: Record<R, Change<A>>, ctx: &mut ProcessorContext<'_, R, Change<A>>| ctx.forward(record);
        let supplier = move || FnProcessor(pass);
        topology.add_processor::<R, Change<A>, R, Change<A>, _>(&name, supplier, writing.parents).map(|_| ())
    })
}

/// aggregate of cogrouped streams and its form with a name. `$shape` gives, of the handle, the streams and the shape of the
/// table; with `$merger` there, it also asks how sessions become one.
macro_rules! cogrouped_aggregate {
    (
        $(#[$doc:meta])*
        pub fn aggregate($handle:ident $(, $merger:ident)?) -> $row:ty, $shape:expr
    ) => {
        impl<K, A> $handle<K, A>
        where
            K: Clone + Send + 'static,
            A: Clone + Send + 'static,
        {
            $(#[$doc])*
            pub fn aggregate<KS, VS>(
                &self,
                initializer: impl Fn() -> A + Send + Sync + 'static,
                $($merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,)?
                materialized: Materialized<KS, VS>,
            ) -> KTable<$row, A>
            where
                KS: SerdeOverride<K>,
                VS: SerdeFor<A>,
            {
                self.aggregate_with(initializer, $($merger,)? Named::default(), materialized)
            }

            /// As [`aggregate`](Self::aggregate), with a name.
            pub fn aggregate_with<KS, VS>(
                &self,
                initializer: impl Fn() -> A + Send + Sync + 'static,
                $($merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,)?
                named: impl Into<Named>,
                materialized: Materialized<KS, VS>,
            ) -> KTable<$row, A>
            where
                KS: SerdeOverride<K>,
                VS: SerdeFor<A>,
            {
                let (inputs, shape) = $shape(self);
                let merger = None::<Merger<K, A>> $(.or(Some(Arc::new($merger))))?;
                let rule = Rule { shape: AnyShape::from(shape), initializer: Arc::new(initializer), merger };
                inputs.table(&shape, rule, Asked { named: &named.into(), materialized })
            }
        }
    };
}

cogrouped_aggregate! {
    /// The values of all streams per key in one aggregate: `initializer` gives the first one. Records whose key or value
    /// is null are dropped and counted as dropped. An aggregate that is `None` deletes the row.
    ///
    /// - result: per record, with its headers and the highest timestamp of the records in it
    /// - null: a record whose key or value is null is dropped and counted; an aggregate of `None` deletes the row
    /// - repartition: the streams whose key changed; state: the result
    /// - late records: as any other
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let bought = builder.stream::<String, i64>("bought").group_by_key();
    /// let spent = clicks.cogroup(|_, _, sum: i64| sum).cogroup(&bought, |_, amount, sum| sum + amount);
    /// spent.aggregate(|| 0, Materialized::named("spent"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate(CogroupedKStream) -> K, |it| {
        let it: &CogroupedKStream<K, A> = it;
        (&it.inputs, OverAllTime)
    }
}

cogrouped_aggregate! {
    /// The values of all streams per key and window in one aggregate: `initializer` gives the first one. Null keys, null
    /// values and late records as for [`TimeWindowedKStream::count`](crate::TimeWindowedKStream::count).
    ///
    /// - result: per record, with its headers and the highest timestamp of the records in it
    /// - null: a null key is dropped and counted, a null value is aggregated
    /// - repartition: the streams whose key changed; state: the windows for size plus grace
    /// - late records: are dropped and counted for the windows that have closed
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let bought = builder.stream::<String, i64>("bought").group_by_key();
    /// let spent = clicks.cogroup(|_, _, sum: i64| sum).cogroup(&bought, |_, amount, sum| sum + amount);
    /// let hourly = TimeWindows::of_size_with_no_grace(Duration::from_secs(3600));
    /// spent.windowed_by(hourly).aggregate(|| 0, Materialized::named("spent-per-hour"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate(TimeWindowedCogroupedKStream) -> Windowed<K>, |it| {
        let it: &TimeWindowedCogroupedKStream<K, A> = it;
        (&it.cogrouped.inputs, ByTime { windows: it.windows, emit: EmitStrategy::default() })
    }
}

cogrouped_aggregate! {
    /// The values of all streams per key and session in one aggregate; see
    /// [`SessionWindowedKStream::aggregate`](crate::SessionWindowedKStream::aggregate) for `merger` and the rules.
    ///
    /// - result: per record, at the end of its session; those that became one are deleted
    /// - null: a null key is dropped and counted, a null value is aggregated
    /// - repartition: the streams whose key changed; state: the sessions for gap plus grace
    /// - late records: are dropped and counted if even the merged session has closed
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{Materialized, StreamsBuilder, SessionWindows};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let bought = builder.stream::<String, i64>("bought").group_by_key();
    /// let spent = clicks.cogroup(|_, _, sum: i64| sum).cogroup(&bought, |_, amount, sum| sum + amount);
    /// let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(300));
    /// spent.windowed_by(visits).aggregate(|| 0, |_, one, other| one + other, Materialized::named("spent-per-visit"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate(SessionWindowedCogroupedKStream, merger) -> Windowed<K>, |it| {
        let it: &SessionWindowedCogroupedKStream<K, A> = it;
        (&it.cogrouped.inputs, BySession { windows: it.windows, emit: EmitStrategy::default() })
    }
}

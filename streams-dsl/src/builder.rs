//! Where a topology begins: sources of streams and tables.

use std::fmt;
use std::sync::Arc;

use kstreams_core::processor::Processor;
use kstreams_core::topology::{SourceOptions, SourceTopics, TopologySettings};
use kstreams_core::{StreamsConfig, Topology, TopologyError};
use kstreams_state_stores::{Serde, StoreBuilder};

use crate::graph::{GraphNode, NodeKind, SharedGraph, Writing};
use crate::op::global_table::{self, GlobalNames};
use crate::op::table_source::{self, TableTopic};
use crate::options::{Consumed, Materialized, SerdeOverride};
use crate::stream::{KStream, Upstream};
use crate::table::{GlobalKTable, KTable};

/// Collects the streams and tables of an application and builds their topology
/// (`org.apache.kafka.streams.StreamsBuilder`).
///
/// ```
/// use kstreams_dsl::{Materialized, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<(), String>("lines")
///     .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count(Materialized::named("counts"))
///     .to_stream()
///     .to("word-counts");
/// let topology = builder.build()?;
/// assert!(topology.describe().to_string().contains("counts-repartition"));
/// # Ok::<(), kstreams_core::TopologyError>(())
/// ```
#[derive(Clone, Default)]
pub struct StreamsBuilder {
    graph: SharedGraph,
}

impl fmt::Debug for StreamsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsBuilder").finish_non_exhaustive()
    }
}

impl StreamsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        StreamsBuilder::default()
    }

    /// A stream of the records of one topic, of several, or of all whose name matches a pattern (a
    /// [`Regex`](regex::Regex)), read with the serdes named as type arguments.
    ///
    /// Key, value, timestamp and headers are the record's. Null is an error for a type that has no place for it:
    /// declare it as `Option` where a topic may hold null.
    ///
    /// - null: is an error for a type that has no place for it, which goes to the deserialization exception handler
    /// - repartition, state: none
    ///
    /// ```
    /// let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, Option<i64>>("readings").to("copy");
    /// builder.stream::<(), String>(vec!["errors".to_owned(), "warnings".to_owned()]).to("messages");
    /// # builder.build().unwrap();
    /// ```
    pub fn stream<KS, VS>(&self, topics: impl Into<SourceTopics>) -> KStream<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send> + Default,
        VS: Serde<Target: Clone + Send> + Default,
    {
        self.stream_with(topics, Consumed::<KS, VS>::new())
    }

    /// As [`stream`](Self::stream), with options.
    pub fn stream_with<KS, VS>(
        &self,
        topics: impl Into<SourceTopics>,
        consumed: Consumed<KS, VS>,
    ) -> KStream<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send>,
        VS: Serde<Target: Clone + Send>,
    {
        let topics = topics.into();
        let mut graph = self.graph.lock();
        let name = graph.names.or_processor(consumed.name.as_deref(), "KSTREAM-SOURCE-");
        let options: SourceOptions<KS::Target, VS::Target> = consumed.into_source();
        let (key_serde, value_serde) = (options.key_serde.clone(), options.value_serde.clone());
        if let SourceTopics::Names(names) = &topics {
            graph.source_reads(&name, names.iter().cloned());
        }
        let writer = {
            let (name, topics) = (name.clone(), topics.clone());
            Arc::new(move |topology: &mut Topology, _: &Writing<'_>| {
                topology.add_source_with(&name, topics.clone(), options.clone()).map(|_| ())
            })
        };
        let node = graph.add(GraphNode::new(&name, [], NodeKind::Source(topics, writer)));
        KStream::new(Upstream::at_source(&self.graph, node, &name), Some(key_serde), Some(value_serde))
    }

    /// A table of the records of a topic: the last value of each key, read with the serdes named as type arguments.
    ///
    /// A record without key is dropped and counted; one without value deletes its key. The table is stored only where
    /// something asks for its values (a join, a grouping), or where it is [named](Self::table_with).
    ///
    /// - null: a null key is dropped and counted, a null value deletes its key
    /// - late records: replace newer ones, unless the table is versioned
    /// - repartition: none; state: where something below looks it up
    ///
    /// ```
    /// let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.table::<String, String>("customers").to_stream().to("changes");
    /// # builder.build().unwrap();
    /// ```
    pub fn table<KS, VS>(&self, topic: &str) -> KTable<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send> + Default,
        VS: Serde<Target: Clone + Send> + Default,
    {
        self.table_with(topic, Consumed::<KS, VS>::new(), Materialized::default())
    }

    /// As [`table`](Self::table), with options. A [`Materialized`] with a store name stores the table in any case.
    pub fn table_with<KS, VS, MK, MV>(
        &self,
        topic: &str,
        consumed: Consumed<KS, VS>,
        materialized: Materialized<MK, MV>,
    ) -> KTable<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send>,
        VS: Serde<Target: Clone + Send>,
        MK: SerdeOverride<KS::Target>,
        MV: SerdeOverride<VS::Target>,
    {
        let mut graph = self.graph.lock();
        let store = materialized.store_name_or(|| graph.names.store(&format!("{topic}-")));
        let given = consumed.name.clone();
        let source = graph.names.or_suffixed(given.as_deref(), "-source", "KSTREAM-SOURCE-");
        let name = graph.names.or_processor(given.as_deref(), "KTABLE-SOURCE-");
        graph.source_reads(&source, [topic.to_owned()]);
        drop(graph);
        let options = consumed.into_source();
        let spec = materialized.override_spec(store, &options.key_serde, &options.value_serde);
        let topic = TableTopic { topic: topic.to_owned(), source, name, options };
        table_source::read(&self.graph, topic, spec)
    }

    /// A table of all of a topic on every instance: the last value of each key, read with the serdes named as type
    /// arguments. Streams look it up by [`KStream::join_global`], processors as a state store.
    ///
    /// A record without key is skipped; one without value deletes its key. The table is filled before any record is
    /// processed, and follows the topic from then on. It is always stored; there is no changelog but the topic, which
    /// should be compacted.
    ///
    /// - null: a null key is skipped, a null value deletes its key; late records: replace newer ones
    /// - repartition: none; state: the whole table on every instance
    ///
    /// ```
    /// let builder = kstreams_dsl::StreamsBuilder::new();
    /// let rates = builder.global_table::<String, f64>("rates");
    /// # builder.build().unwrap();
    /// ```
    pub fn global_table<KS, VS>(&self, topic: &str) -> GlobalKTable<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send> + Default,
        VS: Serde<Target: Clone + Send> + Default,
    {
        self.global_table_with(topic, Consumed::<KS, VS>::new(), Materialized::default())
    }

    /// As [`global_table`](Self::global_table), with options. Name the [`Materialized`] to query the table. It is never
    /// cached or logged; a timestamp extractor or reset policy of `consumed` has no meaning here.
    pub fn global_table_with<KS, VS, MK, MV>(
        &self,
        topic: &str,
        consumed: Consumed<KS, VS>,
        materialized: Materialized<MK, MV>,
    ) -> GlobalKTable<KS::Target, VS::Target>
    where
        KS: Serde<Target: Clone + Send>,
        VS: Serde<Target: Clone + Send>,
        MK: SerdeOverride<KS::Target>,
        MV: SerdeOverride<VS::Target>,
    {
        let mut graph = self.graph.lock();
        let store = materialized.store_name_or(|| graph.names.store(&format!("{topic}-")));
        let GlobalNames { source, processor } = GlobalNames::take(&mut graph, consumed.name.as_deref());
        let options = consumed.into_source();
        let spec = materialized.override_spec(store, &options.key_serde, &options.value_serde);
        let topic = TableTopic { topic: topic.to_owned(), source, name: processor, options };
        global_table::read(&mut graph, topic, spec)
    }

    /// Adds a store that `supplier`'s processor makes of all of a topic, the same on every instance
    /// (`StreamsBuilder.addGlobalStore`). Every processor may read it; see
    /// [`Topology::add_global_store`] for its rules. Its logging has to be disabled.
    pub fn add_global_store<KS, VS, KOut, VOut, P>(
        &self,
        builder: impl StoreBuilder + Clone + 'static,
        topic: &str,
        consumed: Consumed<KS, VS>,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> &Self
    where
        KS: Serde<Target: Clone + Send>,
        VS: Serde<Target: Clone + Send>,
        P: Processor<KS::Target, VS::Target, KOut, VOut> + 'static,
        KOut: Send + 'static,
        VOut: Send + 'static,
    {
        let mut graph = self.graph.lock();
        let GlobalNames { source, processor } = GlobalNames::take(&mut graph, consumed.name.as_deref());
        let (topic, options, supplier) = (topic.to_owned(), consumed.into_source(), Arc::new(supplier));
        graph.add(GraphNode::operator(processor.clone(), [], move |topology, _| {
            let (builder, supplier) = (builder.clone(), Arc::clone(&supplier));
            let supplier = move || supplier();
            let options = options.clone();
            topology.add_global_store(builder, &source, &topic, options, &processor, supplier).map(|_| ())
        }));
        drop(graph);
        self
    }

    /// Adds a state store, to be connected to processors by name ([`KStream::process`]).
    pub fn add_state_store(&self, builder: impl StoreBuilder + Clone + 'static) -> &Self {
        let name = builder.name().to_owned();
        self.graph.lock().add(GraphNode::operator(name, [], move |topology, _| {
            topology.add_state_store(builder.clone(), &[]).map(|_| ())
        }));
        self
    }

    /// The topology of everything that was said so far, without the settings that change topologies.
    ///
    /// # Errors
    /// When two nodes or stores have the same name, a topic is read both as a stream and as a table, a processor names
    /// a store that nobody added, a join has to repartition a stream whose serdes nobody named, or windows make no
    /// sense.
    pub fn build(&self) -> Result<Topology, TopologyError> {
        self.graph.lock().to_topology(&TopologySettings::default())
    }

    /// As [`build`](Self::build), by the settings of the application: `topology.optimization`, `dsl.store.suppliers.class`
    /// (where tables are kept that do not say so themselves), `ensure.explicit.internal.resource.naming`.
    ///
    /// ```
    /// use kstreams_core::StreamsConfig;
    /// use kstreams_dsl::{Consumed, Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table_with("customers", Consumed::<String, String>::new(), Materialized::named("by-id"));
    /// let config = StreamsConfig::new("app", "localhost:9092").set("topology.optimization", "all");
    /// let topology = builder.build_with(&config)?; // the topic `customers` is the changelog of `by-id`
    /// # Ok::<(), kstreams_core::TopologyError>(())
    /// ```
    ///
    /// # Errors
    /// As [`build`](Self::build), and with explicit naming where an internal topic or store has a generated name.
    pub fn build_with(&self, config: &StreamsConfig) -> Result<Topology, TopologyError> {
        self.graph.lock().to_topology(&TopologySettings::of(config))
    }
}

//! repartition, and the repartition that groupings, joins and tables put before themselves where the key changed: the
//! stream goes through an internal topic, so that all records of a key come into one partition.
//!
//! Key, value, timestamp and headers stay. A record whose key is null is dropped before the topic (not counted), unless
//! a left join lies below, for which it passes (KIP-962). Nothing is stored. The topic is purged of what was read.

use std::sync::Arc;

use kstreams_core::processor::ProcessorContext;
use kstreams_core::topology::{Extracted, ExtractorRecord, SinkOptions, SinkTopic, SourceOptions};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DefaultSerde, DynSerde, Record};

use super::stateless::FnProcessor;
use crate::graph::{Graph, GraphNode, NodeId, NodeKind, RepartitionNode, RepartitionWriter, Writing};
use crate::null::Nulls;
use crate::options::{ByType, Repartitioned, SerdeFor};
use crate::stream::{KStream, Upstream};

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Sends the stream through a topic of its own, whether the key changed or not. Key, value, timestamp and headers
    /// stay; records with a null key are dropped, unless a left join comes after.
    ///
    /// - result: the record as it came, in the partition of its key
    /// - null: a record whose key is null is dropped, not counted, unless a left join lies below; a null value passes
    /// - repartition: yes; state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let readings = builder.stream::<String, i64>("readings").select_key(|_, value| value % 100);
    /// readings.repartition().to("by-class");
    /// # builder.build().unwrap();
    /// ```
    pub fn repartition(&self) -> KStream<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.repartition_with(Repartitioned::with(ByType, ByType))
    }

    /// As [`repartition`](Self::repartition), with options: a name for the topic, a number of partitions.
    pub fn repartition_with<KS, VS>(&self, repartitioned: Repartitioned<KS, VS>) -> KStream<K, V>
    where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let key = repartitioned.key.serde(self.key_serde.as_ref());
        let value = repartitioned.value.serde(self.value_serde.as_ref());
        let mut graph = self.upstream.graph.lock();
        let prefix = repartitioned.name.unwrap_or_else(|| graph.names.processor("KSTREAM-REPARTITION-"));
        let mut node = new_node(&mut graph, &prefix, &key, &value);
        node.partitions = repartitioned.partitions;
        node.optimizable = false;
        let source = node.source.clone();
        let id = add_node(&mut graph, self.upstream.node, node);
        drop(graph);
        KStream::new(Upstream::at_source(&self.upstream.graph, id, &source), Some(key), Some(value))
    }
}

/// A repartition through the topic named after `prefix`; three indices are consumed.
pub(crate) fn new_node<K, V>(
    graph: &mut Graph,
    prefix: &str,
    key: &DynSerde<K>,
    value: &DynSerde<V>,
) -> RepartitionNode
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    RepartitionNode::named(prefix, &mut graph.names, writer(key.clone(), value.clone()))
}

/// Hangs a repartition under `parent`.
pub(crate) fn add_node(graph: &mut Graph, parent: NodeId, node: RepartitionNode) -> NodeId {
    graph.source_reads(&node.source, [node.topic.clone()]);
    let name = node.source.clone();
    graph.add(GraphNode::new(name, [parent], NodeKind::Repartition(node)))
}

fn writer<K, V>(key_serde: DynSerde<K>, value_serde: DynSerde<V>) -> RepartitionWriter
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    Arc::new(move |topology, node, writing| {
        add_filter::<K, V>(topology, node, writing)?;
        let (key_serde, value_serde) = (key_serde.clone(), value_serde.clone());
        let topic = SinkTopic::Name(node.topic.clone());
        let sink = SinkOptions { topic, key_serde, value_serde, partitioner: None };
        let source = internal_source(sink.key_serde.clone(), sink.value_serde.clone());
        topology.add_sink_with(&node.sink, sink, &[&node.filter])?;
        topology.add_source_with(&node.source, &*node.topic, source)?;
        Ok(())
    })
}

fn add_filter<K, V>(
    topology: &mut Topology,
    node: &RepartitionNode,
    writing: &Writing<'_>,
) -> Result<(), TopologyError>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    let (nulls, keep) = (Nulls::<K>::of(), writing.keep_null_keys);
    let filter = move |record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, V>| {
        if keep || !nulls.is_null(&record.key) { ctx.pass_on(record) } else { Ok(()) }
    };
    let supplier = move || FnProcessor(filter);
    topology.add_processor::<K, V, K, V, _>(&node.filter, supplier, writing.parents).map(|_| ())
}

/// The source of an internal topic: the application wrote its timestamps, so they are taken as they are.
pub(crate) fn internal_source<K, V>(key_serde: DynSerde<K>, value_serde: DynSerde<V>) -> SourceOptions<K, V> {
    let own_time = |record: &ExtractorRecord<'_, K, V>, _: i64| match record.timestamp {
        timestamp if timestamp < 0 => Extracted::Invalid(timestamp),
        timestamp => Extracted::Timestamp(timestamp),
    };
    SourceOptions {
        key_serde,
        value_serde,
        timestamp_extractor: Some(Arc::new(own_time)),
        offset_reset: None,
    }
}

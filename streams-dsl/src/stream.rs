//! The handle of a stream. What can be done with it stands in `op/`, one operator (family) a file.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use kstreams_state_stores::DynSerde;

use crate::graph::{NodeId, SharedGraph};

/// A stream of records: each stands for itself (`org.apache.kafka.streams.kstream.KStream`).
///
/// A handle on a node of the builder's graph: clones are cheap, and a stream may be used several times; each use sees
/// every record. `K` and `V` are the types of keys and values, with `Option` where null can occur.
///
/// | to | operators |
/// |---|---|
/// | keep some | [`filter`](Self::filter), [`filter_not`](Self::filter_not), [`split`](Self::split) |
/// | change values | [`map_values`](Self::map_values), [`flat_map_values`](Self::flat_map_values) |
/// | change keys too | [`map`](Self::map), [`flat_map`](Self::flat_map), [`select_key`](Self::select_key) |
/// | look on | [`peek`](Self::peek), [`for_each`](Self::for_each), [`print`](Self::print) |
/// | bring together | [`merge`](Self::merge), [`join`](Self::join), [`left_join`](Self::left_join), [`join_stream`](Self::join_stream), [`left_join_stream`](Self::left_join_stream), [`outer_join_stream`](Self::outer_join_stream), [`join_global`](Self::join_global) |
/// | aggregate | [`group_by`](Self::group_by), [`group_by_key`](Self::group_by_key), [`to_table`](Self::to_table) |
/// | write | [`to`](Self::to), [`repartition`](Self::repartition) |
/// | wait for something outside | [`map_values_async`](Self::map_values_async), [`process_async`](Self::process_async) |
/// | do it by hand | [`process`](Self::process), [`process_values`](Self::process_values) |
///
/// After an operator that may change the key, the next one that needs all records of a key in one place (a grouping, a
/// join, a table) first sends the stream through a repartition topic.
pub struct KStream<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: Option<DynSerde<K>>,
    pub(crate) value_serde: Option<DynSerde<V>>,
    /// The repartition that an unnamed join of this stream made: the next one shares it.
    pub(crate) join_repartition: Arc<Mutex<Option<NodeId>>>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        KStream {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            join_repartition: Arc::clone(&self.join_repartition),
        }
    }
}

impl<K, V> fmt::Debug for KStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KStream").field(&self.upstream.name).finish()
    }
}

impl<K, V> KStream<K, V> {
    pub(crate) fn new(
        upstream: Upstream,
        key_serde: Option<DynSerde<K>>,
        value_serde: Option<DynSerde<V>>,
    ) -> Self {
        KStream { upstream: Arc::new(upstream), key_serde, value_serde, join_repartition: Arc::default() }
    }
}

/// Where the records of a handle come from: the part that does not depend on their types.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) graph: SharedGraph,
    /// The graph node that forwards the records.
    pub(crate) node: NodeId,
    /// The name that topics of later operators are named after.
    pub(crate) name: String,
    /// The sources of the sub-topology up to here: those that a join must co-partition.
    pub(crate) sources: BTreeSet<String>,
    /// The key may be another one than the one that the records are partitioned by.
    pub(crate) key_changed: bool,
}

impl Upstream {
    /// After a node that leaves the records in their partitions.
    pub(crate) fn then(&self, node: NodeId, name: impl Into<String>) -> Upstream {
        Upstream { node, name: name.into(), ..self.clone() }
    }

    /// After a source: the sub-topology begins here.
    pub(crate) fn at_source(graph: &SharedGraph, node: NodeId, name: &str) -> Upstream {
        Upstream {
            graph: graph.clone(),
            node,
            name: name.to_owned(),
            sources: BTreeSet::from([name.to_owned()]),
            key_changed: false,
        }
    }
}

//! The handles of groupings: what is left to say is how to aggregate. The aggregations stand in `op/`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kstreams_state_stores::DynSerde;

use crate::graph::{Graph, NodeId};
use crate::op::repartition;
use crate::stream::Upstream;
use crate::windows::Windows;

/// A stream whose records are grouped by key (`KGroupedStream`), to be aggregated:
/// [`count`](Self::count), [`reduce`](Self::reduce), [`aggregate`](Self::aggregate), each over all time or
/// [`windowed_by`](Self::windowed_by).
pub struct KGroupedStream<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: DynSerde<K>,
    pub(crate) value_serde: DynSerde<V>,
    /// The grouping's name, which the repartition topic has.
    pub(crate) name: Option<Arc<str>>,
    /// The repartition that a first aggregation made; later ones share it if the grouping has a name.
    pub(crate) repartition: Arc<Mutex<Option<(NodeId, String)>>>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        KGroupedStream {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            name: self.name.clone(),
            repartition: Arc::clone(&self.repartition),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KGroupedStream").field(&self.upstream.name).finish()
    }
}

impl<K, V> KGroupedStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Aggregates by windows of time: [`TimeWindows`](crate::TimeWindows) or
    /// [`UnlimitedWindows`](crate::UnlimitedWindows).
    pub fn windowed_by(&self, windows: impl Into<Windows>) -> TimeWindowedKStream<K, V> {
        let windows = windows.into();
        if let Some(fault) = windows.fault() {
            self.upstream.graph.lock().fail(kstreams_core::TopologyError::Invalid(fault));
        }
        TimeWindowedKStream { grouped: self.clone(), windows }
    }

    /// Where an aggregation into `store` hangs: here, or below a repartition if the key changed.
    pub(crate) fn partitioned_for(&self, graph: &mut Graph, store: &str) -> Upstream {
        if !self.upstream.key_changed {
            return Upstream::clone(&self.upstream);
        }
        let prefix = self.name.as_deref().unwrap_or(store);
        // The names are asked for even where the node of a first aggregation is shared.
        let node = repartition::new_node(graph, prefix, &self.key_serde, &self.value_serde);
        let mut shared = self.repartition.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, source) = match &*shared {
            Some((id, source)) if self.name.is_some() => {
                graph.add_again(*id);
                (*id, source.clone())
            }
            _ => {
                let source = node.source.clone();
                (repartition::add_node(graph, self.upstream.node, node), source)
            }
        };
        *shared = Some((id, source.clone()));
        Upstream::at_source(&self.upstream.graph, id, &source)
    }
}

/// A grouped stream by windows of time (`TimeWindowedKStream`): the result of an aggregation is a table by key and
/// window.
pub struct TimeWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: Windows,
}

impl<K, V> Clone for TimeWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        TimeWindowedKStream { grouped: self.grouped.clone(), windows: self.windows }
    }
}

impl<K, V> fmt::Debug for TimeWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedKStream")
            .field("of", &self.grouped.upstream.name)
            .field("windows", &self.windows)
            .finish()
    }
}

/// A table whose rows are grouped by another key (`KGroupedTable`), to be aggregated: [`count`](Self::count),
/// [`reduce`](Self::reduce), [`aggregate`](Self::aggregate). A row that changes is taken out of its old group and put
/// into its new one.
pub struct KGroupedTable<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: DynSerde<K>,
    pub(crate) value_serde: DynSerde<V>,
    pub(crate) name: Option<Arc<str>>,
    /// As for [`KGroupedStream`].
    pub(crate) repartition: Arc<Mutex<Option<(NodeId, String)>>>,
}

impl<K, V> Clone for KGroupedTable<K, V> {
    fn clone(&self) -> Self {
        KGroupedTable {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            name: self.name.clone(),
            repartition: Arc::clone(&self.repartition),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KGroupedTable").field(&self.upstream.name).finish()
    }
}

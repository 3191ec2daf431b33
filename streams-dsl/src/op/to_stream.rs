//! to_stream: the updates of a table as a stream.
//!
//! Key, timestamp and headers stay; the value is the new one, `None` where the key was deleted. The stream holds every
//! update that the table tells of: with a record cache, those that leave it. Nothing is repartitioned or stored.

use std::sync::Arc;

use kstreams_core::processor::ProcessorContext;
use kstreams_state_stores::Record;

use super::stateless::FnProcessor;
use crate::graph::GraphNode;
use crate::options::Named;
use crate::stream::{KStream, Upstream};
use crate::table::{Change, KTable, nullable};

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The updates of the table: the new value of a key, or `None` where it was deleted.
    ///
    /// - result: per update, with its key, timestamp and headers
    /// - null: `None` is a deletion
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let customers = builder.table::<String, String>("customers");
    /// customers.to_stream().filter(|_, name| name.is_none()).to("deleted-customers");
    /// # builder.build().unwrap();
    /// ```
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        self.to_stream_with(Named::default())
    }

    /// As [`to_stream`](Self::to_stream), with a name.
    pub fn to_stream_with(&self, named: impl Into<Named>) -> KStream<K, Option<V>> {
        let upstream = self.updates(|new| new, &named.into());
        KStream::new(upstream, self.key_serde.clone(), self.value_serde.as_ref().map(nullable))
    }

    /// As [`to_stream`](Self::to_stream) with other keys: `select_key` after it. A later grouping or join repartitions.
    pub fn to_stream_with_key<K2>(
        &self,
        f: impl Fn(&K, &Option<V>) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, Option<V>>
    where
        K2: Clone + Send + 'static,
    {
        self.to_stream().select_key(f)
    }

    /// The node of `to_stream`.
    fn updates<V2: Clone + Send + 'static>(
        &self,
        value: impl Fn(Option<V>) -> V2 + Send + Sync + 'static,
        named: &Named,
    ) -> Upstream {
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(named.name(), "KTABLE-TOSTREAM-");
        let value = Arc::new(value);
        let each = move |record: Record<K, Change<V>>, ctx: &mut ProcessorContext<'_, K, V2>| {
            let Record { key, value: change, timestamp, headers } = record;
            ctx.forward(Record { key, value: value(change.new), timestamp, headers })
        };
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let each = each.clone();
                let supplier = move || FnProcessor(each.clone());
                topology.add_processor::<K, Change<V>, K, V2, _>(&name, supplier, writing.parents).map(|_| ())
            })
        };
        let node = graph.add(node);
        self.upstream.then(node, name)
    }
}

impl<K, V> KTable<K, Option<V>>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// As [`to_stream`](Self::to_stream), for a table whose own values are optional: `None` and a deleted key are both
    /// null, so one `Option` says it all.
    pub fn to_flat_stream(&self) -> KStream<K, Option<V>> {
        self.to_flat_stream_with(Named::default())
    }

    /// As [`to_flat_stream`](Self::to_flat_stream), with a name.
    pub fn to_flat_stream_with(&self, named: impl Into<Named>) -> KStream<K, Option<V>> {
        let upstream = self.updates(Option::flatten, &named.into());
        KStream::new(upstream, self.key_serde.clone(), self.value_serde.clone())
    }
}

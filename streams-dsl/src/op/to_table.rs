//! to_table: the last value of each key of a stream.
//!
//! As for the table of a topic (`table_source`): null values delete, null keys are dropped and counted, timestamp and
//! headers stay. A stream whose key changed is repartitioned first; records with a null key get lost there, not counted.

use std::sync::Arc;

use kstreams_state_stores::DefaultSerde;

use super::repartition;
use super::table_source::SourceTable;
use crate::graph::GraphNode;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor};
use crate::stream::{KStream, Upstream};
use crate::table::KTable;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The table of the last value of each key. A null value deletes its key; a record with a null key is dropped and
    /// counted. Repartitions first if the key changed. It is stored only where something below looks it up.
    ///
    /// - result: per record, with its key, value, timestamp and headers
    /// - null: a null value deletes its key; a null key is dropped and counted
    /// - repartition: if the key changed; state: where something below looks it up
    /// - late records: replace newer ones, unless the table is versioned
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let latest = builder.stream::<String, Option<i64>>("readings").to_table();
    /// # builder.build().unwrap();
    /// ```
    pub fn to_table(&self) -> KTable<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.to_table_with(Named::default(), Materialized::default())
    }

    /// As [`to_table`](Self::to_table), with a name and a store.
    pub fn to_table_with<KS, VS>(
        &self,
        named: impl Into<Named>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, V>
    where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(named.into().name(), "KSTREAM-TOTABLE-");
        let store = materialized.store_name_or(|| graph.names.store("KSTREAM-TOTABLE-"));
        let spec = materialized.into_spec(store, self.key_serde.as_ref(), self.value_serde.as_ref());
        let (key_serde, value_serde) = (spec.key.clone(), spec.value.clone());
        let upstream = if self.upstream.key_changed {
            let node = repartition::new_node(&mut graph, &name, &key_serde, &value_serde);
            let source = node.source.clone();
            let id = repartition::add_node(&mut graph, self.upstream.node, node);
            Upstream::at_source(&self.upstream.graph, id, &source)
        } else {
            Upstream::clone(&self.upstream)
        };
        let queryable = spec.queryable.then(|| Arc::from(&*spec.name));
        let versioned = spec.is_versioned();
        let table = Arc::new(SourceTable::new(spec));
        let node = {
            let (name, table) = (name.clone(), Arc::clone(&table));
            let (keys, values) = (Nulls::<K>::of(), Nulls::<V>::of());
            GraphNode::operator(name.clone(), [upstream.node], move |topology, writing| {
                let split = move |key: K, value: V| (keys.present(key), values.present(value));
                table.write(topology, &name, writing, split)
            })
        };
        let node = graph.add(node.versioned(versioned));
        drop(graph);
        KTable {
            upstream: Arc::new(upstream.then(node, name)),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: table,
            queryable,
        }
    }
}

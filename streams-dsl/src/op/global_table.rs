//! The node that makes a global table of a topic (`StreamsBuilder::global_table`).
//!
//! The value of a record becomes the value of its key; null deletes it. A record whose key is null is skipped. Each
//! instance has all of the topic, in a store that is filled before any task starts; the topic is its changelog.

use kstreams_core::topology::SourceOptions;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::StoreBuilder;

use super::table_source::{TableTopic, nullable_options, processor_of};
use crate::graph::{Graph, GraphNode};
use crate::options::TableSpec;
use crate::table::{Change, GetterSupplier, GlobalKTable};

/// The names of a global store's source and processor.
pub(crate) struct GlobalNames {
    pub(crate) source: String,
    pub(crate) processor: String,
}

impl GlobalNames {
    /// As for a table: `given` is the name of the `Consumed`.
    pub(crate) fn take(graph: &mut Graph, given: Option<&str>) -> Self {
        let source = graph.names.or_suffixed(given, "-source", "KSTREAM-SOURCE-");
        GlobalNames { source, processor: graph.names.or_processor(given, "KTABLE-SOURCE-") }
    }
}

/// The global table of a topic.
pub(crate) fn read<K, V>(
    graph: &mut Graph,
    topic: TableTopic<K, V>,
    spec: TableSpec<K, V>,
) -> GlobalKTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    let TableTopic { topic, source, name, options } = topic;
    let table =
        GlobalKTable::new(GetterSupplier::of_store(&spec.name), spec.queryable.then_some(spec.name.as_str()));
    let options: SourceOptions<Option<K>, Option<V>> = nullable_options(options);
    graph.add(GraphNode::operator(name.clone(), [], move |topology: &mut Topology, writing| {
        if spec.is_versioned() {
            let text =
                format!("global table {name} cannot keep versions: a global table has the last values only");
            return Err(TopologyError::Invalid(text));
        }
        if let Some(fault) = spec.key_value_fault() {
            return Err(fault);
        }
        let store = spec.timestamped(writing).with_logging_disabled().with_caching_disabled();
        let split = |key: Option<K>, value: Option<V>| (key, value);
        let supplier = processor_of::<_, _, K, V, _>(Some(store.name().to_owned()), false, split);
        let added = topology.add_global_store::<_, _, K, Change<V>, _>(
            store,
            &source,
            &topic,
            options.clone(),
            &name,
            supplier,
        );
        added.map(|_| ())
    }));
    table
}

//! The node that makes a table of records: of a topic (`StreamsBuilder::table`) or of a stream (`to_table`).
//!
//! The value of a record becomes the value of its key; null deletes it. A record whose key is null is dropped and
//! counted. Timestamp and headers stay. The table is stored only if it was named or something below looks it up;
//! without a store its old values are not known. Records count in their order, not by their time: an older one replaces
//! a newer one.

use std::marker::PhantomData;
use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::topology::{Extracted, ExtractorRecord, SourceOptions};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{Record, Serde};

use crate::graph::{GraphNode, SharedGraph, Writing};
use crate::options::TableSpec;
use crate::stream::Upstream;
use crate::table::{Change, GetterSupplier, KTable, TableFlags, TableOrigin, TableStore, nullable};

/// A topic that is read as a table.
pub(crate) struct TableTopic<K, V> {
    pub(crate) topic: String,
    /// Name of the source.
    pub(crate) source: String,
    /// Name of the table's node.
    pub(crate) name: String,
    pub(crate) options: SourceOptions<K, V>,
}

/// The table of a topic. The source reads keys and values that may be null, whatever the types say: null is a deletion,
/// or a record to drop.
pub(crate) fn read<K, V>(graph: &SharedGraph, topic: TableTopic<K, V>, spec: TableSpec<K, V>) -> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    let TableTopic { topic, source, name, options } = topic;
    let (key_serde, value_serde) = (spec.key.clone(), spec.value.clone());
    let queryable = spec.queryable.then(|| Arc::from(&*spec.name));
    let versioned = spec.is_versioned();
    let table = Arc::new(SourceTable::new(spec));
    let options = nullable_options(options);
    let node = {
        let (name, source, table) = (name.clone(), source.clone(), Arc::clone(&table));
        GraphNode::operator(name.clone(), [], move |topology, writing| {
            topology.add_source_with(&source, &*topic, options.clone())?;
            let split = |key: Option<K>, value: Option<V>| (key, value);
            table.write(topology, &name, &Writing { parents: &[&source], ..*writing }, split)?;
            if table.flags.is_stored() && writing.settings.optimization.reuse_ktable_source_topics {
                topology.connect_source_store_and_topic(&table.spec.name, &topic)?;
            }
            Ok(())
        })
    };
    let node = graph.lock().add(node.versioned(versioned));
    let upstream = Upstream { name, ..Upstream::at_source(graph, node, &source) };
    KTable {
        upstream: Arc::new(upstream),
        key_serde: Some(key_serde),
        value_serde: Some(value_serde),
        origin: table,
        queryable,
    }
}

/// The options of a source for records whose key and value may be null. The user's extractor is asked about those as well
/// where the types have a null; else records without key or value have their own time.
pub(super) fn nullable_options<K: Clone + 'static, V: Clone + 'static>(
    options: SourceOptions<K, V>,
) -> SourceOptions<Option<K>, Option<V>> {
    let SourceOptions { key_serde, value_serde, timestamp_extractor, offset_reset } = options;
    let null_of = (key_serde.clone(), value_serde.clone());
    let (key_serde, value_serde) = (nullable(&key_serde), nullable(&value_serde));
    let Some(extract) = timestamp_extractor else {
        return SourceOptions { key_serde, value_serde, timestamp_extractor: None, offset_reset };
    };
    let extract = move |record: &ExtractorRecord<'_, Option<K>, Option<V>>, partition_time: i64| {
        let &ExtractorRecord { key, value, timestamp, topic, partition, offset } = record;
        let null_key = key.is_none().then(|| null_of.0.deserialize_nullable(None).ok()).flatten();
        let null_value = value.is_none().then(|| null_of.1.deserialize_nullable(None).ok()).flatten();
        match (key.as_ref().or(null_key.as_ref()), value.as_ref().or(null_value.as_ref())) {
            (Some(key), Some(value)) => {
                extract(&ExtractorRecord { key, value, timestamp, topic, partition, offset }, partition_time)
            }
            _ if timestamp < 0 => Extracted::Invalid(timestamp),
            _ => Extracted::Timestamp(timestamp),
        }
    };
    SourceOptions { key_serde, value_serde, timestamp_extractor: Some(Arc::new(extract)), offset_reset }
}

/// A table made of records: whether it is stored is decided by what comes below.
pub(crate) struct SourceTable<K, V> {
    spec: TableSpec<K, V>,
    flags: Arc<TableFlags>,
}

impl<K, V> SourceTable<K, V> {
    pub(crate) fn new(spec: TableSpec<K, V>) -> Self {
        SourceTable { flags: TableFlags::new(spec.queryable), spec }
    }
}

impl<K: 'static, V: 'static> SourceTable<K, V> {
    /// Whether the table keeps versions.
    pub(crate) fn is_versioned(&self) -> bool {
        self.spec.is_versioned()
    }
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> SourceTable<K, V> {
    /// Adds the node, and the store if one is needed. `split` makes nullable keys and values of the parent's.
    pub(crate) fn write<KIn, VIn, F>(
        &self,
        topology: &mut Topology,
        name: &str,
        writing: &Writing<'_>,
        split: F,
    ) -> Result<(), TopologyError>
    where
        KIn: Clone + Send + 'static,
        VIn: Clone + Send + 'static,
        F: Fn(KIn, VIn) -> (Option<K>, Option<V>) + Clone + Send + Sync + 'static,
    {
        let store = self.flags.is_stored().then(|| self.spec.name.clone());
        let supplier = processor_of(store, self.flags.tells_old_values(), split);
        topology.add_processor::<KIn, VIn, K, Change<V>, _>(name, supplier, writing.parents)?;
        match self.flags.is_stored() {
            true => self.spec.add_key_value(topology, writing, name),
            false => Ok(()),
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> TableOrigin<K, V> for SourceTable<K, V> {
    fn enable_old_values(&self, force: bool) -> bool {
        if !force && !self.flags.is_stored() {
            return false;
        }
        self.flags.store();
        self.flags.tell_old_values();
        true
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        self.flags.store();
        GetterSupplier::of_store(&self.spec.name)
    }
}

/// The processors of a table's node.
pub(super) fn processor_of<KIn, VIn, K, V, F>(
    store: Option<String>,
    old_values: bool,
    split: F,
) -> impl Fn() -> TableSource<KIn, VIn, K, V, F> + Send + Sync
where
    F: Fn(KIn, VIn) -> (Option<K>, Option<V>) + Clone + Send + Sync,
{
    move || TableSource {
        store: store.clone(),
        old_values,
        split: split.clone(),
        table: None,
        input: PhantomData,
    }
}

pub(super) struct TableSource<KIn, VIn, K, V, F> {
    store: Option<String>,
    old_values: bool,
    split: F,
    table: Option<TableStore<K, V>>,
    input: PhantomData<fn(KIn, VIn)>,
}

impl<KIn, VIn, K, V, F> Processor<KIn, VIn, K, Change<V>> for TableSource<KIn, VIn, K, V, F>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    F: Fn(KIn, VIn) -> (Option<K>, Option<V>) + Send,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        if let Some(store) = &self.store {
            self.table = Some(TableStore::open(store, self.old_values, ctx)?);
        }
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        let Record { key, value, timestamp, headers } = record;
        let (Some(key), new) = (self.split)(key, value) else {
            ctx.drop_record("null key in a table");
            return Ok(());
        };
        let Some(table) = &self.table else {
            return ctx.forward(Record { key, value: Change::new(new, None), timestamp, headers });
        };
        let old = match table.old_values() {
            true => table.get(&key, ctx)?.map(|old| old.value),
            false => None,
        };
        table.update(Record { key, value: Change::new(new, old), timestamp, headers }, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<V>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

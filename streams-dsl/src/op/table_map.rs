//! filter, filter_not, map_values of tables: a table computed from another one, value by value.
//!
//! Key, timestamp and headers stay; nothing is repartitioned. Null is not given to the functions: a deletion stays one,
//! and a value that is filtered out or mapped to null is a deletion too. Where old values are told anyway (the parent is
//! stored, or something below asks for them) and the key had none, the filter swallows such a deletion; else it is
//! forwarded, stored or not.
//! The result is stored only if a `Materialized` with a name says so; otherwise operators below compute it from the
//! parent.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record};

use crate::graph::{GraphNode, Writing};
use crate::null::Nulls;
use crate::options::{Named, TableMaterialization, TableSpec, Unmaterialized};
use crate::table::{Change, Compute, GetterSupplier, KTable, TableFlags, TableOrigin, TableStore};

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The rows for which `predicate` holds. A row for which it stops to hold is deleted.
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.filter_with(predicate, Named::default(), Unmaterialized)
    }

    /// As [`filter`](Self::filter), with a name, and a store or none.
    pub fn filter_with(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, V>,
    ) -> KTable<K, V> {
        let keep = move |key: &K, value: V| predicate(key, &value).then_some(value);
        self.filtered(Arc::new(keep), &named.into(), materialized)
    }

    /// The rows for which `predicate` does not hold. Otherwise as [`filter`](Self::filter).
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.filter_not_with(predicate, Named::default(), Unmaterialized)
    }

    /// As [`filter_not`](Self::filter_not), with a name, and a store or none.
    pub fn filter_not_with(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, V>,
    ) -> KTable<K, V> {
        let keep = move |key: &K, value: V| (!predicate(key, &value)).then_some(value);
        self.filtered(Arc::new(keep), &named.into(), materialized)
    }

    fn filtered(
        &self,
        keep: Compute<K, V, V>,
        named: &Named,
        materialized: impl TableMaterialization<K, V>,
    ) -> KTable<K, V> {
        let mut table =
            self.derived(keep, "KTABLE-FILTER-", true, named, materialized, self.value_serde.clone());
        table.value_serde = table.value_serde.or_else(|| self.value_serde.clone());
        table
    }

    /// Another value for each row. `None`, where the new type has it, deletes the row.
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let lengths = builder.table::<String, String>("names").map_values(|name| name.len() as i64);
    /// lengths.to_stream().to("name-lengths");
    /// # builder.build().unwrap();
    /// ```
    pub fn map_values<V2>(&self, f: impl Fn(V) -> V2 + Send + Sync + 'static) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with(f, Named::default(), Unmaterialized)
    }

    /// As [`map_values`](Self::map_values), with a name, and a store or none.
    pub fn map_values_with<V2>(
        &self,
        f: impl Fn(V) -> V2 + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, V2>,
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with_key_with(move |_, value| f(value), named, materialized)
    }

    /// As [`map_values`](Self::map_values), with the key to look at.
    pub fn map_values_with_key<V2>(&self, f: impl Fn(&K, V) -> V2 + Send + Sync + 'static) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with_key_with(f, Named::default(), Unmaterialized)
    }

    /// As [`map_values_with_key`](Self::map_values_with_key), with a name, and a store or none.
    pub fn map_values_with_key_with<V2>(
        &self,
        f: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, V2>,
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        let nulls = Nulls::<V2>::of();
        let compute = move |key: &K, value: V| nulls.present(f(key, value));
        self.derived(Arc::new(compute), "KTABLE-MAPVALUES-", false, &named.into(), materialized, None)
    }

    fn derived<V2>(
        &self,
        compute: Compute<K, V, V2>,
        prefix: &str,
        is_filter: bool,
        named: &Named,
        materialized: impl TableMaterialization<K, V2>,
        value_serde: Option<DynSerde<V2>>,
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.derive(prefix, named, materialized, value_serde, |spec| {
            let flags = TableFlags::new(spec.is_some());
            if is_filter && self.origin.enable_old_values(false) {
                flags.tell_old_values(); // known anyway: then deletions of what was not there can be left out
            }
            DerivedTable { parent: Arc::clone(&self.origin), compute, is_filter, flags, spec }
        })
    }

    /// A table computed from this one, value by value: its name, its store if it has one, its node.
    pub(super) fn derive<V2, T>(
        &self,
        prefix: &str,
        named: &Named,
        materialized: impl TableMaterialization<K, V2>,
        value_serde: Option<DynSerde<V2>>,
        make: impl FnOnce(Option<TableSpec<K, V2>>) -> T,
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
        T: DerivedNode<K, V2> + 'static,
    {
        let mut graph = self.upstream.graph.lock();
        if materialized.is_given_without_name() {
            graph.names.store(prefix); // no store is made, but its index is consumed
        }
        let name = graph.names.or_processor(named.name(), prefix);
        let spec = materialized.into_spec(None, self.key_serde.as_ref(), value_serde.as_ref());
        let value_serde = spec.as_ref().map(|spec| spec.value.clone()).or(value_serde);
        let key_serde = spec.as_ref().map(|spec| spec.key.clone()).or_else(|| self.key_serde.clone());
        let queryable = spec.as_ref().map(|spec| Arc::from(&*spec.name));
        let versioned = spec.as_ref().map(TableSpec::is_versioned);
        let table = Arc::new(make(spec));
        let node = {
            let (name, table) = (name.clone(), Arc::clone(&table));
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                table.write(topology, &name, writing)
            })
        };
        let node = graph.add(match versioned {
            Some(versioned) => node.versioned(versioned),
            None => node,
        });
        let upstream = Arc::new(self.upstream.then(node, name));
        KTable { upstream, key_serde, value_serde, origin: table, queryable }
    }
}

/// What makes a table that is computed from another one, when the topology is built.
pub(super) trait DerivedNode<K, V>: TableOrigin<K, V> {
    /// Adds its processor, and its store if it has one.
    fn write(&self, topology: &mut Topology, name: &str, writing: &Writing<'_>) -> Result<(), TopologyError>;
}

struct DerivedTable<K, P, V> {
    parent: Arc<dyn TableOrigin<K, P>>,
    compute: Compute<K, P, V>,
    is_filter: bool,
    spec: Option<TableSpec<K, V>>,
    flags: Arc<TableFlags>,
}

impl<K, P, V> DerivedNode<K, V> for DerivedTable<K, P, V>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn write(&self, topology: &mut Topology, name: &str, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let store = self.spec.as_ref().map(|spec| spec.name.clone());
        let compute = Arc::clone(&self.compute);
        let old_values = self.flags.tells_old_values();
        // A late update's deletion is none of the latest value.
        let swallows = self.is_filter && !writing.is_versioned();
        let supplier = move || TableMap {
            compute: Arc::clone(&compute),
            swallows,
            old_values,
            store: store.clone(),
            table: None,
        };
        topology.add_processor::<K, Change<P>, K, Change<V>, _>(name, supplier, writing.parents)?;
        if let Some(spec) = &self.spec {
            spec.add_key_value(topology, writing, name)?;
        }
        Ok(())
    }
}

impl<K, P, V> TableOrigin<K, V> for DerivedTable<K, P, V>
where
    K: Send + 'static,
    P: Send + 'static,
    V: Send + 'static,
{
    fn enable_old_values(&self, force: bool) -> bool {
        self.flags.tell_old_values_with(&*self.parent, force)
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        match &self.spec {
            Some(spec) => GetterSupplier::of_store(&spec.name),
            None => GetterSupplier::mapped(self.parent.getter(), Arc::clone(&self.compute)),
        }
    }
}

struct TableMap<K, P, V> {
    compute: Compute<K, P, V>,
    /// Deletions of what was not there.
    swallows: bool,
    old_values: bool,
    store: Option<String>,
    table: Option<TableStore<K, V>>,
}

impl<K, P, V> Processor<K, Change<P>, K, Change<V>> for TableMap<K, P, V>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        if let Some(store) = &self.store {
            self.table = Some(TableStore::open(store, self.old_values, ctx)?);
        }
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, Change<P>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        let Record { key, value: change, timestamp, headers } = record;
        let new = change.new.and_then(|value| (self.compute)(&key, value));
        let old = match &self.table {
            Some(table) if self.old_values => table.get(&key, ctx)?.map(|old| old.value),
            None if self.old_values => change.old.and_then(|value| (self.compute)(&key, value)),
            _ => None,
        };
        if self.swallows && self.old_values && new.is_none() && old.is_none() {
            return Ok(());
        }
        let value = Change { new, old, is_latest: change.is_latest };
        let record = Record { key, value, timestamp, headers };
        match &self.table {
            Some(table) => table.update(record, ctx),
            None => ctx.forward(record),
        }
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<V>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

//! A table computed from another one, row by row: what filter, map_values and transform_values of tables share.
//!
//! Key, timestamp and headers stay; nothing is repartitioned. A row of the result is what a [`ValueTransformerWithKey`]
//! makes of the parent's; where the function is a pure one, a deletion stays a deletion. The result is stored only if a
//! `Materialized` with a name says so; else operators below compute it again from the parent's row, in a transformer of
//! their own.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreScope};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record, ValueAndTimestamp};

use super::table_transform::ValueTransformerWithKey;
use crate::graph::{GraphNode, Writing};
use crate::options::{Named, TableMaterialization, TableSpec};
use crate::table::{Change, GetterSupplier, KTable, TableFlags, TableOrigin, TableStore, ValueGetter};

/// A pure function of key and value as a transformer: it has no stores, and is not asked about deletions.
pub(super) struct Pure<F>(Arc<F>);

impl<K, P, V, F> ValueTransformerWithKey<K, P, V> for Pure<F>
where
    F: Fn(&K, P) -> Option<V> + Send + Sync,
{
    fn transform(&mut self, key: &K, value: Option<P>, _: &mut StoreScope<'_>) -> ProcessResult<Option<V>> {
        Ok(value.and_then(|value| (self.0)(key, value)))
    }
}

/// How the rows are computed.
pub(super) struct Derivation<T> {
    /// Makes the transformer of one node of one task.
    make: Arc<dyn Fn() -> T + Send + Sync>,
    /// Stores that it is connected to.
    stores: Vec<String>,
    /// A deletion is swallowed where nothing was there, if that is known.
    is_filter: bool,
}

impl<T> Derivation<T> {
    /// By transformers with these stores.
    pub(super) fn by(make: impl Fn() -> T + Send + Sync + 'static, stores: &[&str]) -> Self {
        let stores = stores.iter().map(|&store| store.to_owned()).collect();
        Derivation { make: Arc::new(make), stores, is_filter: false }
    }

    fn clone(&self) -> Self {
        let (make, stores) = (Arc::clone(&self.make), self.stores.clone());
        Derivation { make, stores, is_filter: self.is_filter }
    }
}

impl<F: Send + Sync + 'static> Derivation<Pure<F>> {
    /// By a pure function.
    pub(super) fn pure(f: F, is_filter: bool) -> Self {
        let f = Arc::new(f);
        Derivation { is_filter, ..Derivation::by(move || Pure(Arc::clone(&f)), &[]) }
    }
}

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// A table computed from this one: its name, its store if it has one, its node.
    pub(super) fn derive<V2, T>(
        &self,
        prefix: &str,
        derivation: Derivation<T>,
        named: &Named,
        materialized: impl TableMaterialization<K, V2>,
        value_serde: Option<DynSerde<V2>>,
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
        T: ValueTransformerWithKey<K, V, V2> + 'static,
    {
        let mut graph = self.upstream.graph.lock();
        if materialized.is_given_without_name() {
            graph.names.store_index(prefix); // no store is made, but its index is consumed
        }
        let name = graph.names.or_processor(named.name(), prefix);
        let spec = materialized.into_spec(None, self.key_serde.as_ref(), value_serde.as_ref());
        let value_serde = spec.as_ref().map(|spec| spec.value.clone()).or(value_serde);
        let key_serde = spec.as_ref().map(|spec| spec.key.clone()).or_else(|| self.key_serde.clone());
        let queryable = spec.as_ref().map(|spec| Arc::from(&*spec.name));
        let versioned = spec.as_ref().map(TableSpec::is_versioned);
        let flags = TableFlags::new(spec.is_some());
        if derivation.is_filter && self.origin.enable_old_values(false) {
            flags.tell_old_values(); // known anyway: then deletions of what was not there can be left out
        }
        let table = Arc::new(DerivedTable { parent: Arc::clone(&self.origin), derivation, flags, spec });
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

struct DerivedTable<K, P, V, T> {
    parent: Arc<dyn TableOrigin<K, P>>,
    derivation: Derivation<T>,
    flags: Arc<TableFlags>,
    spec: Option<TableSpec<K, V>>,
}

impl<K, P, V, T> DerivedTable<K, P, V, T>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: ValueTransformerWithKey<K, P, V> + 'static,
{
    /// Adds its processor, and its store if it has one.
    fn write(&self, topology: &mut Topology, name: &str, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let store = self.spec.as_ref().map(|spec| spec.name.clone());
        let Derivation { make, stores, is_filter } = self.derivation.clone();
        let old_values = self.flags.tells_old_values();
        // A late update's deletion is none of the latest value.
        let swallows = is_filter && !writing.is_versioned();
        let supplier = move || DeriveRows {
            transformer: make(),
            swallows,
            old_values,
            store: store.clone(),
            table: None,
        };
        topology.add_processor::<K, Change<P>, K, Change<V>, _>(name, supplier, writing.parents)?;
        if let Some(spec) = &self.spec {
            spec.add_key_value(topology, writing, name)?;
        }
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        topology.connect_processor_and_state_stores(name, &stores).map(|_| ())
    }
}

impl<K, P, V, T> TableOrigin<K, V> for DerivedTable<K, P, V, T>
where
    K: Send + 'static,
    P: Send + 'static,
    V: Send + 'static,
    T: ValueTransformerWithKey<K, P, V> + 'static,
{
    fn enable_old_values(&self, force: bool) -> bool {
        self.flags.tell_old_values_with(&*self.parent, force)
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        if let Some(spec) = &self.spec {
            return GetterSupplier::of_store(&spec.name);
        }
        let GetterSupplier { mut stores, make: parent } = self.parent.getter();
        for store in &self.derivation.stores {
            if !stores.contains(store) {
                stores.push(store.clone());
            }
        }
        let transformers = Arc::clone(&self.derivation.make);
        let make = move || -> Box<dyn ValueGetter<K, V>> {
            Box::new(DerivedGetter { parent: parent(), transformer: transformers() })
        };
        GetterSupplier { stores, make: Arc::new(make) }
    }
}

/// Computes a row anew from the parent's.
struct DerivedGetter<K, P, T> {
    parent: Box<dyn ValueGetter<K, P>>,
    transformer: T,
}

impl<K, P, T> DerivedGetter<K, P, T> {
    fn transform<V>(
        &mut self,
        key: &K,
        found: Option<ValueAndTimestamp<P>>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>>
    where
        T: ValueTransformerWithKey<K, P, V>,
    {
        // No time is known of a row that is not there (`KTableTransformValuesGetter`).
        let timestamp = found.as_ref().map_or(-1, |found| found.timestamp);
        let value = self.transformer.transform(key, found.map(|found| found.value), stores)?;
        Ok(value.map(|value| ValueAndTimestamp { value, timestamp }))
    }
}

impl<K, P, V, T> ValueGetter<K, V> for DerivedGetter<K, P, T>
where
    T: ValueTransformerWithKey<K, P, V>,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.parent.init(ctx)?;
        self.transformer.init(ctx)
    }

    fn get(&mut self, key: &K, stores: &mut StoreScope<'_>) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        let found = self.parent.get(key, stores)?;
        self.transform(key, found, stores)
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time: i64,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        let found = self.parent.get_as_of(key, time, stores)?;
        self.transform(key, found, stores)
    }
}

struct DeriveRows<K, V, T> {
    transformer: T,
    /// Deletions of what was not there.
    swallows: bool,
    old_values: bool,
    store: Option<String>,
    table: Option<TableStore<K, V>>,
}

impl<K, P, V, T> Processor<K, Change<P>, K, Change<V>> for DeriveRows<K, V, T>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: ValueTransformerWithKey<K, P, V>,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.transformer.init(ctx)?;
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
        let new = self.transformer.transform(&key, change.new, &mut ctx.stores())?;
        let old = match &self.table {
            Some(table) if self.old_values => table.get(&key, ctx)?.map(|old| old.value),
            None if self.old_values => self.transformer.transform(&key, change.old, &mut ctx.stores())?,
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

    fn close(&mut self) {
        self.transformer.close();
    }
}

//! transform_values of tables: another value for each row, computed with the help of stores.
//!
//! Key, timestamp and headers stay; nothing is repartitioned. Deletions are given to the transformer too, as `None`, and
//! what it answers `None` for is deleted. The result is stored only if a `Materialized` with a name says so; where it is
//! not, operators below that look up a row compute it again, in a transformer of their own with the same stores, so its
//! answer should depend on nothing but key, value and stores (`KTableTransformValues`).

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreScope};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{Record, ValueAndTimestamp};

use super::table_map::DerivedNode;
use crate::graph::Writing;
use crate::options::{Named, TableMaterialization, TableSpec, Unmaterialized};
use crate::table::{Change, GetterSupplier, KTable, TableFlags, TableOrigin, TableStore, ValueGetter};

/// Computes the rows of [`KTable::transform_values`] (`org.apache.kafka.streams.kstream.ValueTransformerWithKey`); each
/// task has its own.
pub trait ValueTransformerWithKey<K, V, V2>: Send {
    /// Before the first row: looks up the stores.
    ///
    /// # Errors
    /// What keeps it from working; the application stops.
    fn init(&mut self, _ctx: &mut InitContext<'_>) -> ProcessResult {
        Ok(())
    }

    /// The new value of a row, or `None` to delete it. `value` is `None` where the row is deleted or, in a look-up, is not
    /// there. Stores are opened with `stores`.
    ///
    /// # Errors
    /// Those of the stores and its own; they go to the processing exception handler.
    fn transform(
        &mut self,
        key: &K,
        value: Option<V>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<V2>>;

    /// After the last row.
    fn close(&mut self) {}
}

type Transformers<K, V, V2> = Arc<dyn Fn() -> Box<dyn ValueTransformerWithKey<K, V, V2>> + Send + Sync>;

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Another value for each row, by a transformer that has access to the named stores; see
    /// [`ValueTransformerWithKey`]. Without stores [`map_values_with_key`](Self::map_values_with_key) does the same.
    ///
    /// ```
    /// use kstreams_core::processor::{InitContext, ProcessResult, StoreHandle, StoreScope};
    /// use kstreams_dsl::{StreamsBuilder, ValueTransformerWithKey};
    /// use kstreams_state_stores::{KeyValueStore, Stores};
    ///
    /// /// Replaces the country's code by its name.
    /// #[derive(Default)]
    /// struct Country(Option<StoreHandle<KeyValueStore<String, String>>>);
    ///
    /// impl ValueTransformerWithKey<String, String, String> for Country {
    ///     fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
    ///         self.0 = Some(ctx.state_store("countries")?);
    ///         Ok(())
    ///     }
    ///
    ///     fn transform(
    ///         &mut self,
    ///         _city: &String,
    ///         code: Option<String>,
    ///         stores: &mut StoreScope<'_>,
    ///     ) -> ProcessResult<Option<String>> {
    ///         let (Some(code), Some(countries)) = (code, &self.0) else { return Ok(None) };
    ///         Ok(stores.open(countries).get(&code)?)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.add_state_store(Stores::key_value::<String, String>("countries"));
    /// let cities = builder.table::<String, String>("cities");
    /// cities.transform_values(Country::default, &["countries"]).to_stream().to("countries-of-cities");
    /// # builder.build().unwrap();
    /// ```
    pub fn transform_values<V2, T>(
        &self,
        supplier: impl Fn() -> T + Send + Sync + 'static,
        stores: &[&str],
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
        T: ValueTransformerWithKey<K, V, V2> + 'static,
    {
        self.transform_values_with(supplier, Named::default(), Unmaterialized, stores)
    }

    /// As [`transform_values`](Self::transform_values), with a name, and a store or none for the result.
    pub fn transform_values_with<V2, T>(
        &self,
        supplier: impl Fn() -> T + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, V2>,
        stores: &[&str],
    ) -> KTable<K, V2>
    where
        V2: Clone + Send + 'static,
        T: ValueTransformerWithKey<K, V, V2> + 'static,
    {
        let transformers: Transformers<K, V, V2> = Arc::new(move || Box::new(supplier()));
        let stores = stores.iter().map(|&store| store.to_owned()).collect();
        self.derive("KTABLE-TRANSFORMVALUES-", &named.into(), materialized, None, |spec| TransformedTable {
            parent: Arc::clone(&self.origin),
            transformers,
            stores,
            flags: TableFlags::new(spec.is_some()),
            spec,
        })
    }
}

struct TransformedTable<K, P, V> {
    parent: Arc<dyn TableOrigin<K, P>>,
    transformers: Transformers<K, P, V>,
    stores: Vec<String>,
    flags: Arc<TableFlags>,
    spec: Option<TableSpec<K, V>>,
}

impl<K, P, V> DerivedNode<K, V> for TransformedTable<K, P, V>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn write(&self, topology: &mut Topology, name: &str, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let store = self.spec.as_ref().map(|spec| spec.name.clone());
        let (transformers, old_values) = (Arc::clone(&self.transformers), self.flags.tells_old_values());
        let supplier = move || TableTransform {
            transformer: transformers(),
            old_values,
            store: store.clone(),
            table: None,
        };
        topology.add_processor::<K, Change<P>, K, Change<V>, _>(name, supplier, writing.parents)?;
        if let Some(spec) = &self.spec {
            spec.add_key_value(topology, writing, name)?;
        }
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).collect();
        topology.connect_processor_and_state_stores(name, &stores).map(|_| ())
    }
}

impl<K, P, V> TableOrigin<K, V> for TransformedTable<K, P, V>
where
    K: Send + 'static,
    P: Send + 'static,
    V: Send + 'static,
{
    fn enable_old_values(&self, force: bool) -> bool {
        self.flags.tell_old_values_with(&*self.parent, force)
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        if let Some(spec) = &self.spec {
            return GetterSupplier::of_store(&spec.name);
        }
        let GetterSupplier { mut stores, make: parent } = self.parent.getter();
        stores
            .extend(self.stores.iter().filter(|store| !stores.contains(store)).cloned().collect::<Vec<_>>());
        let transformers = Arc::clone(&self.transformers);
        let make = move || -> Box<dyn ValueGetter<K, V>> {
            Box::new(TransformedGetter { parent: parent(), transformer: transformers() })
        };
        GetterSupplier { stores, make: Arc::new(make) }
    }
}

/// Transforms the parent's row anew.
struct TransformedGetter<K, P, V> {
    parent: Box<dyn ValueGetter<K, P>>,
    transformer: Box<dyn ValueTransformerWithKey<K, P, V>>,
}

impl<K, P, V> TransformedGetter<K, P, V> {
    fn transform(
        &mut self,
        key: &K,
        found: Option<ValueAndTimestamp<P>>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        // No time is known of a row that is not there (`KTableTransformValuesGetter`).
        let timestamp = found.as_ref().map_or(-1, |found| found.timestamp);
        let value = self.transformer.transform(key, found.map(|found| found.value), stores)?;
        Ok(value.map(|value| ValueAndTimestamp { value, timestamp }))
    }
}

impl<K: Send, P: Send, V: Send> ValueGetter<K, V> for TransformedGetter<K, P, V> {
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

struct TableTransform<K, P, V> {
    transformer: Box<dyn ValueTransformerWithKey<K, P, V>>,
    old_values: bool,
    store: Option<String>,
    table: Option<TableStore<K, V>>,
}

impl<K, P, V> Processor<K, Change<P>, K, Change<V>> for TableTransform<K, P, V>
where
    K: Clone + Send + 'static,
    P: Clone + Send + 'static,
    V: Clone + Send + 'static,
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
        let record =
            Record { key, value: Change { new, old, is_latest: change.is_latest }, timestamp, headers };
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

//! transform_values of tables: another value for each row, computed with the help of stores.
//!
//! Key, timestamp and headers stay; nothing is repartitioned. Deletions are given to the transformer too, as `None`, and
//! what it answers `None` for is deleted. The result is stored only if a `Materialized` with a name says so; where it is
//! not, operators below that look up a row compute it again, in a transformer of their own with the same stores, so its
//! answer should depend on nothing but key, value and stores (`KTableTransformValues`).

use kstreams_core::processor::{InitContext, ProcessResult, StoreScope};

use super::table_derived::Derivation;
use crate::options::{Named, TableMaterialization, Unmaterialized};
use crate::table::KTable;

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

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Another value for each row, by a transformer that has access to the named stores; see
    /// [`ValueTransformerWithKey`]. Without stores [`map_values_with_key`](Self::map_values_with_key) does the same.
    ///
    /// - result: per update, with its key, timestamp and headers
    /// - null: a deletion is given to the transformer too, as `None`
    /// - repartition: none; state: the stores that it names, the result only with a `Materialized` that has a name
    /// - late records: as any other
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
        let derivation = Derivation::by(supplier, stores);
        self.derive("KTABLE-TRANSFORMVALUES-", derivation, &named.into(), materialized, None)
    }
}

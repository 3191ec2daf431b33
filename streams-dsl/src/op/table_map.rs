//! filter, filter_not, map_values of tables: a table computed from another one, value by value.
//!
//! Key, timestamp and headers stay; nothing is repartitioned. Null is not given to the functions: a deletion stays one,
//! and a value that is filtered out or mapped to null is a deletion too. Where old values are told anyway (the parent is
//! stored, or something below asks for them) and the key had none, the filter swallows such a deletion; else it is
//! forwarded, stored or not.
//! The machinery is in `table_derived`.

use super::table_derived::Derivation;
use crate::null::Nulls;
use crate::options::{Named, TableMaterialization, Unmaterialized};
use crate::table::KTable;

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The rows for which `predicate` holds. A row for which it stops to hold is deleted.
    ///
    /// - result: per update, with its key, timestamp and headers
    /// - null: a deletion stays one and is not given to the function
    /// - repartition: none; state: only with a `Materialized` that has a name
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// stock.filter(|_, &pieces| pieces < 10).to_stream().to("running-out");
    /// # builder.build().unwrap();
    /// ```
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
        self.filtered(keep, &named.into(), materialized)
    }

    /// The rows for which `predicate` does not hold. Otherwise as [`filter`](Self::filter).
    ///
    /// - result: per update, with its key, timestamp and headers
    /// - null: a deletion stays one and is not given to the function
    /// - repartition: none; state: only with a `Materialized` that has a name
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// stock.filter_not(|_, &pieces| pieces == 0).to_stream().to("in-stock");
    /// # builder.build().unwrap();
    /// ```
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
        self.filtered(keep, &named.into(), materialized)
    }

    fn filtered(
        &self,
        keep: impl Fn(&K, V) -> Option<V> + Send + Sync + 'static,
        named: &Named,
        materialized: impl TableMaterialization<K, V>,
    ) -> KTable<K, V> {
        let serde = self.value_serde.clone();
        let keep = Derivation::pure(keep, true);
        let mut table = self.derive("KTABLE-FILTER-", keep, named, materialized, serde);
        table.value_serde = table.value_serde.or_else(|| self.value_serde.clone());
        table
    }

    /// Another value for each row. `None`, where the new type has it, deletes the row.
    ///
    /// - result: per update, with its key, timestamp and headers
    /// - null: a deletion stays one and is not given to the function
    /// - repartition: none; state: only with a `Materialized` that has a name
    /// - late records: as any other
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
        let compute = Derivation::pure(compute, false);
        self.derive("KTABLE-MAPVALUES-", compute, &named.into(), materialized, None)
    }
}

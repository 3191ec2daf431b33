//! filter, filter_not: records that a predicate keeps.
//!
//! Key, value, timestamp and headers stay. Nothing is repartitioned or stored. Null is given to the predicate.

use std::sync::Arc;

use super::stateless::Effect;
use crate::options::Named;
use crate::stream::KStream;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Keeps the records for which `predicate` holds.
    ///
    /// Key, value, timestamp and headers stay; null is given to the predicate.
    ///
    /// - result: the record as it came
    /// - null: is given to the predicate
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, i64>("amounts").filter(|_, &amount| amount > 100).to("large-amounts");
    /// # builder.build().unwrap();
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with(predicate, Named::default())
    }

    /// As [`filter`](Self::filter), with a name.
    pub fn filter_with(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> Self {
        self.keep(Arc::new(predicate), &named.into())
    }

    /// Drops the records for which `predicate` holds. Otherwise as [`filter`](Self::filter).
    ///
    /// - result: the record as it came
    /// - null: is given to the predicate
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, Option<i64>>("amounts").filter_not(|_, amount| amount.is_none()).to("known-amounts");
    /// # builder.build().unwrap();
    /// ```
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_not_with(predicate, Named::default())
    }

    /// As [`filter_not`](Self::filter_not), with a name.
    pub fn filter_not_with(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> Self {
        self.keep(Arc::new(move |key: &K, value: &V| !predicate(key, value)), &named.into())
    }

    fn keep(&self, keeps: Arc<impl Fn(&K, &V) -> bool + Send + Sync + 'static>, named: &Named) -> Self {
        let upstream = self.stateless(named, "KSTREAM-FILTER-", Effect::Keeps, move |record, ctx| {
            if keeps(&record.key, &record.value) { ctx.pass_on(record) } else { Ok(()) }
        });
        KStream::new(upstream, self.key_serde.clone(), self.value_serde.clone())
    }
}

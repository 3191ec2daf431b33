//! map, flat_map: other keys and values.
//!
//! Timestamp and headers stay. The key counts as changed: a later grouping or join repartitions. Nothing is stored.
//! Null is given to the function.

use std::sync::Arc;

use kstreams_core::processor::ProcessorContext;
use kstreams_state_stores::Record;

use super::stateless::Effect;
use crate::options::Named;
use crate::stream::KStream;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Turns each record into another key and value. Timestamp and headers stay.
    ///
    /// A later grouping or join repartitions, because the key may be another one: use
    /// [`map_values`](Self::map_values) where it is not.
    ///
    /// - result: another key and value; timestamp and headers stay
    /// - null: is given to the function
    /// - repartition: by a later grouping, join or table, as the key may be another one; state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, i64>("sold").map(|item, amount| (amount, item)).to("by-amount");
    /// # builder.build().unwrap();
    /// ```
    pub fn map<K2, V2>(&self, f: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        self.map_with(f, Named::default())
    }

    /// As [`map`](Self::map), with a name.
    pub fn map_with<K2, V2>(
        &self,
        f: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        let f = Arc::new(f);
        let upstream =
            self.stateless(&named.into(), "KSTREAM-MAP-", Effect::ChangesKey, move |record, ctx| {
                let Record { key, value, timestamp, headers } = record;
                let (key, value) = f(key, value);
                ctx.forward(Record { key, value, timestamp, headers })
            });
        KStream::new(upstream, None, None)
    }

    /// Turns each record into any number of others, forwarded in their order, each with the timestamp and headers of
    /// the one it was made from. A later grouping or join repartitions.
    ///
    /// - result: other keys and values, each with the timestamp and headers of the record
    /// - null: is given to the function
    /// - repartition: by a later grouping, join or table, as the key may be another one; state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .flat_map(|customer, items| {
    ///         let items: Vec<String> = items.split(',').map(str::to_owned).collect();
    ///         items.into_iter().map(move |item| (item, customer.clone()))
    ///     })
    ///     .to("customers-by-item");
    /// # builder.build().unwrap();
    /// ```
    pub fn flat_map<K2, V2, I>(&self, f: impl Fn(K, V) -> I + Send + Sync + 'static) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        self.flat_map_with(f, Named::default())
    }

    /// As [`flat_map`](Self::flat_map), with a name.
    pub fn flat_map_with<K2, V2, I>(
        &self,
        f: impl Fn(K, V) -> I + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K2, V2>
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        let f = Arc::new(f);
        let each = move |record: Record<K, V>, ctx: &mut ProcessorContext<'_, K2, V2>| {
            let Record { key, value, timestamp, headers } = record;
            f(key, value).into_iter().try_for_each(|(key, value)| {
                ctx.forward(Record { key, value, timestamp, headers: headers.clone() })
            })
        };
        let upstream = self.stateless(&named.into(), "KSTREAM-FLATMAP-", Effect::ChangesKey, each);
        KStream::new(upstream, None, None)
    }
}

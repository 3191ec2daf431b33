//! map_values, flat_map_values: other values under the same keys.
//!
//! Key, timestamp and headers stay, so nothing has to be repartitioned because of them; nothing is stored. Null is given
//! to the function.

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
    /// Turns each value into another one. Key, timestamp and headers stay; nothing is repartitioned because of it.
    ///
    /// - result: another value; key, timestamp and headers stay
    /// - null: is given to the function
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, String>("lines").map_values(|line| line.len() as i64).to("lengths");
    /// # builder.build().unwrap();
    /// ```
    pub fn map_values<V2>(&self, f: impl Fn(V) -> V2 + Send + Sync + 'static) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with(f, Named::default())
    }

    /// As [`map_values`](Self::map_values), with a name.
    pub fn map_values_with<V2>(
        &self,
        f: impl Fn(V) -> V2 + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with_key_with(move |_, value| f(value), named)
    }

    /// As [`map_values`](Self::map_values), with the key to look at.
    pub fn map_values_with_key<V2>(&self, f: impl Fn(&K, V) -> V2 + Send + Sync + 'static) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        self.map_values_with_key_with(f, Named::default())
    }

    /// As [`map_values_with_key`](Self::map_values_with_key), with a name.
    pub fn map_values_with_key_with<V2>(
        &self,
        f: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
    {
        let f = Arc::new(f);
        let upstream =
            self.stateless(&named.into(), "KSTREAM-MAPVALUES-", Effect::ChangesValue, move |record, ctx| {
                let Record { key, value, timestamp, headers } = record;
                let value = f(&key, value);
                ctx.forward(Record { key, value, timestamp, headers })
            });
        KStream::new(upstream, self.key_serde.clone(), None)
    }

    /// Turns each value into any number of values, forwarded in their order under the same key, timestamp and headers.
    ///
    /// - result: other values; key, timestamp and headers stay
    /// - null: is given to the function
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let lines = builder.stream::<String, String>("lines");
    /// lines.flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()).to("words");
    /// # builder.build().unwrap();
    /// ```
    pub fn flat_map_values<V2, I>(&self, f: impl Fn(V) -> I + Send + Sync + 'static) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.flat_map_values_with(f, Named::default())
    }

    /// As [`flat_map_values`](Self::flat_map_values), with a name.
    pub fn flat_map_values_with<V2, I>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.flat_map_values_with_key_with(move |_, value| f(value), named)
    }

    /// As [`flat_map_values`](Self::flat_map_values), with the key to look at.
    pub fn flat_map_values_with_key<V2, I>(
        &self,
        f: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.flat_map_values_with_key_with(f, Named::default())
    }

    /// As [`flat_map_values_with_key`](Self::flat_map_values_with_key), with a name.
    pub fn flat_map_values_with_key_with<V2, I>(
        &self,
        f: impl Fn(&K, V) -> I + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, V2>
    where
        V2: Clone + Send + 'static,
        I: IntoIterator<Item = V2> + 'static,
    {
        let f = Arc::new(f);
        let each = move |record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, V2>| {
            let Record { key, value, timestamp, headers } = record;
            f(&key, value).into_iter().try_for_each(|value| {
                ctx.forward(Record { key: key.clone(), value, timestamp, headers: headers.clone() })
            })
        };
        let upstream = self.stateless(&named.into(), "KSTREAM-FLATMAPVALUES-", Effect::ChangesValue, each);
        KStream::new(upstream, self.key_serde.clone(), None)
    }
}

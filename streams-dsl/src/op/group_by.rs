//! group_by, group_by_key: which records are aggregated together.
//!
//! Grouping by another key repartitions; grouping by the key that is there only if an operator before may have changed
//! it. The topic is made by the aggregation, which it is named after, unless the grouping has a name. Timestamp and
//! headers stay. Null keys are dropped: at the repartition topic (not counted), or at the aggregation (counted).

use std::sync::Arc;

use kstreams_state_stores::{DefaultSerde, DynSerde};

use crate::grouped::KGroupedStream;
use crate::options::{ByType, Grouped, Named, SerdeFor};
use crate::stream::{KStream, Upstream};

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Groups the records by another key. Repartitions: the records go through an internal topic to the task that has
    /// all of their new key.
    ///
    /// - result: none before it is aggregated
    /// - null: a record whose new key is null is dropped at the repartition topic, not counted
    /// - repartition: yes, by the aggregation; state: that of the aggregation
    /// - late records: as any other
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let words = builder.stream::<(), String>("words");
    /// words.group_by(|_, word| word.chars().next().map(String::from)).count(Materialized::named("by-initial"));
    /// # builder.build().unwrap();
    /// ```
    pub fn group_by<K2>(&self, f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> KGroupedStream<K2, V>
    where
        K2: DefaultSerde + Clone + Send,
        V: DefaultSerde,
    {
        self.group_by_with(f, Grouped::with(ByType, ByType))
    }

    /// As [`group_by`](Self::group_by), with options.
    pub fn group_by_with<K2, KS, VS>(
        &self,
        f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        grouped: Grouped<KS, VS>,
    ) -> KGroupedStream<K2, V>
    where
        K2: Clone + Send + 'static,
        KS: SerdeFor<K2>,
        VS: SerdeFor<V>,
    {
        let named = grouped.name.as_deref().map_or_else(Named::default, Named::new);
        let upstream = self.selected(f, &named);
        grouping(Arc::new(upstream), None, self.value_serde.as_ref(), grouped)
    }

    /// Groups the records by their key. Repartitions only if the key may have changed since the source.
    ///
    /// - result: none before it is aggregated
    /// - null: as the aggregation says
    /// - repartition: by the aggregation if the key may have changed; state: that of the aggregation
    /// - late records: as any other
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("sold").group_by_key().count(Materialized::named("sales"));
    /// # builder.build().unwrap();
    /// ```
    pub fn group_by_key(&self) -> KGroupedStream<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.group_by_key_with(Grouped::with(ByType, ByType))
    }

    /// As [`group_by_key`](Self::group_by_key), with options.
    pub fn group_by_key_with<KS, VS>(&self, grouped: Grouped<KS, VS>) -> KGroupedStream<K, V>
    where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let carried = (self.key_serde.as_ref(), self.value_serde.as_ref());
        grouping(Arc::clone(&self.upstream), carried.0, carried.1, grouped)
    }
}

fn grouping<K, V, KS: SerdeFor<K>, VS: SerdeFor<V>>(
    upstream: Arc<Upstream>,
    key: Option<&DynSerde<K>>,
    value: Option<&DynSerde<V>>,
    grouped: Grouped<KS, VS>,
) -> KGroupedStream<K, V> {
    KGroupedStream {
        upstream,
        key_serde: grouped.key.serde(key),
        value_serde: grouped.value.serde(value),
        name: grouped.name.map(Into::into),
        repartition: Arc::default(),
    }
}

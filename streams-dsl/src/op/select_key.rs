//! select_key: another key for the same value.
//!
//! Value, timestamp and headers stay. The key counts as changed: a later grouping or join repartitions. Nothing is
//! stored. Null is given to the function.

use std::sync::Arc;

use super::stateless::Effect;
use crate::options::Named;
use crate::stream::{KStream, Upstream};

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Gives each record another key. Value, timestamp and headers stay; a later grouping or join repartitions.
    ///
    /// - result: the record under another key; value, timestamp and headers stay
    /// - null: is given to the function
    /// - repartition: by a later grouping, join or table, as the key may be another one; state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let lines = builder.stream::<(), String>("lines");
    /// lines.select_key(|_, line| line.len() as i64).to("by-length");
    /// # builder.build().unwrap();
    /// ```
    pub fn select_key<K2>(&self, f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> KStream<K2, V>
    where
        K2: Clone + Send + 'static,
    {
        self.select_key_with(f, Named::default())
    }

    /// As [`select_key`](Self::select_key), with a name.
    pub fn select_key_with<K2>(
        &self,
        f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K2, V>
    where
        K2: Clone + Send + 'static,
    {
        KStream::new(self.selected(f, &named.into()), None, self.value_serde.clone())
    }

    /// The node of `select_key`, which `group_by` begins with.
    pub(super) fn selected<K2>(
        &self,
        f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        named: &Named,
    ) -> Upstream
    where
        K2: Clone + Send + 'static,
    {
        let f = Arc::new(f);
        self.stateless(named, "KSTREAM-KEY-SELECT-", Effect::ChangesKey, move |record, ctx| {
            let key = f(&record.key, &record.value);
            ctx.forward(record.with_key(key))
        })
    }
}

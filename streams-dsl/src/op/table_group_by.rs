//! group_by of a table: its rows under another key, to be aggregated.
//!
//! Each update is sent, through a repartition topic, as what leaves the old group and what enters the new one: one
//! record with both if the group stays, else the old value first, then the new one as a second record. Rows whose new
//! key or value is null belong to no group. Timestamp and headers stay. The table tells old values from here on, so it
//! is stored if it was not.

use std::sync::Arc;

use kstreams_core::config::UpgradeFrom;
use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::{DefaultSerde, Record};

use crate::graph::GraphNode;
use crate::grouped::KGroupedTable;
use crate::null::Nulls;
use crate::options::{ByType, Grouped, SerdeFor};
use crate::table::{Change, KTable};

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Groups the rows by another key; the function gives it, and the value to aggregate. It must give the same for the
    /// same row. Repartitions. A row for which it gives a null key or value is left out.
    ///
    /// - result: none before it is aggregated
    /// - null: rows whose new key or value is null belong to no group
    /// - repartition: yes, by the aggregation; state: the table that is grouped, for its old values
    /// - late records: as any other; of a versioned table they are left out
    ///
    /// ```
    /// use kstreams_dsl::{Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let city_of = builder.table::<String, String>("city-of-person");
    /// city_of.group_by(|person, city| (city, person.clone())).count(Materialized::named("inhabitants"));
    /// # builder.build().unwrap();
    /// ```
    pub fn group_by<K2, V2>(
        &self,
        f: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KGroupedTable<K2, V2>
    where
        K2: DefaultSerde + PartialEq + Clone + Send,
        V2: DefaultSerde + Clone + Send,
    {
        self.group_by_with(f, Grouped::with(ByType, ByType))
    }

    /// As [`group_by`](Self::group_by), with options.
    pub fn group_by_with<K2, V2, KS, VS>(
        &self,
        f: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
        grouped: Grouped<KS, VS>,
    ) -> KGroupedTable<K2, V2>
    where
        K2: PartialEq + Clone + Send + 'static,
        V2: Clone + Send + 'static,
        KS: SerdeFor<K2>,
        VS: SerdeFor<V2>,
    {
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(grouped.name.as_deref(), "KTABLE-SELECT-");
        let f = Arc::new(f);
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let f = Arc::clone(&f);
                let latest_only = writing.is_versioned();
                let as_two = writing.settings.upgrade_from.is_some_and(|from| from <= NO_CHANGES_OF_BOTH);
                let supplier = move || Regroup {
                    f: Arc::clone(&f),
                    keys: Nulls::of(),
                    values: Nulls::of(),
                    latest_only,
                    as_two,
                };
                let parents = writing.parents;
                topology
                    .add_processor::<K, Change<V>, K2, Change<V2>, _>(&name, supplier, parents)
                    .map(|_| ())
            })
        };
        let node = graph.add(node);
        drop(graph);
        self.origin.enable_old_values(true);
        KGroupedTable {
            upstream: Arc::new(self.upstream.then(node, name)),
            key_serde: grouped.key.serde(None),
            value_serde: grouped.value.serde(None),
            name: grouped.name.map(Into::into),
            repartition: Arc::default(),
        }
    }
}

/// The last release that wrote the old and the new value of a group in two records, always.
const NO_CHANGES_OF_BOTH: UpgradeFrom = UpgradeFrom::new(3, 4);

/// Turns the update of a row into those of its groups.
struct Regroup<F, K2, V2> {
    f: Arc<F>,
    keys: Nulls<K2>,
    values: Nulls<V2>,
    /// The table is versioned: late updates are left out.
    latest_only: bool,
    /// Instances of an older release cannot read an old and a new value in one record.
    as_two: bool,
}

impl<F, K2: 'static, V2: 'static> Regroup<F, K2, V2> {
    /// The row's key and value in its group; `None`: it is in none.
    fn member<K, V>(&self, key: &K, value: Option<V>) -> Option<(K2, V2)>
    where
        F: Fn(&K, V) -> (K2, V2),
    {
        let (key, value) = (self.f)(key, value?);
        Some((self.keys.present(key)?, self.values.present(value)?))
    }
}

impl<K, V, K2, V2, F> Processor<K, Change<V>, K2, Change<V2>> for Regroup<F, K2, V2>
where
    K2: PartialEq + Clone + Send + 'static,
    V2: Clone + Send + 'static,
    F: Fn(&K, V) -> (K2, V2) + Send + Sync,
{
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K2, Change<V2>>,
    ) -> ProcessResult {
        let Record { key, value: change, timestamp, headers } = record;
        if self.latest_only && !change.is_latest {
            return Ok(());
        }
        let (new, old) = (self.member(&key, change.new), self.member(&key, change.old));
        let mut send = |key: K2, new: Option<V2>, old: Option<V2>| {
            ctx.forward(Record { key, value: Change::new(new, old), timestamp, headers: headers.clone() })
        };
        match (new, old) {
            (Some((key, new)), Some((old_key, old))) if key == old_key && !self.as_two => {
                send(key, Some(new), Some(old))
            }
            (new, old) => {
                if let Some((key, old)) = old {
                    send(key, None, Some(old))?;
                }
                match new {
                    Some((key, new)) => send(key, Some(new), None),
                    None => Ok(()),
                }
            }
        }
    }
}

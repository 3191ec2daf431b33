//! join, left_join, outer_join of two tables: for each key the values of both.
//!
//! An update of either side gives an update of the result, with the update's headers and the later of both sides'
//! timestamps. Where the join has no result (inner: a side is missing; left: the left side; outer: both), an update that
//! took a partner away is a deletion, and one that never had a partner gives nothing. A joiner that gives `None` deletes
//! the key too. Both tables are stored and must have equally many partitions; nothing is repartitioned. The result is
//! stored only if a `Materialized` says so. A record with a null key was dropped by the tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::Record;

use super::merge::other_builder;
use crate::graph::{GraphNode, Writing};
use crate::null::Nulls;
use crate::options::{Named, TableMaterialization, TableSpec, Unmaterialized};
use crate::stream::Upstream;
use crate::table::{
    Change, Combine, GetterSupplier, KTable, TableFlags, TableOrigin, TableStore, ValueGetter,
};

/// Which side may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The keys that both tables have, with both values joined.
    ///
    /// - result: per update of either side, with its headers and the later of both timestamps
    /// - null: a deletion takes the result away; a joiner's `None` deletes it
    /// - repartition: none; state: both tables, the result only with a `Materialized` that has a name
    /// - late records: as any other, unless a table is versioned, which then leaves them out
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names");
    /// let ages = builder.table::<String, i32>("ages");
    /// names.join(&ages, |name, age| format!("{name} ({age})")).to_stream().to("people");
    /// # builder.build().unwrap();
    /// ```
    pub fn join<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(V, V2) -> VO + Send + Sync + 'static,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.join_with(other, joiner, Named::default(), Unmaterialized)
    }

    /// As [`join`](Self::join), with a name, and a store or none.
    pub fn join_with<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(V, V2) -> VO + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, VO>,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let nulls = Nulls::of();
        let combine = move |_: &K, left: Option<V>, right: Option<V2>| nulls.present(joiner(left?, right?));
        self.join_table(other, Kind::Inner, Arc::new(combine), &named.into(), materialized)
    }

    /// The keys of this table, joined with the other table's values where it has them.
    ///
    /// - result: per update of either side, with its headers and the later of both timestamps
    /// - null: a deletion takes the result away; a joiner's `None` deletes it
    /// - repartition: none; state: both tables, the result only with a `Materialized` that has a name
    /// - late records: as any other, unless a table is versioned, which then leaves them out
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names");
    /// let ages = builder.table::<String, i32>("ages");
    /// let text = |name: String, age: Option<i32>| format!("{name} ({})", age.unwrap_or(-1));
    /// names.left_join(&ages, text).to_stream().to("people");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(V, Option<V2>) -> VO + Send + Sync + 'static,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.left_join_with(other, joiner, Named::default(), Unmaterialized)
    }

    /// As [`left_join`](Self::left_join), with a name, and a store or none.
    pub fn left_join_with<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(V, Option<V2>) -> VO + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, VO>,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let nulls = Nulls::of();
        let combine = move |_: &K, left: Option<V>, right: Option<V2>| nulls.present(joiner(left?, right));
        self.join_table(other, Kind::Left, Arc::new(combine), &named.into(), materialized)
    }

    /// The keys of either table; at least one side is there.
    ///
    /// - result: per update of either side, with its headers and the later of both timestamps
    /// - null: a deletion takes the result away; a joiner's `None` deletes it
    /// - repartition: none; state: both tables, the result only with a `Materialized` that has a name
    /// - late records: as any other, unless a table is versioned, which then leaves them out
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names");
    /// let ages = builder.table::<String, i32>("ages");
    /// let text = |name: Option<String>, age: Option<i32>| format!("{name:?} {age:?}");
    /// names.outer_join(&ages, text).to_stream().to("people");
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(Option<V>, Option<V2>) -> VO + Send + Sync + 'static,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.outer_join_with(other, joiner, Named::default(), Unmaterialized)
    }

    /// As [`outer_join`](Self::outer_join), with a name, and a store or none.
    pub fn outer_join_with<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        joiner: impl Fn(Option<V>, Option<V2>) -> VO + Send + Sync + 'static,
        named: impl Into<Named>,
        materialized: impl TableMaterialization<K, VO>,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let nulls = Nulls::of();
        let combine = move |_: &K, left: Option<V>, right: Option<V2>| {
            if left.is_none() && right.is_none() { None } else { nulls.present(joiner(left, right)) }
        };
        self.join_table(other, Kind::Outer, Arc::new(combine), &named.into(), materialized)
    }

    fn join_table<V2, VO>(
        &self,
        other: &KTable<K, V2>,
        kind: Kind,
        combine: Combine<K, V, V2, VO>,
        named: &Named,
        materialized: impl TableMaterialization<K, VO>,
    ) -> KTable<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let mut graph = self.upstream.graph.lock();
        if !self.upstream.graph.is(&other.upstream.graph) {
            graph.fail(other_builder("joined"));
        }
        let generated = materialized.is_given_without_name().then(|| graph.names.store("KTABLE-MERGE-"));
        let name = graph.names.or_processor(named.name(), "KTABLE-MERGE-");
        let this_name = graph.names.or_suffixed(named.name(), "-join-this", "KTABLE-JOINTHIS-");
        let other_name = graph.names.or_suffixed(named.name(), "-join-other", "KTABLE-JOINOTHER-");
        let queryable_name = generated.is_none();
        let spec = materialized.into_spec(generated, self.key_serde.as_ref(), None);
        let key_serde = spec.as_ref().map(|spec| spec.key.clone()).or_else(|| self.key_serde.clone());
        let value_serde = spec.as_ref().map(|spec| spec.value.clone());
        let queryable = spec.as_ref().filter(|_| queryable_name).map(|spec| Arc::from(&*spec.name));
        let versioned = spec.as_ref().is_some_and(TableSpec::is_versioned);
        let sources: BTreeSet<String> =
            self.upstream.sources.union(&other.upstream.sources).cloned().collect();
        graph.copartition(sources.clone());
        if kind != Kind::Inner {
            self.origin.enable_old_values(true);
        }
        if kind == Kind::Outer {
            other.origin.enable_old_values(true);
        }
        let join = Arc::new(JoinTable {
            left: Arc::clone(&self.origin),
            right: Arc::clone(&other.origin),
            getters: (self.origin.getter(), other.origin.getter()),
            kind,
            combine,
            names: [name.clone(), this_name, other_name],
            parents: [self.upstream.name.clone(), other.upstream.name.clone()],
            flags: TableFlags::new(spec.is_some()),
            spec,
        });
        let parents = [self.upstream.node, other.upstream.node];
        let writer = {
            let join = Arc::clone(&join);
            GraphNode::operator(name.clone(), parents, move |topology, writing| join.write(topology, writing))
        };
        let node = graph.add(writer.versioned(versioned));
        drop(graph);
        let upstream = Upstream { sources, ..self.upstream.then(node, name) };
        KTable { upstream: Arc::new(upstream), key_serde, value_serde, origin: join, queryable }
    }
}

/// A join of two tables while the graph is built: three nodes, one for the updates of each side and one where they meet.
struct JoinTable<K, A, B, V> {
    left: Arc<dyn TableOrigin<K, A>>,
    right: Arc<dyn TableOrigin<K, B>>,
    getters: (GetterSupplier<K, A>, GetterSupplier<K, B>),
    kind: Kind,
    combine: Combine<K, A, B, V>,
    /// Merge, this, other.
    names: [String; 3],
    /// The nodes of the two tables.
    parents: [String; 2],
    spec: Option<TableSpec<K, V>>,
    flags: Arc<TableFlags>,
}

impl<K, A, B, V> JoinTable<K, A, B, V>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
    B: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn write(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let versioned = |side: usize| writing.versioned.get(side).copied().unwrap_or(false);
        let [merge, this, other] = &self.names;
        let [left, right] = &self.parents;
        let old_values = self.flags.tells_old_values();

        let (combine, make) = (Arc::clone(&self.combine), Arc::clone(&self.getters.1.make));
        let (needs_partner, latest_only) = (self.kind == Kind::Inner, versioned(0));
        let supplier = move || TableJoin {
            getter: make(),
            combine: Arc::clone(&combine),
            needs_partner,
            latest_only,
            old_values,
        };
        topology.add_processor::<K, Change<A>, K, Change<V>, _>(this, supplier, &[left])?;

        let (combine, make) = (Arc::clone(&self.combine), Arc::clone(&self.getters.0.make));
        let mirrored: Combine<K, B, A, V> = Arc::new(move |key, right, left| combine(key, left, right));
        let (needs_partner, latest_only) = (self.kind != Kind::Outer, versioned(1));
        let supplier = move || TableJoin {
            getter: make(),
            combine: Arc::clone(&mirrored),
            needs_partner,
            latest_only,
            old_values,
        };
        topology.add_processor::<K, Change<B>, K, Change<V>, _>(other, supplier, &[right])?;

        let store = self.spec.as_ref().map(|spec| spec.name.clone());
        let supplier = move || JoinMerger { store: store.clone(), old_values, table: None };
        topology.add_processor::<K, Change<V>, K, Change<V>, _>(merge, supplier, &[this, other])?;

        connect(topology, this, &self.getters.1.stores)?;
        connect(topology, other, &self.getters.0.stores)?;
        if let Some(spec) = &self.spec {
            spec.add_key_value(topology, writing, merge)?;
        }
        Ok(())
    }
}

/// Gives a node the stores that it looks values up in.
pub(crate) fn connect(topology: &mut Topology, node: &str, stores: &[String]) -> Result<(), TopologyError> {
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    topology.connect_processor_and_state_stores(node, &stores).map(|_| ())
}

impl<K, A, B, V> TableOrigin<K, V> for JoinTable<K, A, B, V>
where
    K: Send + 'static,
    A: Send + 'static,
    B: Send + 'static,
    V: Send + 'static,
{
    fn enable_old_values(&self, _force: bool) -> bool {
        // The joined tables are stored already, because the join looks them up.
        self.left.enable_old_values(true);
        self.right.enable_old_values(true);
        self.flags.tell_old_values();
        true
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        match &self.spec {
            Some(spec) => GetterSupplier::of_store(&spec.name),
            None => {
                let (left, right) = self.getters.clone();
                GetterSupplier::joined(left, right, Arc::clone(&self.combine))
            }
        }
    }
}

/// The updates of one side, joined with the other side's current values.
struct TableJoin<K, A, B, V> {
    getter: Box<dyn ValueGetter<K, B>>,
    combine: Combine<K, A, B, V>,
    /// Without a partner there is no result before and none after the update.
    needs_partner: bool,
    /// The table is versioned: late updates are dropped.
    latest_only: bool,
    old_values: bool,
}

impl<K, A, B, V> Processor<K, Change<A>, K, Change<V>> for TableJoin<K, A, B, V>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
    B: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.getter.init(ctx)
    }

    fn process(
        &mut self,
        record: Record<K, Change<A>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        let Record { key, value: change, timestamp, headers } = record;
        if self.latest_only && !change.is_latest {
            ctx.drop_record("late update of a versioned table in a table-table join");
            return Ok(());
        }
        let partner = self.getter.get(&key, &mut ctx.stores())?;
        let nothing_here = change.new.is_none() && change.old.is_none();
        if partner.is_none() && (self.needs_partner || nothing_here) {
            return Ok(());
        }
        let timestamp = partner.as_ref().map_or(timestamp, |partner| timestamp.max(partner.timestamp));
        let partner = partner.map(|partner| partner.value);
        let old = match self.old_values {
            true => (self.combine)(&key, change.old, partner.clone()),
            false => None,
        };
        let new = (self.combine)(&key, change.new, partner);
        let value = Change { new, old, is_latest: change.is_latest };
        ctx.forward(Record { key, value, timestamp, headers })
    }
}

/// Where the updates of both sides meet: stores the result if it is to be stored.
struct JoinMerger<K, V> {
    store: Option<String>,
    old_values: bool,
    table: Option<TableStore<K, V>>,
}

impl<K, V> Processor<K, Change<V>, K, Change<V>> for JoinMerger<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        if let Some(store) = &self.store {
            self.table = Some(TableStore::open(store, self.old_values, ctx)?);
        }
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        match &self.table {
            Some(table) => table.update(record, ctx),
            None => ctx.forward(record),
        }
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<V>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

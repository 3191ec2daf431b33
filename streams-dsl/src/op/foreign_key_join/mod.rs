//! join_on_foreign_key, left_join_on_foreign_key: each row of a table with the row of another table that it refers to.
//!
//! A row that comes or changes is announced to the partition of its foreign key, through an internal topic; there the
//! announcement is kept as a subscription, and answered through a second one with the other table's value, now and at each
//! change. An answer that was meant for what the row was before (its hash tells) is dropped and counted; the right one
//! is on its way.
//!
//! The result has the key of this table. An update of this table's row gives the later of both sides' timestamps, one of
//! the other table its own; headers are those of the update. Inner: rows that refer to nothing have no result, and a
//! result that ceases is deleted; a row without a foreign key counts as dropped. Left: such rows are joined with `None`. A row's deletion deletes its result. Both tables are stored; the tables need not have
//! equally many partitions.

mod graph;
mod messages;
mod murmur3;
mod processor;

use std::sync::Arc;

use kstreams_state_stores::{DefaultSerde, DynSerde};

use crate::null::Nulls;
use crate::options::{Materialized, SerdeFor, TableJoined, default_serde};
use crate::table::KTable;
use graph::JoinSerdes;

/// The foreign key of a row, if it has one.
type Extract<K, V, KO> = Arc<dyn Fn(&K, &V) -> Option<KO> + Send + Sync>;

/// The result of a row and what it refers to; `None`: there is none.
type Combine<V, VO, VR> = Arc<dyn Fn(Option<V>, Option<VO>) -> Option<VR> + Send + Sync>;

/// What [`join_on_foreign_key`](KTable::join_on_foreign_key) finds in a row: the key of the other table, or an `Option` of
/// it where a row may refer to nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key of the other table, whose keys are `{KO}`",
    label = "this row's foreign key is found here",
    note = "the foreign key has to be a `{KO}`, or an `Option` of it where a row may refer to nothing"
)]
pub trait ForeignKey<KO> {
    /// The key, if there is one.
    fn foreign_key(self) -> Option<KO>;
}

impl<KO> ForeignKey<KO> for KO {
    fn foreign_key(self) -> Option<KO> {
        Some(self)
    }
}

impl<KO> ForeignKey<KO> for Option<KO> {
    fn foreign_key(self) -> Option<KO> {
        self
    }
}

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Each row with the row of `other` whose key `extract` finds in it. `extract` answers the foreign key, or an `Option`
    /// of it where a row may refer to nothing.
    ///
    /// - result: per update of either side, with its headers; of this side with the later of both timestamps
    /// - null: a deletion takes the result away; a row without foreign key has none (left: it is joined with `None`)
    /// - repartition: through two internal topics; state: both tables, the subscriptions, the result where it is needed
    /// - late records: as any other, unless a table is versioned, which then leaves them out
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// // order -> "customer,amount"; customer -> name
    /// let orders = builder.table::<u64, String>("orders");
    /// let customers = builder.table::<String, String>("customers");
    /// orders
    ///     .join_on_foreign_key(
    ///         &customers,
    ///         |_order, text| text.split(',').next().map(str::to_owned),
    ///         |order, customer| format!("{order} by {customer}"),
    ///     )
    ///     .to_stream()
    ///     .to("orders-with-customers");
    /// # builder.build().unwrap();
    /// ```
    pub fn join_on_foreign_key<KO, VO, VR, F>(
        &self,
        other: &KTable<KO, VO>,
        extract: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(V, VO) -> VR + Send + Sync + 'static,
    ) -> KTable<K, VR>
    where
        K: DefaultSerde,
        V: DefaultSerde,
        KO: DefaultSerde + Clone + Send,
        VO: DefaultSerde + Clone + Send,
        VR: DefaultSerde + Clone + Send,
        F: ForeignKey<KO>,
    {
        let (this, other) = (self.with_default_serdes(), other.with_default_serdes());
        this.join_on_foreign_key_with(
            &other,
            extract,
            joiner,
            TableJoined::default(),
            Materialized::default(),
        )
    }

    /// As [`join_on_foreign_key`](Self::join_on_foreign_key), with a name, partitioners, and a store for the result. The
    /// serdes of both tables are those that `joined` names, or else that they came with; a table without (one that was
    /// mapped and not stored) is an error of [`build`](crate::StreamsBuilder::build).
    pub fn join_on_foreign_key_with<KO, VO, VR, F, KS, VS>(
        &self,
        other: &KTable<KO, VO>,
        extract: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(V, VO) -> VR + Send + Sync + 'static,
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, VR>
    where
        KO: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        VR: Clone + Send + 'static,
        F: ForeignKey<KO>,
        KS: SerdeFor<K>,
        VS: SerdeFor<VR>,
    {
        let nulls = Nulls::of();
        let combine: Combine<V, VO, VR> = Arc::new(move |row, other| nulls.present(joiner(row?, other?)));
        self.join_foreign(other, foreign_key(extract), combine, false, joined, materialized)
    }

    /// As [`join_on_foreign_key`](Self::join_on_foreign_key), where a row that refers to nothing is joined with `None`.
    ///
    /// - result: per update of either side, with its headers; of this side with the later of both timestamps
    /// - null: a deletion takes the result away; a row without foreign key has none (left: it is joined with `None`)
    /// - repartition: through two internal topics; state: both tables, the subscriptions, the result where it is needed
    /// - late records: as any other, unless a table is versioned, which then leaves them out
    pub fn left_join_on_foreign_key<KO, VO, VR, F>(
        &self,
        other: &KTable<KO, VO>,
        extract: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(V, Option<VO>) -> VR + Send + Sync + 'static,
    ) -> KTable<K, VR>
    where
        K: DefaultSerde,
        V: DefaultSerde,
        KO: DefaultSerde + Clone + Send,
        VO: DefaultSerde + Clone + Send,
        VR: DefaultSerde + Clone + Send,
        F: ForeignKey<KO>,
    {
        let (this, other) = (self.with_default_serdes(), other.with_default_serdes());
        let (joined, materialized) = (TableJoined::default(), Materialized::default());
        this.left_join_on_foreign_key_with(&other, extract, joiner, joined, materialized)
    }

    /// As [`left_join_on_foreign_key`](Self::left_join_on_foreign_key), with options as
    /// [`join_on_foreign_key_with`](Self::join_on_foreign_key_with) takes them.
    pub fn left_join_on_foreign_key_with<KO, VO, VR, F, KS, VS>(
        &self,
        other: &KTable<KO, VO>,
        extract: impl Fn(&K, &V) -> F + Send + Sync + 'static,
        joiner: impl Fn(V, Option<VO>) -> VR + Send + Sync + 'static,
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, VR>
    where
        KO: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        VR: Clone + Send + 'static,
        F: ForeignKey<KO>,
        KS: SerdeFor<K>,
        VS: SerdeFor<VR>,
    {
        let nulls = Nulls::of();
        let combine: Combine<V, VO, VR> = Arc::new(move |row, other| nulls.present(joiner(row?, other)));
        self.join_foreign(other, foreign_key(extract), combine, true, joined, materialized)
    }

    /// This table, with the types' own serdes where it came with none.
    fn with_default_serdes(&self) -> KTable<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        let key_serde = self.key_serde.clone().or_else(|| Some(default_serde()));
        let value_serde = self.value_serde.clone().or_else(|| Some(default_serde()));
        KTable { key_serde, value_serde, ..self.clone() }
    }
}

/// The serdes of both tables, as far as the join writes with them: those named for the join, or else those that the tables
/// came with.
fn serdes<K, V, KO, VO>(
    this: &KTable<K, V>,
    other: &KTable<KO, VO>,
    joined: &TableJoined<K, V, KO, VO>,
) -> Result<JoinSerdes<K, V, KO, VO>, String> {
    let (this_name, other_name) = (&this.upstream.name, &other.upstream.name);
    Ok(JoinSerdes {
        key: first(&joined.key, &this.key_serde, "keys", this_name)?,
        value: first(&joined.value, &this.value_serde, "values", this_name)?,
        foreign_key: first(&joined.other_key, &other.key_serde, "keys", other_name)?,
        foreign_value: first(&joined.other_value, &other.value_serde, "values", other_name)?,
    })
}

fn first<T>(
    named: &Option<DynSerde<T>>,
    carried: &Option<DynSerde<T>>,
    what: &str,
    table: &str,
) -> Result<DynSerde<T>, String> {
    named.clone().or_else(|| carried.clone()).ok_or_else(|| {
        format!(
            "a foreign-key join has to write the {what} of {table} and knows no serde for them: name it in \
             TableJoined, or materialize that table with its serdes"
        )
    })
}

fn foreign_key<K, V, KO: 'static, F: ForeignKey<KO>>(
    extract: impl Fn(&K, &V) -> F + Send + Sync + 'static,
) -> Extract<K, V, KO> {
    let nulls = Nulls::of();
    Arc::new(move |key, value| nulls.present(extract(key, value).foreign_key()?))
}

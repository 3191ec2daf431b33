//! join_global and left_join_global of a stream with a global table: each record with the table's value of a key that is
//! computed of the record.
//!
//! Only records of the stream give results; the result has their key, timestamp and headers. The stream need not be
//! partitioned by the table's key and is not repartitioned; if its key changed, it still counts as changed. A record
//! whose value is null is dropped and counted. The computed key decides about the rest: where it is null the inner join
//! drops the record and counts it, the left join gives the joiner `None`; the stream's own key may be null. Without a
//! partner the inner join gives nothing, the left join gives the joiner `None`. No state but the table's is kept, and
//! there is no lateness: a record meets the table as it is when the record is processed.

use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::Record;

use crate::graph::GraphNode;
use crate::null::Nulls;
use crate::options::Named;
use crate::stream::KStream;
use crate::table::{GlobalKTable, ValueGetter};

/// Makes a result of a record's key and value and the table's value; `None`: there is no result.
type Join<K, V, VG, VO> = Arc<dyn Fn(&K, V, Option<VG>) -> Option<VO> + Send + Sync>;
/// The key to look up.
type SelectKey<K, V, KG> = Arc<dyn Fn(&K, &V) -> KG + Send + Sync>;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Each record with the table's value of the key that `select_key` computes; records without one give nothing.
    ///
    /// - result: per record of the stream, with its key, timestamp and headers
    /// - null: a null value is dropped and counted, and so is a null key to look up; a left join joins that with `None`
    /// - repartition: none; state: the whole table on every instance
    /// - late records: meet the table as it is now
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let rates = builder.global_table::<String, f64>("rates");
    /// let prices = builder.stream::<String, f64>("prices");
    /// let currency = |product: &String, _: &f64| product[..3].to_owned();
    /// prices.join_global(&rates, currency, |price, rate| price * rate).to("prices-in-euro");
    /// # builder.build().unwrap();
    /// ```
    pub fn join_global<KG, VG, VO>(
        &self,
        table: &GlobalKTable<KG, VG>,
        select_key: impl Fn(&K, &V) -> KG + Send + Sync + 'static,
        joiner: impl Fn(V, VG) -> VO + Send + Sync + 'static,
    ) -> KStream<K, VO>
    where
        KG: Clone + Send + 'static,
        VG: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.join_global_with(
            table,
            select_key,
            move |_, value, other| joiner(value, other),
            Named::default(),
        )
    }

    /// As [`join_global`](Self::join_global), with a name and the stream's key to look at.
    pub fn join_global_with<KG, VG, VO>(
        &self,
        table: &GlobalKTable<KG, VG>,
        select_key: impl Fn(&K, &V) -> KG + Send + Sync + 'static,
        joiner: impl Fn(&K, V, VG) -> VO + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, VO>
    where
        KG: Clone + Send + 'static,
        VG: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let join: Join<K, V, VG, VO> = Arc::new(move |key, value, other| Some(joiner(key, value, other?)));
        self.with_global(table, Arc::new(select_key), join, false, &named.into())
    }

    /// Each record with the table's value of the key that `select_key` computes, or with `None` where there is none.
    ///
    /// - result: per record of the stream, with its key, timestamp and headers
    /// - null: a null value is dropped and counted, and so is a null key to look up; a left join joins that with `None`
    /// - repartition: none; state: the whole table on every instance
    /// - late records: meet the table as it is now
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let rates = builder.global_table::<String, f64>("rates");
    /// let prices = builder.stream::<String, f64>("prices");
    /// let currency = |product: &String, _: &f64| product[..3].to_owned();
    /// prices.left_join_global(&rates, currency, |price, rate| price * rate.unwrap_or(1.0)).to("prices-in-euro");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join_global<KG, VG, VO>(
        &self,
        table: &GlobalKTable<KG, VG>,
        select_key: impl Fn(&K, &V) -> KG + Send + Sync + 'static,
        joiner: impl Fn(V, Option<VG>) -> VO + Send + Sync + 'static,
    ) -> KStream<K, VO>
    where
        KG: Clone + Send + 'static,
        VG: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let joiner = move |_: &K, value, other| joiner(value, other);
        self.left_join_global_with(table, select_key, joiner, Named::default())
    }

    /// As [`left_join_global`](Self::left_join_global), with a name and the stream's key to look at.
    pub fn left_join_global_with<KG, VG, VO>(
        &self,
        table: &GlobalKTable<KG, VG>,
        select_key: impl Fn(&K, &V) -> KG + Send + Sync + 'static,
        joiner: impl Fn(&K, V, Option<VG>) -> VO + Send + Sync + 'static,
        named: impl Into<Named>,
    ) -> KStream<K, VO>
    where
        KG: Clone + Send + 'static,
        VG: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let join: Join<K, V, VG, VO> = Arc::new(move |key, value, other| Some(joiner(key, value, other)));
        self.with_global(table, Arc::new(select_key), join, true, &named.into())
    }

    fn with_global<KG, VG, VO>(
        &self,
        table: &GlobalKTable<KG, VG>,
        select_key: SelectKey<K, V, KG>,
        join: Join<K, V, VG, VO>,
        is_left: bool,
        named: &Named,
    ) -> KStream<K, VO>
    where
        KG: Clone + Send + 'static,
        VG: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        let make = Arc::clone(&table.getter.make);
        let mut graph = self.upstream.graph.lock();
        // The JVM's generated name is the same for both kinds.
        let name = graph.names.or_processor(named.name(), "KSTREAM-LEFTJOIN-");
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let (make, select_key, join) =
                    (Arc::clone(&make), Arc::clone(&select_key), Arc::clone(&join));
                let supplier = move || StreamGlobalJoin {
                    getter: make(),
                    select_key: Arc::clone(&select_key),
                    join: Arc::clone(&join),
                    is_left,
                    null_keys: Nulls::of(),
                    null_values: Nulls::of(),
                };
                topology.add_processor::<K, V, K, VO, _>(&name, supplier, writing.parents).map(|_| ())
            })
        };
        let node = graph.add(node.takes_null_keys(is_left));
        drop(graph);
        KStream::new(self.upstream.then(node, name), self.key_serde.clone(), None)
    }
}

struct StreamGlobalJoin<K, V, KG, VG, VO> {
    getter: Box<dyn ValueGetter<KG, VG>>,
    select_key: SelectKey<K, V, KG>,
    join: Join<K, V, VG, VO>,
    is_left: bool,
    null_keys: Nulls<KG>,
    null_values: Nulls<V>,
}

impl<K, V, KG, VG, VO> Processor<K, V, K, VO> for StreamGlobalJoin<K, V, KG, VG, VO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    KG: Clone + Send + 'static,
    VG: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.getter.init(ctx)
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, VO>) -> ProcessResult {
        let Record { key, value, timestamp, headers } = record;
        if self.null_values.is_null(&value) {
            ctx.drop_record("null value in a stream-global join");
            return Ok(());
        }
        let global_key = (self.select_key)(&key, &value);
        let null_key = self.null_keys.is_null(&global_key);
        if null_key && !self.is_left {
            ctx.drop_record("null key selected in a stream-global join");
            return Ok(());
        }
        let other = match null_key {
            true => None,
            false => self.getter.get(&global_key, &mut ctx.stores())?.map(|other| other.value),
        };
        match (self.join)(&key, value, other) {
            Some(value) => ctx.forward(Record { key, value, timestamp, headers }),
            None => Ok(()),
        }
    }
}

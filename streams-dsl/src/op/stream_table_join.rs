//! join and left_join of a stream with a table: each record of the stream with the table's current value of its key.
//!
//! Only records of the stream give results; the result has their key, timestamp and headers. A record whose value is
//! null is dropped and counted, and so is, for an inner join, one whose key is null; a left join joins a null key with
//! nothing. Without a partner the inner join gives nothing, the left join gives the joiner `None`. The stream is
//! repartitioned first if its key changed; stream and table must have equally many partitions. The table is stored.
//! There is no lateness: a record meets the table as it is when the record is processed, or, if the table is versioned,
//! as it was at the record's time. With a grace, which needs a versioned table, a record is kept in a buffer store until
//! stream time has passed its time by the grace, so that late updates of the table are there; one that is late by more is
//! joined at once. A null key cannot be buffered: with a grace it is an error of a left join.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use kstreams_core::processor::{InitContext, ProcessError, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{BufferedRecord, KeyValueStoreBuilder, Record};

use super::join_buffer::JoinBuffer;
use super::merge::other_builder;
use super::repartition;
use super::table_join::connect;
use crate::graph::GraphNode;
use crate::null::Nulls;
use crate::options::{ByType, Joined, SerdeOverride};
use crate::stream::{KStream, Upstream};
use crate::table::{KTable, ValueGetter};
use crate::windows::millis;

/// Makes a result of a record's key and value and the table's value; `None`: there is no result.
type Join<K, V, VT, VO> = Arc<dyn Fn(&K, V, Option<VT>) -> Option<VO> + Send + Sync>;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Each record with the table's value of its key; records without one give nothing.
    ///
    /// - result: per record of the stream, with its key, timestamp and headers
    /// - null: a null value is dropped and counted, and so is a null key; a left join joins that with `None`
    /// - repartition: the stream, if its key changed; state: the table, and with a grace the records that wait
    /// - late records: meet the table as it is now, or, if it is versioned, as it was at their time
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let customers = builder.table::<String, String>("customers");
    /// orders.join(&customers, |amount, customer| format!("{customer} ordered {amount}")).to("texts");
    /// # builder.build().unwrap();
    /// ```
    pub fn join<VT, VO>(
        &self,
        table: &KTable<K, VT>,
        joiner: impl Fn(V, VT) -> VO + Send + Sync + 'static,
    ) -> KStream<K, VO>
    where
        VT: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.join_with(table, move |_, value, other| joiner(value, other), Joined::with(ByType, ByType))
    }

    /// As [`join`](Self::join), with options and the key to look at.
    pub fn join_with<VT, VO, KS, VS>(
        &self,
        table: &KTable<K, VT>,
        joiner: impl Fn(&K, V, VT) -> VO + Send + Sync + 'static,
        joined: Joined<KS, VS>,
    ) -> KStream<K, VO>
    where
        VT: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let join: Join<K, V, VT, VO> = Arc::new(move |key, value, other| Some(joiner(key, value, other?)));
        self.join_table(table, join, false, joined)
    }

    /// Each record with the table's value of its key, or with `None` where there is none.
    ///
    /// - result: per record of the stream, with its key, timestamp and headers
    /// - null: a null value is dropped and counted, and so is a null key; a left join joins that with `None`
    /// - repartition: the stream, if its key changed; state: the table, and with a grace the records that wait
    /// - late records: meet the table as it is now, or, if it is versioned, as it was at their time
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let customers = builder.table::<String, String>("customers");
    /// let name = |amount: i64, customer: Option<String>| format!("{amount} by {}", customer.unwrap_or_default());
    /// orders.left_join(&customers, name).to("texts");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join<VT, VO>(
        &self,
        table: &KTable<K, VT>,
        joiner: impl Fn(V, Option<VT>) -> VO + Send + Sync + 'static,
    ) -> KStream<K, VO>
    where
        VT: Clone + Send + 'static,
        VO: Clone + Send + 'static,
    {
        self.left_join_with(table, move |_, value, other| joiner(value, other), Joined::with(ByType, ByType))
    }

    /// As [`left_join`](Self::left_join), with options and the key to look at.
    pub fn left_join_with<VT, VO, KS, VS>(
        &self,
        table: &KTable<K, VT>,
        joiner: impl Fn(&K, V, Option<VT>) -> VO + Send + Sync + 'static,
        joined: Joined<KS, VS>,
    ) -> KStream<K, VO>
    where
        VT: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let join: Join<K, V, VT, VO> = Arc::new(move |key, value, other| Some(joiner(key, value, other)));
        self.join_table(table, join, true, joined)
    }

    fn join_table<VT, VO, KS, VS>(
        &self,
        table: &KTable<K, VT>,
        join: Join<K, V, VT, VO>,
        is_left: bool,
        joined: Joined<KS, VS>,
    ) -> KStream<K, VO>
    where
        VT: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        KS: SerdeOverride<K>,
        VS: SerdeOverride<V>,
    {
        let Joined { key, value, name: given, grace } = joined;
        let key_serde = key.given().or_else(|| self.key_serde.clone()).or_else(|| table.key_serde.clone());
        let with_serdes = KStream {
            key_serde,
            value_serde: value.given().or_else(|| self.value_serde.clone()),
            ..self.clone()
        };
        let stream = with_serdes.partitioned_for_join(given.as_deref());
        let getter = table.origin.getter();
        let mut graph = stream.upstream.graph.lock();
        if !stream.upstream.graph.is(&table.upstream.graph) {
            graph.fail(other_builder("joined"));
        }
        let sources: BTreeSet<String> =
            stream.upstream.sources.union(&table.upstream.sources).cloned().collect();
        graph.copartition(sources.clone());
        let prefix = if is_left { "KSTREAM-LEFTJOIN-" } else { "KSTREAM-JOIN-" };
        let name = graph.names.or_processor(given.as_deref(), prefix);
        let serdes = stream.key_serde.clone().zip(stream.value_serde.clone());
        if grace.is_some() && serdes.is_none() {
            graph.fail(missing_serdes::<K, V>("buffer", &stream.upstream.name));
        }
        if grace.is_some() && given.is_none() {
            graph.names.note_unnamed_store(&format!("{name}-Buffer"));
        }
        let buffer =
            serdes.zip(grace).map(|(serdes, grace)| (format!("{name}-Buffer"), millis(grace), serdes));
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [stream.upstream.node], move |topology, writing| {
                let (join, make) = (Arc::clone(&join), Arc::clone(&getter.make));
                let buffered = buffer.as_ref().map(|(store, grace_ms, _)| (store.clone(), *grace_ms));
                let supplier = move || {
                    let buffer = buffered.as_ref().map(|(store, grace_ms)| JoinBuffer::new(store, *grace_ms));
                    StreamTableJoin::new(make(), Arc::clone(&join), is_left, buffer)
                };
                topology.add_processor::<K, V, K, VO, _>(&name, supplier, writing.parents)?;
                if let Some((store, grace_ms, (key, value))) = buffer.clone() {
                    check_history(topology, &name, &getter.stores, grace_ms)?;
                    let store = KeyValueStoreBuilder::time_ordered(store, key, value);
                    topology.add_state_store(store, &[&name])?;
                }
                connect(topology, &name, &getter.stores)
            })
        };
        let node = node.looks_up_versions(grace.map(|_| table.upstream.node));
        let node = graph.add(node.takes_null_keys(is_left));
        drop(graph);
        let upstream = Upstream { sources, key_changed: false, ..stream.upstream.then(node, name) };
        KStream::new(upstream, stream.key_serde.clone(), None)
    }

    /// This stream, or what comes out of a repartition if its key changed. An unnamed repartition serves all unnamed
    /// joins of the stream.
    pub(crate) fn partitioned_for_join(&self, given: Option<&str>) -> KStream<K, V> {
        if !self.upstream.key_changed {
            return self.clone();
        }
        let mut graph = self.upstream.graph.lock();
        let (Some(key), Some(value)) = (&self.key_serde, &self.value_serde) else {
            graph.fail(missing_serdes::<K, V>("repartition", &self.upstream.name));
            return self.clone();
        };
        let prefix = given.unwrap_or(&self.upstream.name);
        let node = repartition::new_node(&mut graph, prefix, key, value);
        let source = node.source.clone();
        let mut shared = self.join_repartition.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match *shared {
            Some(id) if prefix == self.upstream.name => id,
            _ => repartition::add_node(&mut graph, self.upstream.node, node),
        };
        *shared = Some(id);
        drop(graph);
        let upstream = Upstream::at_source(&self.upstream.graph, id, &source);
        KStream::new(upstream, Some(key.clone()), Some(value.clone()))
    }
}

/// A record that has waited for the grace has to find what the table was at its time.
fn check_history(
    topology: &Topology,
    join: &str,
    stores: &[String],
    grace_ms: i64,
) -> Result<(), TopologyError> {
    let specs = stores.iter().filter_map(|store| topology.store_spec(store));
    let short =
        specs.filter_map(|spec| Some((&spec.name, spec.retention_ms?))).find(|(_, kept)| *kept < grace_ms);
    match short {
        Some((store, kept_ms)) => Err(TopologyError::Invalid(format!(
            "{join} joins with a grace of {grace_ms} ms, but the table's store {store} keeps its versions for {kept_ms} ms \
             only: keep them for at least the grace"
        ))),
        None => Ok(()),
    }
}

fn missing_serdes<K, V>(what: &str, stream: &str) -> TopologyError {
    TopologyError::Invalid(format!(
        "a join has to {what} the stream {stream} and knows no serdes for it: name them \
         (join_with(.., Joined::<KeySerde, ValueSerde>::new()) for {} and {}), or repartition the stream before",
        std::any::type_name::<K>(),
        std::any::type_name::<V>(),
    ))
}

struct StreamTableJoin<K, V, VT, VO> {
    getter: Box<dyn ValueGetter<K, VT>>,
    join: Join<K, V, VT, VO>,
    is_left: bool,
    null_keys: Nulls<K>,
    null_values: Nulls<V>,
    buffer: Option<JoinBuffer<K, V>>,
}

impl<K: 'static, V: 'static, VT, VO> StreamTableJoin<K, V, VT, VO> {
    fn new(
        getter: Box<dyn ValueGetter<K, VT>>,
        join: Join<K, V, VT, VO>,
        is_left: bool,
        buffer: Option<JoinBuffer<K, V>>,
    ) -> Self {
        StreamTableJoin { getter, join, is_left, null_keys: Nulls::of(), null_values: Nulls::of(), buffer }
    }
}

impl<K, V, VT, VO> StreamTableJoin<K, V, VT, VO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    VT: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    /// Forwards the result of a record and the table's value of its key, if there is one.
    fn join(&mut self, record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, VO>) -> ProcessResult {
        let other = match self.null_keys.is_null(&record.key) {
            true => None,
            false => {
                let found = match self.getter.is_versioned() {
                    true => self.getter.get_as_of(&record.key, record.timestamp, &mut ctx.stores())?,
                    false => self.getter.get(&record.key, &mut ctx.stores())?,
                };
                found.map(|other| other.value)
            }
        };
        let Record { key, value, timestamp, headers } = record;
        match (self.join)(&key, value, other) {
            Some(value) => ctx.forward(Record { key, value, timestamp, headers }),
            None => Ok(()),
        }
    }

    /// Joins the buffered records whose time has come, each as if it came now.
    fn join_due(&mut self, ctx: &mut ProcessorContext<'_, K, VO>) -> ProcessResult {
        let due = self.buffer.as_mut().map_or_else(|| Ok(Vec::new()), |buffer| buffer.due(ctx))?;
        for (key, BufferedRecord { value, context }) in due {
            let (timestamp, headers) = (context.timestamp, context.headers.clone());
            let record = Record { key: key.key.clone(), value, timestamp, headers };
            ctx.with_record_context(context, |ctx| self.join(record, ctx))?;
            if let Some(buffer) = &self.buffer {
                buffer.remove(&key, ctx)?;
            }
        }
        Ok(())
    }
}

impl<K, V, VT, VO> Processor<K, V, K, VO> for StreamTableJoin<K, V, VT, VO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    VT: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.getter.init(ctx)?;
        match &mut self.buffer {
            // A join of versioned tables that is not stored has no versions to look up either.
            Some(_) if !self.getter.is_versioned() => Err(ProcessError::msg(
                "a join with grace needs a versioned table: materialize the table with versions",
            )),
            Some(buffer) => buffer.init(ctx),
            None => Ok(()),
        }
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, VO>) -> ProcessResult {
        let null_key = self.null_keys.is_null(&record.key);
        if self.null_values.is_null(&record.value) || (null_key && !self.is_left) {
            ctx.drop_record("null key or value in a stream-table join");
            return Ok(());
        }
        match &mut self.buffer {
            Some(buffer) => match buffer.keep(record, ctx)? {
                Some(late) => self.join(late, ctx),
                None => self.join_due(ctx),
            },
            None => self.join(record, ctx),
        }
    }
}

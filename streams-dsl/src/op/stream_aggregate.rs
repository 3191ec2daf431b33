//! count, reduce, aggregate of a grouped stream: one row per key, over all time.
//!
//! A record with a null key or a null value is dropped and counted. The row's timestamp is the highest of the records
//! in it, the result's headers are the record's. The table is stored, logged and cached unless a `Materialized` says
//! otherwise. An aggregate that is null deletes the row. Late records count like any other.

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record, ValueAndTimestamp};

use super::aggregate::Aggregation;
use super::aggregate_table::{Asked, Shape, aggregate, aggregations, note_count};
use crate::graph::Writing;
use crate::grouped::KGroupedStream;
use crate::null::Nulls;
use crate::options::{Materialized, Named, SerdeFor, SerdeOverride, TableSpec};
use crate::table::{Change, GetterSupplier, KTable, TableStore};

aggregations! {
    KGroupedStream => K, |grouped| (grouped, OverAllTime),
    count: "The number of records per key. Records whose key or value is null are dropped and counted as dropped.

- result: per record, with its headers and the highest timestamp of the records in it
- null: a null key or value is dropped and counted; an aggregate of `None` deletes the row
- repartition: if the key may have changed; state: the result
- late records: as any other

```
use kstreams_dsl::{Materialized, StreamsBuilder};

let builder = StreamsBuilder::new();
builder.stream::<String, String>(\"clicks\").group_by_key().count(Materialized::named(\"clicks-per-user\"));
# builder.build().unwrap();
```",
    reduce: "The values of each key combined: the first one is the first aggregate, then `reducer(aggregate, value)`. Records
whose key or value is null are dropped and counted as dropped. A reducer that gives `None` deletes the row.

- result: per record, with its headers and the highest timestamp of the records in it
- null: a null key or value is dropped and counted; an aggregate of `None` deletes the row
- repartition: if the key may have changed; state: the result
- late records: as any other

```
use kstreams_dsl::{Materialized, StreamsBuilder};

let builder = StreamsBuilder::new();
builder.stream::<String, i64>(\"sold\").group_by_key().reduce(|sum, amount| sum + amount, Materialized::named(\"sums\"));
# builder.build().unwrap();
```",
    aggregate(aggregate): "The values of each key aggregated into another type: `initializer` gives the first aggregate, then
`aggregator(key, value, aggregate)` the next. Records whose key or value is null are dropped and counted as
dropped. An aggregate that is `None` deletes the row.

- result: per record, with its headers and the highest timestamp of the records in it
- null: a null key or value is dropped and counted; an aggregate of `None` deletes the row
- repartition: if the key may have changed; state: the result
- late records: as any other

```
use kstreams_dsl::{Materialized, StreamsBuilder};

let builder = StreamsBuilder::new();
builder
    .stream::<String, String>(\"lines\")
    .group_by_key()
    .aggregate(|| 0_i64, |_, line, length| length + line.len() as i64, Materialized::named(\"lengths\"));
# builder.build().unwrap();
```",
}

/// One row per key.
#[derive(Clone, Copy)]
pub(crate) struct OverAllTime;

impl Shape for OverAllTime {
    type Row<K: Clone + Send + 'static> = K;

    fn row_serde<K: Clone + Send + 'static>(&self, key: &DynSerde<K>) -> DynSerde<K> {
        key.clone()
    }

    fn getter<K, A>(&self, store: &str) -> GetterSupplier<K, A>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        GetterSupplier::of_store(store)
    }

    fn processor<K, V, A>(
        &self,
        store: &str,
        aggregation: Aggregation<K, V, A>,
        old_values: bool,
    ) -> Box<dyn Processor<K, V, K, Change<A>>>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        Box::new(StreamAggregate {
            store: store.to_owned(),
            aggregation,
            old_values,
            null_keys: Nulls::of(),
            null_values: Nulls::of(),
            table: None,
        })
    }

    fn add_store<K, A>(
        &self,
        topology: &mut Topology,
        store: &TableSpec<K, A>,
        writing: &Writing<'_>,
        node: &str,
    ) -> Result<(), TopologyError>
    where
        K: Clone + Send + 'static,
        A: Clone + Send + 'static,
    {
        store.add_key_value(topology, writing, node)
    }
}

struct StreamAggregate<K, V, A> {
    store: String,
    aggregation: Aggregation<K, V, A>,
    old_values: bool,
    null_keys: Nulls<K>,
    null_values: Nulls<V>,
    table: Option<TableStore<K, A>>,
}

impl<K, V, A> Processor<K, V, K, Change<A>> for StreamAggregate<K, V, A>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.table = Some(TableStore::open(&self.store, self.old_values, ctx)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, V>,
        ctx: &mut ProcessorContext<'_, K, Change<A>>,
    ) -> ProcessResult {
        let Some(table) = &self.table else { return Ok(()) };
        if self.null_keys.is_null(&record.key) || self.null_values.is_null(&record.value) {
            ctx.drop_record("null key or value in an aggregation");
            return Ok(());
        }
        let Record { key, value, timestamp, headers } = record;
        let (old, timestamp) = match table.get(&key, ctx)? {
            Some(ValueAndTimestamp { value, timestamp: before }) => (Some(value), timestamp.max(before)),
            None => ((self.aggregation.initial)(), timestamp),
        };
        // What was there before the first value is told as old value too (`KStreamAggregate`).
        let told = if self.old_values { old.clone() } else { None };
        let new = (self.aggregation.apply)(&key, value, old);
        table.update(Record { key, value: Change::new(new, told), timestamp, headers }, ctx)
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, K, Change<A>>) -> ProcessResult {
        self.table.as_ref().map_or(Ok(()), |table| table.forward_flushed(ctx))
    }
}

//! suppress: a table's updates held back in a buffer, until some time has passed or their window has closed
//! (`KTableSuppressProcessorSupplier`).
//!
//! Key, timestamp and headers of a result are those of the last update; nothing is repartitioned. Time is the highest
//! timestamp that this node has seen since it was started. Updates of a key that is held back replace each other and
//! keep the time of the first. What is due is told by its time, then by its key's bytes. A deletion is told only with a
//! time limit, and then also of a key that was never told. Late updates are let through by the table above or not; here
//! they only come out at once.
//!
//! The buffer is in memory and restored from its changelog, which is on unless the buffer's config says otherwise. The
//! table that is told is not stored: operators below see, of a key that is held back, the value that was told last.

use std::sync::Arc;

use kstreams_core::TopologyError;
use kstreams_core::processor::{
    InitContext, ProcessError, ProcessResult, Processor, ProcessorContext, StoreHandle, StoreScope,
};
use kstreams_state_stores::{
    Buffered, ChangeBuffer, ChangeBufferBuilder, DefaultSerde, Record, ValueAndTimestamp,
};

use crate::graph::GraphNode;
use crate::options::{BufferLimits, SerdeFor, SuppressUntil, Suppressed};
use crate::table::{Change, GetterSupplier, KTable, TableOrigin, ValueGetter};

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The table with its updates held back: at most one per key and time limit, or one final result per window.
    ///
    /// A result has the timestamp and headers of the last update of its key. Nothing is told while no records come: it
    /// is stream time that passes. See [`Suppressed`] for how long, how many, and what of deletions.
    ///
    /// - result: the last update of a key, with its timestamp and headers
    /// - null: a deletion is told with a time limit, not when windows close
    /// - repartition: none; state: the buffer, in memory and with a changelog
    /// - late records: the table above let them through or not; here they only come out at once
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{BufferConfig, Materialized, StreamsBuilder, Suppressed, TimeWindows};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("page-views")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(5)))
    ///     .count(Materialized::named("views-per-minute"))
    ///     .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
    ///     .to_stream()
    ///     .to("final-views");
    /// # builder.build().unwrap();
    /// ```
    pub fn suppress<T: SuppressUntil<K>>(&self, suppressed: Suppressed<T>) -> KTable<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.suppress_with(suppressed)
    }

    /// As [`suppress`](Self::suppress), with the serdes named in `suppressed`, for a table that carries none.
    pub fn suppress_with<T, KS, VS>(&self, suppressed: Suppressed<T, KS, VS>) -> KTable<K, V>
    where
        T: SuppressUntil<K>,
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let Suppressed { until, buffer, key, value, name } = suppressed;
        // Where it is not stored, the table above cannot tell what was told before.
        self.origin.enable_old_values(true);
        let mut graph = self.upstream.graph.lock();
        let node_name = name.clone().unwrap_or_else(|| graph.names.processor("KTABLE-SUPPRESS-"));
        let store = match name {
            Some(name) => format!("{name}-store"),
            None if buffer.logging.is_some() => graph.names.store("KTABLE-SUPPRESS-"),
            // Without a changelog nothing of it lasts, so its name does not matter.
            None => graph.names.store_index("KTABLE-SUPPRESS-"),
        };
        let grace_ms = graph.window_grace_ms(self.upstream.node);
        let delay_ms = until.delay_ms(grace_ms).unwrap_or_else(|| {
            graph.fail(TopologyError::Invalid(format!(
                "{node_name} waits for windows to close, but not all of its table is windowed: use a time limit"
            )));
            0
        });
        let key_serde = self.key_serde.clone().unwrap_or_else(|| key.serde(None));
        let value_serde = self.value_serde.clone().unwrap_or_else(|| value.serde(None));
        let node = {
            let (name, store) = (node_name.clone(), store.clone());
            let (keys, values) = (key_serde.clone(), value_serde.clone());
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let (until, limits, node, buffer_name) =
                    (until.clone(), buffer.clone(), name.clone(), store.clone());
                let supplier = move || Suppress {
                    node: node.clone(),
                    store: buffer_name.clone(),
                    until: until.clone(),
                    delay_ms,
                    limits: limits.clone(),
                    observed_stream_time: -1,
                    buffer: None::<StoreHandle<ChangeBuffer<K, V>>>,
                };
                topology.add_processor::<K, Change<V>, K, Change<V>, _>(&name, supplier, writing.parents)?;
                let logging = buffer.logging.clone();
                let builder = ChangeBufferBuilder::new(&store, keys.clone(), values.clone(), logging);
                topology.add_state_store(builder, &[&name]).map(|_| ())
            })
        };
        let node = graph.add(node.refuses_versions().versioned(false));
        drop(graph);
        KTable {
            upstream: Arc::new(self.upstream.then(node, node_name)),
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: Arc::new(SuppressedTable { parent: Arc::clone(&self.origin), store }),
            queryable: None,
        }
    }
}

struct SuppressedTable<K, V> {
    parent: Arc<dyn TableOrigin<K, V>>,
    store: String,
}

impl<K: Send + 'static, V: Send + 'static> TableOrigin<K, V> for SuppressedTable<K, V> {
    fn enable_old_values(&self, force: bool) -> bool {
        self.parent.enable_old_values(force)
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        let (parent, name) = (self.parent.getter(), self.store.clone());
        let mut stores = vec![name.clone()];
        stores.extend(parent.stores.iter().cloned());
        let make = move || -> Box<dyn ValueGetter<K, V>> {
            Box::new(SuppressedGetter { parent: (parent.make)(), name: name.clone(), buffer: None })
        };
        GetterSupplier { stores, make: Arc::new(make) }
    }
}

/// Sees what was told last: of a key that is held back the value before it was, else the table above.
struct SuppressedGetter<K, V> {
    parent: Box<dyn ValueGetter<K, V>>,
    name: String,
    buffer: Option<StoreHandle<ChangeBuffer<K, V>>>,
}

/// The time of a value that was told before: it is not known any more.
const UNKNOWN_TIME: i64 = -1;

impl<K: Send + 'static, V: Send + 'static> ValueGetter<K, V> for SuppressedGetter<K, V> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.buffer = Some(ctx.state_store(&self.name)?);
        self.parent.init(ctx)
    }

    fn get(&mut self, key: &K, stores: &mut StoreScope<'_>) -> ProcessResult<Option<ValueAndTimestamp<V>>> {
        if let Some(buffer) = &self.buffer
            && let Some(prior) = stores.open(buffer).prior_value(key)?
        {
            return Ok(prior.map(|value| ValueAndTimestamp { value, timestamp: UNKNOWN_TIME }));
        }
        self.parent.get(key, stores)
    }
}

struct Suppress<T, K, V> {
    node: String,
    store: String,
    until: T,
    delay_ms: i64,
    limits: BufferLimits,
    /// The highest timestamp seen by this node since it was started.
    observed_stream_time: i64,
    buffer: Option<StoreHandle<ChangeBuffer<K, V>>>,
}

impl<T, K, V> Suppress<T, K, V>
where
    T: SuppressUntil<K>,
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Tells the oldest entries as long as `wanted`. An entry leaves the buffer after it was told, so that nodes below
    /// still see what was told before it.
    fn tell_while(
        &self,
        buffer: &StoreHandle<ChangeBuffer<K, V>>,
        wanted: impl Fn(&ChangeBuffer<K, V>) -> bool,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        while wanted(ctx.store(buffer).store) {
            let Some(Buffered { key, new, old, context }) = ctx.store(buffer).first()? else {
                return Ok(());
            };
            if new.is_some() || self.until.tells_deletions() {
                let (timestamp, headers) = (context.timestamp, context.headers.clone());
                let record = Record { key, value: Change::new(new, old), timestamp, headers };
                ctx.with_record_context(context, |ctx| ctx.forward(record))?;
            }
            ctx.store(buffer).remove_first()?;
        }
        Ok(())
    }

    fn is_over_full(&self, buffer: &ChangeBuffer<K, V>) -> bool {
        buffer.num_records() > self.limits.max_records || buffer.buffer_size() > self.limits.max_bytes
    }
}

impl<T, K, V> Processor<K, Change<V>, K, Change<V>> for Suppress<T, K, V>
where
    T: SuppressUntil<K>,
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.buffer = Some(ctx.state_store(&self.store)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> ProcessResult {
        let Some(buffer) = &self.buffer else { return Ok(()) };
        self.observed_stream_time = self.observed_stream_time.max(record.timestamp);
        let time = self.until.time_of(&record.key, record.timestamp);
        let Change { new, old, .. } = &record.value;
        ctx.store(buffer).put(time, &record.key, new.as_ref(), old.as_ref())?;
        let due = self.observed_stream_time.saturating_sub(self.delay_ms);
        self.tell_while(buffer, |buffer| buffer.min_time().is_some_and(|time| time <= due), ctx)?;
        if self.limits.emit_early {
            return self.tell_while(buffer, |buffer| self.is_over_full(buffer), ctx);
        }
        let full = ctx.store(buffer).store;
        if self.is_over_full(full) {
            let BufferLimits { max_records, max_bytes, .. } = self.limits;
            return Err(ProcessError::msg(format!(
                "the buffer of {} is full: {} of {max_records} records, {} of {max_bytes} bytes; allow more, or let it emit early",
                self.node,
                full.num_records(),
                full.buffer_size(),
            )));
        }
        Ok(())
    }
}

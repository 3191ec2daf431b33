//! process, process_values: the user's own processors in a stream.
//!
//! What happens to key, value, timestamp and headers, and what is kept in state, is the processor's doing; null is given
//! to it. After `process` the key counts as changed: a later grouping or join repartitions. `process_values` keeps it.

use std::any::TypeId;
use std::sync::Arc;

use kstreams_core::processor::{FixedKeyAdapter, FixedKeyProcessor, Processor};

use crate::graph::GraphNode;
use crate::options::Named;
use crate::stream::{KStream, Upstream};

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Runs a [`Processor`] on the stream: each task its own, from `supplier`. It has access to the named stores, which
    /// [`StreamsBuilder::add_state_store`](crate::StreamsBuilder::add_state_store) adds, or which belong to tables.
    ///
    /// - result: what the processor forwards
    /// - null: is given to it
    /// - repartition: by a later grouping, join or table, as the key may be another one
    /// - state: the stores that it names
    /// - late records: as any other, unless the processor judges otherwise
    ///
    /// ```
    /// use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
    /// use kstreams_dsl::StreamsBuilder;
    /// use kstreams_state_stores::Record;
    ///
    /// /// Forwards each record under the last word of its value.
    /// struct ByLastWord;
    ///
    /// impl Processor<String, String, String, String> for ByLastWord {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, String>,
    ///         ctx: &mut ProcessorContext<'_, String, String>,
    ///     ) -> ProcessResult {
    ///         let key = record.value.rsplit(' ').next().unwrap_or_default().to_owned();
    ///         ctx.forward(record.with_key(key))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("lines").process(|| ByLastWord, &[]).to("by-last-word");
    /// # builder.build().unwrap();
    /// ```
    pub fn process<K2, V2, P>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        self.process_with(supplier, Named::default(), stores)
    }

    /// As [`process`](Self::process), with a name.
    pub fn process_with<K2, V2, P>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        named: impl Into<Named>,
        stores: &[&str],
    ) -> KStream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        let mut upstream = self.processed(supplier, &named.into(), "KSTREAM-PROCESSOR-", true, stores);
        upstream.key_changed = true;
        KStream::new(upstream, None, None)
    }

    /// Runs a [`FixedKeyProcessor`] on the stream, which cannot change the key, so that nothing has to be repartitioned
    /// because of it.
    ///
    /// - result: what the processor forwards, under the same key
    /// - null: is given to it
    /// - repartition: none; state: the stores that it names
    /// - late records: as any other, unless the processor judges otherwise
    ///
    /// ```
    /// use kstreams_core::processor::{
    ///     FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, ProcessResult,
    /// };
    /// use kstreams_dsl::StreamsBuilder;
    ///
    /// /// Adds where each value was read.
    /// struct WithOffset;
    ///
    /// impl FixedKeyProcessor<String, String, String> for WithOffset {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         ctx: &mut FixedKeyProcessorContext<'_, String, String>,
    ///     ) -> ProcessResult {
    ///         let value = format!("{} ({})", record.value, ctx.record_metadata().offset);
    ///         ctx.forward(record.with_value(value))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("lines").process_values(|| WithOffset, &[]).to("numbered");
    /// # builder.build().unwrap();
    /// ```
    pub fn process_values<V2, P>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<K, V2>
    where
        P: FixedKeyProcessor<K, V, V2> + 'static,
        V2: Clone + Send + 'static,
    {
        self.process_values_with(supplier, Named::default(), stores)
    }

    /// As [`process_values`](Self::process_values), with a name.
    pub fn process_values_with<V2, P>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        named: impl Into<Named>,
        stores: &[&str],
    ) -> KStream<K, V2>
    where
        P: FixedKeyProcessor<K, V, V2> + 'static,
        V2: Clone + Send + 'static,
    {
        let supplier = move || FixedKeyAdapter(supplier());
        let upstream =
            self.processed::<K, V2, _>(supplier, &named.into(), "KSTREAM-PROCESSVALUES-", false, stores);
        KStream::new(upstream, self.key_serde.clone(), None)
    }

    pub(super) fn processed<K2, V2, P>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        named: &Named,
        prefix: &str,
        changes_key: bool,
        stores: &[&str],
    ) -> Upstream
    where
        P: Processor<K, V, K2, V2> + 'static,
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
    {
        let mut graph = self.upstream.graph.lock();
        // Unlike everywhere else, a given name consumes no index.
        let name = named.name().map_or_else(|| graph.names.processor(prefix), str::to_owned);
        let supplier = Arc::new(supplier);
        let stores: Vec<String> = stores.iter().map(|&store| store.to_owned()).collect();
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let supplier = Arc::clone(&supplier);
                let supplier = move || supplier();
                topology.add_processor::<K, V, K2, V2, _>(&name, supplier, writing.parents)?;
                let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
                topology.connect_processor_and_state_stores(&name, &stores).map(|_| ())
            })
        };
        // In the JVM it is no change, as far as optimisations go (`__enable.process.processValue.fix__` is off).
        let same_types = TypeId::of::<(K, V)>() == TypeId::of::<(K2, V2)>();
        let node = graph.add(match (same_types, changes_key) {
            (true, _) => node,
            (false, true) => node.changes_key(),
            (false, false) => node.changes_value(),
        });
        self.upstream.then(node, name)
    }
}

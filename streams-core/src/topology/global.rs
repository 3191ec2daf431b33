//! Global stores: kept up to date by one topic, whole on every instance, read by every task.

use std::sync::Arc;

use kstreams_state_stores::{StoreBuilder, StoreSpec};

use super::{Extracted, ExtractorRecord, SourceOptions, StoreEntry, Topology, wiring};
use crate::error::TopologyError;
use crate::processor::Processor;

/// A global store as the runtime sees it.
#[derive(Debug, Clone)]
pub(crate) struct GlobalStoreInfo {
    pub(crate) spec: StoreSpec,
    /// The topic that it is made of; it is its changelog too.
    pub(crate) topic: String,
}

impl Topology {
    /// Adds a store that is the same on every instance, with the source `source` that reads all of `topic` and the
    /// processor `processor` that keeps the store up to date (`Topology.addGlobalStore`).
    ///
    /// The store is filled from the topic before any task starts, through the processor, and follows it from then on.
    /// Every processor of the topology may read it by [`InitContext::state_store`](crate::processor::InitContext), without
    /// being connected to it; only `processor` may write. What it forwards goes nowhere, and it can't schedule. Records
    /// have the topic's timestamps: an extractor in `options` is not asked, nor is a reset policy. The store is not cached.
    ///
    /// A record that can't be read goes to the deserialisation handler, as anywhere. One that `processor` fails on stops
    /// the instance, unless `processing.exception.handler.global.enabled` is set.
    ///
    /// ```
    /// use kstreams_core::Topology;
    /// use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
    /// use kstreams_core::topology::SourceOptions;
    /// use kstreams_state_stores::{DynSerde, KeyValueStore, Record, Stores};
    ///
    /// /// Keeps the length of each name.
    /// #[derive(Default)]
    /// struct Lengths(Option<StoreHandle<KeyValueStore<String, i64>>>);
    /// impl Processor<String, String> for Lengths {
    ///     fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
    ///         self.0 = Some(ctx.state_store("lengths")?);
    ///         Ok(())
    ///     }
    ///     fn process(&mut self, name: Record<String, String>, ctx: &mut ProcessorContext<'_, (), ()>) -> ProcessResult {
    ///         let Some(lengths) = &self.0 else { return Ok(()) };
    ///         Ok(ctx.store(lengths).put(&name.key, &(name.value.len() as i64))?)
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// let store = Stores::key_value::<String, i64>("lengths").with_logging_disabled();
    /// let serdes = SourceOptions::new(DynSerde::new(String::new()), DynSerde::new(String::new()));
    /// topology.add_global_store(store, "names-source", "names", serdes, "names-processor", Lengths::default)?;
    /// # Ok::<(), kstreams_core::TopologyError>(())
    /// ```
    ///
    /// # Errors
    /// When a store or node of that name exists, the store is logged, or another source reads the topic.
    pub fn add_global_store<K, V, KOut, VOut, P>(
        &mut self,
        builder: impl StoreBuilder + 'static,
        source: &str,
        topic: &str,
        options: SourceOptions<K, V>,
        processor: &str,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> Result<&mut Self, TopologyError>
    where
        P: Processor<K, V, KOut, VOut> + 'static,
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        KOut: Send + 'static,
        VOut: Send + 'static,
    {
        let name: Arc<str> = builder.name().into();
        if self.stores.contains_key(&name) {
            return Err(TopologyError::Duplicate { what: "state store", name: name.to_string() });
        }
        let spec = builder.spec();
        if spec.logging.is_some() {
            return Err(TopologyError::Invalid(format!(
                "the global store {name} has logging enabled, but its topic {topic} is its changelog: disable it \
                 (with_logging_disabled)"
            )));
        }
        let at_record_time =
            |record: &ExtractorRecord<'_, K, V>, _| Extracted::Timestamp(record.timestamp.max(0));
        let options = SourceOptions { timestamp_extractor: Some(Arc::new(at_record_time)), ..options };
        self.add_source_with(source, topic, options)?;
        self.global_nodes.insert(self.nodes.len() - 1);
        self.add_processor(processor, supplier, &[source])?;
        let node = self.nodes.len() - 1;
        self.nodes[node].stores.push(Arc::clone(&name));
        let entry = StoreEntry {
            spec,
            builder: Arc::new(wiring::TypedStoreBuilder(builder)),
            users: vec![node],
            source_topic: None,
            global: Some(topic.to_owned()),
        };
        self.stores.insert(Arc::clone(&name), entry);
        self.store_order.push(name);
        Ok(self)
    }

    /// The global stores, in the order in which they were added.
    pub(crate) fn global_stores(&self) -> Vec<GlobalStoreInfo> {
        let stores = self.store_order.iter().map(|name| &self.stores[name]);
        let global = stores.filter_map(|store| {
            Some(GlobalStoreInfo { spec: store.spec.clone(), topic: store.global.clone()? })
        });
        global.collect()
    }

    /// The topics that global stores are made of.
    pub fn global_topics(&self) -> Vec<String> {
        self.global_stores().into_iter().map(|store| store.topic).collect()
    }
}

#[cfg(test)]
mod tests {
    use kstreams_state_stores::{DynSerde, Record, Stores};

    use super::*;
    use crate::processor::{ProcessResult, ProcessorContext};

    struct Nothing;
    impl Processor<String, String> for Nothing {
        fn process(
            &mut self,
            _: Record<String, String>,
            _: &mut ProcessorContext<'_, (), ()>,
        ) -> ProcessResult {
            Ok(())
        }
    }

    fn add(topology: &mut Topology, topic: &str, logged: bool) -> Result<(), TopologyError> {
        let store = Stores::key_value::<String, String>(format!("{topic}-store"));
        let store = if logged { store } else { store.with_logging_disabled() };
        let options = SourceOptions::new(DynSerde::new(String::new()), DynSerde::new(String::new()));
        let (source, processor) = (format!("{topic}-source"), format!("{topic}-processor"));
        topology.add_global_store(store, &source, topic, options, &processor, || Nothing).map(|_| ())
    }

    /// The JVM's text, and what it refuses with a `TopologyException`.
    #[test]
    fn a_global_store_is_a_part_without_tasks() {
        let mut topology = Topology::new();
        add(&mut topology, "names", false).unwrap();
        topology.add_source::<String, String>("in", "input").unwrap();
        topology.add_processor("reader", || Nothing, &["in"]).unwrap();
        let expected = "Topologies:\n   Sub-topology: 0 for global store (will not generate tasks)\n    \
                        Source: names-source (topics: [names])\n      --> names-processor\n    \
                        Processor: names-processor (stores: [names-store])\n      --> none\n      <-- names-source\n  \
                        Sub-topology: 1\n    Source: in (topics: [input])\n      --> reader\n    \
                        Processor: reader (stores: [])\n      --> none\n      <-- in\n\n";
        assert_eq!(topology.describe().to_string(), expected);
        for (topic, logged, message) in [
            ("names", false, "names-store"),
            ("input", false, "input"),
            ("other", true, "with_logging_disabled"),
        ] {
            let error = add(&mut topology, topic, logged).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = topology.connect_processor_and_state_stores("reader", &["names-store"]);
        assert!(error.is_err_and(|error| error.to_string().contains("do not connect it")));
    }
}

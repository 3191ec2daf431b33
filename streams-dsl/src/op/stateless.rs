//! The shape of every operator that keeps nothing: a closure that gets a record and forwards any number of them.

use std::sync::Arc;

use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::Record;

use crate::graph::GraphNode;
use crate::options::Named;
use crate::stream::{KStream, Upstream};

/// A closure as a processor.
pub(crate) struct FnProcessor<F>(pub(crate) F);

impl<KIn, VIn, KOut, VOut, F> Processor<KIn, VIn, KOut, VOut> for FnProcessor<F>
where
    F: Fn(Record<KIn, VIn>, &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult + Send,
{
    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        (self.0)(record, ctx)
    }
}

/// What an operator does to the records, as far as later ones care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Key and value stay what they are.
    Keeps,
    /// The value is another one.
    ChangesValue,
    /// The key may be another one: grouping or joining needs a repartition first.
    ChangesKey,
}

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Adds a node that runs `f` on each record.
    pub(crate) fn stateless<K2, V2, F>(&self, named: &Named, prefix: &str, effect: Effect, f: F) -> Upstream
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
        F: Fn(Record<K, V>, &mut ProcessorContext<'_, K2, V2>) -> ProcessResult
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.operator::<K2, V2, _>(named, prefix, effect, move || FnProcessor(f.clone()))
    }

    /// Adds a node that runs a processor from `supplier`, and keeps nothing in a store.
    pub(crate) fn operator<K2, V2, P>(
        &self,
        named: &Named,
        prefix: &str,
        effect: Effect,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> Upstream
    where
        K2: Clone + Send + 'static,
        V2: Clone + Send + 'static,
        P: Processor<K, V, K2, V2> + 'static,
    {
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(named.name(), prefix);
        let supplier = Arc::new(supplier);
        let node = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
                let supplier = Arc::clone(&supplier);
                let supplier = move || supplier();
                topology.add_processor::<K, V, K2, V2, _>(&name, supplier, writing.parents).map(|_| ())
            })
        };
        let node = graph.add(match effect {
            Effect::Keeps => node,
            Effect::ChangesValue => node.changes_value(),
            Effect::ChangesKey => node.changes_key(),
        });
        let mut upstream = self.upstream.then(node, name);
        upstream.key_changed |= effect == Effect::ChangesKey;
        upstream
    }
}

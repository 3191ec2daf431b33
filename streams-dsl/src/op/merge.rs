//! merge: the records of two streams in one.
//!
//! Nothing is changed, repartitioned or stored. If one of the two changed its key, so did the merged stream. There is no
//! order between the two beyond that in which the task takes records.

use kstreams_core::TopologyError;
use kstreams_core::processor::ProcessorContext;
use kstreams_state_stores::Record;

use super::stateless::FnProcessor;
use crate::graph::GraphNode;
use crate::options::Named;
use crate::stream::{KStream, Upstream};

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The records of both streams, as they come. Both must have been built by the same builder.
    ///
    /// - result: the record as it came, in the order in which the task takes them; of two that have the same source, once
    /// - null: passes
    /// - repartition: none, but a key that changed in either stream counts as changed; state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let (mobile, web) = (builder.stream::<String, i64>("mobile"), builder.stream::<String, i64>("web"));
    /// mobile.merge(&web).to("all-channels");
    /// # builder.build().unwrap();
    /// ```
    pub fn merge(&self, other: &KStream<K, V>) -> KStream<K, V> {
        self.merge_with(other, Named::default())
    }

    /// As [`merge`](Self::merge), with a name.
    pub fn merge_with(&self, other: &KStream<K, V>, named: impl Into<Named>) -> KStream<K, V> {
        let (left, right) = (&self.upstream, &other.upstream);
        let mut graph = left.graph.lock();
        if !left.graph.is(&right.graph) {
            graph.fail(other_builder("merged"));
            return self.clone();
        }
        let name = graph.names.or_processor(named.into().name(), "KSTREAM-MERGE-");
        let pass = |record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, V>| ctx.pass_on(record);
        let writer = {
            let name = name.clone();
            GraphNode::operator(name.clone(), [left.node, right.node], move |topology, writing| {
                let supplier = move || FnProcessor(pass);
                // A stream merged with itself, or with another of the same source, gives each record once.
                let (left, right) = (writing.parents.first(), writing.parents.get(1));
                let parents = if left == right { &writing.parents[..1] } else { writing.parents };
                topology.add_processor::<K, V, K, V, _>(&name, supplier, parents).map(|_| ())
            })
        };
        let node = graph.add(writer.merges());
        let upstream = Upstream {
            sources: left.sources.union(&right.sources).cloned().collect(),
            key_changed: left.key_changed || right.key_changed,
            ..left.then(node, name)
        };
        // Neither side's serdes can be said to fit both.
        KStream::new(upstream, None, None)
    }
}

/// Handles of two builders were brought together.
pub(crate) fn other_builder(what: &str) -> TopologyError {
    TopologyError::Invalid(format!(
        "streams or tables of two builders were {what}: make both with the same StreamsBuilder"
    ))
}

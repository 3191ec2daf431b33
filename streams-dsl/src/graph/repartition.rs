//! A repartition in the graph: an internal topic between two sub-topologies, written as filter, sink and source.

use std::sync::Arc;

use kstreams_core::topology::RepartitionTopic;
use kstreams_core::{Topology, TopologyError};

use super::Writing;
use crate::names::{Names, is_generated_stream_name};

const SUFFIX: &str = "-repartition";

/// Writes the typed nodes of a repartition.
pub(crate) type RepartitionWriter =
    Arc<dyn Fn(&mut Topology, &RepartitionNode, &Writing<'_>) -> Result<(), TopologyError> + Send + Sync>;

/// Names and settings of a repartition, and how to write it. A rewrite may give it other names and keep the writer.
#[derive(Clone)]
pub(crate) struct RepartitionNode {
    /// The topic, without the application's prefix.
    pub(crate) topic: String,
    pub(crate) filter: String,
    pub(crate) sink: String,
    pub(crate) source: String,
    /// A number of partitions that the user gave.
    pub(crate) partitions: Option<i32>,
    /// It comes with an operator, not from the user's `repartition()`: it may become one with others.
    pub(crate) optimizable: bool,
    pub(crate) writer: RepartitionWriter,
}

impl RepartitionNode {
    /// The names for a topic named after `prefix`; three indices are consumed, used or not.
    pub(crate) fn named(prefix: &str, names: &mut Names, writer: RepartitionWriter) -> Self {
        let topic = topic_of(prefix);
        let generated = [
            names.processor("KSTREAM-SINK-"),
            names.processor("KSTREAM-FILTER-"),
            names.processor("KSTREAM-SOURCE-"),
        ];
        let [sink, filter, source] = if is_generated_stream_name(prefix) {
            generated
        } else {
            [format!("{topic}-sink"), format!("{topic}-filter"), format!("{topic}-source")]
        };
        RepartitionNode { topic, filter, sink, source, partitions: None, optimizable: true, writer }
    }

    pub(crate) fn write(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        topology.add_repartition_topic(&self.topic, RepartitionTopic { partitions: self.partitions });
        (self.writer)(topology, self, writing)
    }
}

/// `<prefix>-repartition`; the suffix is not doubled.
fn topic_of(prefix: &str) -> String {
    if prefix.ends_with(SUFFIX) { prefix.to_owned() } else { format!("{prefix}{SUFFIX}") }
}

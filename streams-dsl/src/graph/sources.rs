//! Sources in the graph: several streams of the same topics share one source node
//! (`InternalStreamsBuilder.mergeDuplicateSourceNodes`), and sources stand for their topics in co-partition groups.

use std::collections::BTreeMap;

use kstreams_core::TopologyError;
use kstreams_core::topology::SourceTopics;

use super::{Graph, NodeId, NodeKind};

impl Graph {
    /// Hangs the children of a stream's source under the first stream's source of the same topics. The second source's
    /// name and serdes are then unused.
    pub(super) fn merge_duplicate_sources(&mut self) -> Result<(), TopologyError> {
        let mut by_topic: BTreeMap<String, NodeId> = BTreeMap::new();
        let mut replaced: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for id in 0..self.nodes.len() {
            let NodeKind::Source(topics, _) = &self.nodes[id].kind else { continue };
            let keys = match topics {
                SourceTopics::Names(names) => names.clone(),
                SourceTopics::Pattern(pattern) => vec![format!("pattern {pattern}")],
            };
            for topic in keys {
                let &mut first = by_topic.entry(topic.clone()).or_insert(id);
                if first == id {
                    continue;
                }
                if !self.reads_the_same(first, id) {
                    return Err(TopologyError::Invalid(format!(
                        "two streams read topic {topic}, each with other topics beside it: read the same topics in \
                         both, or each topic once and merge the streams"
                    )));
                }
                replaced.insert(id, first);
            }
        }
        for node in &mut self.nodes {
            for parent in &mut node.parents {
                *parent = replaced.get(parent).copied().unwrap_or(*parent);
            }
        }
        for &id in replaced.keys() {
            self.nodes[id].dropped = true;
        }
        Ok(())
    }

    fn reads_the_same(&self, a: NodeId, b: NodeId) -> bool {
        match (&self.nodes[a].kind, &self.nodes[b].kind) {
            (NodeKind::Source(SourceTopics::Names(a), _), NodeKind::Source(SourceTopics::Names(b), _)) => {
                a.len() == b.len() && a.iter().all(|topic| b.contains(topic))
            }
            (
                NodeKind::Source(SourceTopics::Pattern(_), _),
                NodeKind::Source(SourceTopics::Pattern(_), _),
            ) => true,
            _ => false,
        }
    }
}

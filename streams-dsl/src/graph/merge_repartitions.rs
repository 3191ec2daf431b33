//! The rewrite `merge.repartition.topics`: the repartitions that one change of key leads to become one, right below it
//! (`InternalStreamsBuilder.mergeRepartitionTopics`). It takes the topic of the first of them.
//!
//! A repartition belongs to the last change of key above it, unless the value was changed in between: that would have to
//! move below the topic. Changes of key whose repartitions all lie below one merge of streams share a repartition there.

use kstreams_core::TopologyError;

use super::repartition::RepartitionNode;
use super::{Graph, GraphNode, NodeId, NodeKind};

/// A change of key, or a merge, and the repartitions below it that become one.
type Shared = (NodeId, Vec<NodeId>);

impl Graph {
    pub(super) fn merge_repartitions(&mut self) -> Result<(), TopologyError> {
        for (changer, repartitions) in self.with_merges(self.by_key_changer()) {
            if !repartitions.is_empty() {
                self.merge_below(changer, &repartitions)?;
            }
        }
        Ok(())
    }

    /// Every change of key with the repartitions that belong to it.
    fn by_key_changer(&self) -> Vec<Shared> {
        let mut shared: Vec<Shared> = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if node.key_changing {
                shared.push((id, Vec::new()));
            } else if self.optimizable(id).is_some()
                && let Some(changer) =
                    self.nearest(id, &|at| self.changes(at)).filter(|&at| self.nodes[at].key_changing)
                && let Some((_, repartitions)) = shared.iter_mut().find(|(id, _)| *id == changer)
            {
                repartitions.push(id);
            }
        }
        shared
    }

    fn changes(&self, id: NodeId) -> bool {
        self.nodes[id].key_changing || self.nodes[id].value_changing
    }

    fn optimizable(&self, id: NodeId) -> Option<&RepartitionNode> {
        match &self.nodes[id].kind {
            NodeKind::Repartition(repartition) if repartition.optimizable => Some(repartition),
            _ => None,
        }
    }

    /// Puts merges of streams in the place of the changes of key whose repartitions all lie below them.
    fn with_merges(&self, mut shared: Vec<Shared>) -> Vec<Shared> {
        let mut above: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
        for merge in (0..self.nodes.len()).filter(|&id| self.nodes[id].merge) {
            let is_below = |id: NodeId, parent: NodeId| self.child_towards(id, parent).is_some();
            let changers = shared.iter().filter(|(changer, repartitions)| {
                repartitions.iter().all(|&id| is_below(id, merge)) && is_below(merge, *changer)
            });
            above.push((merge, changers.map(|(changer, _)| *changer).collect()));
        }
        for (merge, changers) in &above {
            let mut repartitions: Vec<NodeId> = Vec::new();
            for (_, of_changer) in shared.iter().filter(|(id, _)| changers.contains(id)) {
                repartitions
                    .extend(of_changer.iter().filter(|id| !repartitions.contains(id)).collect::<Vec<_>>());
            }
            shared.push((*merge, repartitions));
        }
        shared.retain(|(id, _)| !above.iter().any(|(_, changers)| changers.contains(id)));
        shared
    }

    /// The node itself or one above it that is a child of `parent`.
    fn child_towards(&self, id: NodeId, parent: NodeId) -> Option<NodeId> {
        self.nearest(id, &|at| self.nodes[at].parents.contains(&parent))
    }

    /// The first that fulfils `test` of a node and those above it, parent by parent
    /// (`InternalStreamsBuilder.findParentNodeMatching`).
    fn nearest(&self, id: NodeId, test: &dyn Fn(NodeId) -> bool) -> Option<NodeId> {
        if test(id) {
            return Some(id);
        }
        self.nodes[id].parents.iter().find_map(|&parent| self.nearest(parent, test))
    }

    fn merge_below(&mut self, changer: NodeId, repartitions: &[NodeId]) -> Result<(), TopologyError> {
        let Some(first) = repartitions.first().and_then(|&id| self.optimizable(id)).cloned() else {
            return Ok(());
        };
        let merged = RepartitionNode::named(&first.topic, &mut self.names, first.writer);
        self.source_reads(&merged.source, [merged.topic.clone()]);
        let priority = self.nodes[changer].priority;
        let node = GraphNode::new(merged.source.clone(), [], NodeKind::Repartition(merged));
        self.nodes.push(GraphNode { priority, ..node });
        let merged = self.nodes.len() - 1;
        for &replaced in repartitions {
            let Some(child) = self.child_towards(replaced, changer) else {
                return Err(cannot_merge(&self.nodes[changer].name, &self.nodes[replaced].name));
            };
            self.replace_parent(child, changer, &[merged]);
            let parents = self.nodes[replaced].parents.clone();
            for id in 0..self.nodes.len() {
                if self.nodes[id].parents.contains(&replaced) {
                    self.replace_parent(id, replaced, &parents);
                }
            }
            self.nodes[replaced].parents.clear();
            self.nodes[replaced].dropped = true;
            self.replace_in_copartitions(replaced, merged);
        }
        self.nodes[merged].parents.push(changer);
        Ok(())
    }

    /// Gives a node other parents in one's place; they come last, as in the JVM's sets.
    fn replace_parent(&mut self, id: NodeId, old: NodeId, new: &[NodeId]) {
        let parents = &mut self.nodes[id].parents;
        for &parent in new {
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        parents.retain(|&parent| parent != old);
    }

    fn replace_in_copartitions(&mut self, old: NodeId, new: NodeId) {
        let (old, new) = (&self.nodes[old].name, &self.nodes[new].name);
        for group in &mut self.copartitioned {
            if group.remove(old) {
                group.insert(new.clone());
            }
        }
    }
}

fn cannot_merge(changer: &str, repartition: &str) -> TopologyError {
    TopologyError::Invalid(format!(
        "merge.repartition.topics cannot make one topic of the repartitions below {changer}: {repartition} shares the way \
         to it with another one. Repartition once yourself (repartition()) right below {changer}, or leave this \
         optimisation out of topology.optimization"
    ))
}

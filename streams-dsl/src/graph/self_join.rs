//! `single.store.self.join`: a stream that is joined with itself is kept once
//! (`InternalStreamsBuilder.rewriteSingleStoreSelfJoin`).

use super::Graph;

impl Graph {
    /// Drops the node that keeps the other side of each join whose sides are one stream. It comes after all rewrites that
    /// can make two streams one.
    #[allow(dead_code)] // until a build takes the optimisations
    pub(super) fn single_store_self_joins(&mut self) {
        for id in 0..self.nodes.len() {
            let node = &self.nodes[id];
            let Some(other_window) = node.other_window else { continue };
            if node.parents.windows(2).all(|pair| pair[0] == pair[1]) {
                self.nodes[id].is_self_join = true;
                self.nodes[other_window].dropped = true;
            }
        }
    }
}

//! What a commit does with a task: caches go downstream first, then everything that changed becomes one batch. Beside it the
//! opposite: everything since the last commit is forgotten.

use kstreams_state_stores::{CommitBatch, StateStore, StoreContext, StoreError};

use super::{ConsumedOffset, Task, TaskContext};
use crate::error::StreamsError;

impl Task {
    /// First step of a commit: waits for asynchronous steps ([`drain`](Self::drain) does so without blocking), flushes the
    /// store caches, in the stores' order, and forwards what they set free. What was consumed up to here may be committed
    /// once the collector has delivered everything.
    ///
    /// # Errors
    /// When a store or a node fails.
    pub fn prepare_commit(&mut self) -> Result<Vec<ConsumedOffset>, StreamsError> {
        self.finish_calls()?;
        self.flush_caches()?;
        self.flush_stores()?;
        let all = self.cx.processor_metadata_changed;
        let offsets = self.queues.iter().enumerate().filter(|&(input, _)| all || self.consumed[input]);
        let offsets = offsets.filter_map(|(input, queue)| {
            let partition_time = queue.partition_time();
            queue.position().map(|offset| ConsumedOffset { input, offset, partition_time })
        });
        Ok(offsets.collect())
    }

    /// Flushes the store caches without a commit (`flushCache`).
    ///
    /// # Errors
    /// When a store or a node fails.
    pub fn flush_caches(&mut self) -> Result<(), StreamsError> {
        self.cx.activity.without_record();
        for index in 0..self.stores.len() {
            self.flush_store(index, |store, cx| store.flush_cache(cx))?;
            self.forward_flushed(index)?;
        }
        Ok(())
    }

    /// Lets stores log what they kept from their changelogs until now.
    fn flush_stores(&mut self) -> Result<(), StreamsError> {
        (0..self.stores.len()).try_for_each(|index| self.flush_store(index, |store, cx| store.flush(cx)))
    }

    fn flush_store(
        &mut self,
        index: usize,
        flush: impl FnOnce(&mut dyn StateStore, &mut StoreContext<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StreamsError> {
        let TaskContext { owner, record, collector, .. } = &mut self.cx;
        let mut cx = StoreContext { record, changelog: collector.as_changelog() };
        let flushed = flush(self.stores[index].cell.get(owner), &mut cx);
        flushed.map_err(|source| self.store_failed(source))
    }

    fn forward_flushed(&mut self, store: usize) -> Result<(), StreamsError> {
        let Task { stores, nodes, cx, .. } = self;
        for &node in &stores[store].users {
            if let Some(Some(lifecycle)) = nodes.get(node) {
                let flushed = lifecycle.forward_flushed(cx);
                flushed.map_err(|error| error.into_streams_error(cx.node_name(node)))?;
            }
        }
        Ok(())
    }

    /// Last step of a commit: moves every store's uncommitted layer into `batch`, which the runtime completes with the
    /// changelog offsets and writes at once.
    ///
    /// # Errors
    /// When a store fails.
    pub fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StreamsError> {
        self.each_store(|store| store.write_commit(batch))
    }

    /// The batch is written: forget what it held, and what was consumed.
    pub fn committed(&mut self) {
        for store in &self.stores {
            store.cell.get(&mut self.cx.owner).committed();
        }
        self.consumed.fill(false);
        self.commit_needed = false;
        self.cx.processor_metadata_changed = false;
        self.cx.commit_requested = false;
        self.end_drain();
    }

    /// Bytes in the uncommitted layers of all stores.
    pub fn uncommitted_bytes(&mut self) -> usize {
        let owner = &mut self.cx.owner;
        self.stores.iter().map(|store| store.cell.get(owner).uncommitted_bytes()).sum()
    }

    /// Forgets everything since the last commit: caches, uncommitted layers, queues.
    pub fn discard_uncommitted(&mut self) {
        self.cancel_calls();
        for store in &self.stores {
            store.cell.get(&mut self.cx.owner).discard_uncommitted();
        }
        for queue in &mut self.queues {
            queue.clear();
        }
        self.order.clear();
        self.consumed.fill(false);
        self.commit_needed = false;
    }
}

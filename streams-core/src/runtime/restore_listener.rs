//! Tells a listener how restores go.

use std::sync::Arc;

use parking_lot::RwLock;

use super::instance::RestoreProgress;
use crate::task::TopicPartition;

/// Hears of each store that is restored (`StateRestoreListener`). Called on the restore thread: it should return quickly.
pub trait StateRestoreListener: Send + Sync {
    /// A store is about to be restored, from `starting_offset` to `ending_offset` of its changelog partition.
    fn on_restore_start(
        &self,
        partition: &TopicPartition,
        store: &str,
        starting_offset: i64,
        ending_offset: i64,
    );

    /// `records` more records were put in; the next is at `offset`.
    fn on_batch_restored(&self, partition: &TopicPartition, store: &str, offset: i64, records: usize);

    /// The store is complete, after `total` records.
    fn on_restore_end(&self, partition: &TopicPartition, store: &str, total: u64);

    /// The restore was broken off, for instance because the task went to another instance.
    fn on_restore_suspended(&self, partition: &TopicPartition, store: &str, total: u64) {
        let _ = (partition, store, total);
    }
}

/// The listener, if one was set.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<RwLock<Option<Arc<dyn StateRestoreListener>>>>);

impl Listener {
    pub(crate) fn set(&self, listener: Arc<dyn StateRestoreListener>) {
        *self.0.write() = Some(listener);
    }

    fn tell(&self, f: impl FnOnce(&dyn StateRestoreListener)) {
        let listener = self.0.read().clone();
        if let Some(listener) = listener {
            f(&*listener);
        }
    }

    pub(crate) fn start(&self, changelog: &RestoreProgress, from: i64, to: i64) {
        self.tell(|listener| listener.on_restore_start(&changelog.partition, &changelog.store, from, to));
    }

    pub(crate) fn batch(&self, changelog: &RestoreProgress, offset: i64, records: usize) {
        self.tell(|listener| {
            listener.on_batch_restored(&changelog.partition, &changelog.store, offset, records)
        });
    }

    pub(crate) fn end(&self, changelog: &RestoreProgress, total: u64) {
        self.tell(|listener| listener.on_restore_end(&changelog.partition, &changelog.store, total));
    }

    pub(crate) fn suspended(&self, changelog: &RestoreProgress, total: u64) {
        self.tell(|listener| listener.on_restore_suspended(&changelog.partition, &changelog.store, total));
    }
}

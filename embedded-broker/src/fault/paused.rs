//! Partitions that take and give no records for a while.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

/// The partitions that pause.
#[derive(Debug)]
pub(crate) struct Paused {
    /// False: nothing pauses, which is all that most requests ask.
    any: AtomicBool,
    partitions: RwLock<HashSet<(String, i32)>>,
    changes: watch::Sender<()>,
}

impl Default for Paused {
    fn default() -> Self {
        Paused { any: AtomicBool::new(false), partitions: RwLock::default(), changes: watch::Sender::new(()) }
    }
}

impl Paused {
    pub(super) fn pause(&self, topic: &str, partition: i32) {
        let mut partitions = self.partitions.write();
        partitions.insert((topic.to_owned(), partition));
        self.any.store(true, Ordering::SeqCst);
    }

    pub(super) fn resume(&self, topic: &str, partition: i32) {
        let mut partitions = self.partitions.write();
        partitions.retain(|(name, index)| name != topic || *index != partition);
        self.any.store(!partitions.is_empty(), Ordering::SeqCst);
        drop(partitions);
        self.changes.send_replace(());
    }

    pub(super) fn resume_all(&self) {
        self.partitions.write().clear();
        self.any.store(false, Ordering::SeqCst);
        self.changes.send_replace(());
    }

    /// Whether nothing pauses.
    pub(crate) fn is_none(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// Whether the partition pauses.
    pub(crate) fn is_paused(&self, topic: &str, partition: i32) -> bool {
        !self.is_none()
            && self.partitions.read().iter().any(|(name, index)| name == topic && *index == partition)
    }

    /// Waits until none of the partitions pauses, or for so long.
    pub(crate) async fn resumed(&self, partitions: &[(String, i32)], at_most: Duration) {
        let wait = async {
            let mut changes = self.changes.subscribe();
            while partitions.iter().any(|(topic, partition)| self.is_paused(topic, *partition)) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whoever waited too long finds the partition paused still.
        let _ = tokio::time::timeout(at_most, wait).await;
    }
}

//! Which windows and sessions still live: a store's observed stream time, and the JVM's rules per engine.
//!
//! RocksDB refuses a put by segment, in memory strictly by retention; both hide from reads what is older than the
//! retention (`AbstractRocksDBSegmentedBytesStore`, `InMemoryWindowStore`). Removal comes with a commit, so that an
//! abort brings back what had expired in between.

use crate::cursor::KeyRange;
use crate::keys::KeyLayout;
use crate::time_index;

/// See the module.
pub(crate) struct Expiry {
    layout: KeyLayout,
    retention_ms: i64,
    /// How much longer than the retention windows are seen, in ms.
    seen_longer_ms: i64,
    observed: i64,
    committed: i64,
    /// Prefix below which everything was removed already.
    removed_below: i64,
}

/// Stream time of a store that has seen nothing (`ConsumerRecord.NO_TIMESTAMP`).
const NO_TIME: i64 = -1;

impl Expiry {
    pub(crate) fn new(layout: KeyLayout, retention_ms: i64) -> Self {
        Expiry {
            layout,
            retention_ms,
            seen_longer_ms: 0,
            observed: NO_TIME,
            committed: NO_TIME,
            removed_below: 0,
        }
    }

    /// For windows whose final results are read when they close: in RocksDB they are seen 1 ms longer, so that they are
    /// still there when retention and grace are the same (`AbstractDualSchemaRocksDBSegmentedBytesStore`).
    pub(crate) fn for_final_results(mut self) -> Self {
        self.seen_longer_ms = i64::from(self.layout.is_segmented());
        self
    }

    /// Greatest window start (or session end) put so far; -1 before the first.
    pub(crate) fn observed(&self) -> i64 {
        self.observed
    }

    /// A reopened store: what it holds tells what it had seen.
    pub(crate) fn start_at(&mut self, newest_prefix: i64) {
        let time = match self.layout {
            KeyLayout::Segments { interval_ms, .. } => newest_prefix.saturating_mul(interval_ms),
            _ => newest_prefix,
        };
        self.advance_committed(time);
    }

    /// Committed data up to `time` came in beside the store.
    pub(crate) fn advance_committed(&mut self, time: i64) {
        self.observed = self.observed.max(time);
        self.committed = self.committed.max(time);
    }

    /// Takes note of a put and tells whether its window still lives.
    pub(crate) fn admits(&mut self, time: i64) -> bool {
        self.observed = self.observed.max(time);
        match self.layout {
            KeyLayout::Segments { .. } => self.layout.prefix_of(time) >= self.least_live_prefix(),
            // A version at the very edge still says what counted there.
            KeyLayout::Versions => time >= self.observed.saturating_sub(self.retention_ms),
            KeyLayout::Plain | KeyLayout::Times { .. } => {
                time > self.observed.saturating_sub(self.retention_ms)
            }
        }
    }

    /// Windows that start before this are hidden from reads; of versions, those that ended before it.
    pub(crate) fn visible_from(&self) -> i64 {
        let edge = self.observed.saturating_sub(self.retention_ms);
        match self.layout {
            KeyLayout::Versions => edge,
            _ => edge.saturating_add(1 - self.seen_longer_ms),
        }
    }

    /// The observed time, if it is another one than at the last commit.
    pub(crate) fn uncommitted_time(&self) -> Option<i64> {
        (self.observed != self.committed).then_some(self.observed)
    }

    /// What is older than this is not kept.
    pub(crate) fn live_from(&self) -> i64 {
        match self.layout {
            KeyLayout::Segments { interval_ms, .. } => self.least_live_prefix().saturating_mul(interval_ms),
            _ => self.visible_from(),
        }
    }

    fn least_live_prefix(&self) -> i64 {
        match self.layout {
            KeyLayout::Segments { .. } => {
                self.layout.prefix_of(self.observed.saturating_sub(self.retention_ms))
            }
            _ => self.visible_from(),
        }
    }

    /// The key below which this commit may remove everything; `None`: nothing new to remove.
    fn removal_bound(&self) -> Option<[u8; 8]> {
        if self.layout == KeyLayout::Versions {
            return None; // their keys do not begin with a time
        }
        let least = self.least_live_prefix();
        (least > self.removed_below).then(|| least.to_be_bytes())
    }

    /// The keys that this commit may remove: those of the store and, if there is one, of its index by time.
    pub(crate) fn expired(&self, indexed: bool) -> Vec<KeyRange> {
        let Some(bound) = self.removal_bound() else { return Vec::new() };
        let entries = KeyRange { lower: Vec::new(), upper: Some(bound.to_vec()) };
        let index = indexed.then(|| time_index::before(self.live_from()));
        std::iter::once(entries).chain(index).collect()
    }

    pub(crate) fn committed(&mut self) {
        self.committed = self.observed;
        self.removed_below = self.removed_below.max(self.least_live_prefix());
    }

    pub(crate) fn discard_uncommitted(&mut self) {
        self.observed = self.committed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Schema;

    const SEGMENTS: KeyLayout = KeyLayout::Segments { interval_ms: 60_000, schema: Schema::Window };

    #[test]
    fn rocksdb_refuses_by_segment_and_hides_by_retention() {
        let mut expiry = Expiry::new(SEGMENTS, 100_000);
        assert!(expiry.admits(200_000));
        assert!(expiry.admits(60_000), "segment 1 lives: (200000 - 100000) / 60000 = 1");
        assert!(!expiry.admits(59_999), "segment 0 does not");
        assert_eq!(expiry.visible_from(), 100_001, "but what is older than the retention is not read");
        assert_eq!(expiry.removal_bound(), Some(1i64.to_be_bytes()));
    }

    #[test]
    fn memory_refuses_strictly() {
        let mut expiry = Expiry::new(KeyLayout::Times { schema: Schema::Window }, 100_000);
        assert!(expiry.admits(200_000));
        assert!(!expiry.admits(100_000));
        assert!(expiry.admits(100_001));
    }

    #[test]
    fn an_abort_takes_the_stream_time_back() {
        let mut expiry = Expiry::new(SEGMENTS, 60_000);
        expiry.admits(60_000);
        expiry.committed();
        expiry.admits(10_000_000);
        assert!(expiry.removal_bound().is_some());
        expiry.discard_uncommitted();
        assert_eq!((expiry.observed(), expiry.removal_bound()), (60_000, None));
    }

    #[test]
    fn windows_kept_for_ever_never_expire() {
        let mut expiry = Expiry::new(SEGMENTS, i64::MAX);
        assert!(expiry.admits(i64::MAX));
        assert!(expiry.admits(0));
        assert_eq!(expiry.removal_bound(), None);
    }
}

//! How often a store is called and how long its calls take, where somebody asks (`metrics.recording.level` DEBUG): behind
//! one test for a null pointer where nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::StoreKind;

/// A call of a store, as Kafka Streams' metrics tell them apart (`StateStoreMetrics`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOperation {
    /// A value is set, or deleted by a null.
    Put,
    /// A value is set unless there is one.
    PutIfAbsent,
    /// A key is deleted.
    Delete,
    /// A session is removed.
    Remove,
    /// A key is read.
    Get,
    /// Windows or sessions are read, until the iterator is dropped.
    Fetch,
    /// All entries are read, until the iterator is dropped.
    All,
    /// A range is read, until the iterator is dropped.
    Range,
    /// The keys with a prefix are read, until the iterator is dropped.
    PrefixScan,
    /// The cache is flushed.
    Flush,
    /// Records of the changelog are put into the store, some at a time.
    Restore,
}

impl StoreOperation {
    const COUNT: usize = StoreOperation::Restore as usize + 1;

    /// The name in metrics, for example `put-if-absent`.
    pub fn name(self) -> &'static str {
        match self {
            StoreOperation::Put => "put",
            StoreOperation::PutIfAbsent => "put-if-absent",
            StoreOperation::Delete => "delete",
            StoreOperation::Remove => "remove",
            StoreOperation::Get => "get",
            StoreOperation::Fetch => "fetch",
            StoreOperation::All => "all",
            StoreOperation::Range => "range",
            StoreOperation::PrefixScan => "prefix-scan",
            StoreOperation::Flush => "flush",
            StoreOperation::Restore => "restore",
        }
    }

    /// Those that stores of a kind have.
    pub fn of(kind: StoreKind) -> &'static [StoreOperation] {
        use StoreOperation::*;
        match kind {
            StoreKind::Versioned => &[Put, Delete, Get, Flush, Restore],
            kind if kind.is_session() => &[Put, Remove, Fetch, Flush, Restore],
            kind if kind.is_windowed() => &[Put, Fetch, Flush, Restore],
            _ => &[Put, PutIfAbsent, Delete, Get, All, Range, PrefixScan, Flush, Restore],
        }
    }
}

/// Calls of one kind since somebody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationTimes {
    /// How many.
    pub calls: u64,
    /// Nanoseconds of all together.
    pub nanos: u64,
    /// Nanoseconds of the longest.
    pub max_nanos: u64,
}

/// What a store counts into; see [`StateStore::record_times`](crate::StateStore::record_times).
#[derive(Debug, Default)]
pub struct StoreTimes([Counters; StoreOperation::COUNT]);

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    nanos: AtomicU64,
    max_nanos: AtomicU64,
}

impl StoreTimes {
    /// The calls since this was asked last.
    pub fn take(&self, operation: StoreOperation) -> OperationTimes {
        // Relaxed: the numbers are for people to look at, nothing is published through them.
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { calls, nanos, max_nanos } = &self.0[operation as usize];
        OperationTimes { calls: take(calls), nanos: take(nanos), max_nanos: take(max_nanos) }
    }
}

/// Counts a call when it is dropped.
pub(crate) struct Timer {
    times: Arc<StoreTimes>,
    operation: StoreOperation,
    started: Instant,
}

impl Timer {
    pub(crate) fn start(times: &Arc<StoreTimes>, operation: StoreOperation) -> Self {
        Timer { times: Arc::clone(times), operation, started: Instant::now() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let counters = &self.times.0[self.operation as usize];
        counters.calls.fetch_add(1, Ordering::Relaxed);
        counters.nanos.fetch_add(nanos, Ordering::Relaxed);
        counters.max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NoChangelog;
    use crate::{StateStore, StoreBuilder, StoreContext, StoreEnvironment, Stores};

    #[test]
    fn calls_are_counted_once_each_from_when_it_is_asked_for() {
        let mut store = Stores::key_value::<String, i64>("s").build(&StoreEnvironment::in_memory()).unwrap();
        let (record, mut changelog) = (Default::default(), NoChangelog);
        let mut cx = StoreContext { record: &record, changelog: &mut changelog };
        let (a, b) = ("a".to_owned(), "b".to_owned());
        store.put(&mut cx, &a, Some(&1)).unwrap();
        let times = Arc::new(StoreTimes::default());
        store.record_times(Arc::clone(&times));
        store.put(&mut cx, &a, Some(&2)).unwrap();
        store.put_if_absent(&mut cx, &b, Some(&2)).unwrap();
        store.delete(&mut cx, &a).unwrap();
        store.get(&b).unwrap();
        let rows = store.all().unwrap();
        assert_eq!(times.take(StoreOperation::All).calls, 0, "the iterator is still there");
        assert_eq!(rows.count(), 1);
        store.flush_cache(&mut cx).unwrap();
        let counts: Vec<_> = StoreOperation::of(StoreKind::KeyValue)
            .iter()
            .map(|operation| (operation.name(), times.take(*operation).calls))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        assert_eq!(
            counts,
            [("put", 1), ("put-if-absent", 1), ("delete", 1), ("get", 1), ("all", 1), ("flush", 1)]
        );
        assert_eq!(times.take(StoreOperation::Put), OperationTimes::default(), "taken is taken");
    }
}

//! A task with everything that goes with it from thread to thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kstreams_state_stores::{CacheStats, TaskBackend, TaskDb};

use super::database;
use super::instance::TaskEntry;
use super::produce::ChangelogTarget;
use super::stable_end::StableEnd;
use crate::client::{Committed, PartitionQueue};
use crate::config::MetricsRecordingLevel;
use crate::metrics::{
    CacheMetrics, NodeMetrics, RocksDbMetrics, RocksDbStatisticsMetrics, StoreMetrics, TaskMetrics,
};
use crate::state_dir::TaskDirectory;
use crate::task::{EndToEnd, Task, TopicPartition};
use crate::topology::AutoOffsetReset;

/// An input partition of a task.
pub(crate) struct Input {
    pub(crate) partition: TopicPartition,
    pub(crate) queue: PartitionQueue,
    /// Where to go on when the committed offset is not there any more.
    pub(crate) reset: AutoOffsetReset,
    /// What was committed last; committed again before it can expire.
    pub(crate) committed: Committed,
    /// How far it was processed at the last commit: what was committed, but for at-most-once, which commits ahead.
    pub(crate) processed: Option<i64>,
    /// Whether records were read since offsets were committed ahead.
    pub(crate) read_ahead: bool,
    /// The offset behind the last record that was put into the task's buffer, at first that of the start. A rebalance
    /// makes librdkafka fetch again what was read at that moment: what is below comes a second time.
    pub(crate) next_offset: i64,
    /// Since when (wall clock, ms) the task waits for this input although it is caught up (`max.task.idle.ms`).
    pub(crate) idle_since_ms: Option<i64>,
    /// Where open transactions may lie before the high watermark.
    pub(crate) stable_end: Option<StableEnd>,
}

impl Input {
    /// An input that is read from `next_offset`.
    pub(crate) fn new(
        partition: TopicPartition,
        queue: PartitionQueue,
        reset: AutoOffsetReset,
        committed: Committed,
        next_offset: i64,
    ) -> Self {
        let processed = committed.offset;
        let (read_ahead, idle_since_ms, stable_end) = (false, None, None);
        Input {
            partition,
            queue,
            reset,
            committed,
            processed,
            read_ahead,
            next_offset,
            idle_since_ms,
            stable_end,
        }
    }

    /// Whether everything that can be read was read.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.queue.is_caught_up(&self.partition, self.next_offset)
            || self
                .stable_end
                .as_ref()
                .is_some_and(|end| end.is_reached(self.queue.next_to_read(&self.partition, self.next_offset)))
    }
}

/// A task, its inputs, its database and its changelogs.
pub(crate) struct TaskBundle {
    pub(crate) entry: Arc<TaskEntry>,
    pub(crate) task: Task,
    pub(crate) backend: TaskBackend,
    /// Its folder, held as long as the task lives; `None` where nothing is kept on disk.
    pub(crate) directory: Option<TaskDirectory>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) metrics: TaskMetrics,
    pub(crate) details: Details,
    /// Records dropped when the metrics were handed on last.
    pub(crate) dropped_before: u64,
    /// By changelog number; the last acknowledged offsets are found here.
    pub(crate) changelogs: Arc<Vec<ChangelogTarget>>,
}

/// How often the properties of RocksDB are asked for, in ms: each costs a look into the database.
const PROPERTIES_EVERY_MS: i64 = 30_000;

/// The metrics of a task's nodes, caches and stores; below level DEBUG only those of RocksDB.
#[derive(Default)]
pub(crate) struct Details {
    nodes: Vec<Option<NodeMetrics>>,
    /// By store, with what was seen last.
    caches: Vec<(String, CacheMetrics, CacheStats)>,
    /// In the stores' order.
    stores: Vec<StoreMetrics>,
    databases: Vec<(String, RocksDbMetrics)>,
    statistics: Option<RocksDbStatisticsMetrics>,
    /// When the databases were looked at last.
    looked_at_ms: Option<i64>,
}

impl Details {
    /// Begins to count, where `level` asks for it.
    pub(crate) fn new(
        task: &mut Task,
        backend: &TaskBackend,
        thread: &str,
        level: MetricsRecordingLevel,
    ) -> Self {
        let id = task.id().to_string();
        let (mut stores, mut databases) = (Vec::new(), Vec::new());
        task.visit_stores(|store| {
            let spec = store.spec().clone();
            if let Some(metrics) = StoreMetrics::new(thread, &id, &spec, store.held_back().is_some(), level) {
                store.record_times(metrics.times());
                stores.push(metrics);
            }
            if spec.persistent && backend.db().is_some() {
                let metrics = RocksDbMetrics::new(thread, &id, &spec, TaskDb::PROPERTIES);
                databases.push((spec.name, metrics));
            }
        });
        let details = Details { stores, databases, ..Details::default() };
        if level < MetricsRecordingLevel::Debug {
            return details;
        }
        task.count_per_node();
        let nodes = task.node_names().map(|node| NodeMetrics::new(thread, &id, node?, level)).collect();
        let mut caches = Vec::new();
        task.cache_stats(|store, stats| {
            let metrics = CacheMetrics::new(thread, &id, store, level);
            caches.extend(metrics.map(|metrics| (store.to_owned(), metrics, stats)));
        });
        let statistics = backend.db().and_then(|db| {
            let opened = db.statistics()?;
            Some(RocksDbStatisticsMetrics::new(thread, &id, opened))
        });
        Details { nodes, caches, statistics, ..details }
    }

    fn flush(&mut self, task: &mut Task, backend: &TaskBackend, now_ms: i64) {
        let is_due = self.looked_at_ms.is_none_or(|at| now_ms - at >= PROPERTIES_EVERY_MS || now_ms < at);
        if let Some(db) = backend.db().filter(|_| is_due) {
            self.looked_at_ms = Some(now_ms);
            for (store, metrics) in &self.databases {
                metrics.show(|property| db.property(store, property));
            }
            if let (Some(metrics), Some(counted)) = (&mut self.statistics, db.statistics()) {
                metrics.show(counted, now_ms);
            }
        }
        if !self.stores.is_empty() {
            let mut stores = self.stores.iter_mut();
            task.visit_stores(|store| {
                if let Some(metrics) = stores.next() {
                    metrics.flush(store.held_back(), now_ms);
                }
            });
        }
        task.take_node_counts(|node, counts| {
            let Some(Some(metrics)) = self.nodes.get_mut(node) else { return };
            metrics.processed(counts.records, now_ms);
            let EndToEnd { count, sum_ms, min_ms, max_ms } = counts.end_to_end;
            if count > 0 {
                metrics.end_to_end(sum_ms as f64 / count as f64, min_ms, max_ms);
            }
        });
        if self.caches.is_empty() {
            return;
        }
        task.cache_stats(|store, now| {
            if let Some((_, metrics, before)) = self.caches.iter_mut().find(|(name, ..)| name == store) {
                metrics.reads(now.hits - before.hits, now.gets - before.gets);
                *before = now;
            }
        });
    }
}

impl TaskBundle {
    /// Hands the task's metrics on.
    pub(crate) fn flush_metrics(&mut self, now_ms: i64) {
        let dropped = self.task.dropped_records();
        self.metrics.dropped_records.add(dropped.saturating_sub(self.dropped_before));
        self.dropped_before = dropped;
        let buffered = (0..self.inputs.len()).map(|input| self.task.buffered(input)).sum();
        let ends = self.entry.ends.iter().zip(&self.entry.committed);
        let lags = ends.map(|(end, committed)| {
            let (end, committed) = (end.load(Ordering::Relaxed), committed.load(Ordering::Relaxed));
            (end >= 0 && committed >= 0).then(|| (end - committed).max(0))
        });
        self.metrics.waiting(buffered, lags.sum());
        if let Some(in_flight) = self.task.records_in_flight() {
            let (retries, timeouts) = self.task.take_call_counts();
            self.metrics.asynchronous(in_flight, retries, timeouts);
        }
        self.metrics.flush(now_ms);
        self.details.flush(&mut self.task, &self.backend, now_ms);
    }

    /// Closes the task and forgets what was not committed.
    pub(crate) fn close_dirty(mut self, now_ms: i64) {
        self.entry.running.store(false, Ordering::Release);
        self.task.discard_uncommitted();
        self.close(now_ms);
    }

    /// Closes the task; commit before.
    pub(crate) fn close(self, now_ms: i64) {
        let TaskBundle { entry, mut task, backend, directory, .. } = self;
        entry.running.store(false, Ordering::Release);
        // Without it the next start would replay what was committed since the last flush.
        if let Err(error) = database::flush(&backend) {
            tracing::warn!(task = %entry.id, %error, "the task's state could not be flushed; its changelogs are replayed");
        }
        if let Err(error) = task.close() {
            tracing::warn!(task = %entry.id, %error, "closing a task's stores failed");
        }
        // The folder is given back when nobody has the database open any more.
        drop((task, backend));
        if let Some(directory) = directory {
            directory.release(now_ms);
        }
    }
}

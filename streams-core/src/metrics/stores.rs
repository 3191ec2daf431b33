//! The metrics of stores and of the RocksDB below them, under Kafka Streams' names.

use std::sync::Arc;

use kstreams_state_stores::{StoreOperation, StoreSpec, StoreTimes};
use metrics::Gauge;

use super::meter::{Latency, Namer, Values};
use crate::config::MetricsRecordingLevel;

/// Metrics of a store: `rocksdb-state-id=counts`, `in-memory-window-state-id=clicks`.
fn namer(thread_id: &str, task_id: &str, spec: &StoreSpec) -> Namer {
    let kind = format!("{}-state-id", spec.metrics_scope());
    let tags = [("thread-id", thread_id), ("task-id", task_id), (kind.as_str(), spec.name.as_str())];
    Namer::new("stream-state-metrics", &tags)
}

/// Of a store, at level DEBUG: how often it is called (`put-rate`, and `put-total`, which Kafka Streams has not) and how
/// long it takes (`put-latency-avg`, `-max`, in nanoseconds); of the buffer of suppress, how full it is.
#[derive(Debug)]
pub struct StoreMetrics {
    times: Arc<StoreTimes>,
    operations: Vec<(StoreOperation, Latency)>,
    /// `suppression-buffer-count` and `-size`.
    held_back: Option<[Values; 2]>,
}

impl StoreMetrics {
    /// The metrics of a store that counts into [`times`](Self::times); `None` below level DEBUG. `is_buffer`: it is one of
    /// suppress.
    pub fn new(
        thread_id: &str,
        task_id: &str,
        spec: &StoreSpec,
        is_buffer: bool,
        level: MetricsRecordingLevel,
    ) -> Option<Self> {
        if level < MetricsRecordingLevel::Debug {
            return None;
        }
        let namer = namer(thread_id, task_id, spec);
        let operations = if is_buffer { &[] } else { StoreOperation::of(spec.kind) };
        let latency = |&operation: &StoreOperation| (operation, Latency::in_nanos(&namer, operation.name()));
        let held_back = ["suppression-buffer-count", "suppression-buffer-size"];
        Some(StoreMetrics {
            times: Arc::default(),
            operations: operations.iter().map(latency).collect(),
            held_back: is_buffer.then(|| held_back.map(|name| Values::new(&namer, name))),
        })
    }

    /// What the store is to count into.
    pub fn times(&self) -> Arc<StoreTimes> {
        Arc::clone(&self.times)
    }

    /// Hands the numbers on; `held_back` are records and bytes in a buffer at the moment.
    pub fn flush(&mut self, held_back: Option<(u64, u64)>, now_ms: i64) {
        for (operation, latency) in &mut self.operations {
            let times = self.times.take(*operation);
            latency.add_with_max(times.calls, times.nanos, times.max_nanos);
            latency.flush(now_ms);
        }
        if let (Some([count, size]), Some((records, bytes))) = (&mut self.held_back, held_back) {
            for (values, now) in [(count, records), (size, bytes)] {
                values.add(1, now);
                values.flush(now_ms);
            }
        }
    }
}

/// Of a store's part of the database, at level INFO: the properties that RocksDB keeps (KIP-607).
#[derive(Debug)]
pub struct RocksDbMetrics {
    gauges: Vec<(&'static str, Gauge)>,
}

impl RocksDbMetrics {
    /// The metrics of a persistent store.
    pub fn new(thread_id: &str, task_id: &str, spec: &StoreSpec, properties: &[&'static str]) -> Self {
        let namer = namer(thread_id, task_id, spec);
        RocksDbMetrics { gauges: properties.iter().map(|&name| (name, namer.gauge(name))).collect() }
    }

    /// Shows the value of each property that `read` knows.
    pub fn show(&self, read: impl Fn(&str) -> Option<u64>) {
        for (name, gauge) in &self.gauges {
            if let Some(value) = read(name) {
                gauge.set(value as f64);
            }
        }
    }
}

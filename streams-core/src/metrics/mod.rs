//! Kafka Streams' metrics through the `metrics` facade.
//!
//! A metric is named `kafka.streams.<group>.<metric>` (`kafka.streams.stream-thread-metrics.process-total`), with Kafka Streams' groups,
//! metric names and tags, so that a Prometheus exporter shows `kafka_streams_stream_thread_metrics_process_total`, the name that the JVM's
//! metrics have behind the usual exporter. What Kafka Streams calls `-total` is a counter, everything else a gauge. Rates are per second
//! and averages and maxima in milliseconds (those of stores in nanoseconds, as in Kafka Streams), over the time since the last flush but one second at least.
//!
//! One handle struct per thread, task, node, store or restoration, made once. In the hot path it adds to plain integers; the owner calls
//! `flush(now_ms)` when it commits or idles, which hands the numbers to the recorder. Without a recorder the handles do nothing.
//!
//! | struct | group | tags |
//! |---|---|---|
//! | [`ClientMetrics`] | `stream-metrics` | client-id |
//! | [`ThreadMetrics`] | `stream-thread-metrics` | thread-id |
//! | [`TaskMetrics`] | `stream-task-metrics` | thread-id, task-id |
//! | [`NodeMetrics`] | `stream-processor-node-metrics` | thread-id, task-id, processor-node-id |
//! | [`CacheMetrics`] | `stream-record-cache-metrics` | thread-id, task-id, record-cache-id |
//! | [`StoreMetrics`] | `stream-state-metrics` | thread-id, task-id, `<kind>`-state-id |
//! | [`RocksDbMetrics`] | `stream-state-metrics` | thread-id, task-id, `<kind>`-state-id |
//! | [`RocksDbStatisticsMetrics`] | `stream-state-metrics` | thread-id, task-id, `rocksdb-state-id` (`all`) |
//! | [`RestoreMetrics`] | `stream-task-metrics` | thread-id, task-id |
//!
//! Ours, in `stream-task-metrics`, of tasks with asynchronous steps: `async-in-flight` (records that the steps hold),
//! `async-retries-total` and `-rate` (attempts that were repeated), `async-timeouts-total` and `-rate` (attempts that took too long).

mod handles;
mod meter;
mod rocksdb;
mod stores;

pub use handles::{CacheMetrics, ClientMetrics, NodeMetrics, RestoreMetrics, TaskMetrics, ThreadMetrics};
pub use meter::{Latency, Meter, Values};
pub use rocksdb::RocksDbStatisticsMetrics;
pub use stores::{RocksDbMetrics, StoreMetrics};

#[cfg(test)]
mod tests;

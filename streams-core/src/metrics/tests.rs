//! What a recorder gets to see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;
use crate::config::MetricsRecordingLevel;

/// Keeps every metric: a counter as its number, a gauge as the bits of its value.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Kept {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let tags: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), tags.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn counter(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::Relaxed)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.counter(name))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn thread_metrics_have_kafka_streams_names_and_count_right() {
    let kept = Kept::default();
    let mut thread = metrics::with_local_recorder(&kept, || ThreadMetrics::new("c-StreamThread-1"));
    thread.flush(10_000);
    thread.process.add(1_000, 2_000_000_000);
    thread.commit.add(1, 5_000_000);
    thread.flush(10_500);
    let name =
        |metric: &str| format!("kafka.streams.stream-thread-metrics.{metric}{{thread-id=c-StreamThread-1}}");
    assert_eq!(kept.counter(&name("process-total")), 1_000, "counts are handed on at every flush");
    assert_eq!(kept.gauge(&name("process-rate")), 0.0, "rates wait for a second");
    thread.process.add(1_000, 6_000_000_000);
    thread.flush(12_000);
    assert_eq!(kept.counter(&name("process-total")), 2_000);
    assert_eq!(kept.gauge(&name("process-rate")), 1_000.0);
    assert_eq!(kept.gauge(&name("process-latency-avg")), 4.0);
    assert_eq!(kept.gauge(&name("process-latency-max")), 6.0);
    assert_eq!(kept.gauge(&name("commit-latency-max")), 5.0);
    thread.flush(14_000);
    assert_eq!(kept.gauge(&name("process-rate")), 0.0, "an idle thread shows no rate");
    assert_eq!(kept.gauge(&name("process-latency-avg")), 4.0);
}

#[test]
fn a_clock_that_goes_back_spoils_one_window_only() {
    let kept = Kept::default();
    let mut restore = metrics::with_local_recorder(&kept, || RestoreMetrics::new("t", "0_1"));
    let name =
        |metric: &str| format!("kafka.streams.stream-task-metrics.{metric}{{thread-id=t,task-id=0_1}}");
    restore.flush(100_000);
    restore.restore.add(500);
    restore.flush(1_000);
    restore.flush(2_000);
    assert_eq!((kept.counter(&name("restore-total")), kept.gauge(&name("restore-rate"))), (500, 500.0));
    restore.remaining(42);
    assert_eq!(kept.gauge(&name("restore-remaining-records-total")), 42.0);
}

#[test]
fn at_level_info_a_task_counts_only_what_it_dropped() {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        let mut task = TaskMetrics::new("t", "0_0", MetricsRecordingLevel::Info);
        task.dropped_records.add(3);
        task.processed(10, 10, 10, 10);
        task.flush(0);
        assert!(NodeMetrics::new("t", "0_0", "n", MetricsRecordingLevel::Info).is_none());
    });
    let names: Vec<String> = kept.0.lock().unwrap().keys().cloned().collect();
    let tags = "{thread-id=t,task-id=0_0}";
    let expected =
        ["rate", "total"].map(|end| format!("kafka.streams.stream-task-metrics.dropped-records-{end}{tags}"));
    assert_eq!(names, expected);
    assert_eq!(kept.counter(&expected[1]), 3);
}

/// At every level, and only of tasks that have such steps.
#[test]
fn asynchronous_steps_count_what_they_hold_and_repeat() {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        let mut task = TaskMetrics::new("t", "0_0", MetricsRecordingLevel::Info);
        task.asynchronous(5, 2, 1);
        task.asynchronous(3, 1, 0);
        task.flush(0);
    });
    let name =
        |metric: &str| format!("kafka.streams.stream-task-metrics.{metric}{{thread-id=t,task-id=0_0}}");
    assert_eq!(kept.gauge(&name("async-in-flight")), 3.0);
    assert_eq!(kept.counter(&name("async-retries-total")), 3);
    assert_eq!(kept.counter(&name("async-timeouts-total")), 1);
}

#[test]
fn at_level_debug_lateness_and_cache_hits_show() {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        let mut task = TaskMetrics::new("t", "0_0", MetricsRecordingLevel::Debug);
        task.flush(0);
        task.processed(4, 100, 20, 12);
        task.flush(1_000);
        let cache = CacheMetrics::new("t", "0_0", "counts", MetricsRecordingLevel::Debug).unwrap();
        cache.reads(3, 4);
        cache.reads(0, 0);
    });
    let tags = "{thread-id=t,task-id=0_0}";
    assert_eq!(kept.gauge(&format!("kafka.streams.stream-task-metrics.record-lateness-avg{tags}")), 5.0);
    assert_eq!(kept.gauge(&format!("kafka.streams.stream-task-metrics.record-lateness-max{tags}")), 12.0);
    let cache =
        "kafka.streams.stream-record-cache-metrics.hit-ratio{thread-id=t,task-id=0_0,record-cache-id=counts}";
    assert_eq!(kept.gauge(cache), 0.75);
}

#[test]
fn stores_have_the_tags_of_their_kind_and_times_in_nanoseconds() {
    use kstreams_state_stores::{StateStore, StoreBuilder, StoreEnvironment, Stores};

    let kept = Kept::default();
    let builder = Stores::key_value::<String, i64>("counts");
    let spec = builder.spec();
    let mut store = builder.build(&StoreEnvironment::in_memory()).unwrap();
    metrics::with_local_recorder(&kept, || {
        let info = MetricsRecordingLevel::Info;
        assert!(
            StoreMetrics::new("t", "0_0", &spec, false, info).is_none(),
            "nothing is timed at level INFO"
        );
        let mut metrics = StoreMetrics::new("t", "0_0", &spec, false, MetricsRecordingLevel::Debug).unwrap();
        metrics.flush(None, 0);
        store.record_times(metrics.times());
        store.get(&"a".to_owned()).unwrap();
        store.get(&"b".to_owned()).unwrap();
        metrics.flush(None, 1_000);
        let mut buffer = StoreMetrics::new("t", "0_0", &spec, true, MetricsRecordingLevel::Debug).unwrap();
        buffer.flush(Some((3, 90)), 0);
        buffer.flush(Some((5, 110)), 1_000);
        let database = RocksDbMetrics::new("t", "0_0", &spec, &["estimate-num-keys", "unheard-of"]);
        database.show(|property| (property == "estimate-num-keys").then_some(7));
    });
    let name = |metric: &str| {
        format!(
            "kafka.streams.stream-state-metrics.{metric}{{thread-id=t,task-id=0_0,rocksdb-state-id=counts}}"
        )
    };
    assert_eq!(kept.gauge(&name("get-rate")), 2.0);
    let (average, longest) = (kept.gauge(&name("get-latency-avg")), kept.gauge(&name("get-latency-max")));
    assert!(average >= 1.0 && longest >= average, "{average} ns, {longest} ns at most");
    assert_eq!(kept.gauge(&name("put-rate")), 0.0);
    assert_eq!(kept.gauge(&name("suppression-buffer-count-avg")), 4.0);
    assert_eq!(kept.gauge(&name("suppression-buffer-size-max")), 110.0);
    assert_eq!(kept.gauge(&name("estimate-num-keys")), 7.0);
}

/// Totals, ratios and durations of what RocksDB counts; what it counted before belongs to nobody.
#[test]
fn rocksdb_statistics_are_told_since_the_last_look() {
    use kstreams_state_stores::{Durations, HitsAndMisses, RocksDbStatistics};
    let kept = Kept::default();
    let found = |hits, misses| HitsAndMisses { hits, misses };
    let opened = RocksDbStatistics { bytes_written: 500, memtable: found(9, 0), ..Default::default() };
    metrics::with_local_recorder(&kept, || {
        let mut metrics = RocksDbStatisticsMetrics::new("t", "0_0", opened);
        metrics.show(opened, 0);
        let compaction = Durations { avg: 2_000.0, min: 500.0, max: 9_000.0 };
        let later = RocksDbStatistics {
            bytes_written: 3_500,
            memtable: found(12, 1),
            block_cache_data: found(0, 4),
            write_stall_micros: 2_500,
            file_errors: 1,
            compaction,
            ..opened
        };
        metrics.show(later, 2_000);
        metrics.show(RocksDbStatistics { write_stall_micros: 3_000, ..later }, 4_000);
    });
    let name = |metric: &str| {
        format!("kafka.streams.stream-state-metrics.{metric}{{thread-id=t,task-id=0_0,rocksdb-state-id=all}}")
    };
    assert_eq!(kept.counter(&name("bytes-written-total")), 3_000);
    assert_eq!(kept.gauge(&name("bytes-written-rate")), 0.0, "nothing between the last two looks");
    assert_eq!(kept.gauge(&name("memtable-hit-ratio")), 0.75);
    assert_eq!(kept.gauge(&name("block-cache-data-hit-ratio")), 0.0);
    assert_eq!(kept.counter(&name("write-stall-duration-total")), 3, "2.5 and 0.5 ms are 3");
    assert_eq!(kept.counter(&name("number-file-errors-total")), 1);
    assert_eq!(kept.gauge(&name("compaction-time-avg")), 2.0);
    assert_eq!(kept.gauge(&name("compaction-time-max")), 9.0);
    assert_eq!(kept.gauge(&name("number-open-files")), -1.0);
}

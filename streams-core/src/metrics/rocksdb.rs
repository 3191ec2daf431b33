//! The metrics of what RocksDB counts (KIP-471), under Kafka Streams' names.

use kstreams_state_stores::{Durations, HitsAndMisses, RocksDbStatistics};
use metrics::{Counter, Gauge};

use super::meter::{Meter, Namer};

/// Of a task's database, at level DEBUG: what RocksDB counts. The stores of a task share one database, where Kafka Streams
/// has one each, so the numbers are of all of them together and the store's name in the tags is `all`.
///
/// Ratios are those of the time since the last look, averages and extremes those since the task was opened. Durations are
/// in milliseconds. `number-open-files` is -1, as in Kafka Streams: RocksDB has ceased to count files that it closes.
#[derive(Debug)]
pub struct RocksDbStatisticsMetrics {
    last: RocksDbStatistics,
    bytes_written: Meter,
    bytes_read: Meter,
    memtable_bytes_flushed: Meter,
    bytes_read_compaction: Meter,
    bytes_written_compaction: Meter,
    write_stall_total: Counter,
    /// Whole milliseconds shown so far: a counter takes no parts of one.
    write_stall_shown_ms: u64,
    file_errors: Counter,
    ratios: [Gauge; 4],
    write_stall_avg: Gauge,
    memtable_flush: Shown,
    compaction: Shown,
}

/// Average, least and greatest.
#[derive(Debug)]
struct Shown([Gauge; 3]);

impl Shown {
    fn new(namer: &Namer, name: &str) -> Self {
        Shown(["avg", "min", "max"].map(|which| namer.gauge(&format!("{name}-{which}"))))
    }

    fn set(&self, micros: Durations) {
        for (gauge, micros) in self.0.iter().zip([micros.avg, micros.min, micros.max]) {
            gauge.set(micros / 1_000.0);
        }
    }
}

impl RocksDbStatisticsMetrics {
    /// The metrics of a task's database that has counted `opened` so far.
    pub fn new(thread_id: &str, task_id: &str, opened: RocksDbStatistics) -> Self {
        let tags = [("thread-id", thread_id), ("task-id", task_id), ("rocksdb-state-id", "all")];
        let namer = Namer::new("stream-state-metrics", &tags);
        namer.gauge("number-open-files").set(-1.0);
        let ratios = ["memtable", "block-cache-data", "block-cache-index", "block-cache-filter"];
        RocksDbStatisticsMetrics {
            last: opened,
            bytes_written: Meter::new(&namer, "bytes-written"),
            bytes_read: Meter::new(&namer, "bytes-read"),
            memtable_bytes_flushed: Meter::new(&namer, "memtable-bytes-flushed"),
            bytes_read_compaction: Meter::new(&namer, "bytes-read-compaction"),
            bytes_written_compaction: Meter::new(&namer, "bytes-written-compaction"),
            write_stall_total: namer.counter("write-stall-duration-total"),
            write_stall_shown_ms: opened.write_stall_micros / 1_000,
            file_errors: namer.counter("number-file-errors-total"),
            ratios: ratios.map(|of| namer.gauge(&format!("{of}-hit-ratio"))),
            write_stall_avg: namer.gauge("write-stall-duration-avg"),
            memtable_flush: Shown::new(&namer, "memtable-flush-time"),
            compaction: Shown::new(&namer, "compaction-time"),
        }
    }

    /// Shows what is counted by now.
    pub fn show(&mut self, now: RocksDbStatistics, now_ms: i64) {
        let last = std::mem::replace(&mut self.last, now);
        let meters = [
            (&mut self.bytes_written, now.bytes_written, last.bytes_written),
            (&mut self.bytes_read, now.bytes_read, last.bytes_read),
            (&mut self.memtable_bytes_flushed, now.memtable_bytes_flushed, last.memtable_bytes_flushed),
            (&mut self.bytes_read_compaction, now.bytes_read_compaction, last.bytes_read_compaction),
            (&mut self.bytes_written_compaction, now.bytes_written_compaction, last.bytes_written_compaction),
        ];
        for (meter, now, last) in meters {
            meter.add(now.saturating_sub(last));
            meter.flush(now_ms);
        }
        let found = [
            (now.memtable, last.memtable),
            (now.block_cache_data, last.block_cache_data),
            (now.block_cache_index, last.block_cache_index),
            (now.block_cache_filter, last.block_cache_filter),
        ];
        for (gauge, (now, last)) in self.ratios.iter().zip(found) {
            if let Some(ratio) = ratio(now, last) {
                gauge.set(ratio);
            }
        }
        let stalled_ms = now.write_stall_micros / 1_000;
        self.write_stall_total.increment(stalled_ms.saturating_sub(self.write_stall_shown_ms));
        self.write_stall_shown_ms = stalled_ms;
        self.file_errors.increment(now.file_errors.saturating_sub(last.file_errors));
        self.write_stall_avg.set(now.write_stall.avg / 1_000.0);
        self.memtable_flush.set(now.memtable_flush);
        self.compaction.set(now.compaction);
    }
}

/// The share of look-ups since the last time that found something; `None`: there were none.
fn ratio(now: HitsAndMisses, last: HitsAndMisses) -> Option<f64> {
    let (hits, misses) = (now.hits.saturating_sub(last.hits), now.misses.saturating_sub(last.misses));
    let all = hits + misses;
    (all > 0).then(|| hits as f64 / all as f64)
}

//! The metrics of each part of an instance, under Kafka Streams' names.

use metrics::Gauge;

use super::meter::{Latency, Meter, Namer, Values};
use crate::config::MetricsRecordingLevel;

/// Of the instance.
#[derive(Debug)]
pub struct ClientMetrics {
    state: Gauge,
    alive_stream_threads: Gauge,
    failed_stream_threads: Meter,
}

impl ClientMetrics {
    /// The metrics of the instance with this `client.id`.
    pub fn new(client_id: &str) -> Self {
        let namer = Namer::new("stream-metrics", &[("client-id", client_id)]);
        ClientMetrics {
            state: namer.gauge("client-state"),
            alive_stream_threads: namer.gauge("alive-stream-threads"),
            failed_stream_threads: Meter::new(&namer, "failed-stream-threads"),
        }
    }

    /// The instance's state, as its number in `KafkaStreams.State` (CREATED is 0, RUNNING 2).
    pub fn state(&self, number: u8) {
        self.state.set(f64::from(number));
    }

    /// How many processing threads run.
    pub fn alive_stream_threads(&self, threads: usize) {
        self.alive_stream_threads.set(threads as f64);
    }

    /// A processing thread failed.
    pub fn thread_failed(&mut self, now_ms: i64) {
        self.failed_stream_threads.add(1);
        self.failed_stream_threads.flush(now_ms);
    }
}

/// Of a processing thread.
#[derive(Debug)]
pub struct ThreadMetrics {
    /// Records processed and the time for them: add once per round.
    pub process: Latency,
    /// Looks for new records and the time they took.
    pub poll: Latency,
    /// Records that one look brought.
    pub poll_records: Values,
    /// Commits and the time they took.
    pub commit: Latency,
    /// Punctuations and the time they took.
    pub punctuate: Latency,
    /// Tasks that came to the thread.
    pub task_created: Meter,
    /// Tasks that left it.
    pub task_closed: Meter,
    process_ratio: Gauge,
    poll_ratio: Gauge,
    commit_ratio: Gauge,
    punctuate_ratio: Gauge,
    blocked_time: Gauge,
}

impl ThreadMetrics {
    /// The metrics of a thread (`<client id>-StreamThread-<n>`).
    pub fn new(thread_id: &str) -> Self {
        let namer = Namer::new("stream-thread-metrics", &[("thread-id", thread_id)]);
        ThreadMetrics {
            process: Latency::new(&namer, "process"),
            poll: Latency::new(&namer, "poll"),
            poll_records: Values::new(&namer, "poll-records"),
            commit: Latency::new(&namer, "commit"),
            punctuate: Latency::new(&namer, "punctuate"),
            task_created: Meter::new(&namer, "task-created"),
            task_closed: Meter::new(&namer, "task-closed"),
            process_ratio: namer.gauge("process-ratio"),
            poll_ratio: namer.gauge("poll-ratio"),
            commit_ratio: namer.gauge("commit-ratio"),
            punctuate_ratio: namer.gauge("punctuate-ratio"),
            blocked_time: namer.gauge("blocked-time-ns-total"),
        }
    }

    /// What parts (0 to 1) of its time the thread spent since the last call.
    pub fn ratios(&self, process: f64, poll: f64, commit: f64, punctuate: f64) {
        self.process_ratio.set(process);
        self.poll_ratio.set(poll);
        self.commit_ratio.set(commit);
        self.punctuate_ratio.set(punctuate);
    }

    /// The time since the thread's start that it spent waiting for brokers, in ns.
    pub fn blocked_time_ns(&self, nanos: u64) {
        self.blocked_time.set(nanos as f64);
    }

    /// Hands the numbers on; once per round or less.
    pub fn flush(&mut self, now_ms: i64) {
        for latency in [&mut self.process, &mut self.poll, &mut self.commit, &mut self.punctuate] {
            latency.flush(now_ms);
        }
        self.poll_records.flush(now_ms);
        self.task_created.flush(now_ms);
        self.task_closed.flush(now_ms);
    }
}

/// Of a task. Beside `dropped-records`, which Kafka Streams records at level INFO, its metrics are of level DEBUG.
#[derive(Debug)]
pub struct TaskMetrics {
    /// Records that were skipped: late, without key, unreadable, or dropped by a handler.
    pub dropped_records: Meter,
    debug: Option<TaskDebugMetrics>,
    namer: Namer,
    /// Of a task with asynchronous steps, from the first time on that it tells of them.
    calls: Option<CallMetrics>,
}

/// Ours: Kafka Streams has no asynchronous steps.
#[derive(Debug)]
struct CallMetrics {
    in_flight: Gauge,
    retries: Meter,
    timeouts: Meter,
}

#[derive(Debug)]
struct TaskDebugMetrics {
    process: Latency,
    punctuate: Latency,
    enforced_processing: Meter,
    record_lateness: Values,
    active_buffer_count: Gauge,
    records_lag: Gauge,
}

impl TaskMetrics {
    /// The metrics of a task on a thread.
    pub fn new(thread_id: &str, task_id: &str, level: MetricsRecordingLevel) -> Self {
        let namer = Namer::new("stream-task-metrics", &[("thread-id", thread_id), ("task-id", task_id)]);
        let debug = (level >= MetricsRecordingLevel::Debug).then(|| TaskDebugMetrics {
            process: Latency::new(&namer, "process"),
            punctuate: Latency::new(&namer, "punctuate"),
            enforced_processing: Meter::new(&namer, "enforced-processing"),
            record_lateness: Values::new(&namer, "record-lateness"),
            active_buffer_count: namer.gauge("active-buffer-count"),
            records_lag: namer.gauge("records-lag"),
        });
        TaskMetrics { dropped_records: Meter::new(&namer, "dropped-records"), debug, namer, calls: None }
    }

    /// Asynchronous steps hold so many records; so many attempts were repeated and so many took too long since the last
    /// call.
    pub fn asynchronous(&mut self, in_flight: usize, retries: u64, timeouts: u64) {
        let calls = self.calls.get_or_insert_with(|| CallMetrics {
            in_flight: self.namer.gauge("async-in-flight"),
            retries: Meter::new(&self.namer, "async-retries"),
            timeouts: Meter::new(&self.namer, "async-timeouts"),
        });
        calls.in_flight.set(in_flight as f64);
        calls.retries.add(retries);
        calls.timeouts.add(timeouts);
    }

    /// `records` were processed in `nanos`; together they were `lateness_ms` behind stream time, the latest of them
    /// `max_lateness_ms`.
    pub fn processed(&mut self, records: u64, nanos: u64, lateness_ms: u64, max_lateness_ms: u64) {
        if let Some(debug) = &mut self.debug {
            debug.process.add(records, nanos);
            debug.record_lateness.add_with_max(records, lateness_ms, max_lateness_ms);
        }
    }

    /// A punctuation took `nanos`.
    pub fn punctuated(&mut self, nanos: u64) {
        if let Some(debug) = &mut self.debug {
            debug.punctuate.add(1, nanos);
        }
    }

    /// A record was processed while another input was empty (`max.task.idle.ms` ran out).
    pub fn enforced_processing(&mut self) {
        if let Some(debug) = &mut self.debug {
            debug.enforced_processing.add(1);
        }
    }

    /// Records that wait in the task, and records of its inputs that it has not fetched, where known.
    pub fn waiting(&self, buffered: usize, lag: Option<i64>) {
        if let Some(debug) = &self.debug {
            debug.active_buffer_count.set(buffered as f64);
            if let Some(lag) = lag {
                debug.records_lag.set(lag as f64);
            }
        }
    }

    /// Hands the numbers on.
    pub fn flush(&mut self, now_ms: i64) {
        self.dropped_records.flush(now_ms);
        if let Some(debug) = &mut self.debug {
            debug.process.flush(now_ms);
            debug.punctuate.flush(now_ms);
            debug.enforced_processing.flush(now_ms);
            debug.record_lateness.flush(now_ms);
        }
        if let Some(calls) = &mut self.calls {
            calls.retries.flush(now_ms);
            calls.timeouts.flush(now_ms);
        }
    }
}

/// Of a node, at level DEBUG.
#[derive(Debug)]
pub struct NodeMetrics {
    process: Meter,
    end_to_end: [Gauge; 3],
}

impl NodeMetrics {
    /// The metrics of a node; `None` below level DEBUG.
    pub fn new(thread_id: &str, task_id: &str, node: &str, level: MetricsRecordingLevel) -> Option<Self> {
        let tags = [("thread-id", thread_id), ("task-id", task_id), ("processor-node-id", node)];
        let namer = Namer::new("stream-processor-node-metrics", &tags);
        (level >= MetricsRecordingLevel::Debug).then(|| NodeMetrics {
            process: Meter::new(&namer, "process"),
            end_to_end: ["avg", "min", "max"]
                .map(|which| namer.gauge(&format!("record-e2e-latency-{which}"))),
        })
    }

    /// Adds the records that the node processed since the last call, and hands the numbers on.
    pub fn processed(&mut self, records: u64, now_ms: i64) {
        self.process.add(records);
        self.process.flush(now_ms);
    }

    /// Average, least and greatest time in ms from a record's timestamp to the node, since the last call.
    pub fn end_to_end(&self, avg_ms: f64, min_ms: i64, max_ms: i64) {
        for (gauge, value) in self.end_to_end.iter().zip([avg_ms, min_ms as f64, max_ms as f64]) {
            gauge.set(value);
        }
    }
}

/// Of the record cache of a store, at level DEBUG.
#[derive(Debug)]
pub struct CacheMetrics {
    hit_ratio: Gauge,
}

impl CacheMetrics {
    /// The metrics of a store's cache; `None` below level DEBUG.
    pub fn new(thread_id: &str, task_id: &str, store: &str, level: MetricsRecordingLevel) -> Option<Self> {
        let tags = [("thread-id", thread_id), ("task-id", task_id), ("record-cache-id", store)];
        let namer = Namer::new("stream-record-cache-metrics", &tags);
        (level >= MetricsRecordingLevel::Debug).then(|| CacheMetrics { hit_ratio: namer.gauge("hit-ratio") })
    }

    /// The reads since the last call and how many of them the cache answered; without reads the gauge keeps what it shows.
    pub fn reads(&self, hits: u64, reads: u64) {
        if reads > 0 {
            self.hit_ratio.set(hits as f64 / reads as f64);
        }
    }
}

/// Of the restoration of a task's stores.
#[derive(Debug)]
pub struct RestoreMetrics {
    /// Changelog records put into stores.
    pub restore: Meter,
    remaining: Gauge,
}

impl RestoreMetrics {
    /// The metrics of a task's restoration on a restore thread (`<client id>-StateUpdater-<n>`).
    pub fn new(thread_id: &str, task_id: &str) -> Self {
        let namer = Namer::new("stream-task-metrics", &[("thread-id", thread_id), ("task-id", task_id)]);
        RestoreMetrics {
            restore: Meter::new(&namer, "restore"),
            remaining: namer.gauge("restore-remaining-records-total"),
        }
    }

    /// Records that are still to be put into the task's stores.
    pub fn remaining(&self, records: u64) {
        self.remaining.set(records as f64);
    }

    /// Hands the numbers on.
    pub fn flush(&mut self, now_ms: i64) {
        self.restore.flush(now_ms);
    }
}

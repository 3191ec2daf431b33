//! The parts that metrics are made of: counts, times and values, collected in plain integers and flushed now and then.

use metrics::{Counter, Gauge, Label};

/// Shortest time that rates and averages are taken over, in ms.
const WINDOW_MS: i64 = 1_000;

/// Names a group's metrics: `kafka.streams.<group>.<metric>` with the group's tags.
#[derive(Debug, Clone)]
pub(super) struct Namer {
    group: &'static str,
    labels: Vec<Label>,
}

impl Namer {
    pub(super) fn new(group: &'static str, tags: &[(&str, &str)]) -> Self {
        let label = |(name, value): &(&str, &str)| Label::new((*name).to_owned(), (*value).to_owned());
        let labels = tags.iter().map(label).collect();
        Namer { group, labels }
    }

    pub(super) fn counter(&self, metric: &str) -> Counter {
        metrics::counter!(self.name(metric), self.labels.iter())
    }

    pub(super) fn gauge(&self, metric: &str) -> Gauge {
        metrics::gauge!(self.name(metric), self.labels.iter())
    }

    fn name(&self, metric: &str) -> String {
        format!("kafka.streams.{}.{metric}", self.group)
    }
}

/// The time since rates and averages were last handed on.
#[derive(Debug, Clone, Copy)]
struct Window {
    start_ms: Option<i64>,
}

impl Window {
    /// How long the window was when it is to be closed at `now_ms`; the first call only opens it.
    fn close(&mut self, now_ms: i64) -> Option<f64> {
        let start_ms = *self.start_ms.get_or_insert(now_ms);
        let length_ms = now_ms.saturating_sub(start_ms);
        // A clock that went back starts the window anew.
        if length_ms < 0 {
            self.start_ms = Some(now_ms);
        }
        if length_ms < WINDOW_MS {
            return None;
        }
        self.start_ms = Some(now_ms);
        Some(length_ms as f64)
    }
}

/// Counts events: `<name>-total` and `<name>-rate`.
#[derive(Debug)]
pub struct Meter {
    pending: u64,
    in_window: u64,
    window: Window,
    total: Counter,
    rate: Gauge,
}

impl Meter {
    pub(super) fn new(namer: &Namer, name: &str) -> Self {
        Meter {
            pending: 0,
            in_window: 0,
            window: Window { start_ms: None },
            total: namer.counter(&format!("{name}-total")),
            rate: namer.gauge(&format!("{name}-rate")),
        }
    }

    /// Counts `events`; an integer addition.
    #[inline]
    pub fn add(&mut self, events: u64) {
        self.pending += events;
    }

    /// Hands the counts on; `now_ms` is any clock in ms.
    pub fn flush(&mut self, now_ms: i64) {
        if self.pending > 0 {
            self.total.increment(self.pending);
            self.in_window += std::mem::take(&mut self.pending);
        }
        if let Some(length_ms) = self.window.close(now_ms) {
            self.rate.set(std::mem::take(&mut self.in_window) as f64 * 1_000.0 / length_ms);
        }
    }
}

/// Counts calls and their time: `<name>-total`, `-rate`, `-latency-avg`, `-latency-max`.
#[derive(Debug)]
pub struct Latency {
    calls: Meter,
    nanos: Values,
}

impl Latency {
    pub(super) fn new(namer: &Namer, name: &str) -> Self {
        Latency {
            calls: Meter::new(namer, name),
            nanos: Values::scaled(namer, &format!("{name}-latency"), 1e-6),
        }
    }

    /// As [`new`](Self::new), with times in nanoseconds, as those of stores are.
    pub(super) fn in_nanos(namer: &Namer, name: &str) -> Self {
        Latency { calls: Meter::new(namer, name), nanos: Values::new(namer, &format!("{name}-latency")) }
    }

    /// Counts `calls` that together took `nanos`, the longest of them `max_nanos`.
    pub fn add_with_max(&mut self, calls: u64, nanos: u64, max_nanos: u64) {
        self.calls.add(calls);
        self.nanos.add_with_max(calls, nanos, max_nanos);
    }

    /// Counts `calls` that together took `nanos`. Their average counts as the longest: where each matters, give one at a time.
    #[inline]
    pub fn add(&mut self, calls: u64, nanos: u64) {
        self.calls.add(calls);
        self.nanos.add(calls, nanos);
    }

    /// Hands the numbers on; `now_ms` is any clock in ms.
    pub fn flush(&mut self, now_ms: i64) {
        self.calls.flush(now_ms);
        self.nanos.flush(now_ms);
    }
}

/// Average and maximum of values: `<name>-avg`, `<name>-max`.
#[derive(Debug)]
pub struct Values {
    count: u64,
    sum: u64,
    max: u64,
    scale: f64,
    window: Window,
    avg: Gauge,
    max_gauge: Gauge,
}

impl Values {
    pub(super) fn new(namer: &Namer, name: &str) -> Self {
        Values::scaled(namer, name, 1.0)
    }

    fn scaled(namer: &Namer, name: &str, scale: f64) -> Self {
        Values {
            count: 0,
            sum: 0,
            max: 0,
            scale,
            window: Window { start_ms: None },
            avg: namer.gauge(&format!("{name}-avg")),
            max_gauge: namer.gauge(&format!("{name}-max")),
        }
    }

    /// Takes `count` values that add up to `sum`; their average counts as the greatest.
    #[inline]
    pub fn add(&mut self, count: u64, sum: u64) {
        self.add_with_max(count, sum, sum / count.max(1));
    }

    /// Takes `count` values that add up to `sum`, the greatest of which is `max`.
    #[inline]
    pub fn add_with_max(&mut self, count: u64, sum: u64, max: u64) {
        self.count += count;
        self.sum = self.sum.saturating_add(sum);
        self.max = self.max.max(max);
    }

    /// Hands the numbers on; `now_ms` is any clock in ms. Without values the gauges keep what they show.
    pub fn flush(&mut self, now_ms: i64) {
        if self.window.close(now_ms).is_none() || self.count == 0 {
            return;
        }
        self.avg.set(self.sum as f64 / self.count as f64 * self.scale);
        self.max_gauge.set(self.max as f64 * self.scale);
        (self.count, self.sum, self.max) = (0, 0, 0);
    }
}

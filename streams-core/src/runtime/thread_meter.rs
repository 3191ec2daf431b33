//! A processing thread's metrics: where its time goes.

use std::time::{Duration, Instant};

use crate::metrics::ThreadMetrics;

/// Metrics are handed to the recorder this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What a thread does, as the ratios of `stream-thread-metrics` tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Poll,
    Process,
    Punctuate,
    Commit,
}

/// Counts and times the steps of a thread's rounds.
pub(crate) struct ThreadMeter {
    pub(crate) metrics: ThreadMetrics,
    /// Nanoseconds since the last flush, by step.
    spent: [u64; 4],
    flushed: Instant,
    summary: Summary,
}

/// What the next progress line tells.
struct Summary {
    /// `None`: no lines.
    every: Option<Duration>,
    since: Instant,
    records: u64,
    punctuations: u64,
    commits: u64,
}

impl ThreadMeter {
    /// `summary`: how often a line tells of the progress (`log.summary.interval.ms`); zero for never.
    pub(crate) fn new(thread: &str, summary: Duration) -> Self {
        let (every, since) = ((!summary.is_zero()).then_some(summary), Instant::now());
        let summary = Summary { every, since, records: 0, punctuations: 0, commits: 0 };
        ThreadMeter { metrics: ThreadMetrics::new(thread), spent: [0; 4], flushed: since, summary }
    }

    /// A step that began at `start` is over; it had to do with `count` records, schedules or commits.
    pub(crate) fn done(&mut self, step: Step, start: Instant, count: usize) {
        if count == 0 {
            return;
        }
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent[step as usize] += nanos;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match step {
            Step::Poll => {
                self.metrics.poll.add(1, nanos);
                self.metrics.poll_records.add(1, count);
            }
            Step::Process => {
                self.metrics.process.add(count, nanos);
                self.summary.records += count;
            }
            Step::Punctuate => {
                self.metrics.punctuate.add(count, nanos);
                self.summary.punctuations += count;
            }
            Step::Commit => {
                self.metrics.commit.add(1, nanos);
                self.summary.commits += count;
            }
        }
    }

    /// Whether `flush` is due.
    pub(crate) fn is_due(&self) -> bool {
        self.flushed.elapsed() >= FLUSH_EVERY
    }

    /// Hands the numbers on.
    pub(crate) fn flush(&mut self, now_ms: i64) {
        let whole = self.flushed.elapsed().as_nanos().max(1) as f64;
        let part = |step: Step| self.spent[step as usize] as f64 / whole;
        self.metrics.ratios(part(Step::Process), part(Step::Poll), part(Step::Commit), part(Step::Punctuate));
        self.metrics.flush(now_ms);
        self.spent = [0; 4];
        self.flushed = Instant::now();
        self.tell_progress();
    }

    /// As the JVM's threads do: a line in the log says that the thread lives, and what it does.
    fn tell_progress(&mut self) {
        let Summary { every, since, records, punctuations, commits } = self.summary;
        if every.is_none_or(|every| since.elapsed() < every) {
            return;
        }
        tracing::info!(records, punctuations, commits, "processed since the last summary");
        self.summary = Summary { every, since: Instant::now(), records: 0, punctuations: 0, commits: 0 };
    }
}

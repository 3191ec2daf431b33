//! How an asynchronous step works: how many calls at once, in which order, how long, how often.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// In which order calls are made and results go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AsyncOrder {
    /// The records of a key one after the other: the next one's call begins when the one before is done, and its result
    /// comes after. Records of different keys overtake each other. The default.
    #[default]
    PerKey,
    /// Calls run at once, results go on in the order in which the records came: one slow call holds up all behind it.
    All,
    /// None: each result goes on as soon as it is there, also before an earlier one of its key.
    None,
}

/// Decides which errors are worth another attempt.
type RetryIf = Arc<dyn Fn(&(dyn Error + 'static)) -> bool + Send + Sync>;

/// How an asynchronous step works. By default: up to 100 records per task, order kept per key, one attempt of at most
/// 5 seconds.
///
/// ```
/// use kstreams_core::processor::{AsyncOptions, AsyncOrder};
/// use std::time::Duration;
///
/// let options = AsyncOptions::new()
///     .with_max_in_flight(50)
///     .with_order(AsyncOrder::None)
///     .with_timeout(Duration::from_secs(2))
///     .with_retries(3)
///     .with_backoff(Duration::from_millis(100), Duration::from_secs(5));
/// // Four attempts of 2 s, waits of at most 100, 200 and 400 ms between them.
/// assert_eq!(options.longest_call(), Duration::from_millis(8_700));
/// ```
#[derive(Clone)]
pub struct AsyncOptions {
    pub(super) order: AsyncOrder,
    pub(super) max_in_flight: usize,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) retry_if: Option<RetryIf>,
    drain_timeout: Option<Duration>,
}

/// Beyond the longest time that calls allow themselves: for a runtime that is late.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

impl Default for AsyncOptions {
    fn default() -> Self {
        AsyncOptions {
            order: AsyncOrder::default(),
            max_in_flight: 100,
            timeout: Duration::from_secs(5),
            retries: 0,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            retry_if: None,
            drain_timeout: None,
        }
    }
}

impl AsyncOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The order of calls and results; by default that of each key is kept.
    #[must_use]
    pub fn with_order(self, order: AsyncOrder) -> Self {
        AsyncOptions { order, ..self }
    }

    /// How many records a task holds in this step at most (100), and so how many calls it has out at once: at least 1.
    /// Records that wait for an earlier one of their key or for their turn count. A task that is full takes no records
    /// from its inputs until some are done.
    #[must_use]
    pub fn with_max_in_flight(self, records: usize) -> Self {
        AsyncOptions { max_in_flight: records.max(1), ..self }
    }

    /// How long one attempt may take (5 s); then it is cancelled, and that is an error as others are.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        AsyncOptions { timeout, ..self }
    }

    /// How many more attempts follow one that failed (none). A repeated call may have had its effect already: it should
    /// be idempotent.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        AsyncOptions { retries, ..self }
    }

    /// The wait before the second attempt (100 ms); each following one is twice as long, up to `longest` (10 s). Of each
    /// a random half is left out, so that what failed together is not repeated together.
    #[must_use]
    pub fn with_backoff(self, first: Duration, longest: Duration) -> Self {
        AsyncOptions { backoff: first, max_backoff: longest, ..self }
    }

    /// Which errors of the step are worth another attempt: all unless this is set. Time-outs are always, panics never.
    #[must_use]
    pub fn with_retry_if(
        self,
        retry_if: impl Fn(&(dyn Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        AsyncOptions { retry_if: Some(Arc::new(retry_if)), ..self }
    }

    /// How long a commit waits for a call before it is cancelled and its record goes to the processing exception handler.
    /// By default a little longer than a call can take by itself ([`longest_call`](Self::longest_call)), so that only
    /// one that blocks its thread is ever ended this way; shorter where commits must not be late.
    #[must_use]
    pub fn with_drain_timeout(self, timeout: Duration) -> Self {
        AsyncOptions { drain_timeout: Some(timeout), ..self }
    }

    /// The time that all attempts at one record take at most, with the waits between them. Under exactly-once it must be
    /// below `producer.transaction.timeout.ms` (10 s): a transaction that waits longer for a call is aborted, and its
    /// records are processed again. A step that may take longer is warned of when its first task starts.
    pub fn longest_call(&self) -> Duration {
        // No wait grows any more after so many: "without end" must not be counted one by one.
        let growing = self.retries.min(32);
        let waits = (0..growing).map(|attempt| self.longest_wait(attempt));
        let waits = waits.fold(Duration::ZERO, Duration::saturating_add);
        let waits = waits.saturating_add(self.longest_wait(32).saturating_mul(self.retries - growing));
        self.timeout.saturating_mul(self.retries.saturating_add(1)).saturating_add(waits)
    }

    /// How long a commit waits for a call.
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout.unwrap_or_else(|| self.longest_call().saturating_add(DRAIN_MARGIN))
    }

    /// The wait after attempt number `attempt`, from 0, before chance shortens it.
    pub(super) fn longest_wait(&self, attempt: u32) -> Duration {
        self.backoff.saturating_mul(1 << attempt.min(31)).min(self.max_backoff)
    }
}

impl fmt::Debug for AsyncOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncOptions")
            .field("order", &self.order)
            .field("max_in_flight", &self.max_in_flight)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("backoff", &(self.backoff, self.max_backoff))
            .field("drain_timeout", &self.drain_timeout())
            .finish_non_exhaustive()
    }
}

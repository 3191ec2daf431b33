//! How updates of a table are held back.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams_state_stores::{Serde, Windowed};

use super::ByType;
use crate::windows::millis;

/// How [`KTable::suppress`](crate::KTable::suppress) holds updates back: how long, in how large a buffer, under which
/// name (`org.apache.kafka.streams.kstream.Suppressed`).
///
/// ```
/// use std::time::Duration;
/// use kstreams_dsl::{BufferConfig, Suppressed};
///
/// let at_most_once_a_minute = Suppressed::until_time_limit(Duration::from_secs(60), BufferConfig::max_records(10_000));
/// let final_results = Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final-counts");
/// ```
#[derive(Debug, Clone)]
pub struct Suppressed<T, KS = ByType, VS = ByType> {
    pub(crate) until: T,
    pub(crate) buffer: BufferLimits,
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
}

impl Suppressed<UntilTimeLimit> {
    /// Holds the first update of a key back for `time_to_wait` of stream time, and tells only the last one of those that
    /// come meanwhile. Deletions are told too.
    pub fn until_time_limit(time_to_wait: Duration, buffer: impl Into<BufferLimits>) -> Self {
        Suppressed::new(UntilTimeLimit { limit_ms: millis(time_to_wait) }, buffer.into())
    }
}

impl Suppressed<UntilWindowCloses> {
    /// Tells one result of each window, when it has closed: stream time is past its end and the grace of the
    /// aggregation. Deletions are not told: of their windows nothing was told before.
    pub fn until_window_closes(buffer: StrictBufferConfig) -> Self {
        Suppressed::new(UntilWindowCloses, buffer.into())
    }
}

impl<T> Suppressed<T> {
    fn new(until: T, buffer: BufferLimits) -> Self {
        Suppressed { until, buffer, key: ByType, value: ByType, name: None }
    }
}

impl<T, KS, VS> Suppressed<T, KS, VS> {
    /// Names the node; the buffer's store and changelog are named after it.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Uses this serde for keys, where the table does not carry one.
    #[must_use]
    pub fn with_key_serde<S: Serde>(self, key: S) -> Suppressed<T, S, VS> {
        let Suppressed { until, buffer, value, name, .. } = self;
        Suppressed { until, buffer, key, value, name }
    }

    /// Uses this serde for values, where the table does not carry one.
    #[must_use]
    pub fn with_value_serde<S: Serde>(self, value: S) -> Suppressed<T, KS, S> {
        let Suppressed { until, buffer, key, name, .. } = self;
        Suppressed { until, buffer, key, value, name }
    }
}

/// Until some time has passed; see [`Suppressed::until_time_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UntilTimeLimit {
    limit_ms: i64,
}

/// Until a window closes; see [`Suppressed::until_window_closes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UntilWindowCloses;

/// When an update of a table with keys `K` may be told. [`UntilWindowCloses`] is for windowed keys only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit a table with keys `{K}`",
    note = "only windows close: `until_window_closes` is for tables of windowed aggregations"
)]
pub trait SuppressUntil<K>: sealed::Sealed<K> {}

pub(crate) mod sealed {
    /// What the operator asks.
    pub trait Sealed<K>: Clone + Send + Sync + 'static {
        /// The time of an update, from which it is held back (ms).
        fn time_of(&self, key: &K, timestamp: i64) -> i64;

        /// How long, in ms of stream time; `grace_ms` is that of the windows, if there are any.
        fn delay_ms(&self, grace_ms: Option<i64>) -> Option<i64>;

        /// Whether deletions are told.
        fn tells_deletions(&self) -> bool;
    }
}

impl<K> SuppressUntil<K> for UntilTimeLimit {}

impl<K> sealed::Sealed<K> for UntilTimeLimit {
    fn time_of(&self, _key: &K, timestamp: i64) -> i64 {
        timestamp
    }
    fn delay_ms(&self, _grace_ms: Option<i64>) -> Option<i64> {
        Some(self.limit_ms)
    }
    fn tells_deletions(&self) -> bool {
        true
    }
}

impl<K> SuppressUntil<Windowed<K>> for UntilWindowCloses {}

impl<K> sealed::Sealed<Windowed<K>> for UntilWindowCloses {
    fn time_of(&self, key: &Windowed<K>, _timestamp: i64) -> i64 {
        key.window.end
    }
    fn delay_ms(&self, grace_ms: Option<i64>) -> Option<i64> {
        grace_ms
    }
    fn tells_deletions(&self) -> bool {
        false
    }
}

/// How large a buffer of suppressed updates may grow, and its changelog. Begin with one of the constructors here; they
/// give an [`EagerBufferConfig`] or a [`StrictBufferConfig`] (`Suppressed.BufferConfig`).
#[derive(Debug, Clone, Copy)]
pub struct BufferConfig;

impl BufferConfig {
    /// At most so many keys.
    pub fn max_records(records: u64) -> EagerBufferConfig {
        EagerBufferConfig(BufferLimits { max_records: records, ..BufferLimits::NONE })
    }

    /// At most so many bytes, by the JVM's count.
    pub fn max_bytes(bytes: u64) -> EagerBufferConfig {
        EagerBufferConfig(BufferLimits { max_bytes: bytes, ..BufferLimits::NONE })
    }

    /// No bound: the memory has to suffice.
    pub fn unbounded() -> StrictBufferConfig {
        StrictBufferConfig(BufferLimits::NONE)
    }
}

/// A buffer that, when it is full, tells its oldest updates early.
#[derive(Debug, Clone)]
pub struct EagerBufferConfig(BufferLimits);

/// A buffer that never tells an update early: it has no bound, or fails when it is full.
#[derive(Debug, Clone)]
pub struct StrictBufferConfig(BufferLimits);

macro_rules! buffer_settings {
    ($($config:ident emits early: $early:literal),+) => {
        $(
            impl $config {
                /// At most so many keys.
                #[must_use]
                pub fn with_max_records(mut self, records: u64) -> Self {
                    self.0.max_records = records;
                    self
                }

                /// At most so many bytes, by the JVM's count.
                #[must_use]
                pub fn with_max_bytes(mut self, bytes: u64) -> Self {
                    self.0.max_bytes = bytes;
                    self
                }

                /// No bound.
                #[must_use]
                pub fn with_no_bound(self) -> StrictBufferConfig {
                    let BufferLimits { logging, .. } = self.0;
                    StrictBufferConfig(BufferLimits { logging, ..BufferLimits::NONE })
                }

                /// When the buffer is full, the record fails, and with it, unless the processing exception handler lets
                /// it pass, the application.
                #[must_use]
                pub fn shut_down_when_full(self) -> StrictBufferConfig {
                    StrictBufferConfig(self.0)
                }

                /// When the buffer is full, its oldest updates are told early.
                #[must_use]
                pub fn emit_early_when_full(self) -> EagerBufferConfig {
                    EagerBufferConfig(self.0)
                }

                /// No changelog: what is held back is lost when the task moves or the application stops.
                #[must_use]
                pub fn with_logging_disabled(mut self) -> Self {
                    self.0.logging = None;
                    self
                }

                /// Configs of the changelog topic beyond the defaults.
                #[must_use]
                pub fn with_logging_enabled(mut self, configs: BTreeMap<String, String>) -> Self {
                    self.0.logging = Some(configs);
                    self
                }
            }

            impl From<$config> for BufferLimits {
                fn from(config: $config) -> Self {
                    BufferLimits { emit_early: $early, ..config.0 }
                }
            }
        )+
    };
}
buffer_settings!(EagerBufferConfig emits early: true, StrictBufferConfig emits early: false);

/// What both kinds of buffer config come to.
#[derive(Debug, Clone)]
pub struct BufferLimits {
    pub(crate) max_records: u64,
    pub(crate) max_bytes: u64,
    pub(crate) emit_early: bool,
    pub(crate) logging: Option<BTreeMap<String, String>>,
}

impl BufferLimits {
    const NONE: BufferLimits = BufferLimits {
        max_records: u64::MAX,
        max_bytes: u64::MAX,
        emit_early: false,
        logging: Some(BTreeMap::new()),
    };
}

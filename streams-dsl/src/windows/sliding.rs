//! Sliding windows.

use std::time::Duration;

use super::millis;

/// Windows of two records or more that are at most a time difference apart, and of single records
/// (`org.apache.kafka.streams.kstream.SlidingWindows`). They are not aligned to the epoch but to the records: one ends at
/// each record, and one begins just after each record that has others behind it within the time difference. Both ends
/// of a window are included.
///
/// ```
/// use std::time::Duration;
/// use kstreams_dsl::{Materialized, SlidingWindows, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("failed-logins")
///     .group_by_key()
///     .windowed_by(SlidingWindows::of_time_difference_and_grace(Duration::from_secs(60), Duration::from_secs(5)))
///     .count(Materialized::named("failures-within-a-minute"));
/// # builder.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) difference_ms: i64,
    pub(crate) grace_ms: i64,
}

impl SlidingWindows {
    /// Windows that close as soon as stream time is past their end: later records are dropped.
    pub fn of_time_difference_with_no_grace(time_difference: Duration) -> Self {
        Self::of_time_difference_and_grace(time_difference, Duration::ZERO)
    }

    /// Windows that still take records until stream time is more than `grace` past their end.
    pub fn of_time_difference_and_grace(time_difference: Duration, grace: Duration) -> Self {
        SlidingWindows { difference_ms: millis(time_difference), grace_ms: millis(grace) }
    }
}
